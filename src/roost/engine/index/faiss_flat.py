"""FLAT: every row is compared, in the width in which it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import faiss
import numpy as np

from roost.engine.columns import Bitmap, FloatArray, Neighbours, VectorArray
from roost.engine.index import narrow
from roost.engine.index.exact import check_queries, exact_search, merge
from roost.engine.index.faiss_base import FaissIndex, check_bitmap
from roost.engine.index.narrow import FLOAT32, SCALARS, as_float32
from roost.engine.index.parameters import require_known, require_metric


class FaissFlat(FaissIndex):
    """Exact search over Faiss's flat storage; no parameters."""

    index_type: ClassVar[str] = "FLAT"
    faiss_class: ClassVar[Any] = (faiss.IndexFlat, faiss.IndexScalarQuantizer)

    @classmethod
    def build(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> FaissFlat:
        if vectors.dtype == FLOAT32:
            return super().build(vectors, metric, params)
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, (), cls.index_type)
        held = faiss.IndexScalarQuantizer(vectors.shape[1], SCALARS[vectors.dtype], cls._metric_number(metric))
        built = NarrowFlat(held, metric)
        built.add(vectors)
        return built

    @classmethod
    def _wrapped(cls, index: Any, metric: str) -> FaissFlat:
        return cls(index, metric) if isinstance(index, faiss.IndexFlat) else NarrowFlat(index, metric)

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        require_known(params, (), cls.index_type)
        return faiss.IndexFlat(dim, cls._metric_number(metric))

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return vector_bytes

    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        require_known(params, (), self.index_type)
        return None if selector is None else faiss.SearchParameters(sel=selector)

    @property
    def memory_bytes(self) -> int:
        return int(self._index.ntotal * self._index.code_size)


class NarrowFlat(FaissFlat):
    """FLAT over rows of fewer bits than float32, as they are: a cosine is of rows that are not normalised here."""

    def add(self, vectors: VectorArray) -> None:
        for block in narrow.blocks(*vectors.shape):
            self._index.add(as_float32(vectors[block]))

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        if self.metric != "COSINE":
            return super().search(queries, k, allowed, params)
        check_queries(queries, k, self.dim)
        require_known(params or {}, (), self.index_type)
        if allowed is None:
            return self._nearest(queries, k, None)
        check_bitmap(allowed, self.n_rows)
        return self._nearest(queries, k, np.unpackbits(allowed, count=self.n_rows, bitorder="little"))

    def _nearest(self, queries: FloatArray, k: int, kept: Bitmap | None) -> Neighbours:
        """Compare the rows block by block."""
        best = exact_search(np.empty((0, self.dim), np.float32), queries, k, self.metric)
        for block in narrow.blocks(self.n_rows, self.dim):
            rows = None if kept is None else np.flatnonzero(kept[block])
            decoded = self._index.reconstruct_n(block.start, block.stop - block.start)
            found = exact_search(decoded, queries, k, self.metric, rows)
            ids = np.where(found.ids < 0, -1, found.ids + block.start)
            best = merge([best, Neighbours(ids, found.distances)], k)
        return best
