from __future__ import annotations

import numpy as np
import pytest

from roost.engine.columns import FloatArray, IntArray
from roost.engine.index import exact
from roost.engine.index.exact import exact_search, inverse_norms, merge, normalised
from roost.errors import DimensionMismatch, InvalidArgument
from roost.testing.index_contract import brute_force

RNG = np.random.default_rng(3)
VECTORS = (RNG.normal(size=(3000, 32)) + 2).astype(np.float32)
VECTORS[17] = 0
VECTORS.flags.writeable = False
QUERIES = (RNG.normal(size=(40, 32)) + 2).astype(np.float32)
QUERIES.flags.writeable = False
ROWS = {"all": None, "some": np.arange(5, 3000, 7), "few": np.array([3, 17, 5]), "none": np.array([], np.int64)}


def check(vectors: FloatArray, queries: FloatArray, k: int, metric: str, rows: IntArray | None, norms: bool) -> None:
    found = exact_search(vectors, queries, k, metric, rows, inverse_norms(vectors) if norms else None)
    every = brute_force(vectors, queries, metric)
    compared = every if rows is None else every[:, rows]
    n = min(k, compared.shape[1])
    nearest = np.sort(compared, axis=1)[:, :n]
    assert found.ids.shape == found.distances.shape == (len(queries), k)
    assert (found.ids.dtype, found.distances.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(found.distances[:, :n], nearest, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(every, found.ids[:, :n], 1), nearest, rtol=1e-4, atol=1e-5)
    assert (found.ids[:, n:] == -1).all()
    assert np.isinf(found.distances[:, n:]).all()


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("n_queries", [1, 3, 40])
@pytest.mark.parametrize("rows", ROWS)
def test_finds_the_nearest_rows(metric: str, n_queries: int, rows: str) -> None:
    for norms in (False, True):
        check(VECTORS, QUERIES[:n_queries], 10, metric, ROWS[rows], norms)


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_answers_do_not_depend_on_the_blocks(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "BLOCK_FLOATS", 1)
    for rows in ROWS.values():
        check(VECTORS, QUERIES, 10, metric, rows, True)


def test_near_rows_far_from_the_origin_keep_their_digits() -> None:
    vectors = (1000 + RNG.normal(size=(5000, 16))).astype(np.float32)
    check(vectors, vectors[:40] + np.float32(0.01), 10, "L2", None, False)


def test_nothing_to_search() -> None:
    assert exact_search(VECTORS[:0], QUERIES, 3, "L2").ids.tolist() == [[-1] * 3] * 40
    assert exact_search(VECTORS, QUERIES[:0], 3, "COSINE").ids.shape == (0, 3)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(DimensionMismatch, match="31"):
        exact_search(VECTORS, QUERIES[:, :31], 3, "L2")
    with pytest.raises(InvalidArgument, match="k=0"):
        exact_search(VECTORS, QUERIES, 0, "L2")


def test_unit_length_and_zero_vectors() -> None:
    unit = normalised(VECTORS)
    lengths = np.linalg.norm(unit, axis=1)
    assert lengths[17] == 0
    np.testing.assert_allclose(np.delete(lengths, 17), 1, rtol=1e-6)
    assert inverse_norms(VECTORS)[17] == 0


def test_merge_keeps_the_nearest_of_all_parts() -> None:
    left = exact_search(VECTORS, QUERIES, 10, "L2", np.arange(1000))
    right = exact_search(VECTORS, QUERIES, 10, "L2", np.arange(1000, 3000))
    both = merge([left, right], 10)
    assert np.array_equal(both.ids, exact_search(VECTORS, QUERIES, 10, "L2", np.arange(3000)).ids)
    assert merge([both], 10) is both
