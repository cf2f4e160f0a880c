"""Nearest-neighbour search over a snapshot: every part is searched, and the answers are merged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from roost.engine.columns import FloatArray, IntArray, Neighbours, StoredVectors, VectorArray
from roost.engine.filter import Predicate
from roost.engine.index.filtered import search_segment
from roost.engine.index.lone_scan import NOTHING_KNOWN, Known
from roost.engine.index.registry import resolve_index
from roost.engine.keys import KeyArray, key_array
from roost.engine.segment import IndexSpec, Segment
from roost.engine.snapshot import Part, Partitions, Snapshot
from roost.engine.trace import Trace

_LISTED_UPTO = 64
"""Rows that are merged by the interpreter rather than by NumPy."""

_FEW_ZEROS = 20
"""Vectors of zeros that a sketch may put first without hiding what is near: half of what is compared at least."""

WIDTH_PER_ROW = 2
"""How much wider than the number of rows that it wants a search is made that looks behind the nearest ones."""


class Request(NamedTuple):
    """One search, checked.

    Attributes:
        queries: (n_queries, dim) float32, C-contiguous and finite; for binary vectors (n_queries, dim / 8) uint8.
        field: the vector field.
        spec: the field's index, or None to scan exactly by `metric`.
        params: search parameters of the index type.
        within: keep only distances below this (smaller is closer), or None.
        beyond: keep only distances at or above this, or None.
        traces: is given what was done in each part, each time that all are searched.
    """

    queries: VectorArray
    field: str
    k: int
    metric: str
    spec: IndexSpec | None
    params: Mapping[str, Any]
    predicate: Predicate | None = None
    partitions: Partitions = None
    within: float | None = None
    beyond: float | None = None
    traces: list[Trace] | None = None


class Hits(NamedTuple):
    """The answer to a search, as columns, all queries behind one another.

    Attributes:
        counts: hits of each query.
        distances: (sum of counts,) float32, smaller is closer.
        part: (sum of counts,) which part of the snapshot holds the hit.
        row: (sum of counts,) the hit's row in its part.
    """

    snapshot: Snapshot
    counts: list[int]
    distances: FloatArray
    part: IntArray | None
    row: IntArray

    @property
    def keys(self) -> KeyArray:
        """The primary keys of the hits."""
        if not len(self.row):
            return key_array(self.take(self.snapshot.schema.primary.name))
        parts = self.snapshot.parts
        if self.part is None:
            return parts[0].rows.key_column[self.row]
        numbers = set(self.part.tolist())
        found = np.empty(len(self.row), parts[min(numbers)].rows.key_column.dtype)
        for number in numbers:
            here = self.part == number
            found[here] = parts[number].rows.key_column[self.row[here]]
        return found

    @property
    def listed_keys(self) -> list[Any]:
        """The primary keys of the hits as Python's values, those of a few in fewer steps."""
        if self.part is None or len(self.row) > _LISTED_UPTO:
            keys: list[Any] = self.keys.tolist()
            return keys
        numbers, parts = self.part.tolist(), self.snapshot.parts
        columns = {number: parts[number].rows.key_column for number in set(numbers)}
        return [columns[number].item(row) for number, row in zip(numbers, self.row.tolist(), strict=True)]

    def take(self, name: str) -> pa.Array | VectorArray:
        """Return a field of the hits: Arrow for scalars, an array as it is stored for vectors."""
        return gather(self.snapshot.parts, self.part, self.row, name, self.snapshot)


def search(snapshot: Snapshot, request: Request) -> Hits:
    """Return the k nearest live rows of each query that pass the filter, nearest first."""
    if request.beyond is not None:
        return _search_ring(snapshot, request)
    return _search(snapshot, request, request.k)


def _search(snapshot: Snapshot, request: Request, k: int) -> Hits:
    look = _search_rows if request.traces is None else _search_traced
    answers: list[Neighbours] = []
    numbers: list[int] = []
    known, is_lone = NOTHING_KNOWN, len(request.queries) == 1 and len(snapshot.parts) > 1
    for number, searched in enumerate(snapshot.parts):
        if searched.is_outside(request.partitions):
            if request.traces is not None:
                request.traces.append(Trace())
            continue
        answer = look(searched, request, k, known)
        if is_lone:
            n_found = answer.ids.shape[1]
            if not n_found or (known.bound < math.inf and answer.distances.item(0) >= known.bound):
                continue
            farthest = answer.distances.item(-1) if n_found == k else math.inf
            known = Known(min(known.bound, farthest), known.n_rows + searched.n_rows)
        answers.append(answer)
        numbers.append(number)
    if numbers == [0]:
        found, part = answers[0], None
    else:
        found, part = _merge(answers, numbers, len(request.queries), k)
    ids, distances = found.ids, found.distances
    if request.within is None and request.beyond is None and ids.size and found.is_full:
        counts = [ids.shape[1]] * len(ids)
        return Hits(snapshot, counts, distances.ravel(), None if part is None else part.ravel(), ids.ravel())
    kept = ids >= 0
    if request.within is not None:
        kept &= distances < request.within
    if request.beyond is not None:
        kept &= distances >= request.beyond
    counts = np.count_nonzero(kept, axis=1).tolist()
    return Hits(snapshot, counts, distances[kept], None if part is None else part[kept], ids[kept])


def _search_ring(snapshot: Snapshot, request: Request) -> Hits:
    """Look deeper until the rows nearer than `beyond` are behind us."""
    k, deeper = request.k, request
    while True:
        hits = _search(snapshot, deeper, k)
        if k >= snapshot.n_rows or min(hits.counts, default=0) >= request.k:
            return _first(hits, request.k)
        k = min(4 * k, snapshot.n_rows)
        deeper = _widened(request, k)


