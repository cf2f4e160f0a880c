"""Vectors in every form that users give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine import vectors
from roost.engine.schema import Field
from roost.engine.tables import float_matrix, vector_matrix
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
        (np.ones(3, np.longdouble), InvalidData, "float16, float32 or float64"),
        ("abc", InvalidData, r"given 'abc' \(str\)"),
        (b"123456789012", InvalidData, "bytes"),
        (None, InvalidData, "None"),
        (1.5, InvalidData, "1.5"),
    ],
)
def test_bad_rows_are_named(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vector_column(FIELD, [EXPECTED[0], value])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f2", ">f4", ">f8", np.longdouble, np.int64])
def test_one_rule_for_the_arrays_of_rows_columns_and_queries(dtype: Any) -> None:
    rows = EXPECTED.astype(dtype)
    ways: list[Callable[[], Any]] = [
        lambda: vector_column(FIELD, list(rows)),
        lambda: vector_column(FIELD, [rows[0], EXPECTED[1].tolist()]),
        lambda: float_matrix(FIELD, rows),
        lambda: query_matrix(FIELD, rows),
        lambda: query_matrix(FIELD, list(rows)),
    ]
    for way in ways:
        if np.dtype(dtype).kind == "f" and np.dtype(dtype).itemsize <= 8:
            found = way()
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, EXPECTED)
        else:
            with pytest.raises(InvalidData, match="float16, float32 or float64"):
                way()


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
        EXPECTED.astype(np.float16),
        EXPECTED.astype(">f4"),
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
        (EXPECTED.astype(np.longdouble), InvalidData, "float16, float32 or float64"),
        (np.ones((1, 1, 3), np.float32), InvalidData, "2-d array"),
        (np.array([[1, np.nan, 2]], np.float32), NotFinite, "query 0: element 1 is NaN"),
        ([[1, 2, 3], [1, 2, float("inf")]], NotFinite, "query 1: element 2"),
        (np.full((1, 3), 1e300), NotFinite, "query 0"),
    ],
)
def test_bad_queries(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        query_matrix(FIELD, data)


def test_vectors_whose_distances_would_overflow_are_refused() -> None:
    longest = np.array([[0, vectors.MAX_LENGTH, 0]], np.float32)
    many = np.repeat(longest, 50, axis=0)
    assert np.isfinite(np.square(2 * longest)).all()
    np.testing.assert_array_equal(query_matrix(FIELD, many), many)
    np.testing.assert_array_equal(vector_column(FIELD, list(many)), many)
    np.testing.assert_array_equal(vector_column(BRAIN, list(many)), many.view(np.uint32) >> 16)
    for large in (1.01 * longest, longest + np.float32(2e18), np.full((1, 3), 3e38)):
        whole = np.concatenate([many, large.astype(np.float32)])
        for field, stored in ((FIELD, whole), (BRAIN, (whole.view(np.uint32) >> 16).astype(np.uint16))):
            with pytest.raises(NotFinite, match=r"row 50, field 'vector': the vector has the length .* scale"):
                vector_column(field, list(stored))
            with pytest.raises(NotFinite, match="row 57, field 'vector': the vector has the length"):
                vector_matrix(field, stored, 7)
            with pytest.raises(NotFinite, match="query 50: the vector has the length"):
                query_matrix(field, stored)


def test_values_are_shown_short() -> None:
    assert shown("x" * 100) == f"'{'x' * 56}... (str)"
    assert shown(np.ones((2, 3))) == "an array of shape (2, 3) and type float64"


HALF = Field("vector", DataType.FLOAT16_VECTOR, 101, dim=3)
BRAIN = Field("vector", DataType.BFLOAT16_VECTOR, 101, dim=3)
BYTES = Field("vector", DataType.INT8_VECTOR, 101, dim=3)
BITS = Field("vector", DataType.BINARY_VECTOR, 101, dim=24)
HALVES = EXPECTED.astype(np.float16)
BRAINS = (EXPECTED.view(np.uint32) >> 16).astype(np.uint16)
INTEGERS = np.array([[1, -128, 127], [4, 5, 6]], np.int8)
OCTETS = INTEGERS.view(np.uint8)

TYPED: list[tuple[Field, Any, Any]] = [
    (HALF, HALVES, list(HALVES)),
    (HALF, HALVES, [row.tobytes() for row in HALVES]),
    (HALF, HALVES, EXPECTED.tolist()),
    (HALF, HALVES, list(EXPECTED.astype(np.float64))),
    (HALF, HALVES, [HALVES[0], [4, 5, 6]]),
    (HALF, HALVES, [HALVES[0].tobytes(), EXPECTED[1]]),
    (HALF, HALVES, list(np.repeat(HALVES, 2, axis=1)[:, ::2])),
    (BRAIN, BRAINS, list(BRAINS)),
    (BRAIN, BRAINS, [row.tobytes() for row in BRAINS]),
    (BRAIN, BRAINS, [EXPECTED[0], [4, 5.003, 6]]),
    (BYTES, INTEGERS, list(INTEGERS)),
    (BYTES, INTEGERS, INTEGERS.tolist()),
    (BYTES, INTEGERS, [row.tobytes() for row in INTEGERS]),
    (BYTES, INTEGERS, [[np.int64(1), -128, 127], INTEGERS[1]]),
    (BITS, OCTETS, [row.tobytes() for row in OCTETS]),
    (BITS, OCTETS, list(OCTETS)),
    (BITS, OCTETS, OCTETS.tolist()),
]


@pytest.mark.parametrize(("field", "expected", "values"), TYPED)
def test_forms_of_other_types(field: Field, expected: Any, values: Any) -> None:
    column = vector_column(field, values)
    assert column.dtype == field.vector_dtype
    assert column.flags.c_contiguous
    np.testing.assert_array_equal(column, expected)
    numbers = expected.view(np.uint8) if field is BITS else EXPECTED if field is not BYTES else INTEGERS
    asked = query_matrix(field, values)
    assert asked.dtype == (np.uint8 if field is BITS else np.float32)
    np.testing.assert_array_equal(asked, numbers)


@pytest.mark.parametrize(("field", "matrix"), [(HALF, HALVES), (BRAIN, BRAINS), (BYTES, INTEGERS), (BITS, OCTETS)])
def test_queries_of_other_types_as_one_array(field: Field, matrix: Any) -> None:
    one_by_one = query_matrix(field, list(matrix))
    for data in (matrix, np.asfortranarray(matrix)):
        np.testing.assert_array_equal(query_matrix(field, data), one_by_one)
    with pytest.raises(InvalidArgument, match=r"pass data=\[vector\]"):
        query_matrix(field, matrix[0])


def test_arrays_of_ml_dtypes_are_taken() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs the extra: pip install 'roost[onnx]'")
    rows = EXPECTED.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(vector_column(BRAIN, list(rows)), BRAINS)
    np.testing.assert_array_equal(query_matrix(BRAIN, rows), EXPECTED)


def test_numbers_are_rounded_to_their_type() -> None:
    rows = [[1.0001, 0.1, 70.03], [1, 2, 3]]
    np.testing.assert_array_equal(vector_column(HALF, rows), np.array(rows, np.float32).astype(np.float16))
    np.testing.assert_array_equal(query_matrix(HALF, rows), np.array(rows, np.float16).astype(np.float32))


def test_rows_of_other_types_are_copied() -> None:
    given = HALVES.copy()
    column = vector_column(HALF, [given[0]])
    given[0, 0] = 9
    assert column[0, 0] == 1


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        (HALF, [1, 2], DimensionMismatch, "row 1, field 'vector': given a vector of length 2"),
        (HALF, HALVES[0, :2], DimensionMismatch, "given a vector of 2 numbers; .* has 3"),
        (HALF, b"1234", DimensionMismatch, r"given 4 bytes; .*FLOAT16_VECTOR, dimension 3\) has 6"),
        (HALF, [1, 70_000, 2], NotFinite, "row 1, field 'vector': element 1 .* too large for FLOAT16_VECTOR"),
        (HALF, np.array([1, np.nan, 2], np.float16), NotFinite, "element 1"),
        (HALF, np.array([np.inf, 1, 2]), NotFinite, "element 0"),
        (HALF, b"\x00\x00\x00\x7c\x00\x00", NotFinite, "element 1"),
        (HALF, [1, "2", 3], InvalidData, r"element 1 is '2' \(str\)"),
        (HALF, BRAINS[0], InvalidData, "array of shape .3,. and type uint16; a vector of FLOAT16_VECTOR is a list of"),
        (BRAIN, [1, 3.4e38, 2], NotFinite, "too large for BFLOAT16_VECTOR"),
        (BRAIN, [1, float("nan"), 2], NotFinite, "element 1"),
        (BRAIN, HALVES[0], InvalidData, "type float16; a vector of BFLOAT16_VECTOR is"),
        (BYTES, [1, 128, 3], InvalidData, "element 1 is 128 .*from -128 to 127"),
        (BYTES, [1, 2.0, 3], InvalidData, r"element 1 is 2.0 \(float\)"),
        (BYTES, [1, 2], DimensionMismatch, "given a vector of 2 numbers"),
        (BYTES, np.ones(3, np.int64), InvalidData, "type int64; a vector of INT8_VECTOR is"),
        (BYTES, np.ones(3, np.float32), InvalidData, "type float32"),
        (BYTES, np.ones((1, 3), np.int8), InvalidData, "an array of shape .1, 3."),
        (BYTES, None, InvalidData, "given None"),
        (BITS, b"12", DimensionMismatch, r"given 2 bytes; .*BINARY_VECTOR, dimension 24\) has 3"),
        (BITS, [1] * 24, DimensionMismatch, "given a vector of 24 numbers; .* dimension 24. has 3"),
        (BITS, [1, -1, 3], InvalidData, "element 1 is -1"),
        (BITS, "abc", InvalidData, r"given 'abc' \(str\); a vector of BINARY_VECTOR is the bytes"),
        (BITS, 3, InvalidData, "given 3"),
    ],
)
def test_bad_vectors_of_other_types_are_named(field: Field, value: Any, error: type[Exception], message: str) -> None:
    good = {HALF: HALVES, BRAIN: BRAINS, BYTES: INTEGERS, BITS: OCTETS}[field][0]
    with pytest.raises(error, match=message):
        vector_column(field, [good, value])
    if isinstance(value, (list, bytes, np.ndarray)):
        with pytest.raises(error, match=message.replace("row 1, field 'vector'", "query 1")):
            query_matrix(field, [good, value])
