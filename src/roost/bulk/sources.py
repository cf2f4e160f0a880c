"""What a bulk load reads: columns in chunks, from any row on.

A source that can be known again (a file, by its path, size and time of change) can be resumed; one that can be read
again has its keys checked before anything is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from roost.engine.sparse_vectors import is_sparse_matrix, sparse_map
from roost.errors import InvalidArgument, InvalidData

Column: TypeAlias = "pa.Array | npt.NDArray[Any]"
Columns: TypeAlias = Mapping[str, Column]


class Source(ABC):
    """Rows in a fixed order, as columns.

    Attributes:
        names: the columns.
        n_rows: None where that is not known before they are read.
        bytes_per_row: about what a row takes in memory.
    """

    names: tuple[str, ...]
    n_rows: int | None
    bytes_per_row: float

    @property
    @abstractmethod
    def name(self) -> str | None:
        """What the source is called, the same in another process; None for what is in memory."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return by what the same content is known again, as JSON values."""

    @abstractmethod
    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        """Yield the rows from `start` on, `n_rows` at a time."""

    def only(self, columns: Sequence[str]) -> Source:
        """Return the source with these columns, and maybe others."""
        return self

    @abstractmethod
    def column(self, name: str) -> Iterator[Column] | None:
        """Yield one column in pieces; None where rows can be read only once."""


class TableSource(Source):
    """An Arrow table in memory, or mapped."""

    def __init__(self, table: pa.Table, name: str | None = None, description: Mapping[str, Any] | None = None) -> None:
        self._table = table
        self._name = name
        self._description = description
        self.names = tuple(table.column_names)
        self.n_rows = table.num_rows
        self.bytes_per_row = table.nbytes / max(1, table.num_rows)

    @property
    def name(self) -> str | None:
        return self._name

    def describe(self) -> dict[str, Any]:
        if self._description is not None:
            return dict(self._description)
        digest = _digest(p for column in self._table.columns for chunk in column.chunks for p in _bytes_of(chunk))
        return {"kind": "table", "rows": self.n_rows, "columns": list(self.names), "digest": digest}

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        for first in range(start, self._table.num_rows, n_rows):
            yield columns_of(self._table.slice(first, n_rows))

    def column(self, name: str) -> Iterator[Column] | None:
        chunks: list[pa.Array] = self._table.column(name).chunks
        return iter(chunks)


class ReaderSource(Source):
    """A reader of record batches, which gives its rows once."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.names = tuple(reader.schema.names)
        self.n_rows = None
        self.bytes_per_row = 0.0

    @property
    def name(self) -> str | None:
        return None

    def describe(self) -> dict[str, Any]:
        """Raises: InvalidArgument: always."""
        raise InvalidArgument("name= is for data that can be known again; a reader gives its rows once: leave it out")

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        return gather((pa.Table.from_batches([batch]) for batch in self._reader), start, n_rows)

    def column(self, name: str) -> Iterator[Column] | None:
        return None


class ArraySource(Source):
    """Arrays of one length, a column each; Arrow's where NumPy has no such rows."""

    def __init__(self, arrays: Mapping[str, Column]) -> None:
        """Hold the arrays. Raises: InvalidData: they are not equally long, or one has no rows."""
        shapes = {n: array.shape if isinstance(array, np.ndarray) else (len(array),) for n, array in arrays.items()}
        lengths = {name: shape[0] if shape else None for name, shape in shapes.items()}
        if len(set(lengths.values())) != 1 or None in lengths.values():
            listed = ", ".join(f"{name}: {shape}" for name, shape in shapes.items()) or "none"
            raise InvalidData(f"arrays have one row for each record, all the same number; given {listed}")
        self._arrays = dict(arrays)
        self.names = tuple(arrays)
        self.n_rows = len(next(iter(arrays.values())))
        self.bytes_per_row = sum(array.nbytes for array in arrays.values()) / max(1, self.n_rows)

    @property
    def name(self) -> str | None:
        return None

    def describe(self) -> dict[str, Any]:
        shapes = {name: type_of(array) for name, array in self._arrays.items()}
        return {"kind": "arrays", **shapes, "digest": _digest(p for a in self._arrays.values() for p in _bytes_of(a))}

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        for first in range(start, self.n_rows or 0, n_rows):
            yield {name: array[first : first + n_rows] for name, array in self._arrays.items()}

    def column(self, name: str) -> Iterator[Column] | None:
        return iter([self._arrays[name]])


