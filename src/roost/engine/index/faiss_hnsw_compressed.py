"""HNSW over compressed vectors: the graph of full ones in a fraction of the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import faiss

from roost.engine.index.faiss_hnsw import (
    graph_bytes,
    graph_comparisons,
    graph_links,
    graph_row_bytes,
    graph_width,
    set_construction,
)
from roost.engine.index.faiss_learned import FaissLearned, pq_bits, pq_shape, rotated, rotated_dim
from roost.engine.index.parameters import choice, integer

_SCALARS: Mapping[str, int] = {
    "SQ4": faiss.ScalarQuantizer.QT_4bit,
    "SQ6": faiss.ScalarQuantizer.QT_6bit,
    "SQ8": faiss.ScalarQuantizer.QT_8bit,
    "BF16": faiss.ScalarQuantizer.QT_bf16,
    "FP16": faiss.ScalarQuantizer.QT_fp16,
}
_MIN_ROWS = 64


class _FaissHnswCompressed(FaissLearned):
    """Build parameters: `M` and `efConstruction`; search parameters: `ef`, and `refine_k` (at least 1).

    `refine_k` times k rows are compared again with their full vectors; the list of candidates is at least so long.
    """

    search_params: ClassVar[tuple[str, ...]] = ("ef", "refine_k")

    def __init__(self, index: Any, metric: str) -> None:
        super().__init__(index, metric)
        self._links = 0 if self._is_flat else int(self._inner.hnsw.nb_neighbors(0))

    @classmethod
    def _n_to_learn_from(cls, params: Mapping[str, Any]) -> int:
        return _MIN_ROWS

    @classmethod
    def _row_bytes(cls, made: Any, params: Mapping[str, Any]) -> int:
        return int(faiss.downcast_index(made.storage).code_size) + graph_row_bytes(graph_links(params))

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Return the `ef` that a search for k rows uses.

        Raises: InvalidArgument: a parameter is unknown or out of its range, or `ef` is less than k.
        """
        cls.n_refined(k, params)
        return graph_width(cls.index_type, cls.search_params, k, params)

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        return {**params, "ef": width}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return self.n_rows if self._is_flat else graph_comparisons(self.n_rows, self._links, width)

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        ef = self.search_width(k, params)
        return faiss.SearchParametersHNSW(efSearch=ef, **({} if selector is None else {"sel": selector}))

    @property
    def memory_bytes(self) -> int:
        if self._is_flat:
            return 4 * self.n_rows * self.dim
        storage = faiss.downcast_index(self._inner.storage)
        return self.n_rows * int(storage.code_size) + graph_bytes(self._inner)


class FaissHnswSq(_FaissHnswCompressed):
    """Of vectors with a few bits for each number: `sq_type`, one of SQ4, SQ6, SQ8, BF16, FP16."""

    index_type: ClassVar[str] = "HNSW_SQ"
    build_params: ClassVar[tuple[str, ...]] = ("M", "efConstruction", "sq_type", "refine", "refine_type")
    default_refine_k: ClassVar[float] = 2.0
    faiss_class: ClassVar[Any] = faiss.IndexHNSWSQ

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        scalar = _SCALARS[choice(params, "sq_type", "SQ8", _SCALARS)]
        index = faiss.IndexHNSWSQ(dim, scalar, graph_links(params), cls._metric_number(metric))
        set_construction(index, params)
        return index


class FaissHnswPq(_FaissHnswCompressed):
    """Of product-quantised vectors: `m` parts (a divisor of the dimension) of `nbits` bits each (1 to 8)."""

    index_type: ClassVar[str] = "HNSW_PQ"
    build_params: ClassVar[tuple[str, ...]] = ("M", "efConstruction", "m", "nbits", "refine", "refine_type")
    default_refine_k: ClassVar[float] = 4.0
    faiss_class: ClassVar[Any] = faiss.IndexHNSWPQ
    metrics: ClassVar[tuple[str, ...]] = ("L2", "COSINE")  # two codes are compared by no other distance

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        _, n_parts = pq_shape(params, dim, metric)
        # Codes are compared with codes by a table whose size grows with the square of their number.
        n_bits = integer(params, "nbits", 8, 1, 8)
        index = faiss.IndexHNSWPQ(dim, n_parts, graph_links(params), n_bits)
        set_construction(index, params)
        return index

    @classmethod
    def loaded_bytes(cls, file_bytes: int, n_rows: int, dim: int, params: Mapping[str, Any]) -> int:
        _, n_parts = pq_shape(params, dim, "L2")
        table = 4 * n_parts << 2 * pq_bits(params)  # of the distances between two codes
        return file_bytes + table

    @classmethod
    def _n_to_learn_from(cls, params: Mapping[str, Any]) -> int:
        return max(_MIN_ROWS, 1 << pq_bits(params))


class FaissHnswRabitq(_FaissHnswCompressed):
    """Of vectors of one bit for each number, turned at random. The graph itself is built of full vectors.

    Source: Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", 2024.
    """

    index_type: ClassVar[str] = "HNSW_RABITQ"
    metrics: ClassVar[tuple[str, ...]] = ("L2", "COSINE")
    build_params: ClassVar[tuple[str, ...]] = ("M", "efConstruction", "refine", "refine_type")
    default_refine_k: ClassVar[float] = 8.0
    faiss_class: ClassVar[Any] = faiss.IndexHNSWRaBitQ

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        index = faiss.IndexHNSWRaBitQ(rotated_dim(dim), graph_links(params))
        set_construction(index, params)
        return rotated(index, dim)
