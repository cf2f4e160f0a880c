"""Looking into a directory of vectors, read-only: a process that writes to it is not in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.cli.store import is_workspace

if TYPE_CHECKING:
    from roost.engine.collection import Collection
    from roost.engine.database import Database
    from roost.engine.segment import Segment, StoredIndex
    from roost.engine.storage.catalog import Catalog
    from roost.engine.storage.durable import FileRecord

VECTORS_FOLDER = "vectors.roost"
"""Where a workspace keeps its vectors, unless they are on a server."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What a check looked at, and what it found.

    Attributes:
        n_files: the catalogue, and the files of segments, indexes and large records of the log.
        n_records: writes in the log, which no segment holds yet.
        damages: what is wrong with each damaged file, in words.
    """

    n_files: int
    n_records: int
    damages: list[str]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What is in one collection.

    Attributes:
        n_rows: None where the collection is damaged.
        n_segments: sealed, immutable runs of rows; None on a server, which does not say, and where it is damaged.
        n_deleted: rows that are deleted and not compacted away yet; None likewise.
        indexes: field name to index type and parameters, in words.
        size_bytes: of the segments' and indexes' files; None likewise.
        damage: why its rows cannot be read, in words; None where they can.
    """

    database: str
    name: str
    aliases: tuple[str, ...]
    n_rows: int | None
    n_segments: int | None
    n_deleted: int | None
    indexes: dict[str, str]
    size_bytes: int | None
    damage: str | None = None


def vectors_path(path: Path) -> Path:
    """Return the directory of vectors: the path itself, or the one inside a workspace."""
    return path / VECTORS_FOLDER if is_workspace(path) else path


def size_on_disk(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def read_collections(path: Path) -> list[CollectionInfo]:
    """Return what is in every collection of a directory of vectors.

    Raises:
        DatabaseNotFound: there is no database.
        Corruption: its catalogue is damaged.
    """
    with opened_database(path) as database:
        return [
            _look_into(database, where, database.collection(where, name))
            for where in database.list_databases()
            for name in database.list_collections(where)
        ]


def read_server(uri: str) -> list[CollectionInfo]:
    """Return what is in every collection of a Milvus server's default database.

    Raises: MilvusException: the server cannot be reached, or refuses.
    """
    from pymilvus import MilvusClient

    client = MilvusClient(uri)
    try:
        return [_read_remote(client, name) for name in sorted(client.list_collections())]
    finally:
        client.close()


def examine(path: Path) -> Examination:
    """Hold the catalogue, the log and every file that the two name against their checksums.

    Raises:
        InvalidArgument: it is a file.
        DatabaseNotFound: there is no database.
        Corruption: the catalogue is damaged.
    """
    from roost.engine.directory import require_database
    from roost.engine.storage.catalog import Catalog
    from roost.engine.storage.durable import verify
    from roost.errors import Corruption

    require_database(path)
    catalog = Catalog(path, read_only=True)
    try:
        n_records, n_record_files, found = _read_logs(catalog)
        files = _named_files(path, catalog)
        damages = {}
        for file, (record, is_built) in files.items():
            try:
                verify(file, record)
            except Corruption as error:
                damages[file] = _rebuilt(error.message) if is_built else error.message
        # A process that writes may have merged segments meanwhile, and removed their files.
        still_named = _named_files(path, catalog) if damages else {}
        if catalog.doubt is not None:
            found.append(catalog.doubt)
    finally:
        catalog.close()
    found += [damage for file, damage in damages.items() if file in still_named]
    return Examination(1 + n_record_files + len(files), n_records, found)


def _rebuilt(damage: str) -> str:
    return f"{damage.partition(';')[0]}; it is built again from the rows when a process that may write next needs it"


def _read_logs(catalog: Catalog) -> tuple[int, int, list[str]]:
    """Read every record of every log.

    Returns: how many there are, how many have a file of their own, and what is damaged, in words.
    """
    from roost.errors import Corruption

    while True:
        catalog.changed()
        n_records, n_files = 0, 0
        damages = []
        with catalog.reading():
            for collection_id, document in catalog.load().objects.get("collection", {}).items():
                n_files += len(catalog.log_files(collection_id))
                try:
                    n_records += sum(1 for _ in catalog.read_log(collection_id))
                except Corruption as error:
                    damages.append(f"collection {document['name']!r} can only be emptied or dropped: {error.message}")
        # A process that writes may have removed the files of records that are in a segment by now.
        if not damages or not catalog.changed():
            return n_records, n_files, damages


def _named_files(path: Path, catalog: Catalog) -> dict[Path, tuple[FileRecord, bool]]:
    """Return the files of the segments, and of each whether it was built of others."""
    from roost.engine.segment import SegmentRecord

    files = {}
    for segment_id, document in catalog.load().objects.get("segment", {}).items():
        segment = SegmentRecord.from_document(segment_id, document)
        for record in segment.all_files:
            files[path / "segments" / str(segment_id) / record.name] = (record, record not in segment.files)
    return files


@contextmanager
def opened_database(path: Path) -> Iterator[Database]:
    """Give the database in a directory, open for reading.

    Raises: InvalidArgument: the path is a file. DatabaseNotFound: there is none. Corruption: its catalogue is damaged.
    """
    from roost.engine.database import Database

    database = Database.open(path, read_only=True)
    try:
        yield database
    finally:
        database.close()


def _segments(collection: Collection) -> Iterator[tuple[Segment, tuple[StoredIndex, ...]]]:
    """Give every sealed segment with its built indexes."""
    from roost.engine.segment import Segment

    for part in collection.snapshot().parts:
        if isinstance(part.rows, Segment):
            yield part.rows, tuple(part.indexes.values())


def _look_into(database: Database, where: str, collection: Collection) -> CollectionInfo:
    from roost.errors import Corruption

    defined = CollectionInfo(
        database=where,
        name=collection.name,
        aliases=tuple(database.aliases_of(collection)),
        n_rows=None,
        n_segments=None,
        n_deleted=None,
        indexes={
            spec.field: _in_words(spec.index_type, spec.metric, spec.params) for spec in collection.record.indexes
        },
        size_bytes=None,
    )
    try:
        return _with_rows(defined, collection)
    except Corruption as error:
        return replace(defined, damage=error.message)


def _with_rows(defined: CollectionInfo, collection: Collection) -> CollectionInfo:
    segments = list(_segments(collection))
    snapshot = collection.snapshot()
    return replace(
        defined,
        n_rows=snapshot.n_rows,
        n_segments=len(segments),
        n_deleted=sum(part.n_dead for part in snapshot.parts),
        size_bytes=sum(s.record.size_bytes + sum(index.record.size_bytes for index in held) for s, held in segments),
    )


def _read_remote(client: Any, name: str) -> CollectionInfo:
    descriptions = [client.describe_index(name, index) for index in client.list_indexes(name)]
    return CollectionInfo(
        database="default",
        name=name,
        aliases=tuple(client.list_aliases(name)["aliases"]),
        n_rows=int(client.get_collection_stats(name)["row_count"]),
        n_segments=None,
        n_deleted=None,
        indexes={
            d["field_name"]: _in_words(
                d["index_type"],
                d.get("metric_type", ""),
                {key: value for key, value in d.items() if key in ("M", "efConstruction", "nlist", "m", "nbits")},
            )
            for d in descriptions
        },
        size_bytes=None,
    )


def _in_words(index_type: str, metric: str, params: dict[str, Any]) -> str:
    return " ".join([index_type, metric, *(f"{key}={value}" for key, value in params.items())]).strip()
