"""Search under a filter at the recall of the unfiltered search.

The graph is traversed with a bitmap of the allowed rows and of a fixed random sample of the others
(or with none, where most rows are allowed). The other rows in the answer are not returned: they say
how many rows, allowed or not, are nearer than each allowed one. While these ranks are small beside
the width of the search, the k rows are found as surely as the unfiltered search finds its own,
whatever the filter is and however it depends on the query. Otherwise the query is searched again,
more widely or exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from roost.engine.columns import FloatArray, IntArray, Mask, Neighbours, StoredVectors
from roost.engine.index.allowed import SAMPLED_FRACTION, Allowed, SketchUse
from roost.engine.index.base import VectorIndex
from roost.engine.index.compiled_sketch import Judge
from roost.engine.index.exact import check_queries, exact_search, in_memory, merge, rank_again
from roost.engine.index.lone_scan import NOTHING_KNOWN, Known, LoneScan
from roost.engine.index.scan import Scan
from roost.engine.index.sketch import Sketch
from roost.engine.index.threads import n_threads, one_thread
from roost.engine.plan import (
    SCAN,
    Method,
    Plan,
    Task,
    about,
    excerpt_saving_ns,
    is_trusted,
    most_extra,
    plan_again,
    plan_scan,
    plan_search,
)
from roost.engine.trace import Trace

# With this many times k allowed rows expected among the candidates, the graph is searched without a
# bitmap, which costs a test of every row met, and the candidates are sifted afterwards.
SIFTED_FROM = 2

MAX_PLANS = 1_024
"""How many plans of lone queries are kept for an index."""


def search_segment(
    index: VectorIndex | None,
    vectors: StoredVectors,
    queries: FloatArray,
    k: int,
    metric: str,
    allowed: Allowed | None = None,
    params: Mapping[str, Any] | None = None,
    inverse_norms: FloatArray | None = None,
    sketch: Sketch | None = None,
    trace: Trace | None = None,
    known: Known = NOTHING_KNOWN,
) -> Neighbours:
    """Return the k nearest allowed rows of each query, nearest first.

    Args:
        index: over all rows of `vectors`; None where there is none yet.
        vectors: (n_rows, dim) as they are stored; arrays are C-contiguous.
        queries: (n_queries, dim) float32; not modified.
        k: neighbours of a query, at least 1.
        metric: "L2", "IP" or "COSINE"; the index's own.
        allowed: the rows that may be returned; None for all.
        params: search parameters of the index's type.
        inverse_norms: (n_rows,) float32, for COSINE; see `exact_search`.
        sketch: of all rows of `vectors`, or without an index of the first of them; None where there is none. Without an
            index, `allowed` goes with it.
        trace: is told what is done.
        known: from other rows, when one query is asked.
    Returns: ids (n_queries, k) int64 padded with -1; distances (n_queries, k) float32 padded with inf. Of what is known
        already of a query, rows at its bound and beyond may be left out, and be no padding in their place.
    Raises:
        InvalidArgument: a search parameter or k is not allowed.
        DimensionMismatch: the queries have another dimension than the vectors.
    """
    check_queries(queries, k, vectors.shape[1])
    params = params or {}
    if index is not None and index.compresses:
        is_filtered = allowed is not None and allowed.count < len(vectors)
        n_found, wider = _widened(index, k, params, is_filtered=is_filtered)
        found = _search_once(index, vectors, queries, n_found, metric, allowed, wider, inverse_norms, sketch, trace)
        answer = rank_again(vectors, queries, found.ids, k, metric, inverse_norms)
        n_rows = len(vectors) if allowed is None else allowed.count
        if trace is not None:
            trace.note("refine", len(queries), n_found, "compared again with the full vectors")
        # The lists that were read may hold too few rows, and codes that are all equal may hide some.
        short = np.flatnonzero(answer.ids[:, min(k, n_rows) - 1] < 0).tolist() if n_rows else []
        if short:
            if trace is not None:
                trace.note("exact", len(short), n_rows, "fewer rows were found than there are")
            rows = None if allowed is None else allowed.rows
            _put(answer, short, exact_search(vectors, queries[short], k, metric, rows, inverse_norms))
        return answer
    return _search_once(index, vectors, queries, k, metric, allowed, params, inverse_norms, sketch, trace, known)


def _widened(
    index: VectorIndex, k: int, params: Mapping[str, Any], *, is_filtered: bool
) -> tuple[int, Mapping[str, Any]]:
    """Return how many rows of an index that compresses are compared again, and the parameters to find so many."""
    n_refined = index.n_refined(k, params) * (index.filtered_refinement if is_filtered else 1)
    width, n_found = index.search_width(k, params), max(k, min(n_refined, index.n_rows))
    return n_found, index.with_width(n_found, params, max(width, n_found))


def _search_once(
    index: VectorIndex | None,
    vectors: StoredVectors,
    queries: FloatArray,
    k: int,
    metric: str,
    allowed: Allowed | None,
    params: Mapping[str, Any],
    inverse_norms: FloatArray | None,
    sketch: Sketch | None,
    trace: Trace | None,
    known: Known = NOTHING_KNOWN,
) -> Neighbours:
    """Search once, by the index's own distances."""
    width = 0 if index is None else index.search_width(k, params)
    if index is not None and (allowed is None or allowed.count == len(vectors)):
        if trace is not None:
            trace.note("index", len(queries), index.comparisons(width, k, params), "every row is allowed", width)
        return index.search(queries, k, None, params)
    if index is None and sketch is not None and allowed is not None and len(queries):
        return _search_unindexed(vectors, queries, k, metric, allowed, inverse_norms, sketch, trace, known)
    if index is None or allowed is None or not len(queries):
        if trace is not None:
            n_compared = len(vectors) if allowed is None else allowed.count
            trace.note("exact", len(queries), n_compared, "no index covers the rows")
        return exact_search(vectors, queries, k, metric, None if allowed is None else allowed.listed, inverse_norms)
    use = None if sketch is None else allowed.use(sketch)
    asked, judge = _Asked(index, vectors, k, width, params, allowed, sketch, use), None
    if len(queries) == 1 and not (allowed.doubt.mean or (use is not None and use.extra.mean)):
        task, plan, _, judge = _planned_alone(asked)
        task = task._replace(n_allowed=allowed.count, comparisons=asked.comparisons)
    else:
        task, plan = _planned(asked, len(queries))
    if trace is not None and plan != SCAN:
        trace.note_plan(plan, task, "the cheapest plan")
    if plan.method is Method.BITMAP:
        return index.search(queries, k, allowed.bitmap, params)
    scan = Scan(vectors, task, metric, allowed, inverse_norms, sketch, trace, judge)
    if plan == SCAN:
        allowed.doubt.fade()
        return scan(queries)
    if use is not None:
        use.extra.fade()
    return _traverse(index, queries, task, plan, allowed, scan, params)


