"""HNSW: a navigable graph over full-precision vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import faiss

from roost.engine.index.faiss_base import FaissIndex, faiss_metric
from roost.engine.index.parameters import integer, require_known
from roost.errors import InvalidArgument

DEFAULT_M = 30
DEFAULT_EF_CONSTRUCTION = 360
MIN_DEFAULT_EF = 16
"""Milvus's default of `ef` is k, and at least this."""

# Rows compared = scale * links * ef ** power: within a factor of 2.5 on image, clustered and random
# vectors of 16 to 784 dimensions, M = 16, ef from 16 to 1,024.
COMPARISONS_SCALE = 1.5
COMPARISONS_POWER = 0.75


class FaissHnsw(FaissIndex):
    """Hierarchical navigable small world graph.

    Build parameters: `M` (2 to 2048, links of a node; level 0 has twice as many) and
    `efConstruction` (at least 1). Search parameter: `ef` (at least k), the length of the list of candidates.

    Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs", 2018.
    """

    index_type: ClassVar[str] = "HNSW"
    width_param: ClassVar[str | None] = "ef"
    faiss_class: ClassVar[Any] = faiss.IndexHNSWFlat

    def __init__(self, index: Any, metric: str) -> None:
        super().__init__(index, metric)
        self._links = int(index.hnsw.nb_neighbors(0))
        self._unfiltered: dict[int, Any] = {}

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        require_known(params, ("M", "efConstruction"), cls.index_type)
        index = faiss.IndexHNSWFlat(dim, integer(params, "M", DEFAULT_M, 2, 2048), faiss_metric(metric))
        index.hnsw.efConstruction = integer(params, "efConstruction", DEFAULT_EF_CONSTRUCTION, 1)
        return index

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Return the `ef` that a search for k rows uses.

        Raises: InvalidArgument: a parameter is unknown, or `ef` is not a positive integer of at least k.
        """
        require_known(params, ("ef",), cls.index_type)
        if "ef" not in params:
            return max(k, MIN_DEFAULT_EF)
        ef = integer(params, "ef", MIN_DEFAULT_EF, 1)
        if ef < k:
            raise InvalidArgument(f"ef={ef} is less than k={k}; raise ef or lower the limit")
        return ef

    def comparisons(self, width: int) -> int:
        return min(self.n_rows, int(COMPARISONS_SCALE * self._links * width**COMPARISONS_POWER))

    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        ef = self.search_width(k, params)
        if selector is not None:
            return faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
        cached = self._unfiltered.get(ef)
        if cached is None:
            # A race makes the object twice and keeps either: the two are the same.
            cached = self._unfiltered[ef] = faiss.SearchParametersHNSW(efSearch=ef)
        return cached

    @property
    def memory_bytes(self) -> int:
        graph = self._index.hnsw
        links = 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
        return 4 * self.n_rows * self.dim + int(links)
