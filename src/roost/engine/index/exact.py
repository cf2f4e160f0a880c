"""Exact search over rows that no index covers, or that a selective filter leaves.

Nothing here holds state: the functions read memory-mapped vectors in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard, cast

import faiss
import numpy as np

from roost.engine.columns import FloatArray, IntArray, Neighbours, StoredVectors, VectorArray
from roost.engine.index import narrow
from roost.engine.index.binary import bit_distances
from roost.engine.index.narrow import BITS, FLOAT32, as_float32
from roost.engine.index.sparse_rows import SparseRows, products
from roost.engine.index.threads import one_thread
from roost.errors import DimensionMismatch, InvalidArgument

# With this many queries, copying the listed rows once costs less than reading them once per query.
GATHER_FROM_QUERIES = 4
# Candidates beyond k whose distances are computed again, so that rounding does not decide who is k-th.
SPARE_CANDIDATES = 8
# Floats in one block of scores or of gathered rows: 16 MiB.
BLOCK_FLOATS = 1 << 22


def normalised(vectors: FloatArray) -> FloatArray:
    """Return a copy of (n, dim) float32 vectors at unit length; a zero vector stays zero."""
    copy = np.array(vectors, dtype=np.float32, order="C")
    faiss.fvec_renorm_L2(copy.shape[1], copy.shape[0], faiss.swig_ptr(copy))
    return copy


def inverse_norms(vectors: StoredVectors) -> FloatArray:
    """Return 1 / length of each of (n, dim) vectors, (n,) float32; 0 for a zero vector."""
    if not in_memory(vectors):
        parts = [inverse_norms(as_float32(vectors[block])) for block in narrow.blocks(*vectors.shape)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    inverse: FloatArray = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return inverse


def check_queries(queries: VectorArray, k: int, dim: int) -> None:
    """Refuse queries that do not fit.

    Raises:
        DimensionMismatch: queries.shape[1] != dim.
        InvalidArgument: k is less than 1.
    """
    if queries.shape[1] != dim:
        raise DimensionMismatch(f"the queries have {queries.shape[1]} dimensions; the vectors have {dim}")
    if k < 1:
        raise InvalidArgument(f"k={k} is out of range; it must be at least 1")


def exact_search(
    vectors: StoredVectors,
    queries: VectorArray,
    k: int,
    metric: str,
    rows: IntArray | None = None,
    inverse_norms: FloatArray | None = None,
) -> Neighbours:
    """Return the k nearest rows of each query by comparing every row, nearest first.

    Args:
        vectors: (n_rows, dim) float32 or another stored type, C-contiguous; may be memory-mapped and read-only.
        queries: (n_queries, dim) float32, of binary vectors uint8; not modified.
        k: neighbours of a query, at least 1.
        metric: "L2", "IP" or "COSINE"; "HAMMING" or "JACCARD" of binary vectors.
        rows: (m,) int64, the only rows to compare, each in [0, n_rows), which is not checked; None for all.
        inverse_norms: (n_rows,) float32, as `inverse_norms(vectors)` returns it; for COSINE only, and
            computed here when it is None.
    Returns: ids (n_queries, k) int64, row numbers of `vectors`, padded with -1; distances
        (n_queries, k) float32, smaller is closer, padded with inf.
    Raises:
        DimensionMismatch: queries.shape[1] != dim.
        InvalidArgument: k is less than 1.
    """
    check_queries(queries, k, vectors.shape[1])
    n_compared = len(vectors) if rows is None else len(rows)
    if n_compared == 0 or len(queries) == 0:
        return _nothing(len(queries), k)
    if isinstance(vectors, SparseRows):
        return _sparse(vectors, cast(SparseRows, queries), k, rows)
    if not in_memory(vectors):
        return _converted(vectors, queries, k, metric, rows, inverse_norms)
    cosine = metric == "COSINE"
    queries = normalised(queries) if cosine else np.ascontiguousarray(queries, np.float32)
    if len(queries) < GATHER_FROM_QUERIES:
        return _in_place(vectors, queries, k, metric, rows, inverse_norms)
    if rows is None and not cosine:
        return _all_rows(vectors, queries, k, metric)
    return _in_blocks(vectors, queries, k, metric, rows, inverse_norms)


def rank_again(
    vectors: StoredVectors,
    queries: FloatArray,
    found: IntArray,
    k: int,
    metric: str,
    inverse_norms: FloatArray | None = None,
) -> Neighbours:
    """Return the k nearest of the rows that each query has found, by their full vectors.

    Args:
        found: (n_queries, at least k) int64 row numbers, -1 where there is none.
        vectors, queries, k, metric, inverse_norms: as in `exact_search`.
    """
    if isinstance(vectors, SparseRows):
        return _rank_sparse(vectors, cast(SparseRows, queries), found, k)
    return nearest(compare(vectors, queries, found, metric, inverse_norms), k, found)


def compare(
    vectors: StoredVectors, queries: FloatArray, found: IntArray, metric: str, inverse_norms: FloatArray | None = None
) -> FloatArray:
    """Return the (n_queries, n) distances of each query to its rows `found` (int64; inf where they are -1)."""
    if not in_memory(vectors):
        rows, places = np.unique(found, return_inverse=True)
        here = np.where(found < 0, -1, places.reshape(found.shape))
        return compare(as_float32(vectors[np.maximum(rows, 0)]), queries, here, metric)
    missing = found < 0
    rows = np.ascontiguousarray(np.where(missing, 0, found) if missing.any() else found, np.int64)
    queries = normalised(queries) if metric == "COSINE" else np.ascontiguousarray(queries, np.float32)
    distances = np.empty(rows.shape, np.float32)
    of_query = np.repeat(np.arange(len(queries)), rows.shape[1])
    pairwise = faiss.pairwise_indexed_L2sqr if metric == "L2" else faiss.pairwise_indexed_inner_product
    x, q, y, listed, out = (faiss.swig_ptr(a) for a in (queries, of_query, vectors, rows, distances))
    if len(queries) < GATHER_FROM_QUERIES:
        with one_thread():
            pairwise(vectors.shape[1], rows.size, x, q, y, listed, out)
    else:
        pairwise(vectors.shape[1], rows.size, x, q, y, listed, out)
    if metric == "COSINE":
        distances *= _inverse_of(vectors, rows) if inverse_norms is None else inverse_norms[rows]
    if metric != "L2":
        np.negative(distances, out=distances)
    distances[missing] = np.inf
    return distances


def nearest_slots(distances: FloatArray, k: int) -> IntArray:
    """Return the slots of the k smallest distances of each query, nearest first ((n_queries, k) int64).

    Args:
        distances: (n_queries, at least k) float32.
    """
    return nearest(distances, k, None).ids if len(distances) > 1 else distances.argsort(axis=1)[:, :k]


def _inverse_of(vectors: FloatArray, rows: IntArray) -> FloatArray:
    return inverse_norms(vectors[rows.ravel()]).reshape(rows.shape)


def merge(parts: list[Neighbours], k: int) -> Neighbours:
    """Return the k nearest of several answers to the same queries; their ids must not overlap."""
    if len(parts) == 1 and parts[0].ids.shape[1] == k:
        return parts[0]
    ids = np.concatenate([part.ids for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    return nearest(distances, k, ids)


def in_memory(vectors: StoredVectors) -> TypeGuard[FloatArray]:
    """Say whether vectors can be compared where they lie."""
    return isinstance(vectors, np.ndarray) and vectors.dtype == FLOAT32


def _converted(
    vectors: StoredVectors, queries: VectorArray, k: int, metric: str, rows: IntArray | None, inverse: FloatArray | None
) -> Neighbours:
    """Compare rows of fewer bits, or on disk, of which one block at a time is made float32 in memory."""
    best: Neighbours | None = None
    n_compared = len(vectors) if rows is None else len(rows)
    for block in narrow.blocks(n_compared, max(vectors.shape[1], len(queries))):
        picked = block if rows is None else rows[block]
        if vectors.dtype == BITS:
            found = nearest(bit_distances(vectors[picked], queries, metric), k, None)
        else:
            lengths = None if inverse is None else inverse[picked]
            found = exact_search(as_float32(vectors[picked]), queries, k, metric, None, lengths)
        known = np.arange(block.start, block.stop) if rows is None else rows[block]
        found = Neighbours(np.where(found.ids < 0, -1, known[found.ids]), found.distances)
        best = found if best is None else merge([best, found], k)
    return _nothing(len(queries), k) if best is None else best


def _sparse(vectors: SparseRows, queries: SparseRows, k: int, rows: IntArray | None) -> Neighbours:
    """Compare sparse rows by the inner product; those that have nothing in common with a query are not found."""
    answer = _nothing(len(queries), k)
    compared = vectors if rows is None else vectors[rows]
    for q in range(len(queries)):
        scores = products(compared, queries.row(q))
        hits = np.flatnonzero(scores)
        found = nearest(-scores[None, hits], k, hits if rows is None else rows[hits])
        answer.ids[q], answer.distances[q] = found.ids[0], found.distances[0]
    return answer


def _rank_sparse(vectors: SparseRows, queries: SparseRows, found: IntArray, k: int) -> Neighbours:
    answer = _nothing(len(queries), k)
    for q, rows in enumerate(found):
        ranked = _sparse(vectors, queries[q : q + 1], k, rows[rows >= 0])
        answer.ids[q], answer.distances[q] = ranked.ids[0], ranked.distances[0]
    return answer


def _in_place(
    vectors: FloatArray, queries: FloatArray, k: int, metric: str, rows: IntArray | None, inverse: FloatArray | None
) -> Neighbours:
    """Compare rows where they lie, for few queries."""
    if rows is None:
        scores = _score_all(vectors, queries, metric)
    else:
        rows = np.ascontiguousarray(rows, np.int64)
        scores = _score_listed(vectors, queries, metric, rows)
    if metric == "COSINE":
        compared = slice(None) if rows is None else rows
        scores *= inverse_norms(vectors[compared]) if inverse is None else inverse[compared]
    if metric != "L2":
        np.negative(scores, out=scores)
    return nearest(scores, k, rows)


def _score_all(vectors: FloatArray, queries: FloatArray, metric: str) -> FloatArray:
    scores = np.empty((len(queries), len(vectors)), np.float32)
    score = faiss.fvec_L2sqr_ny if metric == "L2" else faiss.fvec_inner_products_ny
    for query, out in zip(queries, scores, strict=True):
        pointers = (faiss.swig_ptr(a) for a in (out, query, vectors))
        score(*pointers, vectors.shape[1], len(vectors))
    return scores


def _score_listed(vectors: FloatArray, queries: FloatArray, metric: str, rows: IntArray) -> FloatArray:
    n_queries, dim = queries.shape
    scores = np.empty((n_queries, len(rows)), np.float32)
    listed = rows if n_queries == 1 else np.tile(rows, n_queries)
    out, x, y, ids = (faiss.swig_ptr(a) for a in (scores, queries, vectors, listed))
    by_row = faiss.fvec_L2sqr_by_idx if metric == "L2" else faiss.fvec_inner_products_by_idx
    with one_thread():
        by_row(out, x, y, ids, dim, n_queries, len(rows))
    return scores


def _all_rows(vectors: FloatArray, queries: FloatArray, k: int, metric: str) -> Neighbours:
    """Compare all rows with Faiss's own loop, which spreads many queries over the cores."""
    n_queries, dim = queries.shape
    n_found = min(k + SPARE_CANDIDATES, len(vectors))
    ids = np.empty((n_queries, n_found), np.int64)
    distances = np.empty((n_queries, n_found), np.float32)
    knn = faiss.knn_L2sqr if metric == "L2" else faiss.knn_inner_product
    x, y, near, found = (faiss.swig_ptr(a) for a in (queries, vectors, distances, ids))
    knn(x, y, dim, n_queries, len(vectors), n_found, near, found)
    if metric == "L2":
        _rescore_l2(vectors, queries, ids, distances)
    else:
        np.negative(distances, out=distances)
    return nearest(distances, k, ids)


