"""BIN_IVF_FLAT: binary vectors in lists by their nearest centroid, of which a search reads the nearest few."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np
from pymilvus import DataType

from roost.engine.columns import Bitmap, IntArray, Mask, Neighbours, VectorArray
from roost.engine.index.arrays import read_arrays, write_arrays
from roost.engine.index.binary import BINARY_METRICS, bit_distances
from roost.engine.index.building import Building, BuiltAtOnce
from roost.engine.index.exact import check_queries, exact_search, nearest
from roost.engine.index.faiss_base import check_bitmap
from roost.engine.index.faiss_ivf import (
    DEFAULT_NLIST,
    MAX_NLIST,
    ROWS_PER_LIST,
    WIDTH_PER_ROW,
    list_growth,
    n_lists_read,
)
from roost.engine.index.narrow import blocks
from roost.engine.index.parameters import integer, require_known, require_metric
from roost.errors import Corruption

SAMPLED_PER_LIST = 256
"""Rows that centroids are learned from, for each list."""


class BinaryIvf(BuiltAtOnce):
    """Build parameter: `nlist` (1 to 65536 lists). Search parameter: `nprobe`, how many of the lists are read.

    Lists and their order go by the Hamming distance, under JACCARD as well: rows are then compared by JACCARD, so what
    is found is in its order. There is one list for every 39 rows at most. A search reads further lists where these hold
    too few rows.
    """

    index_type: ClassVar[str] = "BIN_IVF_FLAT"
    search_params: ClassVar[tuple[str, ...]] = ("nprobe",)
    metrics: ClassVar[tuple[str, ...]] = BINARY_METRICS
    vector_types: ClassVar[tuple[DataType, ...]] = (DataType.BINARY_VECTOR,)

    def __init__(self, centroids: Bitmap, starts: IntArray, ids: IntArray, rows: Bitmap, metric: str) -> None:
        self.metric = metric
        self.dim = 8 * rows.shape[1]
        self._centroids = centroids
        self._starts = starts
        self._ids = ids
        self._rows = rows

    @classmethod
    def _building(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> Building[BinaryIvf]:
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, ("nlist",), cls.index_type)
        nlist = integer(params, "nlist", DEFAULT_NLIST, 1, MAX_NLIST)
        yield
        centroids = _centroids(vectors, max(1, min(nlist, len(vectors) // ROWS_PER_LIST)))
        of_row = np.empty(len(vectors), np.int64)
        for block in blocks(len(vectors), len(centroids)):
            yield
            of_row[block] = exact_search(centroids, vectors[block], 1, "HAMMING").ids[:, 0]
        ids = np.argsort(of_row, kind="stable")
        starts = np.searchsorted(of_row[ids], np.arange(len(centroids) + 1))
        return cls(centroids, starts, ids, np.ascontiguousarray(vectors[ids]), metric)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return vector_bytes + 16 * n_rows

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> BinaryIvf:
        require_metric(metric, cls.index_type, cls.metrics)
        centroids, starts, ids, rows = read_arrays(path, 4, mmap=mmap)
        fits = centroids.ndim == rows.ndim == 2 and len(starts) == len(centroids) + 1 and len(ids) == len(rows)
        if not fits or rows.dtype != np.uint8:
            raise Corruption(f"{path} does not hold an index of type {cls.index_type}")
        return cls(centroids, starts, ids, rows, metric)

    def save(self, path: Path) -> None:
        write_arrays(path, [self._centroids, self._starts, self._ids, self._rows])

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self._rows.shape[1])
        self.search_width(k, params or {})
        nprobe = n_lists_read(params or {})
        mask = None
        if allowed is not None:
            check_bitmap(allowed, self.n_rows)
            mask = np.unpackbits(allowed, count=self.n_rows, bitorder="little").astype(bool)
        answers = []
        for block in blocks(len(queries), len(self._centroids)):
            order = np.argsort(bit_distances(self._centroids, queries[block], "HAMMING"), axis=1, kind="stable")
            for query, lists in zip(queries[block], order, strict=True):
                answers.append(self._search_lists(query[None], k, lists, nprobe, mask))
        ids = np.concatenate([a.ids for a in answers]) if answers else np.empty((0, k), np.int64)
        distances = [a.distances for a in answers] or [np.empty((0, k), np.float32)]
        return Neighbours(ids, np.concatenate(distances))

    def _search_lists(self, query: Bitmap, k: int, order: IntArray, nprobe: int, mask: Mask | None) -> Neighbours:
        """Compare one query with the rows of the nearest lists, until these hold enough rows for the answer."""
        sizes = np.diff(self._starts)[order]
        n_read = max(nprobe, int(np.searchsorted(np.cumsum(sizes), WIDTH_PER_ROW * k)) + 1)
        lists = order[:n_read]
        slots = np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in lists])
        if mask is not None:
            slots = slots[mask[self._ids[slots]]]
        return nearest(bit_distances(self._rows[slots], query, self.metric), k, self._ids[slots])

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        require_known(params, cls.search_params, cls.index_type)
        n_lists_read(params)
        return WIDTH_PER_ROW * k

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        return {**params, "nprobe": min(MAX_NLIST, math.ceil(n_lists_read(params) * list_growth(k, width)))}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        nlist = len(self._centroids)
        share = min(1.0, n_lists_read(params) * list_growth(k, width) / nlist)
        return nlist + int(share * self.n_rows)

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    @property
    def memory_bytes(self) -> int:
        return int(self._rows.nbytes + self._ids.nbytes + self._centroids.nbytes + self._starts.nbytes)


def _centroids(vectors: Bitmap, nlist: int) -> Bitmap:
    """Return centroids of binary vectors, by Faiss's k-means over a sample of them."""
    dim = 8 * vectors.shape[1]
    if nlist == 1:
        return np.zeros((1, vectors.shape[1]), np.uint8)
    n_sampled = min(len(vectors), SAMPLED_PER_LIST * nlist)
    sample = np.random.default_rng(nlist).choice(len(vectors), n_sampled, replace=False)
    learned = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(dim), dim, nlist)
    learned.cp.min_points_per_centroid = 1  # Faiss would print a warning
    learned.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    centroids: Bitmap = faiss.downcast_IndexBinary(learned.quantizer).reconstruct_n(0, nlist)
    return centroids
