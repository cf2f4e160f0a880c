"""Sparse vectors side by side: each holds some indices, ascending, and a number at each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from roost.engine.columns import FloatArray, IntArray, VectorArray

MAX_INDEX: Final = 2**32 - 2
"""The largest index that Milvus takes."""

NOMINAL_DIM: Final = 128
"""What stands for the dimension, of which sparse vectors have none, where costs are estimated."""

PAIR: Final = np.dtype([("index", "<u4"), ("value", "<f4")])
"""One number of a sparse vector; a vector is its pairs behind one another, as Milvus stores them."""

BLOCK_PAIRS: Final = 1 << 20
"""Pairs that are multiplied at once."""

TABLE_INDICES: Final = 1 << 20
"""Up to this largest index the numbers of a query are looked up in a table."""

_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows of sparse vectors. They take the place of an array of vectors: they have a length, a type, and parts.

    Attributes:
        starts: (n_rows + 1,) int64, where each row begins in `pairs`, and the last ends.
        pairs: structured as `PAIR`; may be memory-mapped and read-only.
    """

    starts: IntArray
    pairs: npt.NDArray[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        return PAIR

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows, and what stands for their dimension."""
        return len(self), NOMINAL_DIM

    @property
    def nbytes(self) -> int:
        return int(self.starts.nbytes + self.pairs.nbytes)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, rows: slice | list[int] | IntArray) -> SparseRows:
        """Return some of the rows."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return SparseRows(self.starts[start : max(start, stop) + 1], self.pairs)
        picked = np.asarray(rows, np.int64)
        begins, lengths = self.starts[picked], self.lengths[picked]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(begins - starts[:-1], lengths) + np.arange(starts[-1])
        return SparseRows(starts, self.pairs[places])

    @property
    def lengths(self) -> IntArray:
        """How many pairs each row has."""
        return np.diff(self.starts)

    @property
    def used(self) -> npt.NDArray[Any]:
        """The pairs of these rows."""
        return self.pairs[self.starts[0] : self.starts[-1]]

    def row(self, number: int) -> npt.NDArray[Any]:
        """Return the pairs of one row."""
        return self.pairs[self.starts[number] : self.starts[number + 1]]


def sparse_column(column: pa.Array) -> VectorArray:
    """Return the rows of an Arrow column of bytes, without a copy; they stand in for an array of vectors."""
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset) if len(column) else np.zeros(1, int)
    n_pairs = int(starts[-1]) // PAIR.itemsize
    pairs = np.frombuffer(data, PAIR, n_pairs) if n_pairs else np.empty(0, PAIR)
    return cast(VectorArray, SparseRows(starts // PAIR.itemsize, pairs))


def sparse_rows(vectors: list[bytes]) -> VectorArray:
    """Return rows that are given as the bytes of their pairs; they stand in for an array of vectors."""
    return sparse_column(pa.array(vectors, pa.large_binary()))


def products(rows: SparseRows, query: npt.NDArray[Any]) -> FloatArray:
    """Return the inner product of each row with one query, (n_rows,) float32; 0 where they have no index in common.

    Each row is summed by itself in float64; what float32 cannot hold comes out as its largest number.

    Args:
        query: its pairs.
    """
    weigh = _weights_of(query)
    found = np.zeros(len(rows), np.float32)
    for block in pair_blocks(rows.starts):
        part = rows[block]
        terms = weigh(part.used["index"]) * part.used["value"]
        filled = np.flatnonzero(part.lengths)
        if len(filled):
            sums = np.add.reduceat(terms, (part.starts - part.starts[0])[filled])
            found[block.start + filled] = in_float32(sums)
    return found


def in_float32(products: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Return products as float32; what that cannot hold comes out as its largest number."""
    found: FloatArray = np.clip(products, -_LARGEST, _LARGEST).astype(np.float32)
    return found


def _weights_of(query: npt.NDArray[Any]) -> Any:
    """Return a function from indices to the query's numbers at them, float64."""
    indices, values = query["index"], query["value"].astype(np.float64)
    if not len(query):
        return lambda asked: np.zeros(len(asked))
    if int(indices[-1]) < TABLE_INDICES:
        table = np.zeros(int(indices[-1]) + 2)
        table[indices] = values
        return lambda asked: table[np.minimum(asked, np.uint32(len(table) - 1))]

    def look_up(asked: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        at = np.minimum(np.searchsorted(indices, asked), len(indices) - 1)
        return np.where(indices[at] == asked, values[at], 0.0)

    return look_up


def pair_blocks(starts: IntArray) -> Iterator[slice]:
    """Return runs of rows of about `BLOCK_PAIRS` pairs."""
    first, n_rows = 0, len(starts) - 1
    while first < n_rows:
        end = int(np.searchsorted(starts, starts[first] + BLOCK_PAIRS, side="right")) - 1
        end = min(n_rows, max(first + 1, end))
        yield slice(first, end)
        first = end
