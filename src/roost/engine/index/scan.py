"""The rows that a filter keeps, or that no index covers, compared one by one: all, or by a sketch the likely ones.

A sketch orders rows roughly. The rows that it puts first are compared with their full vectors, which shows how far its
distances are off. If a row behind these would belong to the answer only by being off much farther, the answer is kept.
Otherwise more are compared, and in the end all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Mask, Neighbours, StoredVectors
from roost.engine.index.allowed import Allowed, SketchUse
from roost.engine.index.exact import (
    GATHER_FROM_QUERIES,
    compare,
    compare_one,
    exact_search,
    in_memory,
    nearest_of_one,
    nearest_slots,
    normalised,
)
from roost.engine.index.sketch import Sketch
from roost.engine.index.threads import one_thread
from roost.engine.plan import (
    LISTED_PER_COMPARED,
    Method,
    Task,
    first_look,
    is_complete,
    likely_look,
    next_look,
    plan_scan,
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


@dataclass(frozen=True, slots=True)
class Scan:
    """A search of the allowed rows of a part."""

    vectors: StoredVectors
    task: Task
    metric: str
    allowed: Allowed
    inverse_norms: FloatArray | None
    sketch: Sketch | None = None
    trace: Trace | None = None
    known: Known = NOTHING_KNOWN

    def __call__(self, queries: FloatArray, reason: str = "the cheapest plan") -> Neighbours:
        """Return the k nearest allowed rows of each query, nearest first.

        Args:
            reason: of the scan, for the trace.
        """
        task = self.task if len(queries) == self.task.n_queries else replace(self.task, n_queries=len(queries))
        if self.sketch is None:
            return self._exact(queries, reason)
        use = self.allowed.use(self.sketch)
        if plan_scan(task, use.doubt.share) is Method.EXACT:
            use.doubt.note(len(queries), 0)
            return self._exact(queries, reason)
        if len(queries) >= GATHER_FROM_QUERIES:
            return self._by_sketch(self.sketch, queries, reason)
        with one_thread():
            found = self._of_one(self.sketch, queries, reason) if len(queries) == 1 else None
            return found or self._by_sketch(self.sketch, queries, reason)

    def _exact(self, queries: FloatArray, reason: str) -> Neighbours:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(queries), None, reason)
        return exact_search(self.vectors, queries, self.task.k, self.metric, self.allowed.listed, self.inverse_norms)

    def _of_one(self, sketch: Sketch, query: FloatArray, reason: str) -> Neighbours | None:
        """Answer one query as `_by_sketch` does, in fewer steps; None where its order says nothing.

        A lone query meets cold caches, and feels every step of Python.
        """
        if not in_memory(self.vectors):
            return None
        asked = normalised(query) if self.metric == "COSINE" else query
        numbers = sketch.turned_one(asked)
        if numbers is None:
            return None
        use, is_bounded = self.allowed.use(sketch), self.known.bound < math.inf
        n_next: int | None = first_look(self.task, self.known.n_rows if is_bounded else 0)
        order, found = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
        while n_next is not None:
            if n_next > order.shape[1]:
                is_first = not order.size
                n_listed = min(LISTED_PER_COMPARED * n_next, self.task.n_allowed)
                order, seeming = self._first(sketch, use, numbers, n_listed)
                if order[0, -1] < 0:
                    return None
                found = found[:, :0]  # a longer list need not begin as a shorter one does
                if is_bounded and is_first:
                    n_next = self._likely_look(sketch, seeming[0], n_next)
            further = order[:, found.shape[1] : n_next]
            compared = compare_one(self.vectors, asked, further, self.metric, self.inverse_norms)
            found = np.concatenate([found, compared], axis=1) if found.size else compared
            places = nearest_of_one(found[0], self.task.k)
            nearest = found[:, places]
            # Of rows behind others few belong to the answer, so the places of these say little.
            is_done = not is_bounded and stands_early(self.task, float(np.add.reduce(places)), n_next)
            gap, spread, growth = (
                (0.0,) * 3 if is_done else self._measured(sketch, found[0], seeming[0, :n_next], nearest[0])
            )
            is_done = is_done or is_complete(self.task, n_next, gap, spread, growth)
            if self.trace is not None:
                self._note_look(np.array([not is_done]), n_next, reason)
            if is_done:
                use.doubt.note(1, 0)
                return Neighbours(order[:, places], nearest)
            # Without a bound twice as many are often enough, and they are listed already.
            n_next = likely_look(self.task, n_next, gap, spread, growth) if is_bounded else next_look(self.task, n_next)
            reason = "answers not trusted: compared more"
        use.doubt.note(1, 1)
        return self._exact(query, "answers not trusted: scanned")

    def _first(self, sketch: Sketch, use: SketchUse, numbers: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return the allowed rows that seem nearest, as `Sketch.first` does."""
        excerpt = use.excerpt
        return sketch.first(numbers, n, self.allowed.selector) if excerpt is None else excerpt.first(numbers, n)

    def _measured(
        self, sketch: Sketch, found: FloatArray, seeming: FloatArray, nearest: FloatArray
    ) -> tuple[float, float, float]:
        """Return of one query the gap, spread and growth that `is_complete` asks for, as `_is_open` does of several.

        The sketch is told how far its distances were off.
        """
        n_compared = len(found)
        beyond = found - seeming
        mean = float(np.add.reduce(beyond)) / n_compared
        beyond -= mean
        beyond *= beyond
        farthest = float(nearest[-1]) if len(nearest) == self.task.k else math.inf
        gap = float(seeming[-1]) + mean - min(farthest, self.known.bound)
        spread = math.sqrt(float(np.add.reduce(beyond)) / n_compared)
        sketch.errors.note(mean, spread)
        return gap, spread, _growth(seeming)

    def _likely_look(self, sketch: Sketch, seeming: FloatArray, n_compared: int) -> int:
        """Return how many rows of the list to compare, so that these are likely to be complete.

        A second look costs a lone query far more than more rows in the first.

        Args:
            seeming: distances of the list, by the sketch.
            n_compared: the fewest.
        """
        mean, spread = sketch.errors.mean, sketch.errors.spread
        while n_compared < len(seeming):
            gap = float(seeming[n_compared - 1]) + mean - self.known.bound
            if is_complete(self.task, n_compared, gap, spread, _growth(seeming[:n_compared])):
                break
            further = next_look(self.task, n_compared)
            if further is None:
                break
            n_compared = min(further, len(seeming))
        return n_compared

    def _by_sketch(self, sketch: Sketch, queries: FloatArray, reason: str) -> Neighbours:
        """Compare the first rows of the sketch's order, and more for the queries that need it."""
        n_queries, k = len(queries), self.task.k
        use = self.allowed.use(sketch)
        answer = Neighbours(np.empty((n_queries, k), np.int64), np.empty((n_queries, k), np.float32))
        still_open, blind = np.arange(n_queries), np.empty(0, np.int64)
        n_next: int | None = first_look(self.task)
        while n_next is not None and len(still_open):
            asked = queries[still_open]
            numbers, is_strange = sketch.turned(asked)
            order, seeming = self._first(sketch, use, numbers, n_next)
            # Codes that are all equal may hide rows; and without rests, those near a strange query are not seen to be.
            is_blind = order[:, -1] < 0
            if not sketch.has_rests:
                is_blind |= is_strange
            order, seen = order[~is_blind], still_open[~is_blind]
            found = compare(self.vectors, asked[~is_blind], order, self.metric, self.inverse_norms)
            places, row = nearest_slots(found, k), np.arange(len(seen))[:, None]
            nearest = Neighbours(order[row, places], found[row, places])
            _put(answer, seen, nearest)
            is_open = self._is_open(found, seeming[~is_blind], places)
            if self.trace is not None:
                self._note_look(np.concatenate([is_open, np.ones(len(asked) - len(seen), bool)]), n_next, reason)
            blind, still_open = np.concatenate([blind, still_open[is_blind]]), seen[is_open]
            n_next, reason = next_look(self.task, n_next), "answers not trusted: compared more"
        scanned = np.concatenate([blind, still_open])
        use.doubt.note(n_queries, len(scanned))
        if len(scanned):
            _put(answer, scanned, self._exact(queries[scanned], "answers not trusted: scanned"))
        return answer

    def _is_open(self, found: FloatArray, seeming: FloatArray, places: IntArray) -> Mask:
        """Say of which queries more rows have to be compared.

        Args:
            found: (n_queries, n_compared) distances of the first rows of the sketch's order.
            seeming: the same by the sketch.
            places: (n_queries, k) of the nearest of these in the order.
        """
        n_compared = found.shape[1]
        farthest = found[np.arange(len(found)), places[:, -1]]
        beyond, last, half = found - seeming, seeming[:, -1:], n_compared // 2 - 1
        gaps = last[:, 0] + beyond.mean(axis=1) - farthest
        # The distances have steps: what is equal to the last may go on behind it, so growth is up to the step before.
        steps = np.maximum(np.count_nonzero(seeming < last, axis=1) - 1, half)
        growths = seeming[np.arange(len(seeming)), steps] - seeming[:, half]
        sums, spreads = places.sum(axis=1).tolist(), beyond.std(axis=1).tolist()
        judged = zip(sums, gaps.tolist(), spreads, growths.tolist(), strict=True)
        return np.array(
            [
                not (stands_early(self.task, total, n_compared) or is_complete(self.task, n_compared, *one))
                for total, *one in judged
            ],
            bool,
        )

    def _note_look(self, is_doubted: Mask, n_compared: int, reason: str) -> None:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(is_doubted), n_compared, reason)
            self.trace.note_kept(int(np.count_nonzero(~is_doubted)))


def _growth(seeming: FloatArray) -> float:
    """Return how much the distances of compared rows, ascending, grew over the second half.

    They have steps: what is equal to the last may go on behind it, so that is up to the step before.
    """
    half = len(seeming) // 2 - 1
    step = max(int(np.count_nonzero(seeming < seeming[-1])) - 1, half)
    return float(seeming[step]) - float(seeming[half])


def _put(answer: Neighbours, where: IntArray, found: Neighbours) -> None:
    answer.ids[where], answer.distances[where] = found.ids, found.distances
