from __future__ import annotations

import numpy as np
import pytest

from bench.truth import brute_force, recall
from bench.work import IntArray, Plan, Work, make_work


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.integers(0, 256, (500, 16)).astype(np.float32)
    queries = rng.integers(0, 256, (70, 16)).astype(np.float32)
    return make_work(vectors, queries, Plan(filtered_queries=30, k=5))


def nearest(work: Work, query: int, window: IntArray | None = None) -> IntArray:
    distances = ((work.vectors.astype(np.int64) - work.queries[query].astype(np.int64)) ** 2).sum(axis=1)
    if window is not None:
        distances[(work.ranks < window[0]) | (work.ranks >= window[1])] = np.iinfo(np.int64).max
    return np.argsort(distances)[: work.plan.k]


def test_exact_answers_have_full_recall(work: Work) -> None:
    truth = brute_force(work)
    ids = np.stack([nearest(work, i) for i in range(70)])
    assert recall(work, ids, truth.plain) == 1.0
    for share, windows in enumerate(work.windows):
        fresh = np.stack([nearest(work, i, work.fresh(share, 0)[i]) for i in range(30)])
        assert recall(work, fresh, truth.fresh[share], work.fresh(share, 0)) == 1.0
        repeated = np.stack([nearest(work, i, windows[0]) for i in range(30)])
        assert recall(work, repeated, truth.repeated[share], np.repeat(windows[:1], 30, axis=0)) == 1.0


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
    windows = work.windows[1]
    ids = np.stack([nearest(work, i) for i in range(30)])
    inside = np.isin(work.ranks[ids], np.arange(*windows[0])).mean()
    assert recall(work, ids, truth.repeated[1], np.repeat(windows[:1], 30, axis=0)) == pytest.approx(inside)


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
    window = work.windows[0, :1]
    kept = np.flatnonzero((work.ranks >= window[0, 0]) & (work.ranks < window[0, 1]))
    assert recall(work, np.array([[*kept, -1, -1]]), truth.repeated[0], window) == 1.0
