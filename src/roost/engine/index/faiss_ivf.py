"""Inverted files: rows in lists by their nearest centroid, of which a search reads the nearest few."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import faiss
import numpy as np
import numpy.typing as npt

from roost.engine.columns import Bitmap, FloatArray, IntArray, Neighbours
from roost.engine.index.faiss_base import check_bitmap
from roost.engine.index.faiss_learned import FaissLearned, lifted_dim, pq_bits, pq_shape, rotated, rotated_dim
from roost.engine.index.parameters import integer, require_known
from roost.errors import InvalidArgument

DEFAULT_NLIST, MAX_NLIST = 128, 65_536
DEFAULT_NPROBE = 8
ROWS_PER_LIST = 39
"""Fewer rows than this for a centroid make bad centroids, so there are fewer lists where there are few rows.

Source: Faiss's least number of training points for each centroid."""

FILTERED_GROWTH = 0.5
"""A filter that keeps the part s of the rows multiplies the lists that are read by (1 / s) to this power."""

_REFINEMENT = ("refine", "refine_type")
_FILTERS_REMEMBERED = 16


class _FaissIvf(FaissLearned):
    """Build parameter: `nlist` (1 to 65536 lists). Search parameter: `nprobe`, how many of the lists are read.

    Under a bitmap more lists are read, as the rows that are wanted lie farther away.

    Source: Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, section IV.
    """

    build_params: ClassVar[tuple[str, ...]] = ("nlist",)
    search_params: ClassVar[tuple[str, ...]] = ("nprobe",)
    lifts: ClassVar[bool] = True

    def __init__(self, index: Any, metric: str) -> None:
        super().__init__(index, metric)
        self._counts: dict[int, tuple[Bitmap, IntArray]] = {}

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        nlist = integer(params, "nlist", DEFAULT_NLIST, 1, MAX_NLIST)
        width, n_parts = cls._shape(dim, metric, params)
        return cls._lists(width, nlist, n_parts, cls._metric_number(metric), params)

    @classmethod
    def _shape(cls, dim: int, metric: str, params: Mapping[str, Any]) -> tuple[int, int]:
        """Return the dimension that is searched, and the number of parts of product quantisation, if any."""
        return lifted_dim(dim, metric), 0

    @classmethod
    @abstractmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        """Return Faiss's empty index of vectors of `width` numbers."""

    @classmethod
    def _fitted(cls, params: Mapping[str, Any], n_rows: int) -> Mapping[str, Any]:
        nlist = integer(params, "nlist", DEFAULT_NLIST, 1, MAX_NLIST)
        return {**params, "nlist": max(1, min(nlist, n_rows // ROWS_PER_LIST))}

    @classmethod
    def _n_to_learn_from(cls, params: Mapping[str, Any]) -> int:
        return 2 * ROWS_PER_LIST

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Check the search parameters; there is no list of candidates whose length could be set.

        Raises: InvalidArgument: one is unknown or out of its range.
        """
        require_known(params, cls.search_params, cls.index_type)
        _nprobe(params)
        cls.n_refined(k, params)
        return 0

    def comparisons(self, width: int) -> int:
        if self._is_flat:
            return self.n_rows
        return self._nlist + self.n_rows * min(DEFAULT_NPROBE, self._nlist) // self._nlist

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        if allowed is None or self._is_flat or not len(queries):
            return super().search(queries, k, allowed, params)
        check_bitmap(allowed, self.n_rows)
        given = dict(params or {})
        self.search_width(k, given)
        nprobes = self._filtered_nprobes(queries, allowed, min(self._nlist, _nprobe(given)))
        found = Neighbours(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32))
        for nprobe in np.unique(nprobes):
            own = np.flatnonzero(nprobes == nprobe)
            part = super().search(np.ascontiguousarray(queries[own]), k, allowed, {**given, "nprobe": int(nprobe)})
            found.ids[own], found.distances[own] = part.ids, part.distances
        return found

    def _filtered_nprobes(self, queries: FloatArray, allowed: Bitmap, nprobe: int) -> IntArray:
        """Return for each query how many lists to read: until they hold as many allowed rows as are wanted.

        Without a filter `nprobe` lists hold some number of rows; of a filter that keeps the part s and knows nothing of
        the query, s ** -FILTERED_GROWTH times as many lists are read. The allowed rows among those are what is wanted
        wherever a filter's rows lie.
        """
        counts = self._allowed_of_list(allowed)
        kept = max(1, int(counts.sum())) / self.n_rows
        wanted = nprobe / self._nlist * self.n_rows * kept ** (1.0 - FILTERED_GROWTH)
        asked = self._prepared(queries)
        lists = np.empty((len(asked), self._nlist), np.int64)
        distances = np.empty((len(asked), self._nlist), np.float32)
        pointers = (faiss.swig_ptr(array) for array in (asked, distances, lists))
        x, near, nearest = pointers
        self._inner.quantizer.search_c(len(asked), x, self._nlist, near, nearest, None)
        seen = np.cumsum(counts[lists], axis=1)
        enough: IntArray = np.count_nonzero(seen < wanted, axis=1) + 1
        # Rounded up to a power of two, so that the queries of a batch are searched in few groups.
        rounded = np.exp2(np.ceil(np.log2(np.maximum(enough, nprobe)))).astype(np.int64)
        return np.minimum(np.where(enough <= nprobe, nprobe, rounded), self._nlist)

    def _allowed_of_list(self, allowed: Bitmap) -> IntArray:
        """Return how many allowed rows each list holds, (nlist,); remembered while a filter is in use."""
        held = self._counts.get(id(allowed))
        if held is not None and held[0] is allowed:
            return held[1]
        mask = np.unpackbits(allowed, count=self.n_rows, bitorder="little").view(bool)
        counts = np.bincount(self._list_of_row[mask], minlength=self._nlist)
        if len(self._counts) >= _FILTERS_REMEMBERED:
            self._counts.clear()
        self._counts[id(allowed)] = allowed, counts
        return counts

    @cached_property
    def _list_of_row(self) -> npt.NDArray[np.int32]:
        """The list of each row, (n_rows,)."""
        lists = self._inner.invlists
        found = np.empty(self.n_rows, np.int32)
        for number in range(self._nlist):
            size = lists.list_size(number)
            if size:
                ids = lists.get_ids(number)
                found[faiss.rev_swig_ptr(ids, size)] = number
                lists.release_ids(number, ids)
        return found

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return faiss.SearchParametersIVF(**self._probing(params, selector))

    def _probing(self, params: Mapping[str, Any], selector: Any) -> dict[str, Any]:
        nprobe = min(self._nlist, _nprobe(params))
        return {"nprobe": nprobe} if selector is None else {"nprobe": nprobe, "sel": selector}

    @property
    def _nlist(self) -> int:
        return int(self._inner.nlist)

    @property
    def memory_bytes(self) -> int:
        if self._is_flat:
            return 4 * self.n_rows * self.dim
        return self.n_rows * (int(self._inner.code_size) + 8) + 4 * self._nlist * int(self._inner.d)


class FaissIvfFlat(_FaissIvf):
    """Lists of full vectors."""

    index_type: ClassVar[str] = "IVF_FLAT"
    faiss_class: ClassVar[Any] = faiss.IndexIVFFlat

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        return faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, nlist, metric)


class FaissIvfSq8(_FaissIvf):
    """Lists of vectors of one byte for each number."""

    index_type: ClassVar[str] = "IVF_SQ8"
    faiss_class: ClassVar[Any] = faiss.IndexIVFScalarQuantizer

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        return faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlat(width, metric), width, nlist, faiss.ScalarQuantizer.QT_8bit, metric
        )


class FaissIvfPq(_FaissIvf):
    """Lists of product-quantised vectors: `m` parts (a divisor of the dimension) of `nbits` bits each (1 to 12).

    Search parameter: `refine_k` (at least 1), how many times k rows are compared again with their full vectors.
    """

    index_type: ClassVar[str] = "IVF_PQ"
    build_params: ClassVar[tuple[str, ...]] = ("nlist", "m", "nbits", *_REFINEMENT)
    search_params: ClassVar[tuple[str, ...]] = ("nprobe", "refine_k")
    default_refine_k: ClassVar[float] = 4.0
    faiss_class: ClassVar[Any] = faiss.IndexIVFPQ

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        return faiss.IndexIVFPQ(faiss.IndexFlat(width, metric), width, nlist, n_parts, pq_bits(params), metric)

    @classmethod
    def _shape(cls, dim: int, metric: str, params: Mapping[str, Any]) -> tuple[int, int]:
        return pq_shape(params, dim, metric)

    @classmethod
    def _n_to_learn_from(cls, params: Mapping[str, Any]) -> int:
        return max(2 * ROWS_PER_LIST, 1 << pq_bits(params))

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return faiss.IVFPQSearchParameters(**self._probing(params, selector))


class FaissIvfRabitq(_FaissIvf):
    """Lists of vectors of one bit for each number, turned at random so that every bit tells as much.

    Search parameters: `rbq_query_bits` (0 to 8, bits of a number of the query; 0 for all of them), and `refine_k`.

    Source: Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", 2024.
    """

    index_type: ClassVar[str] = "IVF_RABITQ"
    build_params: ClassVar[tuple[str, ...]] = ("nlist", *_REFINEMENT)
    search_params: ClassVar[tuple[str, ...]] = ("nprobe", "rbq_query_bits", "refine_k")
    default_refine_k: ClassVar[float] = 8.0
    faiss_class: ClassVar[Any] = faiss.IndexIVFRaBitQ

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        n_bits = rotated_dim(width)
        return rotated(faiss.IndexIVFRaBitQ(faiss.IndexFlat(n_bits, metric), n_bits, nlist, metric), width)

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        query_bits(params)
        return super().search_width(k, params)

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return faiss.IVFRaBitQSearchParameters(qb=query_bits(params), **self._probing(params, selector))


class FaissScann(_FaissIvf):
    """Lists of vectors of four bits for each two numbers, compared in the processor's registers.

    Search parameter: `reorder_k` (at least k), how many rows are compared again with their full vectors.

    Source: Andre, Kermarrec and Le Scouarnec, "Cache locality is not enough: high-performance nearest neighbor
    search with product quantization fast scan", 2015; the type is named after Guo et al. 2020.
    """

    index_type: ClassVar[str] = "SCANN"
    build_params: ClassVar[tuple[str, ...]] = ("nlist", "with_raw_data")
    search_params: ClassVar[tuple[str, ...]] = ("nprobe", "reorder_k")
    default_refine_k: ClassVar[float] = 4.0
    faiss_class: ClassVar[Any] = faiss.IndexIVFPQFastScan

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        return faiss.IndexIVFPQFastScan(faiss.IndexFlat(width, metric), width, nlist, n_parts, 4, metric)

    @classmethod
    def _shape(cls, dim: int, metric: str, params: Mapping[str, Any]) -> tuple[int, int]:
        if dim % 2:
            raise InvalidArgument(f"SCANN needs an even dimension, not {dim}")
        return pq_shape({"m": dim // 2}, dim, metric)

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        reorder_k = integer(params, "reorder_k", round(cls.default_refine_k * k), 1)
        if reorder_k < k:
            raise InvalidArgument(f"reorder_k={reorder_k} is less than k={k}; raise reorder_k or lower the limit")
        return reorder_k


def _nprobe(params: Mapping[str, Any]) -> int:
    return integer(params, "nprobe", DEFAULT_NPROBE, 1, MAX_NLIST)


def query_bits(params: Mapping[str, Any]) -> int:
    """Return the bits of a number of the query, 0 for all of them, which is slow."""
    return integer(params, "rbq_query_bits", 8, 0, 8)
