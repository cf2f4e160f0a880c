"""BIN_FLAT: every binary vector is compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pymilvus import DataType

from roost.engine.columns import Bitmap, IntArray, Neighbours, VectorArray
from roost.engine.index.arrays import read_arrays, write_arrays
from roost.engine.index.base import VectorIndex
from roost.engine.index.binary import BINARY_METRICS
from roost.engine.index.exact import exact_search
from roost.engine.index.faiss_base import check_bitmap
from roost.engine.index.parameters import require_known, require_metric
from roost.errors import Corruption


def allowed_rows(allowed: Bitmap | None, n_rows: int) -> IntArray | None:
    """Return the rows of a bitmap; None for all. Raises: InvalidArgument: it has not one bit for each row."""
    if allowed is None:
        return None
    check_bitmap(allowed, n_rows)
    return np.flatnonzero(np.unpackbits(allowed, count=n_rows, bitorder="little"))


class BinaryFlat(VectorIndex):
    """Exact search over binary vectors, HAMMING or JACCARD; no parameters."""

    index_type: ClassVar[str] = "BIN_FLAT"
    metrics: ClassVar[tuple[str, ...]] = BINARY_METRICS
    vector_types: ClassVar[tuple[DataType, ...]] = (DataType.BINARY_VECTOR,)

    def __init__(self, rows: Bitmap, metric: str) -> None:
        self.metric = metric
        self.dim = 8 * rows.shape[1]
        self._rows = rows

    @classmethod
    def build(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> BinaryFlat:
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, (), cls.index_type)
        return cls(np.array(vectors, np.uint8), metric)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return vector_bytes

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> BinaryFlat:
        require_metric(metric, cls.index_type, cls.metrics)
        [rows] = read_arrays(path, 1, mmap=mmap)
        if rows.ndim != 2 or rows.dtype != np.uint8:
            raise Corruption(f"{path} does not hold an index of type {cls.index_type}")
        return cls(rows, metric)

    def save(self, path: Path) -> None:
        write_arrays(path, [self._rows])

    def add(self, vectors: VectorArray) -> None:
        self._rows = np.concatenate([self._rows, vectors])

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        require_known(params or {}, (), self.index_type)
        return exact_search(self._rows, queries, k, self.metric, allowed_rows(allowed, self.n_rows))

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    @property
    def memory_bytes(self) -> int:
        return int(self._rows.nbytes)
