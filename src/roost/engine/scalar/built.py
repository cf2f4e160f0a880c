"""A scalar index: the rows of each entry as lists or as bitmaps, built of a column and kept in one file.

The file is an Arrow file of one row, whose cells are the arrays: `values` (the entries), `starts` (where the rows of
each entry begin; one more than there are entries), and `rows` (lists: the rows entry by entry, ascending within one;
those that are null or NaN stand at the end) or `bits` (bitmaps: one a entry, and one of the rows that have none).
It is mapped into memory, not read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import Bitmap, IntArray, Mask, Spans
from roost.engine.scalar.entries import Entries, Numbers, Texts
from roost.engine.scalar.types import AUTO_TYPE, BITMAP_TYPE
from roost.errors import Corruption

AUTO_BITMAPS: Final = 32
"""Up to so many entries AUTOINDEX keeps bitmaps: they take no more room than lists."""

MAX_BITMAPS: Final = 256
"""With more entries BITMAP keeps lists in a segment: a bitmap for each would be many times larger."""

_FORMAT: Final = "1"

# Nanoseconds on one thread, measured: docs/decisions/0008-scalar-indexes.md.
MASK_NS: Final = 15_000.0
"""Finding entries and making a mask, whatever its size."""
ZERO_ROW_NS: Final = 0.012
LISTED_ROW_NS: Final = 1.4
BITMAP_ROW_NS: Final = 0.07
BITMAP_ENTRY_ROW_NS: Final = 0.01


class BuiltScalarIndex(ABC):
    """What both forms share. See `roost.engine.columns.ScalarIndex`, which it is."""

    form: str

    def __init__(self, entries: Entries, starts: IntArray, n_rows: int) -> None:
        self.n_rows = n_rows
        self._entries = entries
        self._starts = starts
        self.values = entries.values

    def compare(self, symbol: str, constant: Any) -> Spans:
        return self._entries.compare(symbol, constant)

    def among(self, constants: Any) -> Spans:
        return self._entries.among(constants)

    def starting(self, prefix: str) -> Spans:
        return self._entries.starting(prefix)

    def count(self, spans: Spans) -> int:
        return int((self._starts[spans.last] - self._starts[spans.first]).sum())

    @abstractmethod
    def mask(self, spans: Spans) -> Mask: ...

    @abstractmethod
    def cost_ns(self, spans: Spans) -> float: ...

    @abstractmethod
    def _arrays(self) -> Mapping[str, pa.Array]:
        """Return what is in the file beside entries and starts."""

    def save(self, path: Path) -> None:
        """Write the index to `path`. The caller makes it durable."""
        arrays = {"values": pa.array(self.values), "starts": pa.array(self._starts), **self._arrays()}
        cells = [pa.LargeListArray.from_arrays(pa.array([0, len(array)]), array) for array in arrays.values()]
        batch = pa.record_batch(cells, names=list(arrays))
        notes = {"roost.format": _FORMAT, "roost.form": self.form, "roost.rows": str(self.n_rows)}
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema.with_metadata(notes)) as writer:
            writer.write_batch(batch.replace_schema_metadata(notes))


class Lists(BuiltScalarIndex):
    """The rows of each entry behind one another.

    Attributes:
        rows: (n_rows,) uint32, in the order of the entries; rows without one at the end.
    """

    form = "lists"

    def __init__(self, entries: Entries, starts: IntArray, rows: npt.NDArray[np.uint32]) -> None:
        super().__init__(entries, starts, len(rows))
        self._rows = rows

    def mask(self, spans: Spans) -> Mask:
        if len(spans.first) == 1:
            first, last = int(self._starts[spans.first[0]]), int(self._starts[spans.last[0]])
            if 2 * (last - first) <= self.n_rows:
                return _marked(self.n_rows, self._rows[first:last])
            mask = _marked(self.n_rows, self._rows[:first])
            mask[self._rows[last:].astype(np.int64)] = True
            return np.logical_not(mask, out=mask)
        return _marked(self.n_rows, self._rows[_places(self._starts[spans.first], self._starts[spans.last])])

    def cost_ns(self, spans: Spans) -> float:
        n_listed = self.count(spans)
        if len(spans.first) == 1:
            n_listed = min(n_listed, self.n_rows - n_listed)
        return MASK_NS + ZERO_ROW_NS * self.n_rows + LISTED_ROW_NS * n_listed

    def _arrays(self) -> Mapping[str, pa.Array]:
        return {"rows": pa.array(self._rows)}


class Bitmaps(BuiltScalarIndex):
    """A bitmap of the rows of each entry.

    Attributes:
        bits: (n_entries + 1, ceil(n_rows / 8)) uint8, little-endian bits; the last are the rows without an entry.
    """

    form = "bitmaps"

    def __init__(self, entries: Entries, starts: IntArray, n_rows: int, bits: Bitmap) -> None:
        super().__init__(entries, starts, n_rows)
        self._bits = bits

    def mask(self, spans: Spans) -> Mask:
        wanted, is_inverse = self._wanted(spans)
        joined = self._bits[wanted[0]] if len(wanted) == 1 else np.bitwise_or.reduce(self._bits[wanted], axis=0)
        mask: Mask = np.unpackbits(joined, count=self.n_rows, bitorder="little").view(np.bool_)
        return np.logical_not(mask, out=mask) if is_inverse else mask

    def cost_ns(self, spans: Spans) -> float:
        n_bitmaps = len(self._wanted(spans)[0])
        return MASK_NS + (BITMAP_ROW_NS + BITMAP_ENTRY_ROW_NS * n_bitmaps) * self.n_rows

    def _wanted(self, spans: Spans) -> tuple[IntArray, bool]:
        """Return the bitmaps to join, and whether they are of the rows that are not wanted."""
        wanted = _places(spans.first, spans.last)
        if 2 * len(wanted) <= len(self._bits):
            return wanted, False
        return np.setdiff1d(np.arange(len(self._bits)), wanted), True

    def _arrays(self) -> Mapping[str, pa.Array]:
        return {"bits": pa.array(self._bits.ravel())}


def build_scalar_index(column: pa.Array, index_type: str) -> BuiltScalarIndex:
    """Return an index over a column of booleans, numbers or strings; nulls are allowed."""
    codes, entries = _encoded(column)
    n_entries, n_rows = entries.n_entries, len(column)
    counts = np.bincount(codes, minlength=n_entries + 1)[: n_entries + 1]
    starts = np.concatenate([[0], np.cumsum(counts[:-1])]).astype(np.int64)
    most = {AUTO_TYPE: AUTO_BITMAPS, BITMAP_TYPE: MAX_BITMAPS}.get(index_type.upper(), -1)
    if n_entries <= most:
        bits = np.stack([np.packbits(codes == code, bitorder="little") for code in range(n_entries + 1)])
        return Bitmaps(entries, starts, n_rows, bits)
    return Lists(entries, starts, np.argsort(codes, kind="stable").astype(np.uint32))


def load_scalar_index(path: Path) -> BuiltScalarIndex:
    """Return the index that `save` wrote, mapped into memory.

    Raises: Corruption: the file cannot be read as one.
    """
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path), "r")).get_batch(0)
        notes = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
        if notes["roost.format"] != _FORMAT:
            raise Corruption(f"{path} is damaged: it is of format {notes['roost.format']}; restore it from a copy")
        n_rows = int(notes["roost.rows"])
        values, starts = batch.column("values").values, batch.column("starts").values.to_numpy()
        is_text = pa.types.is_large_string(values.type)
        entries = Texts(values) if is_text else Numbers(values.to_numpy(zero_copy_only=False))
        if notes["roost.form"] == Lists.form:
            return Lists(entries, starts, batch.column("rows").values.to_numpy())
        bits = batch.column("bits").values.to_numpy()
        return Bitmaps(entries, starts, n_rows, bits.reshape(entries.n_entries + 1, -1))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise Corruption(f"{path} is damaged: it is no scalar index: {error}; restore it from a copy") from error


def _encoded(column: pa.Array) -> tuple[IntArray, Entries]:
    """Return for each row the number of its entry, and the entries; rows that are null or NaN get the number after."""
    if pa.types.is_large_string(column.type):
        dictionary = column.dictionary_encode()
        order = pc.array_sort_indices(dictionary.dictionary).to_numpy()
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        codes = dictionary.indices.fill_null(0).to_numpy()
        entries: Entries = Texts(dictionary.dictionary.take(pa.array(order)))
        coded = ranks[codes] if len(order) else np.zeros(len(column), dtype=np.int64)
        known = _valid(column)
    else:
        filled = column.fill_null(False if pa.types.is_boolean(column.type) else 0) if column.null_count else column
        numbers = filled.to_numpy(zero_copy_only=False)
        known = _valid(column) & (numbers == numbers)
        values = np.unique(numbers[known])
        coded = np.searchsorted(values, numbers)
        entries = Numbers(values)
    coded[~known] = entries.n_entries
    return coded, entries


def _valid(column: pa.Array) -> Mask:
    if not column.null_count:
        return np.ones(len(column), dtype=bool)
    return np.array(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def _marked(n_rows: int, rows: npt.NDArray[np.uint32]) -> Mask:
    mask = np.zeros(n_rows, dtype=bool)
    # NumPy takes int64 as it is; of other integers it makes a slower copy.
    mask[rows.astype(np.int64)] = True
    return mask


def _places(first: IntArray, last: IntArray) -> IntArray:
    """Return every number from first[i] to before last[i], for all i."""
    counts = last - first
    return np.repeat(last - np.cumsum(counts), counts) + np.arange(counts.sum())
