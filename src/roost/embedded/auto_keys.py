"""Primary keys for collections that make their own (auto_id)."""

from __future__ import annotations

import threading
import time
from weakref import WeakSet

import pyarrow.compute as pc

from roost.engine.collection import Collection

_CLOCK_SHIFT = 18
"""Milliseconds stand above this many bits, as in Milvus's ids."""


class KeySource:
    """Gives primary keys that no row of the collection has. Any thread may ask.

    Keys grow with time. After a clock that went back they go on from the largest key stored.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._known: WeakSet[Collection] = WeakSet()

    def take(self, collection: Collection, n: int) -> list[int]:
        """Return n ascending keys."""
        with self._lock:
            if collection not in self._known:
                self._last = max(self._last, _largest_key(collection))
                self._known.add(collection)
            first = max(self._last + 1, int(time.time() * 1000) << _CLOCK_SHIFT)
            self._last = first + n - 1
            return list(range(first, first + n))


def _largest_key(collection: Collection) -> int:
    columns = [part.rows.scalar(collection.schema.primary.name) for part in collection.snapshot().parts]
    return max((int(pc.max(column).as_py()) for column in columns if len(column)), default=0)


KEYS = KeySource()
"""The one source of the process: clients of one database share it."""
