"""SPARSE_INVERTED_INDEX: for each index of sparse vectors, the rows that have a number there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from roost.engine.columns import Bitmap, FloatArray, IntArray, Mask, Neighbours, VectorArray
from roost.engine.index.arrays import read_arrays, write_arrays
from roost.engine.index.building import Building, BuiltAtOnce
from roost.engine.index.exact import check_queries, nearest
from roost.engine.index.faiss_base import check_bitmap
from roost.engine.index.parameters import choice, number, require_known, require_metric
from roost.engine.index.sparse_rows import NOMINAL_DIM, SparseRows, in_float32, pair_blocks
from roost.errors import Corruption

ALGORITHMS = ("DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE")
LARGEST_RATIO = 0.999
REFINED_PER_ROW = 10
"""Where numbers are dropped, so many times k rows are compared again with all of them."""

FEW_FORBIDDEN = 0.5
"""Where so many of the k best of all rows are forbidden on average, or fewer, they are looked for first."""

_PAIR_COPIES = 6
"""Times the size of the rows that a build takes, rather more than less."""

LOOK_UP_COST = 48
"""A look-up of one row in a list costs about as much as reading so many rows of it."""

ROUNDING = 1e-5
"""How far sums of float32 may be off, as a share of the largest sum that there can be."""

MAX_FLOAT32_SUM = 1e38
"""Products that may become larger than this, a third of the largest float32, are summed in float64."""


Scores: TypeAlias = npt.NDArray[np.floating[Any]]
"""Inner products, float32 or float64."""


class _Postings(NamedTuple):
    """The lists of an index, behind one another.

    Attributes:
        indices: (n_lists,) uint32, ascending: the index that each list is of.
        starts: (n_lists + 1,) int64, where each begins.
        rows: int32, ascending within a list.
        values: float32, the number of each row there.
        highs: (n_lists,) float32, the largest number of each list.
        lows: (n_lists,) float32, the smallest.
        n_rows: (1,) int64.
    """

    indices: npt.NDArray[np.uint32]
    starts: IntArray
    rows: npt.NDArray[np.int32]
    values: FloatArray
    highs: FloatArray
    lows: FloatArray
    n_rows: IntArray

    def list_of(self, number: int) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Return the rows and the numbers of a list."""
        start, end = self.starts[number], self.starts[number + 1]
        return self.rows[start:end], self.values[start:end]


class _Terms(NamedTuple):
    """The lists that a query reads, those first that can add most.

    Attributes:
        lists: their numbers.
        weights: the query's number for each.
        most: (n + 1,) what the lists from each on can add to a row at most.
        least: (n + 1,) the same at least, 0 or less.
    """

    lists: IntArray
    weights: FloatArray
    most: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]

    def zeros(self, n: int) -> Scores:
        """Return sums of nothing, in the type that holds every sum of these terms."""
        fits = max(self.most[0], -self.least[0]) <= MAX_FLOAT32_SUM
        zeros: Scores = np.zeros(n, np.float32 if fits else np.float64)
        return zeros