def _widened(request: Request, k: int) -> Request:
    """Return the request for k rows, and as wide as that takes."""
    if request.spec is None:
        return request
    kind = resolve_index(request.spec.index_type)
    width = kind.search_width(request.k, request.params)
    if not width:
        return request
    return request._replace(params=kind.with_width(request.k, request.params, max(width, WIDTH_PER_ROW * k)))


def _first(hits: Hits, k: int) -> Hits:
    """Keep the first k hits of each query."""
    counts = np.asarray(hits.counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.arange(len(hits.row)) - starts < k
    part = None if hits.part is None else hits.part[kept]
    return Hits(hits.snapshot, np.minimum(counts, k).tolist(), hits.distances[kept], part, hits.row[kept])


def _search_traced(part: Part, request: Request, k: int, known: Known) -> Neighbours:
    trace, started = Trace(), time.perf_counter()
    if request.traces is not None:
        request.traces.append(trace)
    found = _search_rows(part, request, k, known, trace)
    trace.time_ms = 1e3 * (time.perf_counter() - started)
    return found


def _search_rows(part: Part, request: Request, k: int, known: Known, trace: Trace | None = None) -> Neighbours:
    """Search one part.

    Args:
        known: from the parts before.
    """
    allowed = part.select(request.predicate, request.partitions)
    held = None if request.spec is None else part.vector_index(request.spec)
    index = None if held is None else held.usable()
    if index is not None and allowed is None and not index.compresses and trace is None:
        return index.search(request.queries, k, None, request.params)
    norms = part.rows.inverse_norms(request.field) if request.metric == "COSINE" else None
    vectors: StoredVectors
    if index is not None and index.on_disk and isinstance(part.rows, Segment):
        vectors = part.rows.vector_file(request.field)
    else:
        vectors = part.rows.vectors(request.field)
    sketch = None
    if request.spec is not None and (allowed is not None or index is None):
        sketch = None if norms is not None and _has_zeros(part, request.field, norms) else part.sketch(request.spec)
    if sketch is not None and allowed is None:
        allowed = part.all_rows
    return search_segment(
        index, vectors, request.queries, k, request.metric, allowed, request.params, norms, sketch, trace, known
    )


def _has_zeros(part: Part, name: str, norms: FloatArray) -> bool:
    """Whether more than a few vectors are zeros, which a sketch takes to be near to everything under a cosine."""
    found = part.memo.get(("zeros", name))
    if found is None:
        found = part.memo["zeros", name] = len(norms) - np.count_nonzero(norms) > _FEW_ZEROS
    return bool(found)


def _merge(
    answers: Sequence[Neighbours], numbers: Sequence[int], n_queries: int, k: int
) -> tuple[Neighbours, IntArray]:
    """Return the k nearest rows of all answers, and the number of the part that each is of.

    Args:
        numbers: of the part that each answer is of.
    """
    if not answers:
        nothing = np.empty((n_queries, 0), dtype=np.int64)
        return Neighbours(nothing, np.empty((n_queries, 0), dtype=np.float32)), nothing
    if n_queries == 1 and len(answers) * k <= _LISTED_UPTO:
        return _merge_few(answers, numbers, k)
    ids = np.concatenate([answer.ids for answer in answers], axis=1)
    distances = np.concatenate([answer.distances for answer in answers], axis=1)
    parts = np.array(numbers).repeat([answer.ids.shape[1] for answer in answers])
    order = distances.argsort(axis=1, kind="stable")[:, :k]
    row = np.arange(n_queries)[:, None]
    return Neighbours(ids[row, order], distances[row, order]), parts[order]


def _merge_few(answers: Sequence[Neighbours], numbers: Sequence[int], k: int) -> tuple[Neighbours, IntArray]:
    """Merge answers of a few rows to one query as `_merge` does, without its copies: a lone query feels every step."""
    ids: list[int] = []
    distances: list[float] = []
    parts: list[int] = []
    for answer, number in zip(answers, numbers, strict=True):
        here = answer.ids[0].tolist()
        ids += here
        distances += answer.distances[0].tolist()
        parts += [number] * len(here)
    first = sorted(range(len(ids)), key=distances.__getitem__)[:k]
    merged = Neighbours(
        np.array([ids[i] for i in first], np.int64)[None], np.array([distances[i] for i in first], np.float32)[None]
    )
    return merged, np.array([parts[i] for i in first], np.int64)[None]


def gather(
    parts: Sequence[Part], part: IntArray | None, row: IntArray, name: str, snapshot: Snapshot
) -> pa.Array | VectorArray:
    """Return a field at (part, row) places, in their order. `part` None means the only part."""
    field = snapshot.schema.field(name)
    if len(row) == 0:
        if field.is_matrix:
            return np.empty((0, *field.row_shape), field.vector_dtype)
        return pa.array([], type=field.arrow_type)
    if part is None:
        return parts[0].column(name, row)
    used = np.unique(part)
    if len(used) == 1:
        return parts[int(used[0])].column(name, row)
    pieces = [parts[int(p)].column(name, row[part == p]) for p in used]
    order = np.argsort(np.concatenate([np.flatnonzero(part == p) for p in used]), kind="stable")
    if field.is_matrix:
        return np.concatenate(pieces)[order]
    return pa.concat_arrays(pieces).take(pa.array(order))
