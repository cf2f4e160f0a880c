"""Binary vectors: how far apart they are. Eight numbers are one byte."""

from __future__ import annotations

from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from roost.engine.columns import Bitmap, FloatArray
from roost.errors import InvalidArgument

BINARY_METRICS: Final = ("HAMMING", "JACCARD")
"""The metrics of binary vectors."""


def bit_distances(rows: Bitmap, queries: Bitmap, metric: str) -> FloatArray:
    """Return the distance of each row from each query, (n_queries, n_rows) float32.

    HAMMING is the number of bits that differ. JACCARD is one less the share of the common ones among the ones of
    either, which is 2 h / (a + b + h) for vectors of a and b ones with h bits that differ; 1 where neither has a one.

    Args:
        rows: (n_rows, n_bytes) uint8.
        queries: (n_queries, n_bytes) uint8.
    Raises: InvalidArgument: the metric is another.
    """
    if metric not in BINARY_METRICS:
        raise InvalidArgument(
            f"metric {metric!r} is not one of binary vectors; use one of: {', '.join(BINARY_METRICS)}"
        )
    differing = _hamming(rows, queries)
    if metric == "HAMMING":
        return differing.astype(np.float32)
    either = _ones(queries)[:, None] + _ones(rows)[None] + differing
    distances = np.ones(differing.shape, np.float32)
    np.divide(2 * differing, either, out=distances, where=either > 0, casting="unsafe")
    return distances


def _ones(vectors: Bitmap) -> npt.NDArray[np.int32]:
    ones: npt.NDArray[np.int32] = _hamming(vectors, np.zeros((1, vectors.shape[1]), np.uint8))[0]
    return ones


def _hamming(rows: Bitmap, queries: Bitmap) -> npt.NDArray[np.int32]:
    rows, queries = np.ascontiguousarray(rows), np.ascontiguousarray(queries)
    found: npt.NDArray[np.int32] = np.empty((len(queries), len(rows)), np.int32)
    if found.size:
        asked, held, out = (_pointer(a) for a in (queries, rows, found))
        faiss.hammings(asked, held, len(queries), len(rows), rows.shape[1], out)
    return found


def _pointer(array: npt.NDArray[Any]) -> Any:
    return faiss.swig_ptr(array)
