from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from roost.engine.index import sparse_rows as module
from roost.engine.index.exact import exact_search, rank_again
from roost.engine.index.sparse_rows import PAIR, products, sparse_column, sparse_rows
from tests.engine.index.sparse_data import as_rows, draw


@pytest.mark.parametrize("scale", [1, 10_000_000])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_products(block: int, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_PAIRS", block)
    rows, dense = draw(300, 50, 0, signed=True, scale=scale)
    queries, asked = draw(20, 50, 1, signed=True, scale=scale)
    for q in range(20):
        np.testing.assert_allclose(products(rows, queries.row(q)), dense @ asked[q], rtol=1e-5, atol=1e-6)
    assert not products(rows, queries.row(5)).any(), "a query without an index has nothing in common with any row"


@pytest.mark.parametrize("scale", [1, 10_000_000])
def test_small_products_beside_large_ones(scale: int) -> None:
    rows = as_rows(np.array([[0, 1e20], [0, 0], [0, 0.5], [0, 2], [1, 0], [0, 0]], np.float32), scale)
    query = as_rows(np.array([[0, 1]], np.float32), scale)
    np.testing.assert_array_equal(products(rows, query.row(0)), np.array([1e20, 0, 0.5, 2, 0, 0], np.float32))
    found = exact_search(rows, query, 5, "IP")
    assert found.ids.tolist() == [[0, 3, 2, -1, -1]]
    some = exact_search(rows, query, 5, "IP", np.array([1, 2, 4, 5]))
    assert some.ids.tolist() == [[2, -1, -1, -1, -1]]


def test_products_beyond_float32() -> None:
    largest = np.finfo(np.float32).max
    dense = np.array([[1e30, 0], [-1e30, 0], [1e30, 1e30], [1e30, -1e30], [0, 1], [largest, largest]], np.float32)
    rows = as_rows(dense)
    found = products(rows, as_rows(np.array([[1e30, 1e30]], np.float32)).row(0))
    expected = np.array([largest, -largest, largest, 0, 1e30, largest], np.float32)
    np.testing.assert_array_equal(found, expected)
    assert len(products(rows[:0], rows.row(0))) == 0


def test_rows_are_picked() -> None:
    rows, dense = draw(40, 30, 0)
    query = as_rows(np.ones((1, 30), np.float32)).row(0)
    for picked in (slice(3, 30), slice(7, 3), slice(0, 0), [5, 3, 3], np.array([39, 0]), np.empty(0, np.int64)):
        np.testing.assert_allclose(products(rows[picked], query), dense[picked].sum(axis=1), rtol=1e-5)
        assert len(rows[picked]) == len(dense[picked])
    assert rows[3:30][2:4].used.tobytes() == rows[5:7].used.tobytes()


def test_a_column_of_arrow_is_read_in_place() -> None:
    pairs = np.array([(1, 2.0), (9, 3.0)], PAIR)
    column = pa.array([b"", pairs.tobytes(), pairs[:1].tobytes(), b""], pa.large_binary())
    for part, lengths in ((column, [0, 2, 1, 0]), (column[2:], [1, 0]), (column[:1], [0]), (column[:0], [])):
        rows: Any = sparse_column(part)
        assert rows.lengths.tolist() == lengths
        assert rows.nbytes >= 8
    assert sparse_column(column).row(1).tolist() == [(1, 2.0), (9, 3.0)]
    assert len(sparse_rows([])) == 0


@pytest.mark.parametrize("picked", [None, np.arange(0, 300, 3), np.empty(0, np.int64)])
def test_exact_search_finds_what_has_an_index_in_common(picked: Any) -> None:
    rows, dense = draw(300, 50, 0, signed=True)
    queries, asked = draw(20, 50, 1, signed=True)
    found = exact_search(rows, queries, 10, "IP", picked)
    every = -(asked @ dense.T)
    allowed = np.zeros(300, bool)
    allowed[slice(None) if picked is None else picked] = True
    every[:, ~allowed] = np.inf
    every[every == 0] = np.inf
    np.testing.assert_allclose(found.distances, np.sort(every, axis=1)[:, :10], rtol=1e-5, atol=1e-6)
    assert np.array_equal(found.ids < 0, np.isinf(found.distances))
    again = rank_again(rows, queries, np.tile(np.arange(20), (20, 1)), 5, "IP")
    np.testing.assert_allclose(
        again.distances, exact_search(rows, queries, 5, "IP", np.arange(20)).distances, rtol=1e-6
    )
