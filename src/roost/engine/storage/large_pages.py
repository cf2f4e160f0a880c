"""Files in large pages, for searches that touch rows all over them.

With pages of 4 KiB most of those rows miss the processor's table of addresses. A file that lies in the system's cache
in large pieces can be mapped in large pages: so it does where it was written in whole blocks (`block_file`), or is read
through a map that asks for them, on file systems that can (on Linux XFS, and ext4 from 6.16 on). Elsewhere files that
are not too long are read into anonymous memory, which is given large pages where it asks.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

from roost.engine.columns import Bytes
from roost.engine.memory import available_bytes
from roost.engine.storage.durable import FileRecord, digest_file, digest_pieces, verify
from roost.errors import StorageFailure

MIN_BYTES = 16 << 20
"""Shorter files gain little."""

MAX_MAPPED_SHARE = 0.5
"""Of the memory that the machine can give: a file that hardly fits is better read in small pieces."""

MAX_COPIED_BYTES, MAX_COPIED_SHARE = 1 << 30, 0.25
"""The same for copies, which may take long to make and which the system cannot drop when others need memory."""

MIN_SHARE_IN_LARGE_PAGES = 0.5
"""Of a mapped file; with less a copy is better."""

_POPULATE_READ = 22
"""Linux's advice to map all pages now; unlike a touch it returns where they cannot be read (from 5.14 on)."""

_MAPS = Path("/proc/self/smaps")
_PMD_MAPPED = "FilePmdMapped:"


def read_in_large_pages(path: Path, record: FileRecord) -> Bytes | None:
    """Return a file's content, verified and read-only, in pages as large as the system gives.

    It stays valid when the file is removed.

    Returns: (size,) uint8; None where large pages gain little, or there are none to be had.
    Raises: Corruption: the file is missing, or does not match its record. StorageFailure: it cannot be read.
    """
    size = record.size_bytes
    if not hasattr(mmap, "MADV_HUGEPAGE") or size < MIN_BYTES:
        return None
    room = available_bytes()
    mapped = _mapped(path, record) if size <= MAX_MAPPED_SHARE * room else None
    if mapped is not None and _in_large_pages(mapped) >= MIN_SHARE_IN_LARGE_PAGES * size:
        return mapped
    copied = _copied(path, record) if size <= min(MAX_COPIED_BYTES, MAX_COPIED_SHARE * room) else None
    return mapped if copied is None else copied


def _mapped(path: Path, record: FileRecord) -> Bytes | None:
    """Map the file, all of it; None where the system cannot."""
    try:
        with open(path, "rb") as file:
            region = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        content = np.frombuffer(region, np.uint8)
        _advise(content, mmap.MADV_HUGEPAGE)
        verify(path, record, lambda _: digest_pieces(len(content), lambda start, end: _populated(content[start:end])))
    except (OSError, StorageFailure, ValueError):  # reading says what is wrong with the file
        return None
    return content


def _populated(content: Bytes) -> memoryview:
    """Raises: OSError: the pages cannot be read, or the system does not know how to ask for them."""
    _advise(content, _POPULATE_READ)
    return content.data


def _advise(content: Bytes, advice: int) -> None:
    """Give the system advice on mapped memory that begins with a page. Others may run meanwhile. Raises: OSError."""
    call = ctypes.CDLL(None, use_errno=True).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if call(content.ctypes.data, len(content), advice):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _in_large_pages(content: Bytes) -> int:
    """Return how many bytes of a mapped file the system has mapped in large pages."""
    try:
        lines = _MAPS.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    first, found, is_here = content.ctypes.data, 0, False
    for line in lines:
        word = line.partition(" ")[0]
        if not word.endswith(":"):
            is_here = first <= int(word.partition("-")[0], 16) < first + len(content)
        elif is_here and word == _PMD_MAPPED:
            found += 1024 * int(line.split()[1])
    return found


def _copied(path: Path, record: FileRecord) -> Bytes | None:
    """Read the file into anonymous memory; None where the system has none to give."""
    try:
        region = mmap.mmap(-1, record.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        return None
    content = np.frombuffer(region, np.uint8)
    verify(path, record, lambda _: digest_file(path, content.data))
    content.flags.writeable = False
    return content
