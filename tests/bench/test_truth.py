from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.arrays import IntArray
from bench.filters import FilterCase
from bench.truth import brute_force, recall
from bench.work import Plan, Work, make_work


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.integers(0, 256, (500, 16)).astype(np.float32)
    queries = rng.integers(0, 256, (70, 16)).astype(np.float32)
    return make_work(vectors, queries, Plan(filtered_queries=30, k=5))


def nearest(work: Work, query: int, case: FilterCase | None = None) -> IntArray:
    """Return the nearest rows of a query, padded with -1; with a case, of its query of that number."""
    number = query if case is None else case.numbers[query]
    distances = ((work.vectors.astype(np.int64) - work.queries[number].astype(np.int64)) ** 2).sum(axis=1)
    kept = np.arange(len(distances))
    if case is not None:
        column, (low, high) = work.column(case.column), case.windows[0, query]
        kept = kept[(column >= low) & (column < high)]
    found = np.full(work.plan.k, -1)
    ids = kept[np.argsort(distances[kept])][: work.plan.k]
    found[: len(ids)] = ids
    return found


def test_exact_answers_have_full_recall(work: Work) -> None:
    truth = brute_force(work)
    ids = np.stack([nearest(work, i) for i in range(70)])
    assert recall(work, ids, truth.plain) == 1.0
    for case in work.filter_cases():
        under = np.stack([nearest(work, i, case) for i in range(30)])
        assert recall(work, under, truth.under[case.name], case) == 1.0


def test_wrong_missing_and_doubled_neighbours_count_against(work: Work) -> None:
    truth = brute_force(work)
    ids = np.stack([nearest(work, i) for i in range(70)])
    ids[:, 1] = ids[:, 0]
    ids[:, 2] = -1
    farthest = np.argmax(((work.vectors - work.queries[0]) ** 2).sum(axis=1))
    ids[:, 3] = farthest
    assert recall(work, ids[:1], truth.plain[:1]) == pytest.approx(2 / 5)


def test_neighbours_outside_the_filter_count_against(work: Work) -> None:
    truth = brute_force(work)
    case = next(case for case in work.filter_cases() if case.name == "random repeated 0.1")
    ids = np.stack([nearest(work, i) for i in range(30)])
    inside = np.isin(work.column("rank")[ids], np.arange(*case.windows[0, 0])).mean()
    assert 0 < recall(work, ids, truth.under[case.name], case) == pytest.approx(inside)


def test_filters_that_were_not_asked_for_are_not_compared(work: Work) -> None:
    queries_alone, none = (
        brute_force(replace(work, plan=replace(work.plan, steps=steps))) for steps in (("queries",), ("mixed",))
    )
    assert queries_alone.under == none.under == {}
    assert np.isfinite(queries_alone.plain).all()
    assert np.isnan(none.plain).all()


def test_a_row_as_near_as_the_last_true_one_is_right() -> None:
    vectors = np.array([[0.0], [1.0], [-1.0], [5.0]], dtype=np.float32)
    work = make_work(vectors, np.zeros((1, 1), dtype=np.float32), Plan(k=2))
    truth = brute_force(work)
    assert recall(work, np.array([[0, 1]]), truth.plain) == 1.0
    assert recall(work, np.array([[0, 2]]), truth.plain) == 1.0
    assert recall(work, np.array([[0, 3]]), truth.plain) == 0.5


def test_fewer_rows_than_k_are_expected_where_the_filter_leaves_fewer() -> None:
    vectors = np.arange(8, dtype=np.float32)[:, None]
    work = make_work(vectors, np.zeros((1, 1), dtype=np.float32), Plan(k=4, keeps=(0.25,), filtered_queries=1))
    truth = brute_force(work)
    case = work.filter_cases()[0]
    ids = nearest(work, 0, case)
    assert np.count_nonzero(ids >= 0) == 2
    assert recall(work, ids[None], truth.under[case.name], case) == 1.0
