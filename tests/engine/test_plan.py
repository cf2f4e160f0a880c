from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from roost.engine.plan import (
    BITMAP,
    MISSED_SHARE,
    RETRY_BUDGET,
    SCAN,
    SKETCH_CALL_NS,
    TRUSTED_RANK_PER_WIDTH,
    Method,
    Task,
    about,
    exact_cost_ns,
    excerpt_cost_ns,
    excerpt_saving_ns,
    expected_here,
    extra_time,
    first_look,
    further_look,
    graph_cost_ns,
    is_complete,
    is_trusted,
    likely_look,
    most_compared,
    most_extra,
    next_look,
    plan_again,
    plan_scan,
    plan_search,
    rank_width,
    scan_cost_ns,
    sketch_cost_ns,
)


def comparisons(width: int) -> int:
    return min(60_000, int(48 * width**0.75))


IMAGES = Task(60_000, 6_000, 784, 10, 32, comparisons, n_threads=2)


def keeping(fraction: float, **changes: int) -> Task:
    return IMAGES._replace(n_allowed=int(IMAGES.n_rows * fraction), **changes)


@pytest.mark.parametrize("fraction", [0, 0.0001, 0.001, 0.01, 0.02])
def test_a_selective_filter_is_scanned(fraction: float) -> None:
    assert plan_search(keeping(fraction)) == SCAN


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_wide_filter_traverses_the_graph(fraction: float) -> None:
    plan = plan_search(keeping(fraction))
    assert plan.method is Method.TRAVERSE
    assert plan.width >= IMAGES.width


