"""The rows that a filter keeps, or that no index covers, compared one by one: all, or by a sketch the likely ones.

A sketch orders rows roughly. The rows that it puts first are compared with their full vectors, which shows how far its
distances are off. If a row behind these would belong to the answer only by being off much farther, the answer is kept.
Otherwise more are compared, and in the end all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Neighbours, StoredVectors
from roost.engine.index.allowed import Allowed, SketchUse
from roost.engine.index.compiled_sketch import Judge
from roost.engine.index.exact import (
    GATHER_FROM_QUERIES,
    compare,
    exact_search,
    in_memory,
    nearest_slots,
)
from roost.engine.index.lone_scan import LoneScan
from roost.engine.index.sketch import Sketch
from roost.engine.index.threads import one_thread
from roost.engine.plan import (
    Method,
    Task,
    extra_time,
    first_look,
    further_look,
    is_complete,
    is_judged,
    most_compared,
    next_look,
    plan_scan,
    stands_early,
)
from roost.engine.trace import Trace


class Scan(NamedTuple):
    """A search of the allowed rows of a part.

    Attributes:
        judge: of the rows that are compared with one query, where it is known that the sketch is compiled, and that to
            scan it costs less than to compare all rows.
    """

    vectors: StoredVectors
    task: Task
    metric: str
    allowed: Allowed
    inverse_norms: FloatArray | None
    sketch: Sketch | None = None
    trace: Trace | None = None
    judge: Judge | None = None

    def __call__(self, queries: FloatArray, reason: str = "the cheapest plan") -> Neighbours:
        """Return the k nearest allowed rows of each query, nearest first.

        Args:
            reason: of the scan, for the trace.
        """
        task = self.task if len(queries) == self.task.n_queries else self.task._replace(n_queries=len(queries))
        if self.sketch is None:
            return self._exact(queries, reason)
        if self.judge is None and plan_scan(task) is Method.EXACT:
            self.allowed.use(self.sketch).extra.fade()
            return self._exact(queries, reason)
        if len(queries) >= GATHER_FROM_QUERIES:
            return self.by_sketch(self.sketch, queries, reason)
        found = self._for_one(self.sketch, queries, reason) if len(queries) == 1 else None
        if found is not None:
            return found
        with one_thread():
            return self.by_sketch(self.sketch, queries, reason)

    def _exact(self, queries: FloatArray, reason: str) -> Neighbours:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(queries), None, reason)
        return exact_search(self.vectors, queries, self.task.k, self.metric, self.allowed.listed, self.inverse_norms)

    def _for_one(self, sketch: Sketch, query: FloatArray, reason: str) -> Neighbours | None:
        """Answer one query in few steps; None where its order says nothing."""
        if not in_memory(self.vectors) or sketch.compiled is None:
            return None
        task = self.task if self.task.n_queries == 1 else self.task._replace(n_queries=1)
        judge = Judge.of(task) if self.judge is None else self.judge
        scan = LoneScan(task, judge, sketch, self.vectors, self.allowed, self.inverse_norms, trace=self.trace)
        return scan(query, reason)

    def _first(self, sketch: Sketch, use: SketchUse, numbers: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return the allowed rows that seem nearest, as `Sketch.first` does."""
        excerpt = use.excerpt
        return sketch.first(numbers, n, self.allowed.selector) if excerpt is None else excerpt.first(numbers, n)

    def by_sketch(self, sketch: Sketch, queries: FloatArray, reason: str) -> Neighbours:
        """Compare the first rows of the sketch's order, and more for the queries that need it."""
        n_queries, k = len(queries), self.task.k
        use = self.allowed.use(sketch)
        answer = Neighbours(np.empty((n_queries, k), np.int64), np.empty((n_queries, k), np.float32))
        still_open, scanned = np.arange(n_queries), np.empty(0, np.int64)
        n_next, n_most = first_look(self.task), most_compared(self.task)
        looks: list[tuple[int, int]] = []
        while len(still_open):
            n_compared, asked = n_next, queries[still_open]
            numbers, is_strange = sketch.turned(asked)
            order, seeming = self._first(sketch, use, numbers, n_compared)
            # Codes that are all equal may hide rows; and without rests, those near a strange query are not seen to be.
            is_blind = order[:, -1] < 0
            if not sketch.has_rests:
                is_blind |= is_strange
            order, seen = order[~is_blind], still_open[~is_blind]
            found = compare(self.vectors, asked[~is_blind], order, self.metric, self.inverse_norms)
            places, row = nearest_slots(found, k), np.arange(len(seen))[:, None]
            nearest = Neighbours(order[row, places], found[row, places])
            _put(answer, seen, nearest)
            further = self._further(found, seeming[~is_blind], places, n_most)
            is_kept, is_left = (np.array([n == which for n in further], bool) for which in (n_compared, None))
            if self.trace is not None:
                self.trace.note_scan(self.task, len(asked), n_compared, reason)
                self.trace.note_kept(int(np.count_nonzero(is_kept)))
            scanned = np.concatenate([scanned, still_open[is_blind], seen[is_left]])
            still_open, reason = seen[~is_kept & ~is_left], "answers not trusted: compared more"
            n_next = max((n for n in further if n is not None), default=n_compared)
            if len(still_open):
                looks.append((len(still_open), n_next))
        use.extra.note(n_queries, extra_time(self.task, looks, len(scanned)))
        if len(scanned):
            _put(answer, scanned, self._exact(queries[scanned], "answers not trusted: scanned"))
        return answer

    def _further(self, found: FloatArray, seeming: FloatArray, places: IntArray, n_most: int) -> list[int | None]:
        """Return for each query how many rows to compare: as many as were where these are complete; None for all rows.

        Args:
            found: (n_queries, n_compared) distances of the first rows of the sketch's order.
            seeming: the same by the sketch.
            places: (n_queries, k) of the nearest of these in the order.
            n_most: as `most_compared` gives it.
        """
        task, n_compared = self.task, found.shape[1]
        farthest = found[np.arange(len(found)), places[:, -1]]
        beyond, last, half = found - seeming, seeming[:, -1:], n_compared // 2 - 1
        gaps = last[:, 0] + beyond.mean(axis=1) - farthest
        # The distances have steps: what is equal to the last may go on behind it, so growth is up to the step before.
        steps = np.maximum(np.count_nonzero(seeming < last, axis=1) - 1, half)
        growths = seeming[np.arange(len(seeming)), steps] - seeming[:, half]
        sums, spreads = places.sum(axis=1).tolist(), lower_spread(beyond).tolist()
        nearest = found[np.arange(len(found))[:, None], places]
        distinct = zip(_n_distinct(seeming), _n_distinct(nearest), strict=True)
        further: list[int | None] = []
        for total, (n_seeming, n_nearest), *one in zip(
            sums, distinct, gaps.tolist(), spreads, growths.tolist(), strict=True
        ):
            if not is_judged(task, n_compared, n_seeming):
                further.append(next_look(task, n_compared, n_most))
            elif stands_early(task, total, n_compared, n_nearest) or is_complete(task, n_compared, *one):
                further.append(n_compared)
            else:
                further.append(further_look(task, first_look(task), n_compared, n_most, *one))
        return further


def _put(answer: Neighbours, where: IntArray, found: Neighbours) -> None:
    answer.ids[where], answer.distances[where] = found.ids, found.distances


def _n_distinct(ascending: FloatArray) -> list[int]:
    """Return how many different numbers each row of (n, m) holds."""
    counts: list[int] = (1 + np.count_nonzero(np.diff(ascending, axis=1), axis=1)).tolist()
    return counts


def lower_spread(off: FloatArray) -> FloatArray:
    """Return the root mean square of what is below the mean of (..., n) numbers, which is (...).

    Of a normal distribution that is the standard deviation. The errors of a sketch have a long tail of rows that are
    farther than they seem; what rows behind the compared ones may belong to the answer is told by the others.
    Source: Fechner 1897, "Kollektivmasslehre": a distribution of two normal halves.
    """
    below = np.minimum(off - off.mean(axis=-1, keepdims=True), 0)
    spread: FloatArray = np.sqrt(np.square(below).sum(axis=-1) / np.maximum(np.count_nonzero(below, axis=-1), 1))
    return spread
