from __future__ import annotations

import numpy as np
import pytest

from bench.filters import FilterCase, draw_asked, draw_windows, places_on_axis
from bench.work import Plan, Work, make_work


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    spread = np.array([50.0, 2.0, 1.0], dtype=np.float32)
    vectors = (rng.normal(size=(2_000, 3)) * spread).astype(np.float32)
    queries = (rng.normal(size=(100, 3)) * spread).astype(np.float32)
    return make_work(vectors, queries, Plan(filtered_queries=20))


def cases(work: Work, side: str, kind: str) -> list[FilterCase]:
    return [case for case in work.filter_cases() if (case.side, case.kind) == (side, kind)]


def places(work: Work, case: FilterCase) -> np.ndarray:
    return places_on_axis(work.vectors, work.queries)[1][case.numbers]


def test_rows_are_ordered_along_the_direction_in_which_they_differ_most(work: Work) -> None:
    along = work.vectors[np.argsort(work.column("axis")), 0]
    order = np.corrcoef(np.arange(len(along)), along)[0, 1]
    assert abs(order) > 0.95
    assert sorted(work.column("axis").tolist()) == list(range(2_000))


def test_a_query_stands_where_the_rows_beside_it_stand(work: Work) -> None:
    _, found = places_on_axis(work.vectors, work.vectors[:50])
    assert np.abs(found - work.column("axis")[:50]).max() <= 2


def test_near_queries_lie_in_the_slab_that_their_filter_keeps(work: Work) -> None:
    for case in cases(work, "near", "fresh"):
        own = places(work, case)
        assert ((case.windows[..., 0] <= own) & (own < case.windows[..., 1])).all()


def test_far_queries_lie_outside_the_slab(work: Work) -> None:
    for case in [*cases(work, "far", "fresh"), *cases(work, "far", "repeated")]:
        assert (places(work, case) >= case.windows[..., 1]).all()


def test_a_repeated_filter_keeps_the_low_end_of_the_axis(work: Work) -> None:
    for side in ("near", "far"):
        assert [case.windows[0, 0].tolist() for case in cases(work, side, "repeated")] == [
            [0, 2],
            [0, 20],
            [0, 200],
            [0, 1_000],
        ]


def test_the_ends_of_the_axis_are_asked_from() -> None:
    np.testing.assert_array_equal(draw_asked(np.array([5, 1, 9, 3]), 2), [[0, 1], [1, 3], [2, 0]])


def test_filters_differ_as_far_as_there_are_enough(rng: np.random.Generator) -> None:
    own = np.arange(10)
    windows = draw_windows(np.stack([own] * 3), own * 10, 100, (0.5, 0.98), 4, rng)
    random_lows = windows[0, 0, :, 0]
    assert len(np.unique(random_lows)) == 41
    assert set(windows[0, 1, :, 0].tolist()) == {0, 1, 2}
    middle = windows[1, 0, 1:, 0].reshape(4, 10)[:, 5]
    assert len(np.unique(middle)) == 4
