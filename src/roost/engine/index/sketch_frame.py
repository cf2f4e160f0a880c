"""The axes by which a sketch describes rows: those along which they differ most, and what lies beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np

from roost.engine.columns import FloatArray, VectorArray
from roost.engine.index.exact import normalised
from roost.engine.index.narrow import as_float32

MAX_NUMBERS = 64
"""Numbers kept of a row. More of them order rows better and take longer."""

_ENCODED_ROWS = 16_384
_POWER_ITERATIONS = 3


class Frame(NamedTuple):
    """The axes by which rows are described.

    Attributes:
        mean: (dim,) float32, of the rows.
        axes: (n_axes, dim) float32, orthonormal.
        has_rest: whether the length of what lies beyond the axes is kept too.
    """

    metric: str
    mean: FloatArray
    axes: FloatArray
    has_rest: bool

    @classmethod
    def of(cls, sample: FloatArray, metric: str, random: np.random.Generator) -> Frame:
        """Return the axes of a sample of rows, (n, dim) as they are compared."""
        dim = sample.shape[1]
        mean = sample.mean(axis=0)
        has_rest = dim > MAX_NUMBERS and metric != "IP"
        n_axes = min(dim, MAX_NUMBERS - has_rest)
        return cls(metric, mean, _principal_axes(sample - mean, n_axes, random), has_rest)

    @property
    def n_numbers(self) -> int:
        return len(self.axes) + self.has_rest

    @property
    def is_partial(self) -> bool:
        """Whether anything lies beyond the axes."""
        return bool(len(self.axes) < self.axes.shape[1])

    @property
    def origin(self) -> FloatArray:
        """Where queries are measured from."""
        return np.zeros_like(self.mean) if self.metric == "IP" else self.mean

    def rests(self, queries: FloatArray) -> FloatArray:
        """Return how far queries lie from the axes ((n_queries,) float32); see `beyond_axes`."""
        moved: FloatArray = np.asarray(queries - self.origin, np.float32)
        return beyond_axes(moved, np.asarray(moved @ self.axes.T, np.float32), self.metric)

    def encode(self, rows: FloatArray) -> FloatArray:
        """Return (n_rows, n_numbers) float32 of (n_rows, dim) float32, C-contiguous."""
        numbers = np.empty((len(rows), self.n_numbers), np.float32)
        # Faiss's products, since NumPy's keep a core busy for a while after each.
        self.for_queries().apply_noalloc(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(numbers))
        if self.metric == "IP":
            numbers -= self.mean @ self.turn()[0]
        if self.has_rest:
            beyond = np.empty(len(rows), np.float32)
            mean = np.ascontiguousarray(self.mean)
            faiss.fvec_L2sqr_ny(
                faiss.swig_ptr(beyond), faiss.swig_ptr(mean), faiss.swig_ptr(rows), rows.shape[1], len(rows)
            )
            along = numbers[:, : len(self.axes)]
            beyond -= np.einsum("ij,ij->i", along, along)
            numbers[:, -1] = np.sqrt(np.maximum(beyond, 0))
        return numbers

    def encoded(self, vectors: VectorArray) -> Iterator[FloatArray]:
        """Yield the numbers of stored rows, block by block, as `encode` gives them."""
        for start in range(0, len(vectors), _ENCODED_ROWS):
            yield self.encode(compared(as_float32(vectors[start : start + _ENCODED_ROWS]), self.metric))

    def for_queries(self) -> Any:
        """Return the transform of a query, but for its rest, which it leaves zero.

        A query of an inner product stays where it is: moving it by the mean would change the order of the rows.
        """
        matrix, moved = self.turn()
        transform = faiss.LinearTransform(self.axes.shape[1], self.n_numbers, True)
        faiss.copy_array_to_vector(matrix.T.ravel(), transform.A)
        faiss.copy_array_to_vector(moved, transform.b)
        transform.is_trained = True
        return transform

    def turn(self) -> tuple[FloatArray, FloatArray]:
        """Return the transform of a query as a (dim, n_numbers) matrix and what is added to its product."""
        matrix = np.zeros((self.axes.shape[1], self.n_numbers), np.float32)
        matrix[:, : len(self.axes)] = self.axes.T
        moved = np.zeros(self.n_numbers, np.float32) if self.metric == "IP" else -self.mean @ matrix
        return matrix, moved.astype(np.float32)


def _principal_axes(centred: FloatArray, n_axes: int, random: np.random.Generator) -> FloatArray:
    """Return (n_axes, dim) axes of the space in which rows differ most, by random projections.

    The axes are turned at random within it. Rows then differ about as much along each, so less is lost when all numbers
    are looked up in tables of one scale.

    Sources: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4; Jégou, Douze, Schmid
    and Pérez 2010, "Aggregating local descriptors into a compact image representation", section 4 (the turn).
    """
    dim = centred.shape[1]
    found = random.standard_normal((dim, min(dim, n_axes + 10))).astype(np.float32)
    for _ in range(_POWER_ITERATIONS):
        found = np.linalg.qr(centred.T @ (centred @ found))[0].astype(np.float32)
    spread = np.linalg.eigh((centred @ found).T @ (centred @ found))[1][:, ::-1]
    turn = np.linalg.qr(random.standard_normal((n_axes, n_axes)))[0]
    axes: FloatArray = np.ascontiguousarray(((found @ spread)[:, :n_axes] @ turn).T, np.float32)
    return axes


def beyond_axes(moved: FloatArray, along: FloatArray, metric: str) -> FloatArray:
    """Return how far queries lie from the axes; for an inner product, which their length does not change, as a share.

    Args:
        moved: (n_queries, dim), from the origin.
        along: (n_queries, n_axes), the part of them along the axes.
    """
    lengths = np.einsum("ij,ij->i", moved, moved)
    rests: FloatArray = np.sqrt(np.maximum(lengths - np.einsum("ij,ij->i", along, along), 0))
    if metric == "IP":
        np.divide(rests, np.sqrt(lengths), out=rests, where=lengths > 0)
    return rests


def compared(rows: FloatArray, metric: str) -> FloatArray:
    """Return rows as they are compared: a cosine as the Euclidean distance of normalised vectors."""
    return normalised(rows) if metric == "COSINE" else np.ascontiguousarray(rows, np.float32)
