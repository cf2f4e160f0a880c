"""One query answered from a sketch, in few steps.

A lone query meets cold caches and feels every step of Python; so do those who wait meanwhile for the interpreter lock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from roost.engine.columns import FloatArray, Neighbours
from roost.engine.index.allowed import Allowed
from roost.engine.index.compiled_sketch import Judge, Scanned
from roost.engine.index.exact import exact_search, normalised
from roost.engine.index.sketch import Sketch
from roost.engine.plan import Task, extra_time
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

    task: Task
    judge: Judge
    sketch: Sketch
    vectors: FloatArray
    allowed: Allowed
    inverse_norms: FloatArray | None = None
    bound: float = math.inf
    trace: Trace | None = None

    def __call__(self, query: FloatArray, reason: str) -> Neighbours | None:
        """Return the nearest allowed rows, nearest first; None where a scan by steps has to find them.

        Args:
            query: (1, dim) float32, C-contiguous.
            reason: of the scan, for the trace.
        Returns: (1, k) where there is no bound, else (1, up to k), all of the rows that are nearer than the bound.
        """
        task, sketch, allowed, norms = self.task, self.sketch, self.allowed, None
        if not self.judge.fits or sketch.compiled is None:
            return None
        if sketch.metric == "COSINE":
            norms, query = self.inverse_norms, normalised(query)
            if norms is None:
                return None
        use = allowed.use(sketch)
        excerpt = use.excerpt
        compiled = None if excerpt is None else excerpt.use_compiled()
        if compiled is not None:
            scanned = compiled.scan(query, self.vectors, norms, None, self.judge, self.bound)
        else:
            bitmap = None if allowed.count == len(self.vectors) else allowed.bitmap
            scanned = sketch.compiled.scan(query, self.vectors, norms, bitmap, self.judge, self.bound)
        if scanned is None:
            return None
        if self.trace is not None:
            self._note(self.trace, scanned, reason)
        looks = [(1, n_compared) for n_compared in scanned.looks[1:]]
        if scanned.neighbours is not None:
            use.extra.note(1, extra_time(task, looks, 0))
            return scanned.neighbours
        use.extra.note(1, extra_time(task, looks, 1))
        return exact_search(self.vectors, query, task.k, sketch.metric, allowed.listed, norms)

    def _note(self, trace: Trace, scanned: Scanned, reason: str) -> None:
        for n_compared in scanned.looks:
            trace.note_scan(self.task, 1, n_compared, reason)
            trace.note_kept(0)
            reason = "answers not trusted: compared more"
        if scanned.neighbours is None:
            trace.note_scan(self.task, 1, None, "answers not trusted: scanned")
        else:
            trace.note_kept(1)
