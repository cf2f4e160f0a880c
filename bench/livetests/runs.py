"""Tests of two sides that are equally good, and of two that are not, looked at after every event."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import islice
from statistics import NormalDist

import numpy as np

from bench.livetests.paths import first_time, mean_log_e, split_log_e
from bench.livetests.users import (
    BoolArray,
    FloatArray,
    Interleave,
    K,
    Users,
    World,
    interleaved_outcomes,
    split_clicks,
)
from roost.lifecycle.livetest import RatioTest, SequentialTest, balanced_draft, team_draft

ALPHA = 0.05

DRAFTS: Mapping[str, Interleave] = {"team draft": team_draft, "debiased balanced": balanced_draft}

SPLIT_METRICS: Mapping[str, Callable[[BoolArray], FloatArray]] = {
    "a click": lambda clicks: np.asarray(clicks.any(axis=-1), dtype=np.float64),
    "clicks / 10": lambda clicks: np.asarray(clicks.mean(axis=-1)),
    "1 / rank of the first click": lambda clicks: clicks.any(axis=-1) / (clicks.argmax(axis=-1) + 1.0),
}
"""Metrics of one query, from 0 to 1; a user's value is their mean over the user's queries."""

SHADOW_METRICS: Mapping[str, Callable[[BoolArray], FloatArray]] = {
    "precision@10": lambda worth: np.asarray(worth.mean(axis=-1)),
    "success@1": lambda worth: worth[..., 0].astype(np.float64),
    "DCG@10": lambda worth: worth @ (1.0 / np.log2(np.arange(2, K + 2))) / (1.0 / np.log2(np.arange(2, K + 2))).sum(),
}
"""Metrics of one answer by labels, from 0 to 1; the champion's is taken from the challenger's."""


def shadow_ends(world: World, metric: str, n_tests: int, n_events: int, rng: np.random.Generator) -> FloatArray:
    """Return after how many queries each shadow test decides; inf where it does not."""
    queries = rng.integers(0, world.n_queries, (n_tests, n_events))
    measure = SHADOW_METRICS[metric]
    differences = measure(world.worth_shown(world.challenger, queries))
    differences = differences - measure(world.worth_shown(world.champion, queries))
    return first_time(mean_log_e(differences), ALPHA)


def split_ends(
    world: World,
    users: Users,
    metric: str,
    n_tests: int,
    n_users: int,
    rng: np.random.Generator,
    weights: FloatArray | float = 0.5,
) -> FloatArray:
    """Return after how many users each split decides; inf where it does not.

    Args:
        weights: probability of the challenger, for all users or for each, (n_users,).
    """
    ends = []
    for _ in range(n_tests // _BATCH):
        challenger = rng.random((_BATCH, n_users)) < weights
        values = SPLIT_METRICS[metric](split_clicks(world, users, challenger, rng)).mean(axis=-1)
        ends.append(first_time(split_log_e(challenger, values, weights), ALPHA))
    return np.concatenate(ends)


_BATCH = 10
"""Tests that are simulated together: bounds the memory."""


def z_test_ends(world: World, users: Users, n_tests: int, n_users: int, rng: np.random.Generator) -> FloatArray:
    """Return after how many users an ordinary z-test on "a click", looked at after every user, finds a difference.

    The first look is after 30 users; inf where no look finds one.
    """
    challenger = rng.random((n_tests, n_users)) < 0.5
    values = np.concatenate(
        [
            SPLIT_METRICS["a click"](split_clicks(world, users, rows, rng)).mean(axis=-1)
            for rows in np.array_split(challenger, n_tests // _BATCH)
        ]
    )
    sides = []
    for side in (challenger, ~challenger):
        n = np.maximum(side.cumsum(axis=1), 1)
        mean = (values * side).cumsum(axis=1) / n
        sides.append((mean, ((values**2 * side).cumsum(axis=1) / n - mean**2) / n))
    (mean, variance), (other, other_variance) = sides
    z = np.abs(mean - other) / np.sqrt(np.maximum(variance + other_variance, 1e-12))
    found = (z > NormalDist().inv_cdf(1.0 - ALPHA / 2.0)) & (np.arange(n_users) >= 29)
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)


def ratio_ends(world: World, users: Users, n_tests: int, n_users: int, rng: np.random.Generator) -> FloatArray:
    """Return after how many users each split on clicks per query with a click decides; inf where it does not.

    Both the clicks and those queries are random, and the user is the unit.
    """
    ends = []
    for _ in range(n_tests):
        challenger = rng.random(n_users) < 0.5
        clicks = split_clicks(world, users, challenger, rng)
        numerators, denominators = clicks.sum(axis=(1, 2)), clicks.any(axis=2).sum(axis=1)
        test, end = RatioTest(), math.inf
        for n, (treated, y, x) in enumerate(zip(challenger, numerators, denominators, strict=True), start=1):
            test.add("challenger" if treated else "champion", float(y), float(x))
            if test.p_value <= ALPHA:
                end = n
                break
        ends.append(end)
    return np.array(ends)


def interleaving_ends(
    world: World, users: Users, draft: str, n_tests: int, n_events: int, rng: np.random.Generator
) -> FloatArray:
    """Return after how many queries each interleaved test decides; inf where it does not."""
    ends = []
    for number in range(n_tests):
        test, end = SequentialTest(alpha=ALPHA), math.inf
        outcomes = interleaved_outcomes(world, users, DRAFTS[draft], rng, seed=number)
        for n, outcome in enumerate(islice(outcomes, n_events), start=1):
            test = test.update(outcome)
            if test.decision is not None:
                end = n
                break
        ends.append(end)
    return np.array(ends)
