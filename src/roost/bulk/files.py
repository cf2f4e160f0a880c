"""Files that a bulk load reads: Parquet, Arrow IPC and NumPy's .npy."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from roost.bulk.sources import ArraySource, Column, Columns, Source, TableSource, gather, type_of
from roost.errors import InvalidArgument, StorageFailure

_ARROW: Final = frozenset({".arrow", ".feather", ".ipc"})
_KINDS: Final = {".parquet": "parquet", ".npy": "npy", **dict.fromkeys(_ARROW, "arrow")}
_READ_ROWS: Final = 4_096
"""Rows of a Parquet file that are decoded at once."""


class Files:
    """The files of a source, by what they are known again.

    Attributes:
        name: their absolute paths, shortened where they are many.
    """

    def __init__(self, kind: str, paths: Sequence[Path]) -> None:
        self.kind = kind
        self.paths = tuple(paths)
        full = [os.path.abspath(path) for path in paths]
        digest = xxhash.xxh3_64_hexdigest("\n".join(full).encode())
        self.name = full[0] if len(full) == 1 else f"{full[0]} and {len(full) - 1} more ({digest})"

    def describe(self) -> dict[str, Any]:
        """Return number, size and time of change of the files, and a digest of each one's."""
        found = [path.stat() for path in self.paths]
        each = "\n".join(f"{path.name} {s.st_size} {s.st_mtime_ns}" for path, s in zip(self.paths, found, strict=True))
        return {
            "kind": self.kind,
            "files": len(found),
            "bytes": sum(s.st_size for s in found),
            "modified_ns": max(s.st_mtime_ns for s in found),
            "digest": xxhash.xxh3_64_hexdigest(each.encode()),
        }


class ParquetSource(Source):
    """Parquet files, one after the other."""

    def __init__(self, files: Files, columns: Sequence[str] | None = None) -> None:
        self._files = files
        self._columns = None if columns is None else list(columns)
        opened = [_parquet(path) for path in files.paths]
        self.names = tuple(opened[0].schema_arrow.names)
        self.n_rows = sum(file.metadata.num_rows for file in opened)
        groups = [file.metadata.row_group(g) for file in opened for g in range(file.num_row_groups)]
        self.bytes_per_row = sum(group.total_byte_size for group in groups) / max(1, self.n_rows)

    @property
    def name(self) -> str | None:
        return self._files.name

    def describe(self) -> dict[str, Any]:
        return self._files.describe()

    def only(self, columns: Sequence[str]) -> Source:
        return ParquetSource(self._files, columns)

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        n_skipped = 0
        groups: list[tuple[Path, list[int]]] = []
        for path in self._files.paths:
            file = _parquet(path)
            kept: list[int] = []
            for group in range(file.num_row_groups):
                n_group = file.metadata.row_group(group).num_rows
                if not kept and not groups and n_skipped + n_group <= start:
                    n_skipped += n_group
                else:
                    kept.append(group)
            groups += [(path, kept)] if kept else []
        return gather(self._tables(groups, self._columns), start - n_skipped, n_rows)

    def column(self, name: str) -> Iterator[Column] | None:
        every = [(path, list(range(_parquet(path).num_row_groups))) for path in self._files.paths]
        return (table.column(name).combine_chunks() for table in self._tables(every, [name]))

    def _tables(self, groups: list[tuple[Path, list[int]]], columns: list[str] | None) -> Iterator[pa.Table]:
        for path, wanted in groups:
            try:
                # Threads would decode whole row groups ahead, and are no faster.
                batches = _parquet(path).iter_batches(_READ_ROWS, wanted, columns, use_threads=False)
                for batch in batches:
                    yield pa.Table.from_batches([batch])
            except (pa.ArrowException, OSError) as error:
                raise StorageFailure(f"{path} cannot be read as Parquet: {error}") from error


class NpySource(Source):
    """One .npy file for each column. A chunk maps the part that it reads and no more."""

    def __init__(self, paths: Mapping[str, Path], arrays: Mapping[str, Column] | None = None) -> None:
        """Hold the files, and arrays in memory beside them."""
        self._paths, self._arrays = dict(paths), dict(arrays or {})
        self._files = Files("npy", list(paths.values()))
        whole = ArraySource(self._open())
        self.names, self.n_rows, self.bytes_per_row = whole.names, whole.n_rows, whole.bytes_per_row

    @property
    def name(self) -> str | None:
        return None if self._arrays else self._files.name

    def describe(self) -> dict[str, Any]:
        columns = {name: type_of(array) for name, array in self._open().items()}
        return {**self._files.describe(), **columns}

    def chunks(self, start: int, n_rows: int) -> Iterator[Columns]:
        for first in range(start, self.n_rows or 0, n_rows):
            yield {name: array[first : first + n_rows] for name, array in self._open().items()}

    def column(self, name: str) -> Iterator[Column] | None:
        return iter([self._open()[name]])

    def _open(self) -> dict[str, Column]:
        return {**{name: _npy(path) for name, path in self._paths.items()}, **self._arrays}


def open_files(paths: Sequence[Path], fields: Sequence[str], vector: str | None) -> Source:
    """Return the rows of files of one kind.

    Args:
        paths: files; or one directory, or one pattern such as "rows-*.parquet", whose files are read in the order of
            their names.
        fields: names of the collection's fields.
        vector: the vector field that a single .npy file is for, where its name is not a field's.
    Raises:
        InvalidArgument: there is no such file, or the kinds are mixed or unknown.
        StorageFailure: a file cannot be read.
    """
    files = [file for path in paths for file in _expand(path)]
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise InvalidArgument(f"files of one kind make a load; given {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    if kind == "parquet":
        return ParquetSource(Files(kind, files))
    if kind == "arrow":
        known = Files(kind, files)
        return TableSource(_arrow(files), known.name, known.describe())
    if len(files) == 1 and files[0].stem not in fields and vector is not None:
        return NpySource({vector: files[0]})
    stems = [file.stem for file in files]
    if len(set(stems)) < len(stems):
        raise InvalidArgument(f"a .npy file is one column, called as the file; given {', '.join(stems)}")
    return NpySource(dict(zip(stems, files, strict=True)))


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in _KINDS)
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob.glob(str(path)))
    if not found:
        raise InvalidArgument(f"there is no file at {str(path)!r}: give a file, a directory or a pattern")
    return found


def _kind(path: Path) -> str:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InvalidArgument(f"{path} is none of the files that can be loaded: {', '.join(sorted(_KINDS))}")
    return kind


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise StorageFailure(f"{path} cannot be read as Parquet: {error}") from error


def _arrow(paths: Sequence[Path]) -> pa.Table:
    tables = []
    for path in paths:
        try:
            tables.append(pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all())
        except (pa.ArrowException, OSError) as error:
            raise StorageFailure(f"{path} cannot be read as an Arrow IPC file: {error}") from error
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidArgument(f"the files have columns that do not fit each other: {error}") from error


def _npy(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise StorageFailure(f"{path} cannot be read as .npy: {error}") from error
    return array
