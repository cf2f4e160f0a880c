"""How much memory the machine has for this process."""

from __future__ import annotations

import os
from pathlib import Path

_UNKNOWN_BYTES = 8 << 30
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def physical_bytes() -> int:
    """Return the bytes of memory that the machine has, or that the container is allowed."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        size = _UNKNOWN_BYTES
    return min([size, *(_limit(path, size) for path in _CGROUP_LIMITS)])


def _limit(path: Path, otherwise: int) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return otherwise
    return int(text) if text.isdigit() else otherwise
