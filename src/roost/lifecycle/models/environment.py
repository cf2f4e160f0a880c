"""The environment of a process: the exact versions of all installed packages."""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import lru_cache
from importlib.metadata import distributions

LOCK_FILE = "environment.lock"
"""Name of the file beside a model's own files."""

_SEPARATORS = re.compile(r"[-_.]+")


def environment_lock() -> str:
    """Return `name==version` of every installed package, sorted, one a line, as `pip install -r` takes them.

    Comments at the top name Python and the system. Of a package that is installed twice, the one that Python imports
    is listed.
    """
    return _lock(tuple((entry, _changed_at(entry)) for entry in sys.path))


@lru_cache(maxsize=1)
def _lock(_places: tuple[tuple[str, int], ...]) -> str:
    """Return the lock of the folders that Python imports from, which change when a package is installed."""
    found: dict[str, str] = {}
    for distribution in distributions():
        metadata = distribution.metadata
        # What an interrupted installation left has neither.
        if "Name" in metadata and "Version" in metadata:
            found.setdefault(_SEPARATORS.sub("-", metadata["Name"]).lower(), metadata["Version"])
    head = f"# python {platform.python_version()}\n# {platform.system()} {platform.machine()}\n"
    return head + "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def _changed_at(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:
        return 0


def packages_of(lock: str) -> dict[str, str]:
    """Return the versions that a lock lists, by the packages' names."""
    lines = (line.partition("==") for line in lock.splitlines() if line and not line.startswith("#"))
    return {name: version for name, _, version in lines}
