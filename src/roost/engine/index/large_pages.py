"""Index files in memory of large pages.

A graph search touches rows all over the file, and with pages of 4 KiB most of them miss the processor's table of
addresses. Mapped files get no larger pages from most systems; anonymous memory does, where it is asked for.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roost.engine.memory import available_bytes

MIN_BYTES = 16 << 20
MAX_BYTES = 1 << 30
"""Files of sizes between these are read; larger ones would take too long to open."""

MAX_SHARE = 0.25
"""Of the memory that the machine can give: a mapped file gives its own back when others need it, this does not."""

Content: TypeAlias = npt.NDArray[np.uint8]


def read_into_large_pages(path: Path) -> Content | None:
    """Return what a file holds, (size,) uint8, read-only; None where it is to be mapped, or large pages are unknown.

    Raises: OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if not hasattr(mmap, "MADV_HUGEPAGE") or not MIN_BYTES <= size <= min(MAX_BYTES, MAX_SHARE * available_bytes()):
        return None
    try:
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # the system has none to give
        return None
    n_read = 0
    with open(path, "rb", buffering=0) as file, memoryview(region) as whole:
        while got := file.readinto(whole[n_read:]):
            n_read += got
    content: Content = np.frombuffer(region, np.uint8, n_read)
    content.flags.writeable = False
    return content