class _Asked(NamedTuple):
    """A search of an index under a filter, as far as its plan depends on it.

    Attributes:
        width: that the search has without a filter.
        use: what is known of the sketch under the filter; None without a sketch.
    """

    searched: VectorIndex
    vectors: StoredVectors
    k: int
    width: int
    params: Mapping[str, Any]
    allowed: Allowed
    sketch: Sketch | None
    use: SketchUse | None

    @property
    def comparisons(self) -> Callable[[int], int]:
        """`VectorIndex.comparisons` of a width."""
        return partial(self.searched.comparisons, k=self.k, params=self.params)

    @property
    def is_compiled(self) -> bool:
        """Whether one query can be answered by a compiled sketch."""
        return self.sketch is not None and self.sketch.compiled is not None and in_memory(self.vectors)

    def task(self, n_queries: int) -> Task:
        """Return what the counts say, of a filter of which nothing is known."""
        return Task(
            len(self.vectors),
            self.allowed.count,
            self.vectors.shape[1],
            self.k,
            self.width,
            self.comparisons,
            n_queries,
            n_threads(),
            is_rough=self.searched.compresses and self.searched.n_refined(1, {}) > 1,
            n_sketched=0 if self.sketch is None else self.sketch.n_numbers,
            skips_blocks=n_queries == 1 and self.is_compiled,
        )


class Planned(NamedTuple):
    """How to search an index for one query under a filter, by the counts alone.

    Attributes:
        task: about so many rows being allowed, and without its `comparisons`, which would hold the index.
        saving_ns: how much quicker it were with an excerpt.
        judge: as a `Scan` takes it.
    """

    task: Task
    plan: Plan
    saving_ns: float
    judge: Judge | None


