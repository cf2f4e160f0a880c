"""Finding rows by primary key inside one immutable run of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import IntArray

KeyArray: TypeAlias = npt.NDArray[Any]
"""Primary keys: int64, or object holding str."""


def key_array(column: pa.Array) -> KeyArray:
    """Return a primary key column as NumPy: int64 without a copy, or object holding str."""
    if pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=True))
    return np.asarray(column.to_numpy(zero_copy_only=False))


def as_keys(values: Sequence[Any] | KeyArray, is_string: bool) -> KeyArray:
    """Return primary keys as an array of the kind that `KeyLookup` takes."""
    if is_string:
        keys = np.empty(len(values), dtype=object)
        keys[:] = values
        return keys
    return np.asarray(values, dtype=np.int64)


class KeyLookup:
    """Sorted primary keys of a segment. Immutable; any thread may read.

    A key may occur more than once: a merged segment keeps the deleted rows of its largest part.
    """

    def __init__(self, column: pa.Array) -> None:
        keys = key_array(column)
        self._order: IntArray | None = None
        if len(keys) > 1 and not bool(np.all(keys[:-1] <= keys[1:])):
            order = pc.array_sort_indices(column)
            self._order = order.to_numpy(zero_copy_only=False).astype(np.int64)
            keys = keys[self._order]
        self._keys = keys

    def find(self, keys: KeyArray) -> IntArray:
        """Return the rows that hold any of the keys, in no particular order."""
        if not len(self._keys) or not len(keys):
            return np.empty(0, dtype=np.int64)
        low = np.searchsorted(self._keys, keys, side="left")
        high = np.searchsorted(self._keys, keys, side="right")
        counts = high - low
        if counts.max() <= 1:
            places = low[counts == 1]
        else:
            starts = np.repeat(low, counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            places = starts + within
        return np.asarray(places if self._order is None else self._order[places], dtype=np.int64)