class SparseInverted(BuiltAtOnce):
    """Exact search by the inner product, list by list, which ends early.

    The lists that can add most to a row are read first. Once what the others can add cannot bring a row that has not
    been met among the k best, the rows that still can be are completed by looking them up in the other lists. Rows
    that have no index in common with the query (whose product is 0) are not found, as in Milvus.

    Build parameters: `drop_ratio_build` (0 to 0.999, the share of the smallest numbers that the lists leave out; what
    is found is then compared again with the full vectors), `inverted_index_algo` (checked; there is one algorithm).
    Search parameter: `drop_ratio_search`, the share of the query's smallest numbers, which only rank what the others
    find; under a filter that touches the answer they find it with the others.

    A product that float32 cannot hold comes out as its largest number, and is ranked by what it is.

    Source: Turtle and Flood, "Query evaluation: strategies and optimizations", 1995 (MaxScore, term at a time).
    """

    index_type: ClassVar[str] = "SPARSE_INVERTED_INDEX"
    search_params: ClassVar[tuple[str, ...]] = ("drop_ratio_search",)
    metrics: ClassVar[tuple[str, ...]] = ("IP",)
    vector_types: ClassVar[tuple[DataType, ...]] = (DataType.SPARSE_FLOAT_VECTOR,)

    def __init__(self, postings: _Postings, metric: str) -> None:
        self.metric = metric
        self.dim = NOMINAL_DIM
        self._postings = postings

    @classmethod
    def _building(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> Building[SparseInverted]:
        require_metric(metric, cls.index_type, cls.metrics)
        dropped = _dropped_in_build(params, cls.index_type)
        postings = yield from _inverting(cast(SparseRows, vectors), dropped)
        return cls._kind(dropped)(postings, metric)

    @classmethod
    def build_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return _PAIR_COPIES * vector_bytes

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> SparseInverted:
        require_metric(metric, cls.index_type, cls.metrics)
        postings = _Postings(*read_arrays(path, len(_Postings._fields), mmap=mmap))
        n_lists, n_pairs = len(postings.indices), len(postings.rows)
        fits = postings.starts.shape == (n_lists + 1,) and len(postings.values) == n_pairs == int(postings.starts[-1])
        if not fits or not len(postings.highs) == len(postings.lows) == n_lists or postings.n_rows.shape != (1,):
            raise Corruption(f"{path} does not hold an index of type {cls.index_type}")
        return cls._kind(_dropped_in_build(params, cls.index_type))(postings, metric)

    @classmethod
    def _kind(cls, dropped: float) -> type[SparseInverted]:
        """Return the class of an index that leaves out so many of the numbers."""
        return _SparseWithoutSmall if dropped else cls

    def save(self, path: Path) -> None:
        write_arrays(path, self._postings)

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self.dim)
        dropped = _dropped_in_search(params or {}, self.index_type)
        mask = None
        if allowed is not None:
            check_bitmap(allowed, self.n_rows)
            mask = np.unpackbits(allowed, count=self.n_rows, bitorder="little").astype(bool)
            if dropped and np.count_nonzero(mask) < (1 - FEW_FORBIDDEN / k) * self.n_rows:
                dropped = 0.0
        asked = cast(SparseRows, queries)
        answers = [self._search_one(asked.row(q), k, mask, dropped) for q in range(len(asked))]
        ids = [answer.ids for answer in answers] or [np.empty((0, k), np.int64)]
        return Neighbours(
            np.concatenate(ids), np.concatenate([a.distances for a in answers] or [np.empty((0, k), np.float32)])
        )

    def _search_one(self, query: npt.NDArray[Any], k: int, mask: Mask | None, dropped: float) -> Neighbours:
        """Return the k best allowed rows of a query, all of whose numbers count where a row of the answer is forbidden.

        The best of all rows stand out from the others, so a part of the query finds them. Behind rows that a filter
        forbids come some that hardly differ, and the same part would miss more of these.
        """
        n_dropped = int(dropped * len(query))
        if n_dropped:
            found = self._search_by_part(query, k, n_dropped)
            if mask is None or mask[found.ids[found.ids >= 0]].all():
                return found
        rows, scores = self._best(self._terms(query), k, mask)
        return _ranked(rows, scores, k)

    def _search_by_part(self, query: npt.NDArray[Any], k: int, n_dropped: int) -> Neighbours:
        """Find rows by a query without its smallest numbers, and rank them by all of it."""
        sizes = np.argsort(np.abs(query["value"]), kind="stable")
        rows, scores = self._best(self._terms(query[np.sort(sizes[n_dropped:])]), REFINED_PER_ROW * k, None)
        first = _ranked(rows, scores, REFINED_PER_ROW * k)
        rows = np.sort(first.ids[first.ids >= 0])
        again = self._terms(query)
        scores = again.zeros(len(rows))
        for at, weight in zip(again.lists, again.weights, strict=True):
            self._look_up(int(at), float(weight), rows, scores)
        return _ranked(rows, scores, k)

    def _terms(self, query: npt.NDArray[Any]) -> _Terms:
        held = self._postings
        at = np.searchsorted(held.indices, query["index"])
        at_most = np.minimum(at, max(0, len(held.indices) - 1))
        known = held.indices[at_most] == query["index"] if len(held.indices) else np.zeros(len(query), bool)
        lists, weights = at[known], query["value"][known]
        reach = weights[None].astype(np.float64) * np.stack([held.highs[lists], held.lows[lists]])
        most, least = np.maximum(reach.max(axis=0), 0.0), np.minimum(reach.min(axis=0), 0.0)
        order = np.argsort(-most, kind="stable")
        return _Terms(lists[order], weights[order], _from_each(most[order]), _from_each(least[order]))

    def _best(self, terms: _Terms, k: int, mask: Mask | None) -> tuple[IntArray, Scores]:
        """Return rows with their products, the k best of all among them."""
        scores = terms.zeros(self.n_rows)
        slack, kth = ROUNDING * float(terms.most[0]), 0.0
        for i, (at, weight) in enumerate(zip(terms.lists, terms.weights, strict=True)):
            rows, values = self._postings.list_of(int(at))
            scores[rows] += np.multiply(values, weight, dtype=scores.dtype)
            rest = float(terms.most[i + 1])
            if i + 1 == len(terms.lists) or rest >= terms.most[0] - rest:
                continue
            met = scores[rows] if mask is None else scores[rows[mask[rows]]]
            if len(met) >= k:
                kth = max(kth, float(np.partition(met, len(met) - k)[len(met) - k]) + float(terms.least[i + 1]))
            if kth - rest - slack > 0:
                return self._completed(terms, i + 1, scores, mask, kth - rest - slack)
        return _kept(scores, mask, 0.0)

    def _completed(
        self, terms: _Terms, first: int, scores: Scores, mask: Mask | None, least: float
    ) -> tuple[IntArray, Scores]:
        """Return the rows of more than `least` with what the lists from `first` on add to them."""
        rows, _ = _kept(scores, mask, least)
        looked_up = np.zeros(len(rows), scores.dtype)
        for at, weight in zip(terms.lists[first:], terms.weights[first:], strict=True):
            listed, values = self._postings.list_of(int(at))
            if len(rows) * LOOK_UP_COST < len(listed):
                self._look_up(int(at), float(weight), rows, looked_up)
            else:
                scores[listed] += np.multiply(values, weight, dtype=scores.dtype)
        return rows, scores[rows] + looked_up

    def _look_up(self, at: int, weight: float, rows: IntArray, scores: Scores) -> None:
        """Add a list's part to the products of some rows."""
        listed, values = self._postings.list_of(at)
        places = np.minimum(np.searchsorted(listed, rows.astype(np.int32)), len(listed) - 1)
        hit = listed[places] == rows
        scores[hit] += np.multiply(values[places[hit]], weight, dtype=scores.dtype)

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        _dropped_in_search(params, cls.index_type)
        return 0

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return self.n_rows // 2

    @property
    def n_rows(self) -> int:
        return int(self._postings.n_rows[0])

    @property
    def memory_bytes(self) -> int:
        return sum(int(array.nbytes) for array in self._postings)


