"""Whether the background work of a collection fits into memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from roost.engine.budget import build_need, merge_need, stored_bytes, ways_out
from roost.engine.compaction import SegmentStats
from roost.engine.kept import Kept
from roost.engine.memory import shown_bytes
from roost.engine.segment import IndexSpec, SegmentRecord
from roost.errors import MemoryLimitExceeded

_log = logging.getLogger(__name__)


class Room:
    """Whether the background work of one collection fits into memory, step by step. Used by the maintenance thread."""

    def __init__(self, collection: Kept) -> None:
        self._collection = collection
        self._lacking = ""
        self._has_warned = False

    def begin(self) -> None:
        """Begin a run of upkeep."""
        self._lacking = ""

    def end(self) -> None:
        """End a run. It is warned once, until all fits again.

        Raises: MemoryLimitExceeded: an index was not built; the run is to be repeated.
        """
        if self._lacking and not self._has_warned:
            _log.warning("%s", self._lacking)
        self._has_warned = bool(self._lacking)
        if self._lacking:
            raise MemoryLimitExceeded(self._lacking)

    def takes_index(self, segment: SegmentRecord, spec: IndexSpec) -> bool:
        """Say whether an index of a segment can be built now, and remember it where it cannot."""
        need, own = build_need(self._collection.schema, spec, segment), stored_bytes(self._collection.record, [segment])
        left = self._left(own)
        if need <= left:
            return True
        budget, collection_id = self._collection.host.budget, self._collection.collection_id
        with self._collection.host.catalog.lock:
            rest = budget.held() - budget.held(collection_id) - own
            ways = budget.ways_into_limit(rest + need, collection_id)
        self._lacking = (
            f"index {spec.name!r} of collection {self._collection.name!r} is not built: that takes about "
            f"{shown_bytes(need)} of memory, and {shown_bytes(max(0, left))} is left of the limit of "
            f"{shown_bytes(budget.limit)} and of what the machine has. The rows are stored and "
            f"compared one by one meanwhile, and it is tried again from time to time. "
            f"{ways_out(self._collection.record, *ways)}"
        )
        return False

    def takes_merge(self, merged: Sequence[SegmentStats]) -> bool:
        """Say whether segments can be merged now; until they can, each has an index of its own."""
        record, ids = self._collection.record, {segment.segment_id for segment in merged}
        segments = [segment for segment in self._collection.footprint[0] if segment.segment_id in ids]
        n_rows, size = sum(s.n_rows for s in merged), sum(s.size_bytes for s in merged)
        return merge_need(record.schema, record.indexes, n_rows, size) <= self._left(stored_bytes(record, segments))

    def _left(self, own: int) -> int:
        """Return the room for work on some segments, what they hold themselves included."""
        budget = self._collection.host.budget
        with self._collection.host.catalog.lock:
            return min(budget.limit - budget.held() + own, budget.free())
