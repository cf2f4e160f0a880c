"""The distinct values of a column in ascending order, and finding some of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import IntArray, Spans


class Entries(ABC):
    """Distinct values, ascending. A place is the number of an entry, from 0 to `n_entries`, the end included."""

    values: Any

    @property
    def n_entries(self) -> int:
        return len(self.values)

    @abstractmethod
    def places(self, constant: Any) -> tuple[int, int]:
        """Return the place of the first entry that is not less than a constant, and of the first that is greater."""

    @abstractmethod
    def among(self, constants: Any) -> Spans:
        """Return the entries that are among constants, given ascending and each once."""

    @abstractmethod
    def starting(self, prefix: str) -> Spans:
        """Return the entries that start with a prefix."""

    def compare(self, symbol: str, constant: Any) -> Spans:
        """Return the entries that are == < <= > or >= a constant."""
        first, last = self.places(constant)
        n_entries = self.n_entries
        return span(
            *{
                "==": (first, last),
                "<": (0, first),
                "<=": (0, last),
                ">": (last, n_entries),
                ">=": (first, n_entries),
            }[symbol]
        )


class Numbers(Entries):
    """Numbers of one kind, or booleans."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values

    def places(self, constant: Any) -> tuple[int, int]:
        dtype = self.values.dtype
        if dtype.kind == "i" and not np.iinfo(dtype).min <= constant <= np.iinfo(dtype).max:
            return (0, 0) if constant < 0 else (self.n_entries, self.n_entries)
        # Of the same type: NumPy would turn the values into another one otherwise, all of them.
        wanted = dtype.type(constant)
        return int(np.searchsorted(self.values, wanted)), int(np.searchsorted(self.values, wanted, "right"))

    def among(self, constants: Any) -> Spans:
        dtype = self.values.dtype
        if dtype.kind == "i":
            constants = constants[(constants >= np.iinfo(dtype).min) & (constants <= np.iinfo(dtype).max)].astype(dtype)
        first = np.searchsorted(self.values, constants)
        inside = first < self.n_entries
        first = first[inside]
        first = first[self.values[first] == constants[inside]].astype(np.int64, copy=False)
        return Spans(first, first + 1)

    def starting(self, prefix: str) -> Spans:
        raise TypeError("numbers have no prefixes")


class Texts(Entries):
    """Strings in the order of their UTF-8 bytes, which is that of Python's strings too."""

    def __init__(self, values: pa.Array) -> None:
        self.values = values

    def places(self, constant: Any) -> tuple[int, int]:
        places = range(self.n_entries)
        return bisect_left(places, constant, key=self._at), bisect_right(places, constant, key=self._at)

    def among(self, constants: Any) -> Spans:
        places = range(self.n_entries)
        found = [bisect_left(places, text, key=self._at) for text in constants.to_pylist()]
        first: IntArray = np.array(found, dtype=np.int64)
        inside = first < self.n_entries
        first = first[inside]
        equal = pc.equal(self.values.take(pa.array(first)), constants.filter(pa.array(inside)))
        first = first[np.asarray(equal.to_numpy(zero_copy_only=False), dtype=bool)]
        return Spans(first, first + 1)

    def starting(self, prefix: str) -> Spans:
        places, length = range(self.n_entries), len(prefix)
        first = bisect_left(places, prefix, key=self._at)
        return span(first, bisect_right(places, prefix, lo=first, key=lambda place: self._at(place)[:length]))

    def _at(self, place: int) -> str:
        text: str = self.values[place].as_py()
        return text


def span(first: int, last: int) -> Spans:
    """Return one run of entries, which may be empty."""
    if last <= first:
        return Spans(np.empty(0, np.int64), np.empty(0, np.int64))
    return Spans(np.array([first]), np.array([last]))
