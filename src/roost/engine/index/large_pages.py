"""Index files in memory of large pages.

A graph search touches rows all over the file, and with pages of 4 KiB most of them miss the processor's table of
addresses. Mapped files get no larger pages from most systems; anonymous memory does, where it is asked for.
"""

from __future__ import annotations

import mmap

import numpy as np

from roost.engine.columns import Bytes
from roost.engine.memory import available_bytes

MIN_BYTES = 16 << 20
MAX_BYTES = 1 << 30
"""Files of sizes between these are read. Shorter ones gain little, and longer ones may take long to open."""

MAX_SHARE = 0.25
"""Of the memory that the machine can give: a mapped file gives its own back when others need it, this does not."""


def large_pages(size: int) -> Bytes | None:
    """Return memory for the content of a file, (size,) uint8; None where it is to be mapped, or they are unknown."""
    if not hasattr(mmap, "MADV_HUGEPAGE") or not MIN_BYTES <= size <= min(MAX_BYTES, MAX_SHARE * available_bytes()):
        return None
    try:
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # the system has none to give
        return None
    return np.frombuffer(region, np.uint8)
