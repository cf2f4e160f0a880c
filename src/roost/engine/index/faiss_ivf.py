"""Inverted files: rows in lists by their nearest centroid, of which a search reads the nearest few."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import faiss
import numpy as np

from roost.engine.columns import FloatArray
from roost.engine.index.faiss_learned import FaissLearned, lifted_dim, pq_bits, pq_shape, rotated, rotated_dim
from roost.engine.index.narrow import FLOAT16, SCALARS
from roost.engine.index.parameters import integer, require_known
from roost.errors import InvalidArgument

DEFAULT_NLIST, MAX_NLIST = 128, 65_536
DEFAULT_NPROBE = 8
ROWS_PER_LIST = 39
"""Fewer rows than this for a centroid make bad centroids, so there are fewer lists where there are few rows.

Source: Faiss's least number of training points for each centroid."""

WIDTH_PER_ROW = 2
"""Rows of up to this many times the rank that is asked for are found nearly as surely."""

WIDTH_GROWTH = 0.5
"""A search that is w times as wide reads w to this power times as many lists."""

COMPARED_SHARE = 0.4
"""Of the rows in the lists that are read, those that a filtered search looks at: the allowed and some of the others."""

_REFINEMENT = ("refine", "refine_type")


class _FaissIvf(FaissLearned):
    """Build parameter: `nlist` (1 to 65536 lists). Search parameter: `nprobe`, how many of the lists are read.

    A filter makes a search wider, and a wider search reads more lists.

    Source: Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, section IV.
    """

    build_params: ClassVar[tuple[str, ...]] = ("nlist",)
    search_params: ClassVar[tuple[str, ...]] = ("nprobe",)
    lifts: ClassVar[bool] = True

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
        """Return how far down the rows of `nprobe` lists are found nearly as surely as the k nearest.

        Raises: InvalidArgument: a search parameter is unknown or out of its range.
        """
        require_known(params, cls.search_params, cls.index_type)
        n_lists_read(params)
        cls.n_refined(k, params)
        return WIDTH_PER_ROW * k

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        return {**params, "nprobe": min(MAX_NLIST, math.ceil(n_lists_read(params) * list_growth(k, width)))}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        if self._is_flat:
            return self.n_rows
        share = min(1.0, n_lists_read(params) * list_growth(k, width) / self._nlist)
        return self._nlist + int(COMPARED_SHARE * share * self.n_rows)

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return faiss.SearchParametersIVF(**self._probing(k, params, selector))

    def _probing(self, k: int, params: Mapping[str, Any], selector: Any) -> dict[str, Any]:
        # Lists that hold too few rows for the answer are as good as none.
        least = math.ceil(WIDTH_PER_ROW * k * self._nlist / self.n_rows)
        nprobe = min(self._nlist, max(least, n_lists_read(params)))
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
    """Lists of full vectors, in the width in which they are stored; of normalised ones in half precision at most."""

    index_type: ClassVar[str] = "IVF_FLAT"
    learns_codes: ClassVar[bool] = False
    faiss_class: ClassVar[Any] = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer)

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        return faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, nlist, metric)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        size = super().index_bytes(n_rows, dim, vector_bytes, params)
        if n_rows < cls._n_to_learn_from(params):
            return size
        return size - max(0, 4 * n_rows * dim - max(vector_bytes, 2 * n_rows * dim))

    @classmethod
    def _in_width(cls, made: Any, dtype: np.dtype[Any], space: str) -> Any:
        code, metric = SCALARS[FLOAT16 if space == "COSINE" else dtype], made.metric_type
        lists = faiss.IndexFlat(made.d, metric)
        return faiss.IndexIVFScalarQuantizer(lists, made.d, made.nlist, code, metric, False)

    @classmethod
    def _add_rows(cls, made: Any, rows: FloatArray, n_lifted: int) -> None:
        if not n_lifted or isinstance(made, faiss.IndexIVFFlat):
            made.add(rows)
            return
        # The numbers that lift a row choose its list and need not fit its type: a query has zeros there.
        _, lists = made.quantizer.search(rows, 1)
        rows[:, -n_lifted:] = 0
        made.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(lists))

    @classmethod
    def _holds(cls, index: Any, metric: str) -> bool:
        if isinstance(index, faiss.IndexIVFScalarQuantizer) and index.sq.qtype not in SCALARS.values():
            return False
        return super()._holds(index, metric)


class FaissIvfSq8(_FaissIvf):
    """Lists of vectors of one byte for each number."""

    index_type: ClassVar[str] = "IVF_SQ8"
    default_refine_k: ClassVar[float] = 2.0
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

    @classmethod
    def loaded_bytes(cls, file_bytes: int, n_rows: int, dim: int, params: Mapping[str, Any]) -> int:
        # Faiss works out what each list's centroid and each code have in common, unless that is too much.
        _, n_parts = pq_shape(params, dim, "L2")
        n_lists = int(cls._fitted(params, n_rows)["nlist"])
        table = 4 * n_lists * n_parts << pq_bits(params)
        return file_bytes + (table if table <= int(faiss.cvar.precomputed_table_max_bytes) else 0)

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return faiss.IVFPQSearchParameters(**self._probing(k, params, selector))


class FaissIvfRabitq(_FaissIvf):
    """Lists of vectors of one bit for each number, turned at random so that every bit tells as much.

    Search parameters: `rbq_query_bits` (0 to 8, bits of a number of the query; 0 for all of them), and `refine_k`.

    Source: Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", 2024.
    """

    index_type: ClassVar[str] = "IVF_RABITQ"
    learns_codes: ClassVar[bool] = False
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
        return faiss.IVFRaBitQSearchParameters(qb=query_bits(params), **self._probing(k, params, selector))


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
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        wider = super().with_width(k, params, width)
        return {**wider, "reorder_k": max(width, cls.n_refined(k, params))} if "reorder_k" in params else wider

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        reorder_k = integer(params, "reorder_k", round(cls.default_refine_k * k), 1)
        if reorder_k < k:
            raise InvalidArgument(f"reorder_k={reorder_k} is less than k={k}; raise reorder_k or lower the limit")
        return reorder_k


def list_growth(k: int, width: int) -> float:
    """Return how many times as many lists a search of that width reads."""
    growth: float = max(1.0, width / (WIDTH_PER_ROW * k)) ** WIDTH_GROWTH
    return growth


def n_lists_read(params: Mapping[str, Any]) -> int:
    """Return the `nprobe` of a search."""
    return integer(params, "nprobe", DEFAULT_NPROBE, 1, MAX_NLIST)


def query_bits(params: Mapping[str, Any]) -> int:
    """Return the bits of a number of the query, 0 for all of them, which is slow."""
    return integer(params, "rbq_query_bits", 8, 0, 8)