def _rescore_l2(vectors: FloatArray, queries: FloatArray, ids: IntArray, distances: FloatArray) -> None:
    """Replace distances that were expanded to norms and a product, which cancels digits of near rows."""
    of_query = np.repeat(np.arange(len(queries)), ids.shape[1])
    x, q, y, rows, out = (faiss.swig_ptr(a) for a in (queries, of_query, vectors, ids, distances))
    faiss.pairwise_indexed_L2sqr(vectors.shape[1], ids.size, x, q, y, rows, out)


def _in_blocks(
    vectors: FloatArray,
    queries: FloatArray,
    k: int,
    metric: str,
    rows: IntArray | None,
    inverse: FloatArray | None,
) -> Neighbours:
    """Compare block by block, so that what is gathered and scored stays small."""
    n_compared = len(vectors) if rows is None else len(rows)
    best: Neighbours | None = None
    for block in _blocks(n_compared, max(vectors.shape[1], len(queries))):
        picked = block if rows is None else rows[block]
        gathered = vectors[picked]
        if metric == "COSINE":
            scores = queries @ gathered.T
            scores *= inverse_norms(gathered) if inverse is None else inverse[picked]
            found = nearest(np.negative(scores, out=scores), k, None)
        else:
            found = _all_rows(gathered, queries, k, metric)
        known = np.arange(block.start, block.stop) if rows is None else rows[block]
        ids = np.where(found.ids < 0, -1, known[found.ids])
        found = Neighbours(ids, found.distances)
        best = found if best is None else merge([best, found], k)
    return _nothing(len(queries), k) if best is None else best


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1024, BLOCK_FLOATS // width)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def nearest(distances: FloatArray, k: int, ids: IntArray | None) -> Neighbours:
    """Return the k smallest distances of each query with the ids of their columns, sorted.

    `ids` is (m,), the same for every query, or (n_queries, m), or None for the columns' numbers.
    """
    n_queries, m = distances.shape
    row = np.arange(n_queries)[:, None]
    if k < m:
        columns = distances.argpartition(k - 1, axis=1)[:, :k]
        columns = columns[row, distances[row, columns].argsort(axis=1, kind="stable")]
    else:
        columns = distances.argsort(axis=1, kind="stable")
    distances = distances[row, columns]
    if ids is not None:
        columns = ids[columns] if ids.ndim == 1 else ids[row, columns]
    if m >= k:
        return Neighbours(columns, distances)
    padded = _nothing(n_queries, k)
    padded.ids[:, :m] = columns
    padded.distances[:, :m] = distances
    return padded


def _nothing(n_queries: int, k: int) -> Neighbours:
    return Neighbours(np.full((n_queries, k), -1, np.int64), np.full((n_queries, k), np.inf, np.float32))
