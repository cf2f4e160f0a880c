"""A sketch of rows: each in a few bytes, so that all rows are compared in the time of a few graph searches.

Rows are turned to the axes along which they differ most; the first of these are kept, and what lies beyond them is kept
as one number, its length. At four bits a number, the sixteen values of an axis are looked up in the processor's
registers, for 32 rows at once. The order is rough: the rows that it puts first have to be compared with the full
vectors. A filter costs little, whichever rows it keeps, and that is what a sketch is for.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from roost.engine.columns import FloatArray, IntArray, Mask, VectorArray
from roost.engine.index import compiled_sketch
from roost.engine.index.compiled_sketch import LIBRARY, MAX_ROWS, CompiledSketch
from roost.engine.index.narrow import as_float32
from roost.engine.index.sketch_frame import MAX_NUMBERS, Frame, beyond_axes, compared
from roost.errors import Corruption

MIN_DIM = 24
"""Below, comparing the vectors themselves is about as fast."""

MIN_ROWS = 1_024
"""Fewer rows need no sketch."""

EXCERPTED_PER_ROW: Final = 2
"""Rows in all excerpts of a sketch for each of its own: beyond, those that were not used for longest are taken back."""

_STRANGE_FROM = 0.99
"""A query is strange that lies farther from the axes than this share of the rows."""

_SHARED = 0.4
"""How much of a query's way beyond the axes is taken to be the way of the rows near it: the cosine between the two.
None would hide a row from a query that is its equal, and all of it rows that are near by other ways."""

_SAMPLED_ROWS = 8_192
_LLOYD_ROUNDS = 20
_SEED = 1

_uses = itertools.count()

Codes: TypeAlias = npt.NDArray[np.uint8]
"""(n_rows, ceil(n_numbers / 2)), two numbers a byte, the first in its lower half."""


class Sketch:
    """Rows in `MAX_NUMBERS` / 2 bytes each, or fewer.

    `first` may be called from any number of threads at once, and gives up the interpreter lock.

    Attributes:
        n_numbers: kept of a row.
        has_rests: whether the last of them is the length of what lies beyond the axes.
        compiled: what answers a lone query in one call; None where nothing is compiled.

    Source: André, Kermarrec and Le Scouarnec 2015, "Cache locality is not enough: high-performance nearest neighbor
    search with product quantization fast scan".
    """

    def __init__(self, frame: Frame, levels: FloatArray, codes: Codes, rest: float) -> None:
        """Hold the codes of rows.

        Args:
            levels: (n_numbers, 16) float32, what the codes of each number stand for.
            rest: how far from the axes a query is strange (see `turned`).
        """
        self.metric = frame.metric
        self.n_numbers = frame.n_numbers
        self.has_rests = frame.has_rest
        self._frame = frame
        self._transform = frame.for_queries()
        self._moved = frame.turn()[1]
        self._levels = levels
        self._codes = codes
        self._rest = rest
        self.compiled = self._compile()
        if self.compiled is None:
            self._packed = self._pack()
        self._holders: dict[int, weakref.ref[Holder]] = {}
        self._n_packing = 0
        """Rows of excerpts that are being made."""
        self._lending = threading.Lock()

    @classmethod
    def build(cls, vectors: VectorArray, metric: str) -> Sketch:
        """Return the sketch of (n_rows, dim) vectors of numbers in any stored type, of at least 16 rows."""
        random = np.random.default_rng(_SEED)
        picked = random.choice(len(vectors), min(_SAMPLED_ROWS, len(vectors)), replace=False)
        sample = compared(as_float32(vectors[np.sort(picked)]), metric)
        frame = Frame.of(sample, metric, random)
        levels = _nearest_levels(frame.encode(sample), 16)
        rest = float(np.quantile(frame.rests(sample), _STRANGE_FROM)) if frame.is_partial else np.inf
        return cls(frame, levels, _codes(frame, levels, vectors), rest)

    def of(self, vectors: VectorArray) -> Sketch:
        """Return the sketch of other rows, (n_rows, dim) vectors of any number, by the axes and levels of this one.

        It takes a fraction of the time of `build`, and orders rows as well while they are of the same kind.
        """
        return Sketch(self._frame, self._levels, _codes(self._frame, self._levels, vectors), self._rest)

    @staticmethod
    def joined(sources: Sequence[tuple[Sketch, IntArray | None]]) -> Sketch | None:
        """Return one sketch of some rows of several, one source after another; None where their axes are not the same.

        Args:
            sources: at least one sketch, and of each the numbers of the rows, None for all.
        """
        first = sources[0][0]
        if not all(first.agrees_with(other) for other, _ in sources):
            return None
        codes = [sketch._codes if rows is None else sketch._codes[rows] for sketch, rows in sources]
        return Sketch(first._frame, first._levels, np.concatenate(codes), first._rest)

    def agrees_with(self, other: Sketch) -> bool:
        """Whether both describe rows by the same axes and levels."""
        return self._levels is other._levels or (
            self.metric == other.metric
            and np.array_equal(self._levels, other._levels)
            and np.array_equal(self._frame.axes, other._frame.axes)
            and np.array_equal(self._frame.mean, other._frame.mean)
        )

    def _compile(self) -> CompiledSketch | None:
        if LIBRARY is None or self.n_rows > MAX_ROWS or self.n_numbers > compiled_sketch.MAX_NUMBERS:
            return None
        axes, mean = self._frame.axes, self._frame.mean
        return CompiledSketch(self._codes, self._levels, axes, mean, self._moved, self.metric, self._rest, _SHARED)

    @cached_property
    def _packed(self) -> Any:
        """As Faiss scans it, which a lone query may never need."""
        return self._pack()

    def _pack(self) -> Any:
        return _in_one_list(_listed(self._levels, self._codes, self.metric))

    @property
    def n_rows(self) -> int:
        return len(self._codes)

    def first(self, numbers: FloatArray, n: int, selector: Any) -> tuple[IntArray, FloatArray]:
        """Return the n rows that seem nearest to queries, nearest first, and at what distance they seem to be.

        Args:
            numbers: of the queries, as `turned` gives them.
            selector: Faiss's, of the rows that may be returned; see `Allowed.selector`. None for all.
        Returns: ids (n_queries, n) int64, padded with -1; distances (n_queries, n) float32 in the metric's measure, off
            by what is the same for all rows of a query.
        """
        parameters = None if selector is None else faiss.SearchParametersIVF(nprobe=1, sel=selector)
        return _first(self._packed, self.metric, numbers, n, parameters)

    def turned(self, queries: FloatArray) -> tuple[FloatArray, Mask]:
        """Return the numbers of queries ((n_queries, n_numbers) float32), and which queries are strange.

        A strange query lies farther from the axes than nearly all rows, so what rows share with it there counts. Where
        the sketch has rests, its rows are ordered by the least distance that they can have.

        Args:
            queries: (n_queries, dim) float32.
        """
        asked = compared(queries, self.metric)
        numbers: FloatArray = self._transform.apply(asked)
        rests = beyond_axes(asked - self._frame.origin, numbers, self.metric)
        is_strange: Mask = rests > self._rest
        if self.has_rests:
            numbers[:, -1] = np.where(is_strange, 1, _SHARED) * rests
        return numbers, is_strange

    def lend(self, rows: IntArray, holder: Holder) -> None:
        """Give a holder a copy of some rows; those of others that were not used for longest make room for it.

        Args:
            rows: (m,) int64, ascending; not modified, and kept.
        """
        with self._lending:
            if not self._make_room(len(rows)):
                return
            self._n_packing += len(rows)
        try:
            holder.excerpt = Excerpt(self, rows)
        finally:
            with self._lending:
                self._n_packing -= len(rows)
                self._holders[id(holder)] = weakref.ref(holder)

    def _make_room(self, n_rows: int) -> bool:
        """Take excerpts back until there is room; False where others that are being made take it."""
        most = EXCERPTED_PER_ROW * self.n_rows - self._n_packing - n_rows
        if most < 0:
            return False
        lent: list[tuple[int, int, int]] = []
        for number, ref in self._holders.items():
            holder = ref()
            excerpt = None if holder is None else holder.excerpt
            if excerpt is not None:
                lent.append((excerpt.last_used, excerpt.n_rows, number))
        lent.sort(reverse=True)
        n_lent = sum(n_held for _, n_held, _ in lent)
        while n_lent > most:
            _, freed, number = lent.pop()
            n_lent -= freed
            holder = self._holders[number]()
            if holder is not None:
                holder.excerpt = None  # searches under way keep theirs until they end
        self._holders = {number: self._holders[number] for *_, number in lent}
        return True

    def save(self, path: Path) -> None:
        """Write the sketch to one file. The caller makes it durable."""
        frame = self._frame
        with open(path, "wb") as file:
            for array in (frame.mean, frame.axes, np.array(frame.has_rest), np.array(self._rest)):
                np.save(file, array, allow_pickle=False)
            for array in (self._levels, self._codes):
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path, metric: str) -> Sketch:
        """Return the sketch that `save` wrote.

        Raises: Corruption: the file cannot be read as a sketch.
        """
        try:
            with open(path, "rb") as file:
                mean, axes, has_rest, rest, levels, codes = (np.load(file, allow_pickle=False) for _ in range(6))
            frame = Frame(metric, mean, axes, bool(has_rest))
            wanted = ((axes.shape[1],), (frame.n_numbers, 16), (len(codes), (frame.n_numbers + 1) // 2))
            if (mean.shape, levels.shape, codes.shape) != wanted:
                raise ValueError("its parts do not fit each other")
            types = [array.dtype for array in (mean, axes, levels, codes)]
            if types != [np.float32] * 3 + [np.uint8] or not 0 < frame.n_numbers <= MAX_NUMBERS:
                raise ValueError("its parts are not of the kind that they should be")
        except (OSError, ValueError, EOFError, TypeError, IndexError, MemoryError) as error:
            raise Corruption(f"{path} cannot be read as a sketch: {error}") from error
        return cls(frame, levels, codes, float(rest))


class Excerpt:
    """The rows of a sketch that one filter keeps, copied together: a scan reads these alone, and tests none.

    `first` may be called from any number of threads at once.

    Attributes:
        last_used: by a clock that ticks with every use of any excerpt.
    """

    def __init__(self, sketch: Sketch, rows: IntArray) -> None:
        self.last_used = next(_uses)
        self._sketch = sketch
        self._rows = np.ascontiguousarray(rows, np.int64)
        self._compiled: CompiledSketch | None = None
        if sketch.compiled is None:
            self._packed = self._pack()
        else:
            self._compiled = sketch.compiled.excerpt(sketch._codes[rows], self._rows)

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    def use_compiled(self) -> CompiledSketch | None:
        """Return what answers a lone query in one call; None where nothing is compiled."""
        self.last_used = next(_uses)
        return self._compiled

    def first(self, numbers: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return the n rows that seem nearest to queries, and their distances, as `Sketch.first` does."""
        self.last_used = next(_uses)
        found, seeming = _first(self._packed, self._sketch.metric, numbers, n, None)
        rows = self._rows[found]
        if found[:, -1].min() < 0:
            rows[found < 0] = -1
        return rows, seeming

    @cached_property
    def _packed(self) -> Any:
        """As Faiss scans it, which a lone query may never need."""
        return self._pack()

    def _pack(self) -> Any:
        sketch = self._sketch
        return faiss.IndexPQFastScan(_listed(sketch._levels, sketch._codes[self._rows], sketch.metric))


