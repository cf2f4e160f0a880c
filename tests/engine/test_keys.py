from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.engine.keys import KeyLookup, as_keys, key_array

numbers = st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=3)


@given(st.lists(numbers), st.lists(numbers, unique=True))
def test_numbers_are_found(held: list[int], wanted: list[int]) -> None:
    lookup = KeyLookup(pa.array(held, pa.int64()))
    found = lookup.find(as_keys(wanted, is_string=False))
    assert sorted(found.tolist()) == [i for i, key in enumerate(held) if key in wanted]


@given(st.lists(texts), st.lists(texts, unique=True))
def test_texts_are_found(held: list[str], wanted: list[str]) -> None:
    lookup = KeyLookup(pa.array(held, pa.large_string()))
    found = lookup.find(as_keys(wanted, is_string=True))
    assert sorted(found.tolist()) == [i for i, key in enumerate(held) if key in wanted]


@pytest.mark.parametrize("column", [pa.array([3, 1], pa.int64()), pa.array(["b", "a"], pa.large_string())])
def test_a_column_as_an_array(column: pa.Array) -> None:
    assert key_array(column).tolist() == column.to_pylist()
    assert key_array(column).dtype == (np.int64 if column.type == pa.int64() else object)
