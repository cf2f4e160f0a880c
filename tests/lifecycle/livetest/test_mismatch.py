"""The sample ratio test: its closed form, its false alarms, and what it finds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import SampleRatioTest

HALVES = {"champion": 0.5, "new": 0.5}


def counted(arms, weights=HALVES, **settings) -> SampleRatioTest:
    test = SampleRatioTest(**settings)
    for arm in arms:
        test.add(weights, arm)
    return test


def log_gamma_ratio(count: int, prior: float) -> float:
    return math.lgamma(count + prior) - math.lgamma(prior)


def test_with_constant_weights_it_is_the_dirichlet_mixture():
    weights = {"champion": 0.5, "a": 0.3, "b": 0.2}
    arms = ["a", "champion", "a", "b", "a", "a", "champion"]
    test = counted(arms, weights, concentration=10.0)
    counts = {name: arms.count(name) for name in weights}
    expected = -log_gamma_ratio(len(arms), 10.0)
    for name, weight in weights.items():
        expected += log_gamma_ratio(counts[name], 10.0 * weight) - counts[name] * math.log(weight)
    assert test.log_e == pytest.approx(expected)
    assert test.counted == counts
    assert test.expected == pytest.approx({name: len(arms) * weight for name, weight in weights.items()})


@pytest.mark.parametrize("first", [0.5, 0.9])
def test_the_evidence_is_a_fair_bet_for_weights_that_change(first):
    def mean_e(test_arms: list[str], depth: int) -> float:
        weight = first if depth < 2 else 0.2
        if depth == 4:
            test = SampleRatioTest(concentration=3.0)
            for n, arm in enumerate(test_arms):
                share = first if n < 2 else 0.2
                test.add({"champion": 1.0 - share, "new": share}, arm)
            return math.exp(test.log_e)
        return weight * mean_e([*test_arms, "new"], depth + 1) + (1.0 - weight) * mean_e(
            [*test_arms, "champion"], depth + 1
        )

    assert mean_e([], 0) == pytest.approx(1.0)


def test_lost_units_are_found_and_the_alarm_stays():
    rng = np.random.default_rng(0)
    test = counted("new" if draw < 0.4 else "champion" for draw in rng.random(3_000))
    assert test.mismatch
    for _ in range(2_000):
        test.add(HALVES, "new")
    assert test.mismatch and test.p_value < 0.001


def test_groups_of_the_right_size_hardly_ever_alarm():
    rng = np.random.default_rng(0)
    alarms = sum(
        counted(("new" if draw < 0.5 else "champion" for draw in row), alpha=0.05, concentration=10.0).mismatch
        for row in rng.random((200, 300))
    )
    assert alarms <= 10


def test_a_stored_test_goes_on_where_it_was():
    test = counted(["new", "champion", "new"])
    resumed = SampleRatioTest.from_dict(json.loads(json.dumps(test.to_dict())))
    for one in (test, resumed):
        one.add(HALVES, "new")
    assert resumed.to_dict() == test.to_dict()
    assert (resumed.p_value, resumed.mismatch) == (test.p_value, False)


def test_an_arm_without_a_weight_gets_no_units():
    weights = {"champion": 1.0, "new": 0.0}
    test = counted(["champion"] * 5, weights)
    assert test.log_e == pytest.approx(0.0)
    with pytest.raises(InvalidArgument, match="'new', which has no weight"):
        test.add(weights, "new")


@pytest.mark.parametrize(
    "weights", [{"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": 1.5, "b": -0.5}, {"a": math.nan, "b": 1.0}]
)
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(InvalidArgument, match="add up to 1"):
        SampleRatioTest().add(weights, "a")


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"concentration": 0.0}, {"concentration": math.inf}])
def test_a_setting_that_cannot_be_is_refused(settings):
    with pytest.raises(InvalidArgument):
        SampleRatioTest(**settings)


@pytest.mark.parametrize("state", [{}, {"alpha": 0.1, "concentration": 1.0, "log_e": "x"}])
def test_a_stored_state_that_does_not_fit_is_refused(state):
    with pytest.raises(InvalidArgument, match="cannot be read"):
        SampleRatioTest.from_dict(state)
