"""Vectors in every form that users give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.schema import Field
from roost.engine.vectors import query_matrix, shown, vector_column
from roost.errors import DimensionMismatch, InvalidArgument, InvalidData, NotFinite

FIELD = Field("vector", DataType.FLOAT_VECTOR, 101, dim=3)
EXPECTED = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2, 3], [4.0, 5.0, 6.0]],
        [(1, 2, 3), (4, 5, 6)],
        list(EXPECTED),
        list(EXPECTED.astype(np.float64)),
        [EXPECTED[0], [4, 5, 6]],
        [EXPECTED[0], EXPECTED[1].astype(np.float64)],
        [[np.float32(1), np.int64(2), 3], [4, 5, 6]],
        list(np.repeat(EXPECTED, 2, axis=1)[:, ::2]),
    ],
)
def test_forms_of_rows(values: Any) -> None:
    column = vector_column(FIELD, values)
    assert column.dtype == np.float32
    assert column.flags.c_contiguous
    np.testing.assert_array_equal(column, EXPECTED)


def test_rows_are_copied() -> None:
    given = EXPECTED.copy()
    column = vector_column(FIELD, [given[0]])
    given[0, 0] = 9
    assert column[0, 0] == 1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1, 2], DimensionMismatch, "row 1, field 'vector': given a vector of length 2; .* has dimension 3"),
        (np.ones(4, np.float32), DimensionMismatch, "length 4"),
        ([], DimensionMismatch, "length 0"),
        ([1, float("nan"), 2], NotFinite, "row 1, field 'vector': element 1 is NaN"),
        (np.array([1, np.inf, 2]), NotFinite, "element 1"),
        ([1, 2, 1e39], NotFinite, "element 2 .* too large for float32"),
        (np.array([1, 2, 1e39]), NotFinite, "too large"),
        ([1, "2", 3], InvalidData, r"element 1 is '2' \(str\)"),
        ([1, None, 3], InvalidData, "element 1 is None"),
        ([[1, 2, 3]] * 3, InvalidData, r"element 0 is \[1, 2, 3\] \(list\)"),
        ([1, 10**400, 3], InvalidData, "element 1"),
        (np.ones((1, 3), np.float32), InvalidData, "2-d array of float32"),
        (np.ones(3, np.int64), InvalidData, r"1-d array of int64; .*\.astype"),
        (np.ones(3, np.float16), InvalidData, "float16"),
        ("abc", InvalidData, r"given 'abc' \(str\)"),
        (b"123456789012", InvalidData, "bytes"),
        (None, InvalidData, "None"),
        (1.5, InvalidData, "1.5"),
    ],
)
def test_bad_rows_are_named(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vector_column(FIELD, [EXPECTED[0], value])


def test_a_field_of_one_dimension_does_not_broadcast() -> None:
    narrow = Field("vector", DataType.FLOAT_VECTOR, 101, dim=1)
    with pytest.raises(InvalidData):
        vector_column(narrow, [np.ones((1, 1), np.float32)])
    with pytest.raises(DimensionMismatch):
        vector_column(FIELD, [np.ones(1, np.float32)] * 3)


@pytest.mark.parametrize(
    "data",
    [
        EXPECTED,
        EXPECTED.astype(np.float64),
        np.asfortranarray(EXPECTED),
        np.repeat(EXPECTED, 2, axis=0)[::2],
        EXPECTED.tolist(),
        list(EXPECTED),
        [EXPECTED[0], [4, 5, 6]],
        [row.tobytes() for row in EXPECTED],
    ],
)
def test_forms_of_queries(data: Any) -> None:
    matrix = query_matrix(FIELD, data)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, EXPECTED)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([1, 2, 3], InvalidArgument, r"pass data=\[vector\]"),
        (EXPECTED[0], InvalidArgument, r"pass data=\[vector\]"),
        ([], InvalidArgument, "at least one row"),
        (np.empty((0, 3), np.float32), InvalidArgument, "at least one row"),
        (None, InvalidArgument, "None"),
        ("abc", InvalidArgument, "list of vectors"),
        (((1, 2, 3),), InvalidArgument, "list of vectors"),
        ([(1, 2, 3)], InvalidArgument, "list of vectors"),
        (["abc"], InvalidArgument, "list of vectors"),
        ({"a": 1}, InvalidArgument, "list of vectors"),
        (np.float32(1), InvalidArgument, "list of vectors"),
        (EXPECTED[:, :2], DimensionMismatch, "length 2"),
        ([[1, 2, 3], [1, 2]], DimensionMismatch, "query 1: given a vector of length 2"),
        ([b"1234"], DimensionMismatch, "length 1"),
        ([b"12345"], InvalidData, "bytes"),
        (EXPECTED.astype(np.int64), InvalidData, "int64"),
        (EXPECTED.astype(np.float16), InvalidData, "float16"),
        (np.ones((1, 1, 3), np.float32), InvalidData, "2-d array"),
        (np.array([[1, np.nan, 2]], np.float32), NotFinite, "query 0: element 1 is NaN"),
        ([[1, 2, 3], [1, 2, float("inf")]], NotFinite, "query 1: element 2"),
        (np.full((1, 3), 1e300), NotFinite, "query 0"),
    ],
)
def test_bad_queries(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        query_matrix(FIELD, data)


def test_large_finite_vectors_are_taken() -> None:
    large = np.full((1, 3), 3e38, np.float32)
    np.testing.assert_array_equal(query_matrix(FIELD, large), large)
    np.testing.assert_array_equal(vector_column(FIELD, [large[0]]), large)


def test_values_are_shown_short() -> None:
    assert shown("x" * 100) == f"'{'x' * 56}... (str)"
    assert shown(np.ones((2, 3))) == "an array of shape (2, 3) and type float64"