class _SparseWithoutSmall(SparseInverted):
    """The index whose lists leave out small numbers."""

    compresses: ClassVar[bool] = True
    filtered_refinement: ClassVar[int] = 10

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        return REFINED_PER_ROW * k


class SparseWand(SparseInverted):
    """The same index under the name of another algorithm of Milvus; the answers are the same."""

    index_type: ClassVar[str] = "SPARSE_WAND"

    @classmethod
    def _kind(cls, dropped: float) -> type[SparseInverted]:
        return _SparseWandWithoutSmall if dropped else cls


class _SparseWandWithoutSmall(_SparseWithoutSmall):
    index_type: ClassVar[str] = "SPARSE_WAND"


def _from_each(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each place the sum from there on, and 0 behind the last."""
    return np.concatenate([np.cumsum(bounds[::-1])[::-1], [0.0]])


def _ranked(rows: IntArray, scores: Scores, k: int) -> Neighbours:
    """Return the k rows of the largest products, those first."""
    if scores.dtype == np.float32:
        return nearest(cast(FloatArray, -scores[None]), k, rows)
    order = np.argsort(-scores, kind="stable")[:k]
    return nearest(-in_float32(scores[order])[None], k, rows[order])


def _kept(scores: Scores, mask: Mask | None, least: float) -> tuple[IntArray, Scores]:
    """Return the allowed rows whose product is not 0, and where `least` is given is more than that."""
    rows = np.flatnonzero(scores > least) if least > 0 else np.flatnonzero(scores)
    rows = rows if mask is None else rows[mask[rows]]
    return rows, scores[rows]


def _dropped_in_build(params: Mapping[str, Any], index_type: str) -> float:
    require_known(params, ("drop_ratio_build", "inverted_index_algo"), index_type)
    choice(params, "inverted_index_algo", ALGORITHMS[0], ALGORITHMS)
    return number(params, "drop_ratio_build", 0.0, 0.0, LARGEST_RATIO)


def _dropped_in_search(params: Mapping[str, Any], index_type: str) -> float:
    require_known(params, SparseInverted.search_params, index_type)
    return number(params, "drop_ratio_search", 0.0, 0.0, LARGEST_RATIO)


def _inverting(vectors: SparseRows, dropped: float) -> Building[_Postings]:
    """Build the lists of rows, without the smallest numbers: their lengths are counted, then they are filled."""
    yield
    least = _least_kept(vectors, dropped)
    indices, lengths = np.empty(0, np.uint32), np.empty(0, np.int64)
    for block in pair_blocks(vectors.starts):
        yield
        here, n_here = np.unique(_kept_pairs(vectors, block, least)[0]["index"], return_counts=True)
        known, n_known = indices, lengths
        indices = np.union1d(known, here)
        lengths = np.zeros(len(indices), np.int64)
        lengths[np.searchsorted(indices, known)] = n_known
        lengths[np.searchsorted(indices, here)] += n_here
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    rows, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    ends = starts[:-1].copy()
    for block in pair_blocks(vectors.starts):
        yield
        pairs, of_rows = _kept_pairs(vectors, block, least)
        order = np.argsort(pairs["index"], kind="stable")
        here, first, n_here = np.unique(pairs["index"][order], return_index=True, return_counts=True)
        at = np.searchsorted(indices, here)
        places = np.repeat(ends[at] - first, n_here) + np.arange(len(order))
        rows[places], values[places] = of_rows[order], pairs["value"][order]
        ends[at] += n_here
    yield
    none = np.empty(0, np.float32)
    return _Postings(
        indices,
        starts,
        rows,
        values,
        np.maximum.reduceat(values, starts[:-1]) if len(indices) else none,
        np.minimum.reduceat(values, starts[:-1]) if len(indices) else none,
        np.array([len(vectors)], np.int64),
    )


def _least_kept(vectors: SparseRows, dropped: float) -> float:
    """Return the size of the smallest number that the lists hold."""
    n_dropped = int(dropped * len(vectors.used))
    if not n_dropped:
        return 0.0
    return float(np.partition(np.abs(vectors.used["value"]), n_dropped)[n_dropped])


def _kept_pairs(vectors: SparseRows, block: slice, least: float) -> tuple[Any, npt.NDArray[np.int32]]:
    """Return the pairs of a run of rows, without small numbers, and the row of each."""
    part = vectors[block]
    pairs, rows = part.used, np.repeat(np.arange(block.start, block.stop, dtype=np.int32), part.lengths)
    if not least:
        return pairs, rows
    kept = np.abs(pairs["value"]) >= least
    return pairs[kept], rows[kept]
