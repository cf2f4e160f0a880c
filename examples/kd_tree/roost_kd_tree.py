"""An index type of one's own: SciPy's k-d tree, exact, and fast up to about a dozen dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.spatial import KDTree

from roost.engine.columns import Bitmap, FloatArray, Neighbours
from roost.engine.index.base import VectorIndex
from roost.engine.index.exact import check_queries
from roost.engine.index.faiss_base import check_bitmap
from roost.engine.index.parameters import integer, require_known, require_metric
from roost.errors import Corruption, InvalidArgument

DEFAULT_LEAF_SIZE = 16


class KdTree(VectorIndex):
    """Build parameter: `leaf_size` (at least 1), the rows of a leaf. It takes no search parameters.

    Source: Bentley, "Multidimensional binary search trees used for associative searching", 1975.
    """

    index_type: ClassVar[str] = "KD_TREE"
    metrics: ClassVar[tuple[str, ...]] = ("L2",)
    learns: ClassVar[bool] = True

    def __init__(self, vectors: FloatArray, leaf_size: int) -> None:
        self.metric = "L2"
        self.dim = vectors.shape[1]
        self._vectors = vectors
        self._tree = KDTree(vectors, leafsize=leaf_size) if len(vectors) else None

    @classmethod
    def build(cls, vectors: FloatArray, metric: str, params: Mapping[str, Any]) -> KdTree:
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, ("leaf_size",), cls.index_type)
        return cls(np.array(vectors), integer(params, "leaf_size", DEFAULT_LEAF_SIZE, 1))

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> KdTree:
        try:
            with path.open("rb") as file:
                vectors = np.lib.format.read_array(file, allow_pickle=False)
                is_whole = not file.read(1)
        except (OSError, ValueError) as error:
            raise Corruption(f"{path} cannot be read as an index of type {cls.index_type}: {error}") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not is_whole:
            raise Corruption(f"{path} does not hold an index of type {cls.index_type}")
        return cls.build(vectors, metric, params)

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array(file, self._vectors, allow_pickle=False)

    def add(self, vectors: FloatArray) -> None:
        raise InvalidArgument("a k-d tree is built of all of its rows at once")

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self.dim)
        require_known(params or {}, (), self.index_type)
        if allowed is not None:
            check_bitmap(allowed, self.n_rows)
            return self._search_allowed(queries, k, np.unpackbits(allowed, count=self.n_rows, bitorder="little") > 0)
        return self._nearest(queries, k)

    def _nearest(self, queries: FloatArray, k: int) -> Neighbours:
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        n_found = min(k, self.n_rows)
        if n_found:
            found = self._tree.query(queries, k=np.arange(1, n_found + 1))  # type: ignore[union-attr]
            distances[:, :n_found], ids[:, :n_found] = np.square(found[0]), found[1]
        return Neighbours(ids, distances)

    def _search_allowed(self, queries: FloatArray, k: int, mask: np.ndarray[Any, Any]) -> Neighbours:
        """Ask for more rows until k allowed ones are among them, or all rows are."""
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        wanted = min(k, int(mask.sum()))
        for i, query in enumerate(queries):
            width, slots = k, np.empty(0, np.int64)
            while len(slots) < wanted:
                width = min(4 * width, self.n_rows)
                met = self._nearest(query[None], width)
                slots = np.flatnonzero(mask[met.ids[0]])[:k]
                ids[i, : len(slots)] = met.ids[0, slots]
                distances[i, : len(slots)] = met.distances[0, slots]
        return Neighbours(ids, distances)

    @property
    def n_rows(self) -> int:
        return len(self._vectors)

    @property
    def memory_bytes(self) -> int:
        return 3 * self._vectors.nbytes  # the tree holds them in double precision
