"""A sketch of a segment: each row in a few bytes, so that all rows are compared in the time of a few graph searches.

Rows are turned to the axes along which they differ most; the first of these are kept, and what lies beyond them is kept
as one number, its length. At four bits a number, the sixteen values of an axis are looked up in the processor's
registers, for 32 rows at once; the rows that this puts first are ranked again at eight bits a number. The order is
still rough: the nearest have to be compared with the full vectors. A filter costs nothing, whichever rows it keeps, and
that is what a sketch is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from roost.engine.columns import FloatArray, IntArray
from roost.engine.index.exact import normalised
from roost.errors import Corruption

MAX_NUMBERS = 64
"""Numbers kept of a row. More of them order rows better and take longer."""

MIN_DIM = 24
"""Below, comparing the vectors themselves is about as fast."""

MIN_ROWS = 1_024
"""Fewer rows need no sketch."""

_STRANGE_FROM = 0.99
"""A query is strange that lies farther from the axes than this share of the rows."""

_SAMPLED_ROWS = 8_192
_ENCODED_ROWS = 16_384
_POWER_ITERATIONS = 3
_LLOYD_ROUNDS = 20
_SEED = 1


class Sketch:
    """The rows of a segment in 1.5 * `MAX_NUMBERS` bytes each, or fewer.

    `search` may be called from any number of threads at once, and gives up the interpreter lock.

    Attributes:
        n_numbers: kept of a row.

    Source: André, Kermarrec and Le Scouarnec 2015, "Cache locality is not enough: high-performance nearest neighbor
    search with product quantization fast scan".
    """

    def __init__(self, index: Any, origin: FloatArray, rest: float, metric: str) -> None:
        """Hold Faiss's index behind the transform of a query, and what tells a strange query (see `search`)."""
        self.metric = metric
        self._index = index
        self._transform = faiss.downcast_VectorTransform(index.chain.at(0))
        self._codes = faiss.downcast_index(index.index)
        self._origin = origin
        self._rest = rest
        self.n_numbers = int(self._codes.d)

    @classmethod
    def build(cls, vectors: FloatArray, metric: str) -> Sketch:
        """Return the sketch of (n_rows, dim) float32 vectors, of at least 16 rows."""
        random = np.random.default_rng(_SEED)
        picked = random.choice(len(vectors), min(_SAMPLED_ROWS, len(vectors)), replace=False)
        sample = _compared(vectors[np.sort(picked)], metric)
        frame = _Frame.of(sample, metric, random)
        codes = _empty_codes(frame.encode(sample), metric)
        for numbers in _encoded(frame, vectors):
            codes.add(numbers)
        rest = float(np.quantile(frame.rests(sample), _STRANGE_FROM)) if frame.is_partial else np.inf
        return cls(faiss.IndexPreTransform(frame.for_queries(), codes), frame.origin, rest, metric)

    @property
    def n_rows(self) -> int:
        return int(self._index.ntotal)

    def search(
        self, queries: FloatArray, n: int, n_listed: int, selector: Any
    ) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Return the n rows of each query that seem nearest, nearest first.

        Args:
            queries: (n_queries, dim) float32.
            n_listed: rows to rank at eight bits a number, at least n.
            selector: Faiss's, of the rows that may be returned; see `Allowed.selector`.
        Returns: ids (n_queries, n) int64, padded with -1; and which queries are strange ((n_queries,) bool): they lie
            farther from the axes than nearly all rows, so rows that lie there with them are not seen to be near.
        """
        asked = _compared(queries, self.metric)
        numbers = self._transform.apply(asked)
        ids = np.empty((len(queries), n), np.int64)
        found = np.empty((len(queries), n), np.float32)
        lists = faiss.SearchParametersIVF(nprobe=1, sel=selector)
        parameters = faiss.IndexRefineSearchParameters(k_factor=n_listed / n, base_index_params=lists)
        x, near, rows = (faiss.swig_ptr(array) for array in (numbers, found, ids))
        self._codes.search_c(len(queries), x, n, near, rows, parameters)
        return ids, _rests(asked - self._origin, numbers, self.metric) > self._rest

    def save(self, path: Path) -> None:
        """Write the sketch to one file. The caller makes it durable."""
        with open(path, "wb") as file:
            for array in (self._origin, np.array([self._rest]), faiss.serialize_index(self._index)):
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path, metric: str) -> Sketch:
        """Return the sketch that `save` wrote.

        Raises: Corruption: the file cannot be read as a sketch.
        """
        try:
            with open(path, "rb") as file:
                origin, rest, body = (np.load(file, allow_pickle=False) for _ in range(3))
            index = faiss.deserialize_index(body)
        except (OSError, ValueError, EOFError, RuntimeError, MemoryError) as error:
            raise Corruption(f"{path} cannot be read as a sketch: {error}") from error
        if not isinstance(index, faiss.IndexPreTransform):
            raise Corruption(f"{path} does not hold a sketch")
        return cls(index, origin, float(rest[0]), metric)


class _Frame(NamedTuple):
    """The axes by which rows are described.

    Attributes:
        axes: (n_axes, dim) float32, orthonormal.
        has_rest: whether the length of what lies beyond the axes is kept too.
    """

    metric: str
    mean: FloatArray
    axes: FloatArray
    has_rest: bool

    @classmethod
    def of(cls, sample: FloatArray, metric: str, random: np.random.Generator) -> _Frame:
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
        """Return how far queries lie from the axes ((n_queries,) float32); see `_rests`."""
        moved: FloatArray = np.asarray(queries - self.origin, np.float32)
        return _rests(moved, np.asarray(moved @ self.axes.T, np.float32), self.metric)

    def encode(self, rows: FloatArray) -> FloatArray:
        """Return (n_rows, n_numbers) float32."""
        centred = rows - self.mean
        numbers = np.empty((len(rows), self.n_numbers), np.float32)
        along = centred @ self.axes.T
        numbers[:, : len(self.axes)] = along
        if self.has_rest:
            beyond = np.einsum("ij,ij->i", centred, centred) - np.einsum("ij,ij->i", along, along)
            numbers[:, -1] = np.sqrt(np.maximum(beyond, 0))
        return numbers

    def for_queries(self) -> Any:
        """Return the transform of a query: its rest is zero, so that a row's rest adds its square to the distance.

        A query of an inner product stays where it is: moving it by the mean would change the order of the rows.
        """
        matrix = np.zeros((self.n_numbers, self.axes.shape[1]), np.float32)
        matrix[: len(self.axes)] = self.axes
        transform = faiss.LinearTransform(self.axes.shape[1], self.n_numbers, True)
        moved = np.zeros(self.n_numbers, np.float32) if self.metric == "IP" else -matrix @ self.mean
        faiss.copy_array_to_vector(matrix.ravel(), transform.A)
        faiss.copy_array_to_vector(moved.astype(np.float32), transform.b)
        transform.is_trained = True
        return transform


def _empty_codes(sample: FloatArray, metric: str) -> Any:
    """Return Faiss's empty index of four-bit codes in one list, ranked again by eight-bit codes.

    Args:
        sample: (n, n_numbers) float32, the numbers of some rows.
    """
    n_numbers = sample.shape[1]
    order = faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2
    lists = faiss.IndexFlat(n_numbers, order)
    lists.add(np.zeros((1, n_numbers), np.float32))
    codes = faiss.IndexIVFPQFastScan(lists, n_numbers, 1, n_numbers, 4, order)
    codes.by_residual = False
    faiss.copy_array_to_vector(_levels(sample, 16).ravel(), codes.pq.centroids)
    codes.is_trained = True
    finer = faiss.IndexScalarQuantizer(n_numbers, faiss.ScalarQuantizer.QT_8bit, order)
    finer.train(sample)
    ranked = faiss.IndexRefine(codes, finer)
    ranked.is_trained = True
    return ranked


def _levels(sample: FloatArray, n_levels: int) -> FloatArray:
    """Return for each number the levels that lie nearest to its values ((n_numbers, n_levels) float32).

    Source: Lloyd 1982, "Least squares quantization in PCM", method I, from evenly filled levels on.
    """
    values = np.sort(sample.T.astype(np.float64), axis=1)
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    levels = np.quantile(values, (np.arange(n_levels) + 0.5) / n_levels, axis=1).T
    for column, total, level in zip(values, sums, levels, strict=True):
        for _ in range(_LLOYD_ROUNDS):
            ends = np.searchsorted(column, (level[1:] + level[:-1]) / 2)
            ends = np.concatenate([[0], ends, [len(column)]])
            sizes = np.diff(ends)
            np.divide(np.diff(total[ends]), sizes, out=level, where=sizes > 0)
    return levels.astype(np.float32)


def _encoded(frame: _Frame, vectors: FloatArray) -> Iterator[FloatArray]:
    """Yield the numbers of the rows, block by block."""
    for start in range(0, len(vectors), _ENCODED_ROWS):
        yield frame.encode(_compared(vectors[start : start + _ENCODED_ROWS], frame.metric))


def _principal_axes(centred: FloatArray, n_axes: int, random: np.random.Generator) -> FloatArray:
    """Return the (n_axes, dim) directions along which rows differ most, by random projections.

    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
    """
    dim = centred.shape[1]
    found = random.standard_normal((dim, min(dim, n_axes + 10))).astype(np.float32)
    for _ in range(_POWER_ITERATIONS):
        found = np.linalg.qr(centred.T @ (centred @ found))[0].astype(np.float32)
    spread = np.linalg.eigh((centred @ found).T @ (centred @ found))[1][:, ::-1]
    axes: FloatArray = np.ascontiguousarray((found @ spread)[:, :n_axes].T, np.float32)
    return axes


def _rests(moved: FloatArray, along: FloatArray, metric: str) -> FloatArray:
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


def _compared(rows: FloatArray, metric: str) -> FloatArray:
    """Return rows as they are compared: a cosine as the Euclidean distance of normalised vectors."""
    return normalised(rows) if metric == "COSINE" else np.ascontiguousarray(rows, np.float32)
