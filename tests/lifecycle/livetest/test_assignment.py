"""The split is sticky, as large as its weights say, and moves users in one direction only."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Ramp, Stage, assign
from roost.lifecycle.livetest.assignment import position

USERS = [f"user-{number}" for number in range(20_000)]
RAMP = Ramp(
    (Stage(0.0, {"a": 0.01, "b": 0.05}), Stage(3_600.0, {"a": 0.2, "b": 0.05}), Stage(7_200.0, {"a": 0.5, "b": 0.3}))
)


@pytest.mark.parametrize("elapsed", [0.0, 3_599.0, 3_600.0, 100_000.0])
def test_the_groups_are_as_large_as_the_weights_say(elapsed):
    found = [assign(user, "seed", RAMP, elapsed) for user in USERS]
    for name, weight in RAMP.weights(elapsed).items():
        assert found.count(name) / len(USERS) == pytest.approx(weight, abs=4 * math.sqrt(weight / len(USERS)))


def test_a_user_moves_at_most_once_and_never_back():
    for user in USERS[:3_000]:
        served = [assign(user, "seed", RAMP, elapsed) for elapsed in (0.0, 3_600.0, 7_200.0)]
        first = next((n for n, name in enumerate(served) if name), len(served))
        assert served[:first] == [None] * first
        assert len(set(served[first:])) <= 1


def test_the_same_user_gets_the_same_answer():
    # Known answers: a user's side must not change with the version of Roost in the middle of a test.
    assert position("ada", "seed") == pytest.approx(0.560788613366778, abs=1e-12)
    assert assign("ada", "seed", RAMP) == assign("ada", "seed", RAMP)


def test_positions_are_uniform_and_independent_between_tests():
    first = np.array([position(user, "one") for user in USERS])
    second = np.array([position(user, "two") for user in USERS])
    assert first.min() >= 0.0 and first.max() < 1.0
    counts, _ = np.histogram(first, bins=20, range=(0.0, 1.0))
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 43.8  # chi-squared with 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(len(USERS))


def test_the_share_is_that_of_the_pair():
    assert RAMP.share("a", 0.0) == pytest.approx(0.01 / 0.95)
    assert RAMP.share("b", 7_200.0) == pytest.approx(0.3 / 0.5)
    assert Ramp.constant({"a": 0.5}).share("a", 5.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((), "starts at 0"),
        ((Stage(1.0, {"a": 0.5}),), "starts at 0"),
        ((Stage(0.0, {}),), "at least one challenger"),
        ((Stage(0.0, {"a": 0.0}),), "between 0 and 1"),
        ((Stage(0.0, {"a": math.nan}),), "between 0 and 1"),
        ((Stage(0.0, {"a": 0.5, "b": 0.5}),), "less than 1"),
        ((Stage(0.0, {"a": 0.1}), Stage(0.0, {"a": 0.2})), "follow each other"),
        ((Stage(0.0, {"a": 0.1}), Stage(math.inf, {"a": 0.2})), "follow each other"),
        ((Stage(0.0, {"a": 0.1}), Stage(1.0, {"b": 0.2})), "the same challengers"),
        ((Stage(0.0, {"a": 0.2}), Stage(1.0, {"a": 0.1})), "shrinks"),
    ],
)
def test_a_ramp_that_cannot_be_is_refused(stages, message):
    with pytest.raises(InvalidArgument, match=message):
        Ramp(stages)


@pytest.mark.parametrize("elapsed", [-1.0, math.nan])
def test_a_time_before_the_start_is_refused(elapsed):
    with pytest.raises(InvalidArgument, match="elapsed"):
        assign("ada", "seed", RAMP, elapsed)
