from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.engine.columns import Spans
from roost.engine.scalar.entries import Entries, Numbers, Texts


def inside(spans: Spans) -> list[int]:
    return [place for first, last in zip(spans.first, spans.last, strict=True) for place in range(first, last)]


def texts(*values: str) -> Texts:
    return Texts(pa.array(values, pa.large_string()))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_comparison_with_a_constant(dtype: type) -> None:
    entries = Numbers(np.array([-3, 0, 5, 100], dtype=dtype))
    assert [inside(entries.compare(symbol, 5)) for symbol in ("==", "<", "<=", ">", ">=")] == [
        [2],
        [0, 1],
        [0, 1, 2],
        [3],
        [2, 3],
    ]
    assert [inside(entries.compare(symbol, 1)) for symbol in ("==", "<", ">=")] == [[], [0, 1], [2, 3]]


def test_constants_that_the_type_cannot_hold() -> None:
    entries = Numbers(np.array([-128, 127], dtype=np.int8))
    assert inside(entries.compare("<", 10**30)) == inside(entries.compare(">=", -(10**30))) == [0, 1]
    assert inside(entries.compare("==", 128)) == inside(entries.compare("<", -129)) == []
    assert inside(entries.among(np.array([-(2**62), -128, 127, 128]))) == [0, 1]


def test_booleans() -> None:
    entries = Numbers(np.array([False, True]))
    assert inside(entries.compare("==", True)) == [1]
    assert inside(Numbers(np.array([True])).compare("==", False)) == []


def test_members() -> None:
    assert inside(Numbers(np.array([1, 3, 5])).among(np.array([0, 1, 2, 5, 9]))) == [0, 2]
    assert inside(texts("a", "b", "é").among(pa.array(["é", "none", "a"], pa.large_string()))) == [2, 0]
    assert inside(texts("a", "c").among(pa.array(["b", "c", "d"], pa.large_string()))) == [1]
    assert inside(texts("a").among(pa.array([], pa.large_string()))) == []


def test_prefixes() -> None:
    entries = texts("", "a", "ab", "abc", "b", "\U0010ffff", "\U0010ffffx")
    assert inside(entries.starting("ab")) == [2, 3]
    assert inside(entries.starting("\U0010ffff")) == [5, 6]
    assert inside(entries.starting("")) == list(range(7))
    assert inside(entries.starting("aa")) == []
    with pytest.raises(TypeError, match="no prefixes"):
        Numbers(np.array([1])).starting("1")


@pytest.mark.parametrize("entries", [Numbers(np.array([], dtype=np.int64)), texts()])
def test_no_entries(entries: Entries) -> None:
    constant = 1 if isinstance(entries, Numbers) else "a"
    assert inside(entries.compare("<=", constant)) == []


@given(st.sets(st.text(max_size=4), max_size=30), st.text(max_size=3))
def test_strings_are_found_in_the_order_of_their_bytes(values: set[str], constant: str) -> None:
    ordered = sorted(values, key=lambda text: text.encode())
    entries = texts(*ordered)
    less = [place for place, text in enumerate(ordered) if text.encode() < constant.encode()]
    assert inside(entries.compare("<", constant)) == less
    prefixed = [place for place, text in enumerate(ordered) if text.startswith(constant)]
    assert inside(entries.starting(constant)) == prefixed
