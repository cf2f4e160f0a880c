"""Files mapped into memory without a descriptor: Python's own maps hold their file open."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from roost.engine.columns import Bytes

_POPULATE_READ = 22
"""Linux's advice to map all pages now; unlike a touch it returns where they cannot be read (from 5.14 on)."""


def map_file(path: Path, size: int, on_release: Callable[[], None] = lambda: None) -> Bytes:
    """Map a file until the last view of it is gone.

    Args:
        size: of the file, at least 1.
        on_release: called then.
    Returns: (size,) uint8, read-only. It stays valid when the file is removed.
    Raises: OSError: the file cannot be mapped; `on_release` is not called.
    """
    with open(path, "rb") as file:
        address = _libc().mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    held: Any = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(held, _unmap, address, size, on_release).atexit = False  # threads may still search then
    return np.frombuffer(memoryview(held).toreadonly(), np.uint8)


def advise(content: Bytes, advice: int) -> None:
    """Give the system advice on mapped memory that begins with a page, and others the interpreter. Raises: OSError."""
    if _libc().madvise(content.ctypes.data, len(content), advice):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def populated(content: Bytes) -> memoryview:
    """Return mapped memory that begins with a page, with all of it read.

    Raises: OSError: the pages cannot be read, or the system does not know how to ask for them.
    """
    advise(content, _POPULATE_READ)
    return content.data


def _unmap(address: int, size: int, on_release: Callable[[], None]) -> None:
    _libc().munmap(address, size)
    on_release()


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.madvise.argtypes = (pointer, size, number)
    library.munmap.argtypes = (pointer, size)
    library.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_int64)
    library.mmap.restype = pointer
    return library
