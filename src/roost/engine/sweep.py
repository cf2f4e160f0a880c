"""Removing files that no manifest names: what a crash left between a write and its transaction."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Set
from pathlib import Path

from roost.engine.storage.durable import storage_errors

_log = logging.getLogger(__name__)


def sweep(segments: Path, named: Mapping[int, Set[str]]) -> list[Path]:
    """Remove what stands in the segments' directory and is not named; return what was removed.

    Args:
        named: segment id to the names of its files.
    Raises: StorageFailure: something cannot be removed.
    """
    known = {str(segment_id): files for segment_id, files in named.items()}
    orphans = [entry for entry in segments.iterdir() if entry.name not in known]
    for name, files in known.items():
        directory = segments / name
        if directory.is_dir():
            orphans.extend(entry for entry in directory.iterdir() if entry.name not in files)
    for orphan in orphans:
        with storage_errors(orphan):
            if orphan.is_dir():
                shutil.rmtree(orphan)
            else:
                orphan.unlink()
        _log.info("removed %s, which an interrupted write had left", orphan)
    return orphans
