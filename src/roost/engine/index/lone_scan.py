"""One query answered from a sketch, in few steps.

A lone query meets cold caches and feels every step of Python; so do those who wait meanwhile for the interpreter lock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Neighbours
from roost.engine.index.allowed import Allowed, SketchUse
from roost.engine.index.exact import compare_one, exact_search, nearest_of_one, normalised
from roost.engine.index.lone_look import MAX_LISTED, Look
from roost.engine.index.sketch import Sketch
from roost.engine.plan import (
    LISTED_PER_COMPARED,
    LoneTask,
    extra_time,
    first_look,
    further_look,
    is_complete,
    likely_look,
    next_look,
    stands_early,
)
from roost.engine.trace import Trace


class Known(NamedTuple):
    """What other rows have shown of one query, before some are scanned.

    Attributes:
        bound: rows at this distance and beyond need not be found: as many nearer ones are known as are asked for.
        n_rows: how many rows were searched for these.
    """

    bound: float = math.inf
    n_rows: int = 0


NOTHING_KNOWN = Known()


class LoneScan(NamedTuple):
    """A search of the allowed rows of a part for one query.

    Attributes:
        vectors: the rows of the sketch, `in_memory`.
        allowed: more than k rows.
    """

    lone: LoneTask
    sketch: Sketch
    vectors: FloatArray
    allowed: Allowed
    inverse_norms: FloatArray | None = None
    known: Known = NOTHING_KNOWN
    trace: Trace | None = None

    def __call__(self, query: FloatArray, reason: str) -> Neighbours | None:
        """Return the nearest allowed rows, nearest first; None where the order of the sketch says nothing.

        Args:
            query: (1, dim) float32, C-contiguous.
            reason: of the scan, for the trace.
        Returns: (1, k) where nothing is known, else (1, up to k), the rows nearer than the bound.
        """
        task, sketch, bound = self.lone.task, self.sketch, self.known.bound
        asked = normalised(query) if sketch.metric == "COSINE" else query
        use = self.allowed.use(sketch)
        n_first = first_look(task, self.known.n_rows if bound < math.inf else 0)
        look = self._look(use, asked, min(LISTED_PER_COMPARED * n_first, task.n_allowed), n_first)
        looks: list[tuple[int, int]] = []
        while look is not None:
            n_compared, places = len(look.found), nearest_of_one(look.found, task.k, bound)
            n_next = self._further(look, places)
            if self.trace is not None:
                self.trace.note_scan(task, 1, n_compared, reason)
                self.trace.note_kept(int(n_next == n_compared))
            if n_next == n_compared:
                use.extra.note(1, extra_time(task, looks, 0))
                return Neighbours(look.rows[None, places], look.found[None, places])
            if n_next is None:
                use.extra.note(1, extra_time(task, looks, 1))
                if self.trace is not None:
                    self.trace.note_scan(task, 1, None, "answers not trusted: scanned")
                return exact_search(self.vectors, query, task.k, sketch.metric, self.allowed.listed, self.inverse_norms)
            reason = "answers not trusted: compared more"
            looks.append((1, n_next))
            if n_next <= len(look.rows):
                look = self._compared(asked, look, n_next)
            else:
                look = self._look(use, asked, n_next, n_next)
        return None

    def _look(self, use: SketchUse, asked: FloatArray, n_listed: int, n_compared: int) -> Look | None:
        """List the rows that seem nearest and compare the first; None where the order says nothing."""
        sketch, excerpt, is_all = self.sketch, use.excerpt, self.allowed.count == len(self.vectors)
        norms = self.inverse_norms if sketch.metric == "COSINE" else None
        has_norms = norms is not None or sketch.metric != "COSINE"
        compiled = sketch.compiled if excerpt is None else excerpt.use_compiled()
        if compiled is not None and has_norms and n_listed <= MAX_LISTED:
            allowed = None if is_all or excerpt is not None else self.allowed.bitmap
            return compiled.look(asked, self.vectors, norms, allowed, n_listed, n_compared)
        numbers = sketch.turned_one(asked)
        if numbers is None:
            return None
        if excerpt is None:
            rows, seeming = sketch.first(numbers, n_listed, self.allowed.selector)
        else:
            rows, seeming = excerpt.first(numbers, n_listed)
        if rows.item(-1) < 0:
            return None
        return self._compared(asked, Look(rows[0], seeming[0], _NO_DISTANCES, 0.0, 0.0), n_compared)

    def _compared(self, asked: FloatArray, look: Look, n_compared: int) -> Look:
        """Return the look with so many rows of its list compared."""
        rows, seeming, found = look.rows, look.seeming, look.found
        further = compare_one(
            self.vectors, asked, rows[None, len(found) : n_compared], self.sketch.metric, self.inverse_norms
        )[0]
        found = np.concatenate([found, further]) if len(found) else further
        beyond = found - seeming[:n_compared]
        mean = float(np.add.reduce(beyond)) / n_compared
        beyond -= mean
        return Look(rows, seeming, found, mean, math.sqrt(float(np.vdot(beyond, beyond)) / n_compared))

    def _further(self, look: Look, places: IntArray | Sequence[int]) -> int | None:
        """Return how many rows of the list to compare: as many as were where these are complete; None for all rows.

        Args:
            places: of the nearest of the compared rows in the list.
        """
        task, n_most, bound = self.lone.task, self.lone.n_most, self.known.bound
        seeming, found, n_compared, is_bounded = look.seeming, look.found, len(look.found), bound < math.inf
        # Of rows behind others few belong to the answer, so the places of these say little.
        if not is_bounded and stands_early(task, float(np.add.reduce(places)), n_compared):
            return n_compared
        off = look.mean - (found.item(places[-1]) if len(places) == task.k else bound)
        gap, growth = seeming.item(n_compared - 1) + off, _growth(seeming, n_compared)
        if is_complete(task, n_compared, gap, look.spread, growth):
            return n_compared
        if not is_bounded:
            return further_look(task, self.lone.n_first, n_compared, n_most, gap, look.spread, growth)
        further = next_look(task, n_compared, n_most)
        while further is not None and further <= len(seeming):
            gap, growth = seeming.item(further - 1) + off, _growth(seeming, further)
            if is_complete(task, further, gap, look.spread, growth):
                return further
            n_compared, further = further, next_look(task, further, n_most)
        return likely_look(task, n_compared, n_most, gap, look.spread, growth)


_NO_DISTANCES = np.empty(0, np.float32)


def _growth(seeming: FloatArray, n_compared: int) -> float:
    """Return how much the distances of compared rows, ascending, grew over the second half.

    They have steps: what is equal to the last may go on behind it, so that is up to the step before.
    """
    half = n_compared // 2 - 1
    step = max(bisect_left(seeming, seeming.item(n_compared - 1), 0, n_compared) - 1, half)
    return float(seeming.item(step) - seeming.item(half))
