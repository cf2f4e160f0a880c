"""Records from Parquet files."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from roost.errors import InvalidArgument, StorageFailure
from roost.lifecycle.backfill.batches import Key, Record
from roost.lifecycle.backfill.sources import Source
from roost.lifecycle.deployments.space import CONTENT

_FOOTER_END = 8
"""The last bytes of a Parquet file: the length of its footer, and four letters.

Source: "File format", parquet.apache.org.
"""


class ParquetSource(Source):
    """Parquet files, read row group by row group; one row is one record.

    A job that goes on skips the row groups that it had taken. Files do not change while a job is open: the sizes and
    footers, which hold the statistics of every column, are compared when it is resumed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str = "id",
        content: str = CONTENT,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Find the files.

        Args:
            path: a file, a directory of *.parquet files, or a pattern such as "rows-*.parquet". Files are read in the
                order of their names.
            key: the column of the primary key, which has the name of the endpoint's key.
            content: the column that goes to the model.
            columns: what is stored beside the vector; by default every other column.
        Raises:
            InvalidArgument: there is no such file, or it lacks a column.
            StorageFailure: a file cannot be read as Parquet.
        """
        self._path = os.fspath(path)
        self._files = _files(self._path)
        self._key, self._content = key, content
        schema = self._open(self._files[0]).schema_arrow
        self._columns = list(columns) if columns is not None else [n for n in schema.names if n not in (key, content)]
        for name in (key, content, *self._columns):
            if name not in schema.names:
                raise InvalidArgument(f"{self._files[0]} has no column {name!r}; it has {', '.join(schema.names)}")

    @cached_property
    def n_records(self) -> int:
        return sum(self._open(file).metadata.num_rows for file in self._files)

    @cached_property
    def digest(self) -> str:
        found = hashlib.sha256(repr((self._key, self._content, self._columns)).encode())
        for file in self._files:
            found.update(_footer(file))
        return f"sha256:{found.hexdigest()}"

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "parquet",
            "path": os.path.abspath(self._path),  # it may be resumed from another folder
            "key": self._key,
            "content": self._content,
            "columns": self._columns,
        }

    def records(self, n_done: int = 0, last_key: Key | None = None) -> Iterator[Record]:
        left = n_done
        names = [self._key, self._content, *self._columns]
        for path in self._files:
            file = self._open(path)
            for group in range(file.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                if left >= n_rows:
                    left -= n_rows
                    continue
                for rows in file.iter_batches(row_groups=[group], columns=names):
                    if left >= len(rows):
                        left -= len(rows)
                        continue
                    yield from self._rows(rows.slice(left))
                    left = 0

    def _rows(self, rows: pa.RecordBatch) -> Iterator[Record]:
        contents = _values(rows.column(self._content))
        others = {name: rows.column(name).to_pylist() for name in (self._key, *self._columns)}
        for position, content in enumerate(contents):
            yield {CONTENT: content, **{name: values[position] for name, values in others.items()}}

    def _open(self, path: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise StorageFailure(f"{path} cannot be read as Parquet: {error}") from error


def _values(column: pa.Array) -> Sequence[Any]:
    """Return lists of numbers as arrays, which a model takes without a copy for every number."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and column.null_count == 0:
        inner = column.flatten()
        if inner.null_count == 0 and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            rows: Sequence[Any] = inner.to_numpy(zero_copy_only=False).reshape(len(column), kind.list_size)
            return rows
    values: Sequence[Any] = column.to_pylist()
    return values


def _files(path: str) -> list[Path]:
    if os.path.isdir(path):
        found = sorted(Path(path).glob("*.parquet"))
    elif os.path.isfile(path):
        found = [Path(path)]
    else:
        found = sorted(Path(name) for name in glob.glob(path))
    if not found:
        raise InvalidArgument(f"there is no Parquet file at {path!r}: give a file, a directory or a pattern")
    return found


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER_END))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - _FOOTER_END - length))
        return str(size).encode() + file.read()
