"""How much memory the machine has for this process, and sizes as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from roost.errors import InvalidArgument

_UNKNOWN_BYTES = 8 << 30
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMINFO = Path("/proc/meminfo")

_USAGE_BESIDE: Final[Mapping[str, str]] = {
    "memory.max": "memory.current",
    "memory.limit_in_bytes": "memory.usage_in_bytes",
}
"""The file of what a container uses, by the file of what it may use, in the two versions of control groups."""

_FILE_PAGES: Final = ("total_inactive_file", "total_active_file", "inactive_file", "active_file")
"""What a container uses and gives back when it is asked to, of the whole group where that is told apart."""

LEAST_LIMIT: Final = 64 << 10
"""The least limit of memory that somebody may set. The smallest segment that is indexed, 1,024 rows, takes 16 KiB to
look up keys and as much for every four numbers of a vector: below this nothing useful fits."""

_UNITS: Final = ("B", "KB", "MB", "GB", "TB")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])I?)?B?\s*", re.ASCII | re.IGNORECASE)


def physical_bytes() -> int:
    """Return the bytes of memory that the machine has, or that the container is allowed."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        size = _UNKNOWN_BYTES
    return min([size, *(_number(path, size) for path in _CGROUP_LIMITS)])


def available_bytes() -> int:
    """Return the bytes that can be taken now without swapping; all that there are where the system does not say.

    Mapped files that nobody needs count as free: the system drops them for whoever asks.
    """
    whole = physical_bytes()
    free = _table(_MEMINFO).get("MemAvailable:", whole // 1024) * 1024
    return max(0, min([free, *(_headroom(path, whole) for path in _CGROUP_LIMITS)]))


def parse_bytes(name: str, value: Any) -> int:
    """Return a size that is given in bytes, or as text such as "512MB" or "1.5 GB"; units are powers of 1,024.

    Args:
        name: of what is given, for the message.
    Raises: InvalidArgument: it is neither, or less than one byte.
    """
    found = _SIZE.fullmatch(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    size = 0
    if found is not None:
        unit = f"{(found.group(2) or '').upper()}B"
        size = int(float(found.group(1)) * 1024 ** _UNITS.index(unit))
    if size < 1:
        raise InvalidArgument(f"{name}={value!r} is not allowed: give bytes, or text such as '512MB' or '4GB'")
    return size


def parse_limit(name: str, value: Any) -> int:
    """Return a limit of memory that somebody sets, in bytes.

    Args:
        name: of what is given, for the message.
        value: as `parse_bytes` takes it.
    Raises: InvalidArgument: it is no size, or less than `LEAST_LIMIT`.
    """
    size = parse_bytes(name, value)
    if size < LEAST_LIMIT:
        raise InvalidArgument(
            f"{name}={value!r} is not allowed: the least limit is {shown_bytes(LEAST_LIMIT)}; "
            f"a number without a unit is bytes, so give text such as '512MB' or '4GB'"
        )
    return size


def shown_bytes(size: int) -> str:
    """Return a size as people read it, for example "3.2 GB"."""
    amount, unit = float(size), 0
    while abs(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{size} B" if not unit else f"{amount:.1f} {_UNITS[unit]}"


def _number(path: Path, otherwise: int) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return otherwise
    return int(text) if text.isdigit() else otherwise


def _table(path: Path) -> dict[str, int]:
    """Return the first number of each line of a file by its first word; nothing where there is no such file."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _headroom(limit_file: Path, otherwise: int) -> int:
    """Return what a container may still take, files that it can drop counted as free."""
    limit = _number(limit_file, -1)
    if limit < 0:
        return otherwise
    used = _number(limit_file.with_name(_USAGE_BESIDE.get(limit_file.name, "")), 0)
    stat = _table(limit_file.with_name("memory.stat"))
    kinds = [kind for kind in _FILE_PAGES if kind in stat][:2]
    return limit - used + min(used, sum(stat[kind] for kind in kinds))
