"""The ways to store an image as a vector: its numbers, its bright pixels as bits, or those alone as a sparse vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from bench.arrays import FloatArray, RealArray

BRIGHT = 0.5
"""Pixels from here on are a one in a binary vector, and are kept in a sparse one."""


@dataclass(frozen=True)
class Kind:
    """One way to store an image, and the metric to compare it by."""

    data_type: DataType
    metric: str

    def of_images(self, images: FloatArray) -> npt.NDArray[Any]:
        """Return what is stored as rows: (n, dim) float32, of binary vectors (n, dim / 8) uint8."""
        if self.data_type == DataType.BINARY_VECTOR:
            return np.packbits(images >= BRIGHT, axis=1)
        return np.where(images >= BRIGHT, images, np.float32(0)) if self.metric == "IP" else images

    def as_sent(self, rows: npt.NDArray[Any]) -> list[Any]:
        """Return the rows as the client takes them."""
        if self.data_type == DataType.BINARY_VECTOR:
            return [row.tobytes() for row in rows]
        if self.data_type == DataType.SPARSE_FLOAT_VECTOR:
            return [{int(i): float(row[i]) for i in np.flatnonzero(row)} for row in rows]
        return list(rows)

    def distances(self, rows: npt.NDArray[Any], queries: npt.NDArray[Any]) -> RealArray:
        """Return (n_queries, n_rows), smaller is closer."""
        if self.data_type == DataType.BINARY_VECTOR:
            rows, queries = np.unpackbits(rows, axis=1), np.unpackbits(queries, axis=1)
        products: RealArray = queries.astype(np.float64) @ rows.astype(np.float64).T
        if self.metric == "IP":
            return -products
        own = [np.square(part.astype(np.float64)).sum(axis=1) for part in (queries, rows)]
        return np.asarray(own[0][:, None] + own[1] - 2 * products)


KINDS = {
    "dense": Kind(DataType.FLOAT_VECTOR, "L2"),
    "binary": Kind(DataType.BINARY_VECTOR, "HAMMING"),
    "sparse": Kind(DataType.SPARSE_FLOAT_VECTOR, "IP"),
}
