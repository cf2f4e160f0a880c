"""The rows that a filter keeps, compared one by one: all of them, or by a sketch and then the likely ones.

A sketch orders rows roughly. The rows that it puts first are compared with their full vectors. If the nearest of these
stand early in its order, then few of the nearest stand behind those that were compared, and the answer is kept.
Otherwise more are compared, and in the end all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Mask, Neighbours, StoredVectors
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import GATHER_FROM_QUERIES, compare, exact_search, nearest_slots, one_thread
from roost.engine.index.sketch import Sketch
from roost.engine.plan import LISTED_PER_COMPARED, Method, Task, first_look, is_early, next_look, plan_scan
from roost.engine.trace import Trace


@dataclass(frozen=True, slots=True)
class Scan:
    """A search of the allowed rows of a segment whose queries are still open."""

    vectors: StoredVectors
    task: Task
    metric: str
    allowed: Allowed
    inverse_norms: FloatArray | None
    sketch: Sketch | None = None
    trace: Trace | None = None

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
            return self._by_sketch(self.sketch, queries, first_look(task), reason)
        with one_thread():
            return self._by_sketch(self.sketch, queries, first_look(task), reason)

    def _exact(self, queries: FloatArray, reason: str) -> Neighbours:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(queries), None, reason)
        return exact_search(self.vectors, queries, self.task.k, self.metric, self.allowed.rows, self.inverse_norms)

    def _by_sketch(self, sketch: Sketch, queries: FloatArray, n_compared: int, reason: str) -> Neighbours:
        """Compare the first rows of the sketch's order, and more for the queries that need it.

        Args:
            n_compared: how many at first.
        """
        n_queries, k, n_allowed = len(queries), self.task.k, self.task.n_allowed
        n_listed = min(LISTED_PER_COMPARED * n_compared, n_allowed)
        use = self.allowed.use(sketch)
        if use.excerpt is not None:
            order, is_strange = use.excerpt.search(queries, n_listed)
        else:
            order, is_strange = sketch.search(queries, n_listed, self.allowed.selector)
        # Codes that are all equal may hide rows; and without rests, those near a strange query are not seen to be.
        is_blind = order[:, -1] < 0
        if not sketch.has_rests:
            is_blind |= is_strange
        n_compared = min(n_compared, n_listed)
        found = self._compare(queries, order[:, :n_compared])
        places = nearest_slots(found, k)
        row = np.arange(n_queries)[:, None]
        answer = Neighbours(order[row, places], found[row, places])
        is_open = self._is_open(places, n_compared) & ~is_blind
        self._note_look(is_open | is_blind, n_compared, reason)
        if not (is_open.any() or is_blind.any()):
            use.doubt.note(n_queries, 0)
            return answer
        still_open = np.flatnonzero(is_open)
        if n_compared < n_listed and len(still_open):
            more, is_open = self._compare_more(
                queries[still_open], order[still_open], places[still_open], answer.distances[still_open], n_compared
            )
            _put(answer, still_open, more)
            still_open = still_open[is_open]
        return self._completed(answer, sketch, queries, np.flatnonzero(is_blind), still_open, n_listed)

    def _compare_more(
        self, queries: FloatArray, order: IntArray, places: IntArray, distances: FloatArray, n_compared: int
    ) -> tuple[Neighbours, Mask]:
        """Compare twice as many rows of the order, and so on to its end.

        Args:
            order: (n_queries, n_listed) rows, of which the first `n_compared` were compared.
            places: (n_queries, k) of the nearest of these in the order; at `distances`.
        Returns: the nearest, and of which queries more than the order's rows have to be compared.
        """
        still_open, start = np.arange(len(queries)), n_compared
        while len(still_open) and start < order.shape[1]:
            stop = min(2 * start, order.shape[1])
            found = self._compare(queries[still_open], order[still_open, start:stop])
            known = np.concatenate([distances[still_open], found], axis=1)
            here = np.broadcast_to(np.arange(start, stop), found.shape)
            slots, row = nearest_slots(known, self.task.k), np.arange(len(found))[:, None]
            nearest = np.concatenate([places[still_open], here], axis=1)[row, slots]
            places[still_open], distances[still_open] = nearest, known[row, slots]
            is_open = self._is_open(nearest, stop)
            self._note_look(is_open, stop, "answers not trusted: compared more")
            still_open, start = still_open[is_open], stop
        is_open = np.zeros(len(queries), bool)
        is_open[still_open] = True
        return Neighbours(order[np.arange(len(queries))[:, None], places], distances), is_open

    def _compare(self, queries: FloatArray, rows: IntArray) -> FloatArray:
        return compare(self.vectors, queries, rows, self.metric, self.inverse_norms)

    def _is_open(self, places: IntArray, n_compared: int) -> Mask:
        """Say of which queries more rows have to be compared."""
        if n_compared == self.task.n_allowed:
            return np.zeros(len(places), bool)
        k = self.task.k
        is_open: Mask = ~is_early(places.sum(axis=1) / k - (k - 1) / 2, n_compared)
        return is_open

    def _note_look(self, is_doubted: Mask, n_compared: int, reason: str) -> None:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(is_doubted), n_compared, reason)
            self.trace.note_kept(int(np.count_nonzero(~is_doubted)))

    def _completed(
        self,
        answer: Neighbours,
        sketch: Sketch,
        queries: FloatArray,
        blind: IntArray,
        still_open: IntArray,
        n_compared: int,
    ) -> Neighbours:
        """Answer the queries that so many rows of the sketch's order did not answer.

        Args:
            blind: numbers of the queries whose order says nothing.
            still_open: numbers of those whose order has to be followed further.
        """
        further = next_look(self.task, n_compared) if len(still_open) else None
        scanned = blind if further else np.concatenate([blind, still_open])
        self.allowed.use(sketch).doubt.note(len(queries), len(scanned))
        if len(scanned):
            _put(answer, scanned, self._exact(queries[scanned], "answers not trusted: scanned"))
        if further and len(still_open):
            found = self._by_sketch(sketch, queries[still_open], further, "answers not trusted: looked further")
            _put(answer, still_open, found)
        return answer


def _put(answer: Neighbours, where: IntArray, found: Neighbours) -> None:
    answer.ids[where], answer.distances[where] = found.ids, found.distances