def _planned_alone(asked: _Asked) -> Planned:
    """Return how to search for one query under a filter of which nothing is known; make an excerpt where that is due.

    It is planned once for all filters that keep about as many rows.
    """
    allowed, use = asked.allowed, asked.use
    # Other threads may change what is known of the filter meanwhile: what is kept must be of its key alone.
    is_new, excerpt = allowed.is_new, None if use is None else use.excerpt
    n_rows, about_allowed = len(asked.vectors), about(allowed.count)
    n_sketched, is_compiled = 0 if asked.sketch is None else asked.sketch.n_numbers, asked.is_compiled
    counts = n_rows, about_allowed, asked.k, asked.width, n_sketched
    key = counts, repr(asked.params), is_new, excerpt is not None, is_compiled
    plans = _plans_of(asked.searched)
    found = plans.get(key)
    if found is None:
        task = asked.task(1)._replace(n_allowed=about_allowed, is_new=is_new, has_excerpt=excerpt is not None)
        plan = plan_search(task)
        saving_ns = 0.0 if use is None else excerpt_saving_ns(task, plan)
        by_sketch = is_compiled and plan == SCAN and plan_scan(task) is Method.SKETCH
        found = Planned(task._replace(comparisons=_uncounted), plan, saving_ns, Judge.of(task) if by_sketch else None)
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plans[key] = found
    allowed.is_new = False
    if use is not None and excerpt is None and found.saving_ns:
        use.miss(allowed, found.saving_ns)
        if use.excerpt is not None:
            return _planned_alone(asked)
    return found if found.judge is None else found._replace(judge=found.judge.among(allowed.count))


def _plans_of(index: VectorIndex) -> dict[Any, Planned]:
    """Return the plans that are kept with an index."""
    found: dict[Any, Planned] | None = index.memo.get("plans")
    return index.memo.setdefault("plans", {}) if found is None else found


def _planned(asked: _Asked, n_queries: int) -> tuple[Task, Plan]:
    """Return what the counts say of a search under a filter, and how to do it; make an excerpt where that is due."""
    allowed, use = asked.allowed, asked.use
    task = asked.task(n_queries)._replace(is_new=allowed.is_new)
    if use is not None:
        task = task._replace(has_excerpt=use.excerpt is not None, sketch_extra=use.extra.mean)
    plan = plan_search(task, allowed.doubt.mean)
    saving_ns = 0.0 if use is None else excerpt_saving_ns(task, plan, allowed.doubt.mean)
    allowed.is_new = False
    if use is not None and saving_ns:
        use.miss(allowed, saving_ns)
        if use.excerpt is not None:
            task = task._replace(has_excerpt=True)
            plan = plan_search(task, allowed.doubt.mean)
    return task, plan


def _uncounted(width: int) -> int:
    """Take the place of `Task.comparisons` where nothing is planned."""
    return 0


def _search_unindexed(
    vectors: StoredVectors,
    queries: FloatArray,
    k: int,
    metric: str,
    allowed: Allowed,
    inverse_norms: FloatArray | None,
    sketch: Sketch,
    trace: Trace | None,
    known: Known,
) -> Neighbours:
    """Search rows that no index covers: by the sketch, and those behind it one by one."""
    n_rows, n_sketched, reason = len(vectors), sketch.n_rows, "no index covers the rows"
    first = allowed.first(n_sketched)
    covered, norms = vectors[:n_sketched], None if inverse_norms is None else inverse_norms[:n_sketched]
    found = [_search_sketched(covered, queries, k, first, norms, sketch, trace, known)] if first.count else []
    if allowed.count > first.count:
        rows = np.arange(n_sketched, n_rows) if allowed.listed is None else allowed.rows[first.count :]
        found.append(exact_search(vectors, queries, k, metric, rows, inverse_norms))
        if trace is not None:
            trace.note("exact", len(queries), len(rows), reason)
    elif found:
        return found[0]
    return merge(found, k) if found else exact_search(vectors, queries, k, metric, allowed.rows, inverse_norms)


def _search_sketched(
    vectors: StoredVectors,
    queries: FloatArray,
    k: int,
    allowed: Allowed,
    inverse_norms: FloatArray | None,
    sketch: Sketch,
    trace: Trace | None,
    known: Known,
) -> Neighbours:
    """Search rows that no index covers and that all are in the sketch."""
    counts, reason = (len(vectors), allowed.count, vectors.shape[1], k, sketch.n_numbers), "no index covers the rows"
    is_tried = False
    if len(queries) == 1 and sketch.compiled is not None and allowed.count > k and in_memory(vectors):
        lone, judge, most = _lone_task(*counts, known.n_rows if known.bound < math.inf else 0)
        if allowed.use(sketch).extra.mean < most:
            is_tried = True
            scan = LoneScan(lone, judge, sketch, vectors, allowed, inverse_norms, known.bound, trace)
            if (found := scan(queries, reason)) is not None:
                return found
    extra = allowed.use(sketch).extra.mean
    task = _unindexed(*counts)._replace(n_queries=len(queries), n_threads=n_threads(), sketch_extra=extra)
    steps = Scan(vectors, task, sketch.metric, allowed, inverse_norms, sketch, trace)
    if not is_tried:
        return steps(queries, reason)
    with one_thread():
        return steps.by_sketch(sketch, queries, reason)


