"""The rows that a filter keeps, compared one by one: all of them, or by a sketch and then the likely ones.

A sketch orders rows roughly. The rows that it puts first are compared with their full vectors. If the nearest of these
stand early in its order, then few of the nearest stand behind those that were compared, and the answer is kept.
Otherwise more are compared, and in the end all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roost.engine.columns import FloatArray, Mask, Neighbours, StoredVectors
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import GATHER_FROM_QUERIES, compare, exact_search, nearest_slots, one_thread
from roost.engine.index.sketch import Sketch
from roost.engine.plan import Look, Method, Task, first_look, is_early, next_look, plan_scan
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
        if self.sketch is None or plan_scan(task, self.allowed.sketch_doubt.share) is Method.EXACT:
            self.allowed.sketch_doubt.note(len(queries), 0)
            return self._exact(queries, reason)
        if len(queries) >= GATHER_FROM_QUERIES:
            return self._by_sketch(self.sketch, queries, first_look(task), reason)
        with one_thread():
            return self._by_sketch(self.sketch, queries, first_look(task), reason)

    def _exact(self, queries: FloatArray, reason: str) -> Neighbours:
        if self.trace is not None:
            self.trace.note_scan(self.task, len(queries), None, reason)
        return exact_search(self.vectors, queries, self.task.k, self.metric, self.allowed.rows, self.inverse_norms)

    def _by_sketch(self, sketch: Sketch, queries: FloatArray, look: Look, reason: str) -> Neighbours:
        """Look at some rows, and at more for the queries that need it."""
        if self.trace is not None:
            self.trace.note_scan(self.task, len(queries), look, reason)
        k, n_compared = self.task.k, min(look.n_compared, self.task.n_allowed)
        rows, is_strange = sketch.search(queries, n_compared, look.n_listed, self.allowed.selector)
        distances = compare(self.vectors, queries, rows, self.metric, self.inverse_norms)
        slots = nearest_slots(distances, k)
        answer = Neighbours(np.take_along_axis(rows, slots, axis=1), np.take_along_axis(distances, slots, axis=1))
        # Codes that are all equal may hide rows, as may what a sketch leaves out.
        is_blind = is_strange | (rows[:, -1] < 0)
        is_open = ~is_blind
        if n_compared < self.task.n_allowed:
            is_open &= ~is_early(slots.sum(axis=1) / k - (k - 1) / 2, n_compared)
        else:
            is_open[:] = False
        further = next_look(self.task, look) if is_open.any() else None
        is_scanned = is_blind if further else is_blind | is_open
        n_scanned, n_open = int(np.count_nonzero(is_scanned)), int(np.count_nonzero(is_open))
        if self.trace is not None:
            self.trace.note_kept(len(queries) - int(np.count_nonzero(is_blind | is_open)))
        self.allowed.sketch_doubt.note(len(queries), n_scanned)
        if n_scanned:
            _put(answer, is_scanned, self._exact(queries[is_scanned], "answers not trusted: scanned"))
        if further and n_open:
            found = self._by_sketch(sketch, queries[is_open], further, "answers not trusted: looked further")
            _put(answer, is_open, found)
        return answer


def _put(answer: Neighbours, where: Mask, found: Neighbours) -> None:
    answer.ids[where], answer.distances[where] = found.ids, found.distances
