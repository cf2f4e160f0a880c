"""What a collection needs of the database that it lives in."""

from __future__ import annotations

import os
import shutil
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from roost.engine.budget import Budget
from roost.engine.maintenance import Maintenance
from roost.engine.storage.catalog import Catalog
from roost.engine.storage.transaction import Transaction
from roost.errors import Closed, ReadOnly

SEARCHED_S = 1.0
"""A search so long ago counts as one of now."""


@dataclass
class Host:
    """The open directory: catalogue, background thread, memory, and the numbering of new things.

    The write lock is the catalogue's: whoever changes rows or the catalogue holds it, and readers
    never do.
    """

    path: Path
    catalog: Catalog
    maintenance: Maintenance
    read_only: bool
    next_id: int = 1
    budget: Budget = field(default_factory=Budget)
    _removals: list[weakref.finalize[[Path, int], object]] = field(default_factory=list, init=False, repr=False)
    closed: bool = field(default=False, init=False)
    searched_at: float = field(default=float("-inf"), init=False)
    """When a search last began, on the monotonic clock."""

    @property
    def segments(self) -> Path:
        """The directory of the segments' directories."""
        return self.path / "segments"

    def segment_directory(self, segment_id: int) -> Path:
        return self.segments / str(segment_id)

    def is_searched(self) -> bool:
        """Whether somebody searched a moment ago."""
        return time.monotonic() - self.searched_at < SEARCHED_S

    def require_open(self) -> None:
        """Raises: Closed."""
        if self.closed:
            raise Closed(
                f"{self.path} was closed, or opened before this process was forked; open it again with roost.connect"
            )

    def require_writable(self) -> None:
        """Raises: Closed, ReadOnly."""
        self.require_open()
        if self.read_only:
            raise ReadOnly(f"{self.path} is open for reading only; open it without read_only to change it")

    def new_id(self) -> int:
        """Return a number that nothing in the database has had; held to by `save_counter`."""
        with self.catalog.lock:
            self.next_id += 1
            return self.next_id - 1

    @contextmanager
    def new_segment(self) -> Iterator[tuple[int, Path]]:
        """A fresh segment's number and directory, removed again when the block fails before the manifest names it."""
        segment_id = self.new_id()
        directory = self.segment_directory(segment_id)
        try:
            yield segment_id, directory
        except BaseException:
            if self.catalog.segment(segment_id) is None:
                shutil.rmtree(directory, ignore_errors=True)
            raise

    def remove_segments(self, segment_ids: Iterable[int], opened: Mapping[int, object]) -> None:
        """Remove the directories of segments that nothing names any more.

        Args:
            opened: segment id to what readers hold of it, for those that are open: their directories go with it.
        """
        for segment_id, holder in opened.items():
            self.remove_when_unused(holder, self.segment_directory(segment_id))
        for segment_id in segment_ids:
            if segment_id not in opened:
                _remove(self.segment_directory(segment_id), os.getpid())

    def remove_when_unused(self, holder: object, path: Path) -> None:
        """Remove a file or directory once no reader holds `holder`, or when the database is closed.

        Never later: what lies at the path by then may be another database's, restored there from a copy. A crash
        before leaves it to the sweep.
        """
        removal = weakref.finalize(holder, _remove, path, os.getpid())
        removal.atexit = False
        self._removals = [earlier for earlier in self._removals if earlier.alive] + [removal]

    def remove_now(self) -> None:
        """Remove what readers were left to finish with. For the last moment before the directory is given up."""
        for removal in self._removals:
            removal()

    def save_counter(self, change: Transaction) -> None:
        """Store the numbering, in the transaction that stores what was numbered."""
        change.put("counter", 0, {"next": self.next_id})


def _remove(path: Path, process_id: int) -> None:
    """Remove a file or directory; what cannot be removed is left to the sweep.

    Args:
        process_id: of the process that may: in a fork of it, the database is not open.
    """
    if os.getpid() != process_id:
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
