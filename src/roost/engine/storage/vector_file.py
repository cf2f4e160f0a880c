"""Vectors that stay on disk: rows are read when they are asked for, and nothing of them stays in the process's memory.

A mapped file counts to the memory of the process as far as it was touched, and every row that is touched brings its
neighbours. Reading costs a system call a row, and leaves what is worth keeping to the system's cache.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from roost.engine.columns import VectorArray
from roost.engine.storage.durable import storage_errors
from roost.errors import Corruption

_AHEAD_FROM_ROWS = 4
"""From so many rows on the system is told of all of them first, so that a slow disk reads them at once."""


class VectorFile:
    """The vectors of a segment, read row by row. Any thread may read.

    Attributes:
        shape: (n_rows, numbers of a row).
        dtype: as the rows are stored.

    Raises (from every reading method): StorageFailure. Corruption: the file has become shorter.
    """

    def __init__(self, path: Path) -> None:
        """Open a file of `write_vectors` whose checksum was verified."""
        self._path = path
        with storage_errors(path):
            self._file = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
            whole = pa.memory_map(str(path), "r").read_buffer()
        column = pa.ipc.open_file(pa.BufferReader(whole)).get_batch(0).column(0)
        values = column.flatten()
        self.dtype: np.dtype[np.generic] = np.dtype(values.type.to_pandas_dtype())
        self.shape = (len(column), int(column.type.list_size))
        self._row_bytes = self.shape[1] * self.dtype.itemsize
        self._start = values.buffers()[1].address - whole.address + values.offset * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> VectorArray:
        """Return a run of rows, or the rows of some numbers."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            if step == 1:
                return self._read(start, max(0, stop - start))
            rows = np.arange(start, stop, step)
        if not len(rows):
            return np.empty((0, self.shape[1]), self.dtype)
        offsets = (self._start + np.asarray(rows, np.int64) * self._row_bytes).tolist()
        body = b"".join(self._bytes(offsets))
        return self._array(body, len(offsets))

    def _bytes(self, offsets: list[int]) -> Iterator[bytes]:
        with storage_errors(self._path):
            if len(offsets) >= _AHEAD_FROM_ROWS and hasattr(os, "posix_fadvise"):
                for offset in offsets:
                    os.posix_fadvise(self._file, offset, self._row_bytes, os.POSIX_FADV_WILLNEED)
            for offset in offsets:
                yield os.pread(self._file, self._row_bytes, offset)

    def _read(self, start: int, n_rows: int) -> VectorArray:
        """Read a run of rows; one call reads at most two gigabytes."""
        pieces, offset, left = [], self._start + start * self._row_bytes, n_rows * self._row_bytes
        with storage_errors(self._path):
            while left:
                piece = os.pread(self._file, min(left, 1 << 30), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset, left = offset + len(piece), left - len(piece)
        return self._array(pieces[0] if len(pieces) == 1 else b"".join(pieces), n_rows)

    def _array(self, body: bytes, n_rows: int) -> VectorArray:
        if len(body) != n_rows * self._row_bytes:
            raise Corruption(f"{self._path} is damaged: it ends within the rows; restore it from a copy")
        return np.frombuffer(body, self.dtype).reshape(n_rows, self.shape[1])
