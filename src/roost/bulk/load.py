"""`bulk_load`: files, tables, arrays and frames into a collection, in chunks that are each one transaction."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from roost.bulk.files import NpySource, open_files
from roost.bulk.sources import ArraySource, ReaderSource, Renamed, Source, TableSource, array_of
from roost.bulk.targets import EmbeddedTarget, ServerTarget, Target
from roost.embedded import EmbeddedClient
from roost.embedded.session import collection_of
from roost.engine.schema import Schema
from roost.engine.seen_keys import SeenKeys
from roost.engine.sparse_vectors import is_sparse_matrix
from roost.engine.tables import batch_from_columns, key_column
from roost.errors import InvalidArgument, InvalidArgumentType, InvalidData

if TYPE_CHECKING:
    from roost.client import Client

_log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 256 << 20
"""About what a chunk takes in memory, and on the disk."""

_LEAST_CHUNK_BYTES: Final = 1 << 16
_Advance: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BulkLoadResult:
    """What a bulk load did.

    Attributes:
        n_rows: rows that this call stored.
        n_resumed: rows that an earlier call of the same load had stored.
        n_chunks: transactions of this call.
    """

    n_rows: int
    n_resumed: int
    n_chunks: int
    seconds: float


def bulk_load(
    client: Client,
    collection_name: str,
    data: Any,
    *,
    partition_name: str = "",
    columns: Mapping[str, str] | Sequence[str] | None = None,
    name: str | None = None,
    restart: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
    progress: bool | None = None,
) -> BulkLoadResult:
    """Load many rows, faster than by insert; a row whose primary key exists takes the place of the old one.

        roost.bulk_load(client, "images", "rows.parquet")
        roost.bulk_load(client, "images", {"id": ids, "vector": "vectors.npy", "label": labels})

    An embedded collection is written in chunks, straight into segments: each chunk is stored as a whole or not at
    all, and can be searched as soon as it is. A load from files, or with a name=, that was interrupted goes on after
    its last chunk when it is called again; one that was finished does nothing until its source changes. A Milvus
    server is written by batches of upserts (inserts where it makes the keys), and a load begins anew.

    Args:
        data: a path of a file (.parquet, .arrow, .feather, .npy), of a directory or a pattern; a list of paths; a
            pyarrow Table, RecordBatch or RecordBatchReader; a pandas or polars DataFrame; a 2-d array or a SciPy sparse
            matrix, for the only vector field; or a dict from field name to one of these, a list or the path of a .npy
            file. Several .npy
            files are columns, called as the files.
        columns: the columns to load, of others; or a dict from field name to the column's name. All by default:
            columns that are no fields become keys of the dynamic field.
        name: what the load is called when it is resumed; by default the paths of its files.
        restart: begin with the first row, whatever was loaded before. Rows with keys are replaced; where the
            collection makes the keys (auto_id), those of an earlier call stay.
        chunk_bytes: about what a chunk takes; memory is some times as much.
        progress: show a bar on the standard error stream; by default where that is a terminal.
    Raises:
        InvalidData, DimensionMismatch, NotFinite: as insert does; the message names row and field. Chunks before
            it are stored.
        DuplicateKey: a key comes twice. Found before anything is stored, except with a RecordBatchReader.
        LoadConflict: the source of an interrupted load has changed, or the collection was emptied meanwhile.
        InvalidArgument, CollectionNotFound, PartitionNotFound, ReadOnly, StorageFull, StorageFailure.
    """
    started = time.perf_counter()
    if not isinstance(chunk_bytes, int) or chunk_bytes < _LEAST_CHUNK_BYTES:
        raise InvalidArgument(f"chunk_bytes={chunk_bytes!r} is not allowed; it is at least {_LEAST_CHUNK_BYTES}")
    target = _target(client, collection_name, partition_name)
    source = _source(data, target.schema)
    if columns is not None:
        chosen = columns if isinstance(columns, Mapping) else {column: column for column in columns}
        source = Renamed(source, chosen)
    twice = next((column for column in source.names if source.names.count(column) > 1), None)
    if twice is not None:
        raise InvalidData(f"two columns are called {twice!r}")
    load_name = name or source.name
    n_resumed, is_finished = target.begin(
        _full_name(load_name, partition_name), source.describe() if load_name else {}, restart
    )
    if is_finished:
        _log.info("%s was loaded before, all %d rows of it; restart=True loads it again", load_name, n_resumed)
        return BulkLoadResult(0, n_resumed, 0, time.perf_counter() - started)
    if n_resumed:
        _log.info("%s: going on after row %d", load_name, n_resumed)
    n_rows = n_chunks = 0
    with target.loading(), _progress(collection_name, source.n_rows, n_resumed, progress) as advance:
        for n_chunk in _run(target, source, n_resumed, chunk_bytes, advance):
            n_rows += n_chunk
            n_chunks += 1
        target.finish()
    return BulkLoadResult(n_rows, n_resumed, n_chunks, time.perf_counter() - started)


def _run(target: Target, source: Source, first_row: int, chunk_bytes: int, advance: _Advance) -> Iterator[int]:
    """Store the rows from one on, and yield the length of each chunk."""
    schema = target.schema
    seen = None if schema.primary.auto_id else SeenKeys(schema.primary.name)
    if seen is not None and _check_keys(source, schema, seen):
        seen = None
    for chunk in source.chunks(first_row, _chunk_rows(source, schema, chunk_bytes)):
        batch = batch_from_columns(schema, chunk, first_row=first_row, new_keys=target.new_keys)
        if seen is not None:
            seen.add(batch.scalars.column(schema.primary.name))
        for n_stored in target.write(batch):
            advance(n_stored)
        first_row += batch.n_rows
        yield batch.n_rows
        del chunk, batch


def _check_keys(source: Source, schema: Schema, seen: SeenKeys) -> bool:
    """Whether the keys of the whole source could be checked. Raises: DuplicateKey, InvalidData."""
    key = schema.primary.name
    pieces = source.column(key) if key in source.names else None
    if pieces is None:
        return False
    first_row = 0
    for piece in pieces:
        seen.add(key_column(schema, piece, first_row))
        first_row += len(piece)
    return True


def _chunk_rows(source: Source, schema: Schema, chunk_bytes: int) -> int:
    stored = sum(field.row_shape[0] * field.vector_dtype.itemsize for field in schema.matrices) + 16 * len(
        schema.scalars
    )
    return max(1, int(chunk_bytes / max(stored, source.bytes_per_row)))


def _full_name(name: str | None, partition: str) -> str | None:
    return f"{name} -> {partition}" if name and partition else name


def _target(client: Any, collection_name: str, partition_name: str) -> Target:
    if not isinstance(partition_name, str):
        raise InvalidArgumentType(f"partition_name={partition_name!r} is not allowed: it must be a str")
    if isinstance(client, EmbeddedClient):
        return EmbeddedTarget(collection_of(client, collection_name), partition_name)
    if hasattr(client, "upsert") and hasattr(client, "describe_collection"):
        return ServerTarget(client, collection_name, partition_name)
    raise InvalidArgumentType(f"client= is a {type(client).__name__}; it is what roost.connect() returns")


def _source(data: Any, schema: Schema) -> Source:
    """Return what the caller gave as a source. Raises: InvalidArgument, InvalidArgumentType, StorageFailure."""
    fields = [field.name for field in schema.fields]
    vector = schema.vectors[0].name if len(schema.vectors) == 1 else None
    if isinstance(data, (str, os.PathLike)):
        return open_files([Path(data)], fields, vector)
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return open_files([Path(one) for one in data], fields, vector)
    if isinstance(data, pa.RecordBatchReader):
        return ReaderSource(data)
    if isinstance(data, np.ndarray) or is_sparse_matrix(data):
        if vector is None:
            raise InvalidArgument(f"data= is an array, and there are several vector fields; give a dict: {fields}")
        return ArraySource({vector: array_of(vector, data)})
    if isinstance(data, Mapping):
        return _from_mapping(data)
    table = _table(data)
    if table is None:
        raise InvalidArgumentType(
            f"data= is a {type(data).__name__}; it is a path, a list of paths, a pyarrow table or reader, a pandas or "
            f"polars DataFrame, a 2-d array, a SciPy sparse matrix, or a dict from field name to an array"
        )
    return TableSource(table)


def _from_mapping(data: Mapping[Any, Any]) -> Source:
    if not data or not all(isinstance(name, str) for name in data):
        raise InvalidData("data= is a dict from field name to an array, with one field at least")
    paths = {name: Path(value) for name, value in data.items() if isinstance(value, (str, os.PathLike))}
    arrays = {name: array_of(name, value) for name, value in data.items() if name not in paths}
    return NpySource(paths, arrays) if paths else ArraySource(arrays)


def _table(data: Any) -> pa.Table | None:
    """Return what is a table, or can say how it would be one; no library of frames is imported for it."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    try:
        if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
            return pa.Table.from_pandas(data, preserve_index=False)
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data).read_all()
    except pa.ArrowException as error:
        raise InvalidData(f"data= cannot be read as a table: {error}") from error
    return None


@contextmanager
def _progress(what: str, n_rows: int | None, n_done: int, wanted: bool | None) -> Iterator[_Advance]:
    console = Console(stderr=True)
    shown = console.is_terminal if wanted is None else wanted
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )
    with bar:
        task = bar.add_task(f"Loading {what}", total=n_rows, completed=n_done)
        yield lambda n: bar.advance(task, n)