def _unindexed(n_rows: int, n_allowed: int, dim: int, k: int, n_sketched: int) -> Task:
    """Return the task of searching rows that no index covers, for one query and thread."""
    return Task(n_rows, n_allowed, dim, k, 0, lambda width: n_rows, n_sketched=n_sketched)


@lru_cache(maxsize=256)
def _lone_task(
    n_rows: int, n_allowed: int, dim: int, k: int, n_sketched: int, n_known: int
) -> tuple[Task, Judge, float]:
    """Return what the counts say of a scan of rows that no index covers, and what `most_extra` gives for it.

    Args:
        n_known: rows that were searched before for the same neighbours.
    """
    task = _unindexed(n_rows, n_allowed, dim, k, n_sketched)
    return task, Judge.of(task, n_known), most_extra(task)


def _traverse(
    index: VectorIndex,
    queries: FloatArray,
    task: Task,
    plan: Plan,
    allowed: Allowed,
    scan: Scan,
    params: Mapping[str, Any],
) -> Neighbours:
    """Search the graph, and search again the queries whose answer cannot be trusted."""
    answer, ranks = _search_graph(index, queries, task.k, allowed, plan.width, params)
    doubtful = [q for q, rank in enumerate(ranks) if not is_trusted(task, rank, plan.width)]
    if scan.trace is not None:
        scan.trace.note_kept(len(queries) - len(doubtful))
    if not doubtful:
        allowed.doubt.note(len(queries), 0)
        return answer
    one = task._replace(n_queries=1)
    plans = {q: plan_again(one, plan.width, ranks[q]) for q in doubtful}
    by_scan = [q for q, wider in plans.items() if wider == SCAN]
    by_graph = [q for q, wider in plans.items() if wider != SCAN]
    if by_scan:
        _put(answer, by_scan, scan(queries[by_scan], "answers not trusted: scanned"))
        allowed.doubt.note(len(queries), len(by_scan))
    if by_graph:
        widest = Plan(Method.TRAVERSE, max(plans[q].width for q in by_graph))
        if scan.trace is not None:
            again = task._replace(n_queries=len(by_graph))
            scan.trace.note_plan(widest, again, "answers not trusted: searched more widely")
        _put(answer, by_graph, _traverse(index, queries[by_graph], task, widest, allowed, scan, params))
    return answer


def _put(answer: Neighbours, queries: list[int], found: Neighbours) -> None:
    answer.ids[queries], answer.distances[queries] = found.ids, found.distances


def _search_graph(
    index: VectorIndex, queries: FloatArray, k: int, allowed: Allowed, width: int, params: Mapping[str, Any]
) -> tuple[Neighbours, list[float]]:
    """Search the graph once.

    Returns: the k nearest allowed rows that it met; and for each query their rank (see `_Sieve`).
    """
    sifted = width * allowed.count >= SIFTED_FROM * k * len(allowed.mask)
    wider = index.with_width(k, params, width)
    found = index.search(queries, width, None if sifted else allowed.sampled, wider)
    sieve = _Sieve(allowed.mask, k, width, 1.0 if sifted else SAMPLED_FRACTION)
    if len(queries) == 1:
        # Without the copies below: a lone query meets cold caches, and feels every step of Python.
        slots, rank = sieve(found.ids[0])
        if len(slots) == k:
            return Neighbours(found.ids[:, slots], found.distances[:, slots]), [rank]
    ids = np.full((len(queries), k), -1, np.int64)
    distances = np.full((len(queries), k), np.inf, np.float32)
    ranks = []
    for q, met in enumerate(found.ids):
        slots, rank = sieve(met)
        ids[q, : len(slots)] = met[slots]
        distances[q, : len(slots)] = found.distances[q, slots]
        ranks.append(rank)
    return Neighbours(ids, distances), ranks


class _Sieve(NamedTuple):
    """Picks the allowed rows out of those that a search met, nearest first, and ranks them.

    Attributes:
        fraction: how much of the dropped rows the search returned.
    """

    mask: Mask
    k: int
    width: int
    fraction: float

    def __call__(self, met: IntArray) -> tuple[IntArray, float]:
        """Return the slots of the k nearest allowed rows, and twice their mean rank among all rows.

        That is the rank of the k-th where they lie evenly, estimated from the sample. Where fewer than k were met
        it is out of reach, and inf where none was.
        """
        if met[-1] < 0:
            met = met[met >= 0]
        slots = self.mask[met].nonzero()[0][: self.k]
        n_met = len(slots)
        if n_met == self.k:
            others = float(slots.sum()) / n_met - (n_met - 1) / 2
            return slots, n_met + 1 + 2 * others / self.fraction
        if n_met:
            others = (len(met) - n_met) / self.fraction
            return slots, max(2.0 * self.width, self.k / n_met * (n_met + others))
        return slots, math.inf
