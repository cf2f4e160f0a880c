"""Arithmetic and comparison of numeric arrays: C++'s integer division, and comparisons that never round.

An int64 beyond 2**53 has no exact float64. A comparison of integers with floats is therefore not left to NumPy's
promotion but restated between numbers of one kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.engine.columns import Mask

Numbers: TypeAlias = npt.NDArray[Any]

COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

_UFUNCS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "**": np.float_power,
}

_WHOLE = "iu"
_NARROW = tuple(map(np.dtype, ("u1", "i1", "u2", "i2", "u4", "i4")))

_EXACT = 2.0**53
_INT64_END = 2.0**63


def narrowed(values: Numbers) -> Numbers:
    """Return whole numbers in the narrowest type that holds all of them: a comparison waits for memory."""
    if values.dtype.kind not in _WHOLE or not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    for dtype in _NARROW:
        holds = np.iinfo(dtype)
        if holds.min <= low and high <= holds.max and dtype.itemsize < values.dtype.itemsize:
            return values.astype(dtype)
    return values


def compare_constant(symbol: str, values: Numbers, constant: float) -> Mask:
    """Compare an array with a Python number; a float32 array sees the constant rounded to float32, as in Milvus."""
    restated = restate(symbol, values.dtype, constant)
    if isinstance(restated, bool):
        return np.full(len(values), restated)
    mask: Mask = COMPARE[restated[0]](values, restated[1])
    return mask


def restate(symbol: str, dtype: np.dtype[Any], constant: float) -> tuple[str, Any] | bool:
    """Return a comparison with a constant of the array's own kind that says the same, or its one answer."""
    if dtype.kind in _WHOLE:
        return _among_integers(symbol, constant) if isinstance(constant, float) else (symbol, constant)
    if dtype == np.float32:
        with np.errstate(over="ignore"):
            return symbol, np.float32(constant)
    return _among_floats(symbol, constant) if isinstance(constant, int) else (symbol, constant)


def compare_arrays(symbol: str, left: Numbers, right: Numbers) -> Mask:
    """Compare two arrays row by row."""
    is_whole = left.dtype.kind in _WHOLE, right.dtype.kind in _WHOLE
    if is_whole == (True, False):
        return _compare_mixed(symbol, left, right)
    if is_whole == (False, True):
        flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(symbol, symbol)
        return _compare_mixed(flipped, right, left)
    mask: Mask = COMPARE[symbol](left, right)
    return mask


def _compare_mixed(symbol: str, integers: Numbers, floats: Numbers) -> Mask:
    compare = COMPARE[symbol]
    floats = floats.astype(np.float64, copy=False)
    mask: Mask = compare(integers.astype(np.float64), floats)
    large = np.flatnonzero(np.abs(floats) >= _EXACT)
    if len(large):
        # These floats are whole, so they compare as integers; those outside int64 by their sign alone.
        wide = floats[large]
        inside = (wide >= -_INT64_END) & (wide < _INT64_END)
        whole = np.where(inside, wide, 0).astype(np.int64)
        mask[large] = np.where(inside, compare(integers[large], whole), compare(0, np.sign(wide)))
    return mask


def _among_integers(symbol: str, constant: float) -> tuple[str, int] | bool:
    """Restate `integer symbol constant` with an integer constant, or with the one answer for every integer."""
    if constant >= _INT64_END:
        return symbol in ("<", "<=", "!=")
    if constant < -_INT64_END:
        return symbol in (">", ">=", "!=")
    floor = math.floor(constant)
    if floor == constant:
        return symbol, floor
    if symbol in ("==", "!="):
        return symbol == "!="
    return ("<=" if symbol in ("<", "<=") else ">"), floor


def _among_floats(symbol: str, constant: int) -> tuple[str, float] | bool:
    """Restate `float symbol constant` with a float constant, or with the one answer for every float."""
    nearest = float(constant)
    if int(nearest) == constant:
        return symbol, nearest
    if symbol in ("==", "!="):
        return symbol == "!="
    # No float lies between the constant and the nearest one.
    if nearest > constant:
        return ("<" if symbol in ("<", "<=") else ">="), nearest
    return ("<=" if symbol in ("<", "<=") else ">"), nearest


class NumberSet:
    """The numbers of an `in` list, made ready once for the kinds of column that ask."""

    def __init__(self, constants: Sequence[int | float]) -> None:
        self._constants = constants

    def mask(self, values: Numbers) -> Mask:
        """Return which values are in the set."""
        return np.isin(values, self.ready(values.dtype))

    def ready(self, dtype: np.dtype[Any]) -> Numbers:
        """Return the numbers that a column of that type can hold, ascending and each once."""
        if dtype.kind in _WHOLE:
            held, holds = self._integers, np.iinfo(dtype)
            return held[(held >= holds.min) & (held <= holds.max)].astype(dtype)
        return self._rounded if dtype == np.float32 else self._floats

    @cached_property
    def _integers(self) -> Numbers:
        """The whole ones as int64."""
        whole = [c for c in self._constants if isinstance(c, int) or (c.is_integer() and -_INT64_END <= c < _INT64_END)]
        return np.unique(np.array([int(c) for c in whole], dtype=np.int64))

    @cached_property
    def _floats(self) -> Numbers:
        """Those that float64 holds exactly."""
        exact = [c for c in self._constants if isinstance(c, float) or int(float(c)) == c]
        return np.unique(np.array(exact, dtype=np.float64))

    @cached_property
    def _rounded(self) -> Numbers:
        """All of them as a float32 column sees constants."""
        with np.errstate(over="ignore"):
            return np.unique(np.array(self._constants, dtype=np.float64).astype(np.float32))


def compute(symbol: str, left: Any, right: Any) -> Numbers:
    """Compute arrays or numbers of one kind; what has no value (a division by zero) comes out as any number.

    Integers wrap at 64 bits, `/` truncates towards zero and `%` takes the sign of the dividend, as in C++.
    """
    with np.errstate(all="ignore"):
        result: Numbers
        if symbol in _UFUNCS:
            result = _UFUNCS[symbol](left, right)
        elif np.result_type(left, right).kind != "i":
            result = np.divide(left, right)
        else:
            result = np.fmod(left, right)
            if symbol == "/":
                result = np.floor_divide(np.subtract(left, result), right)
        return result
