"""Versions of data: a digest by which the same array, file or collection is known again.

The digest of a collection is that of its schema and of its rows in the order of their keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow.parquet
from pymilvus import DataType

from roost.errors import CollectionNotFound, Conflict, InvalidArgument, InvalidData
from roost.lifecycle import html
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.engine_address import EngineAddress
from roost.lifecycle.models.model_files import file_digest
from roost.lifecycle.store.database import utc_now

if TYPE_CHECKING:
    from roost.client import Client

Source: TypeAlias = str | Path | npt.NDArray[Any] | Sequence[Any]

ARRAY, FILE, COLLECTION = "array", "file", "collection"

_BATCH_SIZE = 1000
_COLLECTION_NAME = re.compile(r"[A-Za-z_]\w*")
_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class DataVersion:
    """What data was at a moment.

    Attributes:
        digest: `sha256:` and a digest of the content; equal content has an equal one.
        kind: `array`, `file` (a directory too) or `collection`.
        name: what people call the data.
        uri: where it is; empty for an array.
        n_rows: None where the file does not tell.
        created_at: when it was described; ISO 8601 in UTC.
    """

    digest: str
    kind: str
    name: str
    uri: str
    n_rows: int | None
    created_at: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> DataVersion:
        return cls(**raw)

    def _repr_html_(self) -> str:
        return html.properties(self.name, {**self.to_dict(), "uri": self.uri or None})


class DataVersions:
    """Describes data."""

    def __init__(self, open_client: Callable[[], Client], engine: EngineAddress) -> None:
        """Remember where the vectors are.

        Args:
            open_client: gives the client of the vector engine.
        """
        self._open_client = open_client
        self._engine = engine

    def describe(self, source: Source, name: str | None = None) -> DataVersion:
        """Return the version of an array, a list, a file, a directory or a collection; all of it is read.

        Args:
            source: a `pathlib.Path` is a file or a directory; a text is the name of a collection, or else a path; a
                list holds what JSON can.
            name: what people call the data; by default the name of the collection or the file.
        Raises:
            CollectionNotFound: there is neither a collection nor a file of that name.
            InvalidArgument: the path is not there, or it is no array, list, path or name.
        """
        if isinstance(source, str):
            client = self._open_client()
            # A server answers a text that cannot be a collection's name with an error.
            if _COLLECTION_NAME.fullmatch(source) and client.has_collection(source):
                digest, n_rows = collection_digest(client, source)
                return DataVersion(digest, COLLECTION, name or source, self._engine.uri(source), n_rows, utc_now())
            if not Path(source).exists():
                raise CollectionNotFound(f"there is no collection and no file {source!r}")
            source = Path(source)
        if isinstance(source, Path):
            return _describe_path(source, name)
        if isinstance(source, np.ndarray):
            return array_version(source, name)
        if isinstance(source, Sequence):
            digest = f"sha256:{hashlib.sha256(canonical_json(list(source)).encode()).hexdigest()}"
            return DataVersion(digest, ARRAY, name or ARRAY, "", len(source), utc_now())
        raise InvalidArgument(
            f"data of type {type(source).__name__} cannot be described: give an array, a list, a path or a collection"
        )


def array_version(data: npt.NDArray[Any], name: str | None = None) -> DataVersion:
    """Return the version of an array."""
    return DataVersion(data_digest(data), ARRAY, name or ARRAY, "", len(np.atleast_1d(data)), utc_now())


def data_digest(data: npt.NDArray[Any]) -> str:
    """Return `sha256:` and a digest of an array's values, shape and type.

    Raises: InvalidArgument: it is an array of objects, and not of those that JSON can hold.
    """
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    # The bytes of an array of objects are their addresses.
    objects = data.dtype.hasobject
    digest.update(canonical_json(data.tolist()).encode() if objects else np.ascontiguousarray(data).tobytes())
    return f"sha256:{digest.hexdigest()}"


def data_versions_from_json(text: str) -> tuple[DataVersion, ...]:
    """Return the data versions that `data_versions_to_json` wrote."""
    return tuple(DataVersion.from_dict(raw) for raw in json.loads(text))


def data_versions_to_json(versions: Sequence[DataVersion]) -> str:
    """Return data versions as text."""
    return json.dumps([version.to_dict() for version in versions], sort_keys=True)


def collection_digest(client: Client, collection: str) -> tuple[str, int]:
    """Return the digest of a collection's schema and rows, and the number of rows.

    Raises: Conflict: rows came or went while it was read.
    """
    fields = client.describe_collection(collection)["fields"]
    key = next(str(field["name"]) for field in fields if field.get("is_primary"))
    vectors = frozenset(str(field["name"]) for field in fields if field["type"] == DataType.FLOAT_VECTOR)
    described = sorted([str(field["name"]), int(DataType(field["type"]))] for field in fields)
    digest = hashlib.sha256(canonical_json(described).encode())
    n_rows = 0
    for row in _rows(client, collection, key):
        digest.update(_row_digest(row, vectors))
        n_rows += 1
    counted = client.query(collection, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
    if int(counted) != n_rows:
        raise Conflict(f"collection {collection!r} was written to while it was read: {n_rows} rows, then {counted}")
    return f"sha256:{digest.hexdigest()}", n_rows


def _rows(client: Client, collection: str, key: str) -> Iterator[Mapping[str, Any]]:
    """Give all rows in the order of their keys, in which engines answer a query with a limit."""
    condition = ""
    while True:
        found: list[Mapping[str, Any]] = list(
            client.query(
                collection, filter=condition, output_fields=["*"], limit=_BATCH_SIZE, consistency_level="Strong"
            )
        )
        yield from sorted(found, key=lambda row: row[key])
        if len(found) < _BATCH_SIZE:
            return
        last = max(row[key] for row in found)
        condition = f"{key} > {last if isinstance(last, int) else json.dumps(last, ensure_ascii=False)}"


def _row_digest(row: Mapping[str, Any], vectors: frozenset[str]) -> bytes:
    """Return the digest of a row: its vectors as float32, which clients give in several types, the rest as JSON."""
    rest = {name: _plain(value) for name, value in row.items() if name not in vectors}
    digest = hashlib.sha256(orjson.dumps(rest, option=_JSON))
    for name in sorted(vectors & row.keys()):
        digest.update(np.asarray(row[name], dtype="<f4").tobytes())
    return digest.digest()


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, np.ndarray):
        return value.tobytes().hex()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _describe_path(path: Path, name: str | None) -> DataVersion:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [[file.relative_to(path).as_posix(), file_digest(file)] for file in files]
        digest, n_rows = hashlib.sha256(canonical_json(listed).encode()).hexdigest(), None
    elif path.is_file():
        digest, n_rows = file_digest(path), _n_rows(path)
    else:
        raise InvalidArgument(f"there is no file or directory {path}")
    return DataVersion(f"sha256:{digest}", FILE, name or path.name, path.absolute().as_uri(), n_rows, utc_now())


def _n_rows(file: Path) -> int | None:
    """Return the rows of a Parquet or NumPy file, by its head; None of others."""
    try:
        if file.suffix == ".parquet":
            return int(pyarrow.parquet.read_metadata(file).num_rows)
        if file.suffix == ".npy":
            return int(np.load(file, mmap_mode="r", allow_pickle=False).shape[0])
    except (OSError, ValueError, IndexError) as error:
        raise InvalidData(f"{file} cannot be read: {error}") from error
    return None