class Renamed(Source):
    """Some columns of a source, under the names of the collection's fields."""

    def __init__(self, source: Source, columns: Mapping[str, str]) -> None:
        """Choose columns.

        Args:
            columns: field name to the column's name.
        Raises: InvalidArgument: there is no such column.
        """
        for field, column in columns.items():
            if column not in source.names:
                raise InvalidArgument(
                    f"columns={{{field!r}: {column!r}}}: there is no column {column!r}; there are "
                    f"{', '.join(source.names)}"
                )
        self._source, self._columns = source.only(list(columns.values())), dict(columns)
        self.names = tuple(columns)
        self.n_rows, self.bytes_per_row = source.n_rows, source.bytes_per_row

    @property
    def name(self) -> str | None:
        return self._source.name

    def describe(self) -> dict[str, Any]:
        return {**self._source.describe(), "columns": self._columns}

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        for chunk in self._source.chunks(start, n_rows):
            yield {field: chunk[column] for field, column in self._columns.items()}

    def column(self, name: str) -> Iterator[Column] | None:
        return self._source.column(self._columns[name])


def columns_of(table: pa.Table) -> Columns:
    """Return the columns of a table, each in one piece."""
    return {name: _in_one(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _in_one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def gather(tables: Iterator[pa.Table], start: int, n_rows: int) -> Iterator[Columns]:
    """Yield the rows of small tables from a row on, `n_rows` at a time.

    Raises: InvalidData: their columns do not fit each other.
    """
    waiting: list[pa.Table] = []
    n_waiting = 0
    for table in tables:
        if start >= table.num_rows:
            start -= table.num_rows
            continue
        table = table.slice(start)
        start = 0
        while table.num_rows:
            part = table.slice(0, n_rows - n_waiting)
            table = table.slice(part.num_rows)
            waiting.append(part)
            n_waiting += part.num_rows
            if n_waiting == n_rows:
                yield _joined(waiting)
                n_waiting = 0
    if waiting:
        yield _joined(waiting)


def _joined(tables: list[pa.Table]) -> Columns:
    """Return tables as one, and forget them."""
    names = set(tables[0].column_names)
    for table in tables:
        if set(table.column_names) != names:
            raise InvalidData(
                f"the columns differ from one file to another: {', '.join(sorted(names))}; "
                f"{', '.join(sorted(table.column_names))}"
            )
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidData(f"columns of one name have types that do not fit each other: {error}") from error
    tables.clear()
    return columns_of(whole)


def array_of(name: str, values: Any) -> Column:
    """Return a value of a dict of columns as an array; a sparse matrix of SciPy as Arrow maps.

    Raises: InvalidData: its rows are not equally long.
    """
    if isinstance(values, np.ndarray):
        return values
    if is_sparse_matrix(values):
        return sparse_map(name, values)
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidData(f"column {name!r} is not an array: {error}") from error


def type_of(array: Column) -> str:
    """Return the type and the shape of an array, in words."""
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else f"{array.type} [{len(array)}]"


def _digest(pieces: Iterable[Any]) -> str:
    """Return a digest of the bytes of some buffers."""
    digest = xxhash.xxh3_64()
    for piece in pieces:
        digest.update(memoryview(piece))
    return digest.hexdigest()


def _bytes_of(array: Column) -> Iterator[Any]:
    """Yield what tells an array's content, for `_digest`."""
    if isinstance(array, pa.Array):
        yield f"{array.offset}:{len(array)}".encode()
        yield from (buffer for buffer in array.buffers() if buffer is not None)
    elif array.dtype.hasobject:
        yield repr(array.tolist()).encode()
    else:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8)
