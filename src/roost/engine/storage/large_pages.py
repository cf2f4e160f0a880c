"""Files in large pages, for searches that touch rows all over them.

With pages of 4 KiB most of those rows miss the processor's table of addresses. A file that lies in the system's cache
in large pieces can be mapped in large pages: so it does where it was written in whole blocks (`block_file`), or is read
through a map that asks for them, on file systems that can (on Linux XFS, and ext4 from 6.16 on). Elsewhere files that
are not too long are read into anonymous memory, which is given large pages where it asks.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from roost.engine.columns import Bytes
from roost.engine.file_map import advise, map_file, populated
from roost.engine.memory import available_bytes
from roost.engine.storage.durable import FileRecord, digest_file, digest_pieces, verify
from roost.errors import StorageFailure

MIN_BYTES = 16 << 20
"""Shorter files gain little."""

MAX_MAPPED_SHARE = 0.5
"""Of the memory that the machine can give, for all files together: what does not fit is better read in small pieces."""

MAX_COPIED_BYTES, MAX_COPIED_SHARE = 1 << 30, 0.25
"""The same for one copy, which may take long to make and which the system cannot drop when others need memory."""

MIN_SHARE_IN_LARGE_PAGES = 0.5
"""Of a mapped file; with less a copy is better."""

_MAPS = Path("/proc/self/smaps")
_RANGE = re.compile(rb"([0-9a-f]+)-[0-9a-f]+ ")
_IN_LARGE_PAGES = re.compile(rb"FilePmdMapped:\s*(\d+) kB")


class _Mapped:
    """How many bytes of files are mapped in large pages."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._lock = threading.RLock()  # what is collected while it is held takes it as well

    def take(self, n_bytes: int, limit: float) -> bool:
        """Count bytes in, unless there are more than the limit then."""
        with self._lock:
            if self.n_bytes + n_bytes > limit:
                return False
            self.n_bytes += n_bytes
            return True

    def give_back(self, n_bytes: int) -> None:
        with self._lock:
            self.n_bytes -= n_bytes


_mapped = _Mapped()


class Unwanted(Exception):
    """What was read is not wanted any more."""


def read_in_large_pages(
    path: Path, record: FileRecord, mapped: Bytes | None = None, is_wanted: Callable[[], bool] = lambda: True
) -> Bytes | None:
    """Return a file's content, verified and read-only, in large pages.

    It stays valid when the file is removed.

    Args:
        mapped: the same file as it is read meanwhile, page by page. What lies in the cache in small pieces for that is
            read again, in large ones.
        is_wanted: is asked while a file is mapped, which may take long.
    Returns: (size,) uint8; None where large pages gain little, or there are none to be had: then nothing is verified.
    Raises: Corruption: the file is missing, or does not match its record. StorageFailure: it cannot be read. Unwanted.
    """
    size = record.size_bytes
    if not hasattr(mmap, "MADV_HUGEPAGE") or sys.maxsize < 1 << 32 or size < MIN_BYTES:
        return None
    room = available_bytes()
    if _mapped.take(size, MAX_MAPPED_SHARE * room):
        content = _map(path, record, mapped, is_wanted)
        if content is not None and _in_large_pages(content) >= MIN_SHARE_IN_LARGE_PAGES * size:
            return content
        del content
    return _copy(path, record) if size <= min(MAX_COPIED_BYTES, MAX_COPIED_SHARE * room) else None


def _map(
    path: Path, record: FileRecord, mapped: Bytes | None = None, is_wanted: Callable[[], bool] = lambda: True
) -> Bytes | None:
    """Map the file, whose bytes are counted in, all of it; None where the system cannot."""

    def read(start: int, end: int) -> memoryview:
        if not is_wanted():
            raise Unwanted
        if mapped is not None:
            advise(mapped[start:end], mmap.MADV_DONTNEED)  # what is mapped stays in the cache
            os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
        return populated(content[start:end])

    try:
        content = _region(path, record.size_bytes)
        advise(content, mmap.MADV_HUGEPAGE)
        with open(path, "rb") as file:
            descriptor = file.fileno()
            verify(path, record, lambda _: digest_pieces(len(content), read))
    except (OSError, StorageFailure):  # reading says what is wrong with the file
        return None
    return content


def _region(path: Path, size: int) -> Bytes:
    """Map a file, whose bytes are given back when the last view of it is gone, or it cannot be mapped.

    Raises: OSError.
    """
    try:
        return map_file(path, size, lambda: _mapped.give_back(size))
    except OSError:
        _mapped.give_back(size)
        raise


def _in_large_pages(content: Bytes) -> int:
    """Return how many bytes of a mapped file the system has mapped in large pages."""
    first, found, is_here = content.ctypes.data, 0, False
    try:
        with open(_MAPS, "rb") as lines:  # names of files in it may hold any bytes but the end of a line
            for line in lines:
                if held := _RANGE.match(line):
                    start = int(held[1], 16)
                    if start >= first + len(content):
                        break
                    is_here = start >= first
                elif is_here and (pages := _IN_LARGE_PAGES.match(line)):
                    found += 1024 * int(pages[1])
    except OSError:
        return 0
    return found


def _copy(path: Path, record: FileRecord) -> Bytes | None:
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
