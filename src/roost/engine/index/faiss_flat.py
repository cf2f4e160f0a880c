"""FLAT: every row is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import faiss

from roost.engine.index.faiss_base import FaissIndex
from roost.engine.index.parameters import require_known


class FaissFlat(FaissIndex):
    """Exact search over Faiss's flat storage; no parameters."""

    index_type: ClassVar[str] = "FLAT"
    faiss_class: ClassVar[Any] = faiss.IndexFlat

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        require_known(params, (), cls.index_type)
        return faiss.IndexFlat(dim, cls._metric_number(metric))

    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        require_known(params, (), self.index_type)
        return None if selector is None else faiss.SearchParameters(sel=selector)

    @property
    def memory_bytes(self) -> int:
        return int(self._index.ntotal * self._index.code_size)
