"""The rows that a filter keeps, or that no index covers, compared one by one: all, or by a sketch the likely ones.

A sketch orders rows roughly. The rows that it puts first are compared with their full vectors. If the nearest of these
stand early in its order, then few of the nearest stand behind those that were compared, and the answer is kept.
Otherwise more are compared, and in the end all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Mask, Neighbours, StoredVectors
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import (
    GATHER_FROM_QUERIES,
    compare,
    compare_one,
    exact_search,
    in_memory,
    nearest_slots,
    normalised,
    one_thread,
)
from roost.engine.index.sketch import Sketch
from roost.engine.plan import (
    LISTED_FOR_ONE,
    LISTED_PER_COMPARED,
    Method,
    Task,
    enough,
    expected_here,
    first_look,
    latest_mean,
    next_look,
    plan_scan,
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
            return self._by_sketch(self.sketch, queries, first_look(task), reason)
        with one_thread():
            found = self._of_one(self.sketch, queries, reason) if len(queries) == 1 else None
            return found or self._by_sketch(self.sketch, queries, first_look(task), reason)

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
        use = self.allowed.use(sketch)
        n_next = first_look(self.task, self.known.n_rows if self.known.bound < math.inf else 0)
        order, found = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
        while True:
            if n_next > order.shape[1]:
                n_listed = min(LISTED_FOR_ONE * n_next, self.task.n_allowed)
                if use.excerpt is not None:
                    order = use.excerpt.first(numbers, n_listed)
                else:
                    order = sketch.first(numbers, n_listed, self.allowed.selector)
                if order[0, -1] < 0:
                    return None
                found = found[:, :0]  # a longer list need not begin as a shorter one does
            further = order[:, found.shape[1] : n_next]
            compared = compare_one(self.vectors, asked, further, self.metric, self.inverse_norms)
            found = np.concatenate([found, compared], axis=1)
            places, nearest, is_open = self._judged(found)
            if self.trace is not None:
                self._note_look(np.array([is_open]), n_next, reason)
            if not is_open:
                use.doubt.note(1, 0)
                return Neighbours(order[:, places], nearest)
            further_look = next_look(self.task, n_next)
            if further_look is None:
                use.doubt.note(1, 1)
                return self._exact(query, "answers not trusted: scanned")
            n_next, reason = further_look, "answers not trusted: compared more"

    def _judged(self, found: FloatArray) -> tuple[IntArray, FloatArray, bool]:
        """Return the places of one query's nearest rows in an order, their distances, and whether more are to compare.

        Args:
            found: (1, n) distances of the rows of the order, as far as they were compared.
        """
        places = found[0].argsort()[: self.task.k]
        nearest, n_compared = found[:, places], found.shape[1]
        if n_compared == self.task.n_allowed:
            return places, nearest, False
        n_wanted = self.task.k
        if self.known.bound < math.inf:
            # Judged by as many as are expected here, also where none of them is within the bound.
            n_within = int(np.searchsorted(nearest[0], self.known.bound))
            n_wanted = min(n_wanted, max(n_within, expected_here(self.task, self.known.n_rows)))
        if n_compared < enough(n_wanted):
            return places, nearest, True
        mean_place = sum(places[:n_wanted].tolist()) / n_wanted - (n_wanted - 1) / 2
        return places, nearest, mean_place > latest_mean(n_compared)

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
        is_open: Mask = places.sum(axis=1) / k - (k - 1) / 2 > latest_mean(n_compared)
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