class Holder(Protocol):
    """Who asks for an excerpt.

    Attributes:
        excerpt: while it is lent; set to None when it is taken back, which may be at any time.
    """

    excerpt: Excerpt | None


def _listed(levels: FloatArray, codes: Codes, metric: str) -> Any:
    """Return Faiss's index that holds the codes one after another.

    Args:
        levels: (n_numbers, 16) float32.
    """
    n_numbers = len(levels)
    order = faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2
    index = faiss.IndexPQ(n_numbers, n_numbers, 4, order)
    faiss.copy_array_to_vector(levels.ravel(), index.pq.centroids)
    faiss.copy_array_to_vector(codes.ravel(), index.codes)
    index.ntotal, index.is_trained = len(codes), True
    return index


def _in_one_list(listed: Any) -> Any:
    """Return the codes as Faiss's index of a single list: unlike one without lists, it takes a filter."""
    centre = faiss.IndexFlat(listed.d, listed.metric_type)
    centre.add(np.zeros((1, listed.d), np.float32))
    index = faiss.IndexIVFPQ(centre, listed.d, 1, listed.d, 4, listed.metric_type)
    index.by_residual = False
    index.pq.centroids = listed.pq.centroids
    index.is_trained = True
    ids = np.arange(listed.ntotal)
    index.invlists.add_entries(0, listed.ntotal, faiss.swig_ptr(ids), listed.codes.data())
    index.ntotal = listed.ntotal
    return faiss.IndexIVFPQFastScan(index)