def test_the_narrower_the_filter_the_wider_the_traversal() -> None:
    widths = [plan_search(keeping(fraction)).width for fraction in (0.99, 0.5, 0.25, 0.1)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_the_chosen_way_is_the_cheaper_one() -> None:
    for permille in range(1, 1000, 7):
        task = keeping(permille / 1000)
        graph = graph_cost_ns(task, rank_width(task, task.k * 1000 / permille))
        assert (plan_search(task) == SCAN) == (graph >= exact_cost_ns(task))


def test_no_more_rows_than_k_are_scanned() -> None:
    assert plan_search(Task(5, 3, 2, 10, 16, lambda width: 0)) == SCAN


def test_doubt_turns_to_the_scan() -> None:
    assert plan_search(IMAGES, doubt=0.0).method is Method.TRAVERSE
    assert plan_search(IMAGES, doubt=0.9) == SCAN


def test_many_queries_share_the_copy_of_the_rows() -> None:
    per_query = exact_cost_ns(IMAGES._replace(n_queries=1000)) / 1000
    assert per_query < exact_cost_ns(IMAGES)


def test_an_exhaustive_index_is_never_handed_a_bitmap() -> None:
    exhaustive = IMAGES._replace(width=0, comparisons=lambda width: 60_000)
    assert plan_search(exhaustive._replace(n_allowed=59_000)) == SCAN


def test_an_index_without_a_width_is_handed_the_bitmap_of_a_wide_filter() -> None:
    lists = IMAGES._replace(width=0, comparisons=lambda width: 3_000)
    assert plan_search(lists._replace(n_allowed=30_000)) == BITMAP
    assert plan_search(lists._replace(n_allowed=600)) == SCAN


def test_trust_ends_at_a_multiple_of_the_width() -> None:
    assert is_trusted(IMAGES, 100 * TRUSTED_RANK_PER_WIDTH, 100)
    assert not is_trusted(IMAGES, 100 * TRUSTED_RANK_PER_WIDTH + 1, 100)
    assert not is_trusted(IMAGES, math.inf, 10**6)


def test_an_index_of_compressed_vectors_is_trusted_less_and_not_searched_again() -> None:
    rough = IMAGES._replace(is_rough=True)
    assert is_trusted(IMAGES, 170, 100) and not is_trusted(rough, 170, 100)
    assert plan_again(IMAGES, 32, 60.0).method is Method.TRAVERSE
    assert plan_again(rough, 32, 60.0) == SCAN


def test_searching_again_is_wider_by_the_rank_that_was_seen() -> None:
    task = keeping(0.5)
    assert plan_again(task, 40, 100.0).width > plan_again(task, 40, 70.0).width >= 80
    assert plan_again(task, 40, math.inf).width > 40


def test_searching_again_gives_way_to_a_scan_that_costs_little_more() -> None:
    assert plan_again(keeping(0.5), 40, 50_000.0) == SCAN
    assert plan_again(keeping(0.05), 200, math.inf) == SCAN


SKETCHED = IMAGES._replace(n_sketched=64)


def test_an_excerpt_makes_a_scan_cheaper() -> None:
    excerpted = SKETCHED._replace(has_excerpt=True)
    assert sketch_cost_ns(excerpted, 100) < sketch_cost_ns(SKETCHED, 100) / 2
    assert excerpt_saving_ns(SKETCHED, SCAN) == sketch_cost_ns(SKETCHED, 100) - sketch_cost_ns(excerpted, 100)
    assert excerpt_saving_ns(excerpted, SCAN) == 0


def test_a_trusted_traversal_gains_nothing_by_an_excerpt_and_a_doubted_one_does() -> None:
    wide = SKETCHED._replace(n_rows=1_000_000, n_allowed=500_000)
    plan = plan_search(wide)
    assert plan.method is Method.TRAVERSE
    assert excerpt_saving_ns(wide, plan) == 0
    assert excerpt_saving_ns(wide, plan, doubt=0.8) > 0


@pytest.mark.parametrize("task", [IMAGES, SKETCHED._replace(n_allowed=10)])
def test_without_a_sketch_or_with_few_rows_there_is_nothing_to_save(task: Task) -> None:
    assert excerpt_saving_ns(task, SCAN) == 0


def test_looks_grow_until_a_scan_of_all_costs_less() -> None:
    n_compared = first_look(SKETCHED)
    assert n_compared == 100
    n_most = most_compared(SKETCHED)
    assert next_look(SKETCHED, n_compared, n_most) == 200
    assert next_look(SKETCHED, 4_000, n_most) is None
    one_budget = RETRY_BUDGET * exact_cost_ns(SKETCHED)
    assert sketch_cost_ns(SKETCHED, n_most) <= one_budget < sketch_cost_ns(SKETCHED, n_most + 1)
    assert first_look(SKETCHED._replace(n_allowed=30)) == 30


@pytest.mark.parametrize("growth", [0.3, 1.0, 3.0])
def test_an_order_is_complete_where_few_enough_of_the_rows_behind_are_expected_to_be_near(growth: float) -> None:
    """Of rows whose number doubles over `growth` and whose distances are off by a normal error of spread 1."""
    n_rows, n_compared, n_neighbours = 2_000_000, 100, 10
    behind = growth * np.log2(1 + np.arange(n_rows) / n_compared)
    task = SKETCHED._replace(n_rows=n_rows, n_allowed=n_rows, k=n_neighbours)
    judged = []
    for gap in np.arange(1.0, 5.0, 0.125):
        n_missed = norm.sf(behind + gap).sum()
        judged.append(is_complete(task, n_compared, float(gap), 1.0, growth))
        if n_missed > 1.2 * MISSED_SHARE * n_neighbours:
            assert not judged[-1]
        if n_missed < 0.8 * MISSED_SHARE * n_neighbours:
            assert judged[-1]
    assert True in judged and False in judged


def test_an_order_is_complete_once_all_rows_are_compared_or_no_distance_is_off() -> None:
    few = SKETCHED._replace(n_allowed=100)
    assert is_complete(few, 100, -5.0, 1.0, 0.0)
    assert not is_complete(few, 99, -5.0, 1.0, 0.0)
    assert is_complete(SKETCHED, 100, 0.0, 0.0, 0.0)
    assert not is_complete(SKETCHED, 100, -0.1, 0.0, 1.0)


def test_rows_that_all_seem_as_far_count_as_they_are() -> None:
    """Where the distance does not grow, nothing but their number and the gap speaks for the answer."""
    crowded = SKETCHED._replace(n_rows=10_000, n_allowed=10_000)
    assert not is_complete(crowded, 100, 3.0, 1.0, 0.0)
    assert is_complete(crowded, 100, 6.0, 1.0, 0.0)
    assert is_complete(crowded, 100, 6.0, 1.0, 1e-9)


def test_a_lone_query_looks_at_once_at_as_many_rows_as_are_likely_to_be_enough() -> None:
    n_most = most_compared(SKETCHED)
    assert likely_look(SKETCHED, 100, n_most, 2.0, 1.0, 2.0) == next_look(SKETCHED, 100, n_most) == 200
    further = likely_look(SKETCHED, 100, n_most, 0.5, 1.0, 0.8)
    assert further is not None and further > 200
    assert likely_look(SKETCHED, 100, n_most, 0.0, 1.0, 0.0) is None
    few = SKETCHED._replace(n_allowed=300)
    assert likely_look(few, 100, most_compared(few), -9.0, 1.0, 0.1) in (None, 300)


@pytest.mark.parametrize("n_allowed", [10, 11, 500, 40_000])
@pytest.mark.parametrize("extra", [0.0, 0.3, 1.0, 3.0, 100.0])
def test_one_query_alone_is_planned_as_among_others(n_allowed: int, extra: float) -> None:
    task = SKETCHED._replace(n_allowed=n_allowed, sketch_extra=extra)
    assert (plan_scan(task) is Method.SKETCH) == (extra < most_extra(task))


@pytest.mark.parametrize("extra", [0.0, 0.2, 1.0, 3.0, 100.0])
def test_a_sketch_costs_what_follows_its_first_look_as_well(extra: float) -> None:
    task = SKETCHED._replace(sketch_extra=extra)
    exact, expected = exact_cost_ns(task), (1 + extra) * sketch_cost_ns(task, 100)
    assert scan_cost_ns(task) == pytest.approx(min(exact, expected))
    assert (plan_scan(task) is Method.SKETCH) == (expected < exact)


def test_what_follows_a_first_look_is_counted_in_first_looks() -> None:
    first, second, third = (sketch_cost_ns(SKETCHED, n) for n in (100, 200, 400))
    assert extra_time(SKETCHED, [], 0) == 0
    assert extra_time(SKETCHED, [(1, 200)], 0) == pytest.approx(second / first)
    total = 5 * second + 2 * third + exact_cost_ns(SKETCHED)
    assert extra_time(SKETCHED, [(5, 200), (2, 400)], 1) == pytest.approx(total / first)


@pytest.mark.parametrize(("n_allowed", "most"), [(60, 0.12), (600, 0.4), (6_000, 1.0), (60_000, 1.0)])
def test_blocks_of_rows_that_are_not_allowed_cost_nothing(n_allowed: int, most: float) -> None:
    """One in a thousand, one in a hundred, a tenth and all of the rows; random ones, in blocks of 32."""
    task = SKETCHED._replace(n_rows=60_000, n_allowed=n_allowed, skips_blocks=True)
    whole = task._replace(n_allowed=60_000)
    read, read_whole = (sketch_cost_ns(each, 0) - SKETCH_CALL_NS for each in (task, whole))
    assert 0.2 * most * read_whole < read <= most * read_whole
    assert read < sketch_cost_ns(task._replace(skips_blocks=False), 0)


def test_a_graph_is_not_left_for_a_sketch_that_is_doubted() -> None:
    """As under a filter that keeps nearly all rows, of which a sketch would be read a little faster."""
    task = SKETCHED._replace(n_allowed=int(0.96 * SKETCHED.n_rows), width=64, has_excerpt=True)
    assert plan_search(task) == SCAN
    assert plan_search(task._replace(sketch_extra=20.0)).method is Method.TRAVERSE
    doubted = task._replace(has_excerpt=False, sketch_extra=20.0)
    assert (
        excerpt_saving_ns(doubted, plan_search(doubted))
        == 0
        < excerpt_saving_ns(doubted._replace(sketch_extra=0), SCAN)
    )


def test_four_looks_show_that_none_will_do() -> None:
    n_most = most_compared(SKETCHED)
    hopeless, hopeful = (0.0, 1.0, 0.0), (2.0, 1.0, 2.0)
    looks = (100, 200, 400, 800)
    assert [further_look(SKETCHED, 100, n, n_most, *hopeless) for n in looks] == [200, 400, 800, None]
    assert [further_look(SKETCHED, 100, n, n_most, *hopeful) for n in looks] == [200, 400, 800, 1_600]
    assert further_look(SKETCHED, 100, n_most, n_most, *hopeful) is None


def test_fewer_rows_are_compared_where_others_hold_most_of_the_nearest() -> None:
    assert expected_here(SKETCHED, 0) == SKETCHED.k == 10
    assert expected_here(SKETCHED, 9 * SKETCHED.n_rows) == 1
    assert expected_here(SKETCHED, SKETCHED.n_rows) == 5
    assert first_look(SKETCHED, 9 * SKETCHED.n_rows) < first_look(SKETCHED, SKETCHED.n_rows) < first_look(SKETCHED)


def test_the_rows_of_a_new_filter_are_in_no_cache() -> None:
    """So an excerpt of few rows pays at the first search, where it would not if they were known."""
    few = SKETCHED._replace(n_allowed=600)
    new = few._replace(is_new=True)
    assert exact_cost_ns(few, is_new=True) > 1.5 * exact_cost_ns(few)
    assert plan_search(new) == plan_search(few), "a graph meets such rows as well"
    assert excerpt_saving_ns(few, SCAN) < excerpt_cost_ns(600) < excerpt_saving_ns(new, SCAN)


def test_plans_are_made_for_about_as_many_rows() -> None:
    for n_rows in (*range(200), 1_000, 12_345, 59_999, 10**9):
        assert 15 / 16 * n_rows <= about(n_rows) <= n_rows
        assert about(about(n_rows)) == about(n_rows)
    assert [about(n) for n in range(32)] == list(range(32)), "few rows are taken as they are"
    assert len({about(n) for n in range(1_000_000)}) < 300
