"""Arrays behind one another in one file, each in NumPy's own format, so that they can be mapped into memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption


def write_arrays(path: Path, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Write arrays of numbers to a file."""
    with open(path, "wb") as file:
        for array in arrays:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(path: Path, n_arrays: int, *, mmap: bool) -> list[npt.NDArray[Any]]:
    """Return the arrays of a file; with `mmap` their numbers stay in the page cache, and are read-only.

    Raises: Corruption: the file is missing, or does not hold so many arrays and nothing else.
    """
    try:
        with open(path, "rb") as file:
            found = [_read(file, path, mmap) for _ in range(n_arrays)]
            rest = file.read(1)
    except (OSError, ValueError, EOFError) as error:
        raise Corruption(f"{path} cannot be read as an index of {n_arrays} arrays: {error}") from error
    if rest:
        raise Corruption(f"{path} cannot be read as an index of {n_arrays} arrays: there is more in it")
    return found


def _read(file: IO[bytes], path: Path, mmap: bool) -> npt.NDArray[Any]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read_header(file)
    size = math.prod(shape) * dtype.itemsize
    start = file.tell()
    if in_columns or dtype.hasobject or start + size > os.fstat(file.fileno()).st_size:
        raise ValueError("an array is cut off")
    if mmap and size:
        file.seek(start + size)
        return np.memmap(path, dtype, "r", start, shape)
    return np.frombuffer(file.read(size), dtype).reshape(shape)
