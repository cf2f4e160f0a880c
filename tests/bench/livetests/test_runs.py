"""Live tests of simulated users: false decisions of equal sides, and the speed of interleaving against a split."""

from __future__ import annotations

import numpy as np
import pytest

from bench.livetests import runs
from bench.livetests.__main__ import enough
from bench.livetests.users import Users, World, make_world

N_TESTS = 400
USERS = Users()


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def n_decided(ends: np.ndarray) -> int:
    assert ends.shape == (N_TESTS,)
    return int(np.isfinite(ends).sum())


@pytest.mark.parametrize("metric", list(runs.SHADOW_METRICS))
def test_shadow_tests_of_equal_sides_hardly_ever_decide(world: World, metric: str, rng: np.random.Generator) -> None:
    assert n_decided(runs.shadow_ends(world.equal(), metric, N_TESTS, 500, rng)) <= 0.05 * N_TESTS


@pytest.mark.parametrize("weights", [0.5, np.repeat([0.1, 0.5], (100, 300))], ids=["halves", "ramp"])
def test_splits_of_equal_sides_hardly_ever_decide(
    world: World, weights: float | np.ndarray, rng: np.random.Generator
) -> None:
    ends = runs.split_ends(world.equal(), USERS, "a click", N_TESTS, 400, rng, weights)
    assert n_decided(ends) <= 0.05 * N_TESTS


@pytest.mark.slow
def test_ratios_of_equal_sides_hardly_ever_decide(world: World, rng: np.random.Generator) -> None:
    assert n_decided(runs.ratio_ends(world.equal(), USERS, N_TESTS, 250, rng)) <= 0.05 * N_TESTS


@pytest.mark.slow
@pytest.mark.parametrize("draft", list(runs.DRAFTS))
def test_interleaving_of_equal_sides_hardly_ever_decides(world: World, draft: str, rng: np.random.Generator) -> None:
    assert n_decided(runs.interleaving_ends(world.equal(), USERS, draft, N_TESTS, 200, rng)) <= 0.05 * N_TESTS


def test_an_ordinary_test_with_the_same_looks_decides_far_too_often(world: World, rng: np.random.Generator) -> None:
    assert n_decided(runs.z_test_ends(world.equal(), USERS, N_TESTS, 400, rng)) > 0.15 * N_TESTS


@pytest.mark.slow
def test_interleaving_needs_a_tenth_of_the_queries_of_a_split(world: World, rng: np.random.Generator) -> None:
    splits = runs.split_ends(world, USERS, "a click", 40, 4_000, rng) * USERS.queries_each
    for draft in runs.DRAFTS:
        interleaved = runs.interleaving_ends(world, USERS, draft, 40, 5_000, rng)
        assert np.isfinite(interleaved).all()
        assert enough(splits) >= 10.0 * enough(interleaved)
