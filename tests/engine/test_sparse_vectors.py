"""Sparse vectors in every form that users give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.index.sparse_rows import PAIR, SparseRows
from roost.engine.schema import Field
from roost.engine.sparse_vectors import sparse_bytes, sparse_queries, sparse_value
from roost.errors import InvalidArgument, InvalidData, NotFinite

FIELD = Field("vector", DataType.SPARSE_FLOAT_VECTOR, 101)
EXPECTED = [{3: 0.5, 70_000: -2.0}, {}, {2**32 - 2: 1.5}]
WHERE = "row {}, field 'vector'"


@pytest.mark.parametrize(
    "values",
    [
        EXPECTED,
        [{70_000: -2, 3: 0.5}, {}, {2**32 - 2: 1.5}],
        [[(3, 0.5), (70_000, -2)], [], [[2**32 - 2, 1.5]]],
        [((70_000, -2.0), (3, 0.5)), (), {np.int64(2**32 - 2): np.float32(1.5)}],
    ],
)
def test_forms(values: Any) -> None:
    stored = sparse_bytes(FIELD, values, WHERE)
    assert [sparse_value(row) for row in stored] == EXPECTED
    assert [len(row) for row in stored] == [16, 0, 8]
    assert np.frombuffer(stored[0], PAIR)["index"].tolist() == [3, 70_000]


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "coo_matrix", "csc_array"])
def test_rows_of_scipy(form: str) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="needs the extra: pip install 'roost[lifecycle]'")
    matrix = getattr(sparse, form)(np.array([[0, 2.0, 0, 1.0], [0, 0, 0, 0]]))
    rows = [matrix.tocsr()[i : i + 1] for i in range(2)]
    assert [sparse_value(row) for row in sparse_bytes(FIELD, rows, WHERE)] == [{1: 2.0, 3: 1.0}, {}]
    for data in (matrix, rows):
        asked: Any = sparse_queries(FIELD, data)
        assert isinstance(asked, SparseRows)
        assert [sparse_value(asked.row(q).tobytes()) for q in range(2)] == [{1: 2.0, 3: 1.0}, {}]
    with pytest.raises(InvalidData, match=r"row 0, .*a matrix of shape \(2, 4\); .* one row"):
        sparse_bytes(FIELD, [matrix], WHERE)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({-1: 1.0}, InvalidData, r"row 1, field 'vector': index -1 \(int\) is not allowed; .*from 0 to 4294967294"),
        ({2**32 - 1: 1.0}, InvalidData, "index 4294967295"),
        ({"3": 1.0}, InvalidData, r"index '3' \(str\)"),
        ({True: 1.0}, InvalidData, "index True"),
        ({1.0: 1.0}, InvalidData, "index 1.0"),
        ({1: "2"}, InvalidData, r"'2' \(str\) is not allowed"),
        ({1: None}, InvalidData, "None"),
        ({1: True}, InvalidData, "True"),
        ([(1, 2.0), (1, 3.0)], InvalidData, "index 1 is there twice"),
        ({4: float("nan")}, NotFinite, "the number at index 4 is NaN"),
        ({4: float("inf")}, NotFinite, "index 4"),
        ({4: 1e39}, NotFinite, "too large for float32"),
        ({4: 10**400}, NotFinite, "too large for float32"),
        ([1, 2], InvalidData, r"given \[1, 2\] \(list\); a vector of SPARSE_FLOAT_VECTOR is a dict"),
        ([(1, 2, 3)], InvalidData, "a dict from index to number"),
        ("abc", InvalidData, "given 'abc'"),
        (np.ones(3), InvalidData, "an array of shape"),
        (None, InvalidData, "given None"),
    ],
)
def test_bad_vectors_are_named(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sparse_bytes(FIELD, [{1: 1.0}, value], WHERE)


@pytest.mark.parametrize("data", [{1: 2.0}, [], None, "abc", ["abc"], np.ones((1, 3)), [np.ones(3)], [(1, 2.0)]])
def test_bad_queries(data: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r"a list of sparse vectors: for one vector pass data=\[\{index: number\}\]"
    ):
        sparse_queries(FIELD, data)


def test_a_bad_query_is_named() -> None:
    with pytest.raises(InvalidData, match="query 1: index -5"):
        sparse_queries(FIELD, [{1: 1.0}, {-5: 1.0}])