def _first(packed: Any, metric: str, numbers: FloatArray, n: int, parameters: Any) -> tuple[IntArray, FloatArray]:
    """Return the n rows of each query whose codes are nearest, nearest first, and their distances; padded with -1."""
    ids = np.empty((len(numbers), n), np.int64)
    found = np.empty((len(numbers), n), np.float32)
    x, near, rows = (faiss.swig_ptr(array) for array in (numbers, found, ids))
    packed.search_c(len(numbers), x, n, near, rows, parameters)
    if metric != "L2":
        # Of normalised vectors the square of the distance is two less twice the cosine.
        found *= 0.5 if metric == "COSINE" else -1.0
    return ids, found


def _nearest_levels(sample: FloatArray, n_levels: int) -> FloatArray:
    """Return for each number the levels that lie nearest to its values ((n_numbers, n_levels) float32), ascending.

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


def _codes(frame: Frame, levels: FloatArray, vectors: VectorArray) -> Codes:
    """Return the codes of rows."""
    bounds: FloatArray = np.ascontiguousarray((levels[:, 1:] + levels[:, :-1]).T / 2, np.float32)
    return np.concatenate([_coded(numbers, bounds) for numbers in frame.encoded(vectors)])


def _coded(numbers: FloatArray, bounds: FloatArray) -> Codes:
    """Return of each number which level is nearest, two a byte.

    Args:
        numbers: (n_rows, n_numbers) float32.
        bounds: (15, n_numbers) float32, halfway between the levels, ascending.
    """
    n_rows, n_numbers = numbers.shape
    nearest = np.zeros((n_rows, n_numbers + n_numbers % 2), np.uint8)
    is_above = np.empty(numbers.shape, bool)
    for bound in bounds:
        np.greater(numbers, bound, out=is_above)
        nearest[:, :n_numbers] += is_above.view(np.uint8)
    codes: Codes = nearest[:, ::2] | nearest[:, 1::2] << 4
    return codes
