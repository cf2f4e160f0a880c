"""The rows of a segment that a filter keeps, and what its searches have shown of it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import faiss
import numpy as np

from roost.engine.columns import Bitmap, IntArray, Mask
from roost.engine.index.sketch import Excerpt, Sketch
from roost.engine.plan import excerpt_cost_ns

SAMPLED_FRACTION = 0.25
"""The fraction of the dropped rows that is in the sample: two random bytes, and-ed."""

_NEWEST_WEIGHT = 0.01
"""Of a query in a mean over recent ones, once there were enough of them ..."""

_FIRST_WEIGHT = 0.05
"""... of the first one ..."""

_CALL_WEIGHT = 0.2
"""... and of all queries of a call at most: they are often alike."""

_FADING = 0.001
"""How much is forgotten with each call that is answered in another way, so that this one is tried again in time."""


class Recent:
    """A mean over recent queries, for example of those that could not be trusted (1) among others (0).

    Threads may lose an update to each other: it is a mean all the same.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self._n_noted = 0

    def note(self, n_queries: int, total: float) -> None:
        """Move the mean towards that of these queries, of one call."""
        n_before = self._n_noted
        self._n_noted = n_before + n_queries
        if not (total or self.mean):
            return
        weight = max(_NEWEST_WEIGHT, 1 / (1 / _FIRST_WEIGHT + n_before))
        kept = max(1 - _CALL_WEIGHT, (1 - weight) ** n_queries)
        self.mean = kept * self.mean + (1 - kept) * total / n_queries

    def fade(self) -> None:
        """Note a call that was answered in another way."""
        if self.mean:
            self.mean *= 1 - _FADING


class SketchUse:
    """What searches under one filter have shown of one sketch. It holds the sketch, so that no other takes its place.

    Attributes:
        extra: what scans of the sketch took after their first look, as a share of that.
        excerpt: the rows of the sketch that the filter keeps, once searches have paid for the copy. It may be taken
            back at any time, so read the attribute once for each use.
    """

    def __init__(self, sketch: Sketch) -> None:
        self.extra = Recent()
        self.excerpt: Excerpt | None = None
        self._sketch = sketch
        self._missed_ns = 0.0

    def miss(self, allowed: Allowed, saving_ns: float) -> None:
        """Note that a search would have been quicker with an excerpt; make it once such searches lost what it costs.

        So a filter that never comes back costs nothing, and whenever one stops coming, at most twice as much was spent
        as would have been best. Source: Karlin, Manasse, Rudolph and Sleator 1988, "Competitive snoopy caching".
        """
        self._missed_ns += saving_ns
        if self._missed_ns >= excerpt_cost_ns(allowed.count):
            self._missed_ns = 0.0
            self._sketch.lend(allowed.rows, self)


class Allowed:
    """The rows of a segment that a filter keeps, in the forms that searches need.

    Each form is computed on first use and kept: hold on to the object while the filter and the
    segment stay the same. Safe for any number of threads; the mask must not change.

    Attributes:
        doubt: the share of queries whose traversal of the graph ended in a scan.
        is_new: whether no search has used it yet.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.doubt = Recent()
        self.is_new = True
        self._uses: dict[int, SketchUse] = {}
        self._firsts: dict[int, Allowed] = {}

    def use(self, sketch: Sketch) -> SketchUse:
        """Return what searches by a sketch have shown; each vector field of the rows has a sketch of its own."""
        found = self._uses.get(id(sketch))
        if found is None:
            found = self._uses.setdefault(id(sketch), SketchUse(sketch))
        return found

    @cached_property
    def count(self) -> int:
        return int(np.count_nonzero(self.mask))

    @cached_property
    def bitmap(self) -> Bitmap:
        """(ceil(n_rows / 8),) uint8, little-endian bits."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def selector(self) -> Any:
        """The bitmap as Faiss's indexes take it; None where every row is allowed."""
        return None if self.count == len(self.mask) else faiss.IDSelectorBitmap(self.bitmap)

    @cached_property
    def rows(self) -> IntArray:
        """The numbers of the allowed rows, ascending."""
        return np.flatnonzero(self.mask)

    @property
    def listed(self) -> IntArray | None:
        """The numbers of the allowed rows, ascending; None where every row is allowed."""
        return None if self.count == len(self.mask) else self.rows

    def first(self, n_rows: int) -> Allowed:
        """Return what is allowed of the first rows."""
        if n_rows == len(self.mask):
            return self
        found = self._firsts.get(n_rows)
        return found or self._firsts.setdefault(n_rows, Allowed(self.mask[:n_rows]))

    @cached_property
    def sampled(self) -> Bitmap:
        """The bitmap, with the sample of the other rows added."""
        return self.bitmap | _sample(len(self.bitmap))


@lru_cache(maxsize=64)
def _sample(n_bytes: int) -> Bitmap:
    random = np.random.default_rng(n_bytes)
    halves = random.integers(0, 256, (2, n_bytes), np.uint8)
    sample: Bitmap = halves[0] & halves[1]
    return sample
