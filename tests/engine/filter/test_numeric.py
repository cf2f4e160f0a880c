import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.engine.filter.numeric import NumberSet, compare_arrays, compare_constant, compute, narrowed

PYTHON: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EDGES = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1, -(2**63)]
integers = st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1)
floats = st.sampled_from([float(e) for e in EDGES] + [1e300, -1e300, 0.5]) | st.floats(allow_nan=False)
symbols = st.sampled_from(sorted(PYTHON))


@given(symbols, st.lists(integers, min_size=1), floats | integers)
def test_integers_compare_exactly_with_a_constant(symbol: str, values: list[int], constant: float) -> None:
    mask = compare_constant(symbol, np.array(values, dtype=np.int64), constant)
    assert mask.tolist() == [PYTHON[symbol](value, constant) for value in values]


@given(symbols, st.lists(floats, min_size=1), floats | integers)
def test_floats_compare_exactly_with_a_constant(symbol: str, values: list[float], constant: float) -> None:
    mask = compare_constant(symbol, np.array(values, dtype=np.float64), constant)
    assert mask.tolist() == [PYTHON[symbol](value, constant) for value in values]


@pytest.mark.parametrize("symbol", sorted(PYTHON))
def test_numbers_at_the_edge_of_exactness_compare_exactly(symbol: str) -> None:
    reals = [float(edge) for edge in EDGES] + [2.0**63, -1e300, 0.5, -0.5]
    for constant in [*EDGES, *reals]:
        for values, dtype in ((EDGES, np.int64), (reals, np.float64)):
            mask = compare_constant(symbol, np.array(values, dtype=dtype), constant)
            assert mask.tolist() == [PYTHON[symbol](value, constant) for value in values]


@given(symbols, st.lists(st.tuples(integers, floats), min_size=1))
def test_integers_compare_exactly_with_floats(symbol: str, pairs: list[tuple[int, float]]) -> None:
    left = np.array([pair[0] for pair in pairs], dtype=np.int64)
    right = np.array([pair[1] for pair in pairs], dtype=np.float64)
    assert compare_arrays(symbol, left, right).tolist() == [PYTHON[symbol](*pair) for pair in pairs]
    assert compare_arrays(symbol, right, left).tolist() == [PYTHON[symbol](b, a) for a, b in pairs]


@given(st.lists(integers | floats), st.lists(integers), st.lists(floats))
def test_a_set_holds_exactly_its_numbers(constants: list[float], whole: list[int], real: list[float]) -> None:
    among = NumberSet(constants)
    assert among.mask(np.array(whole, dtype=np.int64)).tolist() == [value in constants for value in whole]
    assert among.mask(np.array(real, dtype=np.float64)).tolist() == [value in constants for value in real]


def test_a_float32_column_sees_constants_as_float32() -> None:
    column = np.array([0.1, 0.5], dtype=np.float32)
    assert compare_constant("==", column, 0.1).tolist() == [True, False]
    assert compare_constant(">", column, 0.1).tolist() == [False, True]
    assert compare_constant("<", column, 1e300).tolist() == [True, True]
    assert NumberSet([0.1, 1e300]).mask(column).tolist() == [True, False]


def test_a_small_integer_column_compares_with_large_constants() -> None:
    column = np.array([-128, 127], dtype=np.int8)
    assert compare_constant("<", column, 1000).tolist() == [True, True]
    assert NumberSet([127, 1000]).mask(column).tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], "u1"),
        ([-1, 127], "i1"),
        ([0, 256], "u2"),
        ([-129, 0], "i2"),
        ([2**32 - 1], "u4"),
        ([-(2**31), 5], "i4"),
        ([2**32], "i8"),
        ([-1, 2**31], "i8"),
        ([], "i8"),
    ],
)
def test_whole_numbers_are_kept_in_few_bytes(values: list[int], dtype: str) -> None:
    narrow = narrowed(np.array(values, np.int64))
    assert narrow.dtype == np.dtype(dtype) and narrow.tolist() == values


def test_other_columns_are_kept_as_they_are() -> None:
    for column in (np.array([1.0, 2.0]), np.array([True, False]), np.array([7, 8], np.int8)):
        assert narrowed(column) is column


@given(symbols, st.lists(st.integers(-300, 70_000), min_size=1), floats | integers)
def test_narrow_columns_compare_exactly(symbol: str, values: list[int], constant: float) -> None:
    narrow = narrowed(np.array(values, np.int64))
    assert compare_constant(symbol, narrow, constant).tolist() == [PYTHON[symbol](value, constant) for value in values]
    reals = np.array(values[::-1]) + 0.5
    for other in (
        np.array(values[::-1]),
        narrowed(np.array(values[::-1])),
        reals,
        narrowed(np.array([7])).repeat(len(values)),
    ):
        expected = [PYTHON[symbol](*pair) for pair in zip(values, other.tolist(), strict=True)]
        assert compare_arrays(symbol, narrow, other).tolist() == expected
        flipped = [PYTHON[symbol](*pair) for pair in zip(other.tolist(), values, strict=True)]
        assert compare_arrays(symbol, other, narrow).tolist() == flipped


@given(st.lists(integers | floats), st.lists(st.integers(-300, 70_000), min_size=1))
def test_a_set_holds_exactly_its_numbers_of_narrow_columns(constants: list[float], values: list[int]) -> None:
    among = NumberSet([*constants, values[0], 200, -1])
    expected = [value in [*constants, values[0], 200, -1] for value in values]
    assert among.mask(narrowed(np.array(values, np.int64))).tolist() == expected


@given(st.lists(st.tuples(integers, integers.filter(bool)), min_size=1))
def test_integer_division_truncates(pairs: list[tuple[int, int]]) -> None:
    pairs = [(a, b) for a, b in pairs if (a, b) != (-(2**63), -1)] or [(1, 1)]
    left, right = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    quotients = [abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    assert compute("/", left, right).tolist() == quotients
    assert compute("%", left, right).tolist() == [a - q * b for (a, b), q in zip(pairs, quotients, strict=True)]


@pytest.mark.parametrize("symbol", ["/", "%"])
def test_division_by_zero_and_overflow_are_silent(symbol: str) -> None:
    left = np.array([1, -(2**63)], dtype=np.int64)
    assert len(compute(symbol, left, np.array([0, -1]))) == 2
    assert compute("+", np.array([2**63 - 1]), np.int64(1)).tolist() == [-(2**63)]
    assert np.isinf(compute("/", np.array([1.0]), np.array([0.0])))[0]
