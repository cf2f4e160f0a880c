"""Ratios and unbounded means: the delta method, the pooling over weights, and the asymptotic error rate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import RatioTest
from roost.lifecycle.livetest.ratios import mixture_precision


def filled(rng, n, challenger_rate=0.3, champion_rate=0.3, weight=0.5, test=None) -> RatioTest:
    test = RatioTest() if test is None else test
    for _ in range(n):
        side = "challenger" if rng.random() < weight else "champion"
        n_queries = int(rng.integers(1, 8))
        rate = challenger_rate if side == "challenger" else champion_rate
        test.add(side, float(rng.binomial(n_queries, rate)), float(n_queries), weight)
    return test


def test_nothing_is_said_before_each_side_has_enough_units():
    test = RatioTest(min_units=30)
    for side in ["champion"] * 200 + ["challenger"] * 29:
        test.add(side, 1.0 + 0.01 * test.n_units)
    assert test.n_units == 229
    assert test.effect is None
    assert test.effect_interval(0.05) == (-math.inf, math.inf)
    assert test.log_e_above(0.0) == test.log_e_below(0.0) == -math.inf
    assert test.p_value == 1.0
    test.add("challenger", 9.0)
    assert test.effect is not None


def test_a_plain_mean_has_its_textbook_error():
    rng = np.random.default_rng(0)
    champion, challenger = rng.lognormal(3.0, 0.5, 300), rng.lognormal(3.1, 0.5, 500)
    test = RatioTest(n_tuned=800)
    for side, found in (("champion", champion), ("challenger", challenger)):
        for value in found:
            test.add(side, float(value))
    error = math.sqrt(champion.var(ddof=1) / 300 + challenger.var(ddof=1) / 500)
    assert test.effect == pytest.approx(challenger.mean() - champion.mean())
    low, high = test.effect_interval(0.05)
    rho = mixture_precision(800)
    factor = math.sqrt((1.0 + rho / 800) * math.log((800 + rho) / (rho * 0.05**2)))
    assert (high - low) / 2.0 == pytest.approx(factor * error, rel=1e-9)
    assert 1.96 < factor < 3.2


def test_the_error_of_a_ratio_is_that_of_many_experiments():
    effects, errors = [], []
    for seed in range(60):
        test = filled(np.random.default_rng(seed), 400)
        low, high = test.effect_interval(0.05)
        effects.append(test.effect)
        errors.append(high - low)
    rho = mixture_precision(1_000)
    factor = math.sqrt((1.0 + rho / 400) * math.log((400 + rho) / (rho * 0.05**2)))
    assert np.std(effects) == pytest.approx(np.mean(errors) / 2.0 / factor, rel=0.25)


def test_the_precision_makes_the_interval_narrowest_where_it_should():
    def width(rho: float, n: float) -> float:
        return math.sqrt((1.0 + rho / n) * math.log((n + rho) / (rho * 0.05**2)))

    rho = mixture_precision(1_000)
    assert width(rho, 1_000) < min(width(rho * 1.1, 1_000), width(rho / 1.1, 1_000))


def test_the_evidence_excludes_what_the_interval_leaves_out():
    test = filled(np.random.default_rng(1), 3_000, challenger_rate=0.34)
    for alpha in (0.2, 0.05, 0.001):
        low, high = test.effect_interval(alpha)
        assert test.log_e_above(low) == pytest.approx(-math.log(alpha))
        assert test.log_e_below(high) == pytest.approx(-math.log(alpha))
    assert test.p_value < 0.05
    assert test.log_e_below(0.0) == -math.inf


def test_a_ramp_does_not_mistake_a_drift_for_an_effect():
    rng, test = np.random.default_rng(0), RatioTest(min_units=50)
    for weight, rate in ((0.1, 0.2), (0.5, 0.4), (0.9, 0.8)):
        filled(rng, 1_500, rate, rate, weight, test)
    assert abs(test.effect) < 0.03
    assert test.p_value > 0.05


def test_a_stored_test_goes_on_where_it_was():
    test = filled(np.random.default_rng(0), 300, weight=0.4)
    resumed = RatioTest.from_dict(json.loads(json.dumps(test.to_dict())))
    for one in (test, resumed):
        one.add("champion", 2.0, 3.0, 0.4)
    assert resumed.to_dict() == test.to_dict()
    assert (resumed.effect, resumed.p_value, resumed.n_units) == (test.effect, test.p_value, test.n_units)


@pytest.mark.parametrize("state", [{}, {"n_tuned": 10, "min_units": 100, "max_log_e": 0.0, "sums": [[0.5, 1.0]]}])
def test_a_stored_state_that_does_not_fit_is_refused(state):
    with pytest.raises(InvalidArgument, match="cannot be read"):
        RatioTest.from_dict(state)


@pytest.mark.parametrize(
    "unit", [("tie", 1.0), ("champion", math.nan), ("champion", 1.0, -1.0), ("champion", 1.0, math.inf)]
)
def test_a_unit_that_cannot_be_is_refused(unit):
    with pytest.raises(InvalidArgument):
        RatioTest().add(*unit)


@pytest.mark.parametrize("settings", [{"n_tuned": 0}, {"min_units": 29}])
def test_a_setting_that_cannot_be_is_refused(settings):
    with pytest.raises(InvalidArgument):
        RatioTest(**settings)


def test_an_alpha_that_cannot_be_is_refused():
    with pytest.raises(InvalidArgument, match="alpha"):
        RatioTest().effect_interval(1.0)


def test_sides_that_never_vary_say_nothing():
    test = RatioTest(min_units=30)
    for side in ["champion", "challenger"] * 40:
        test.add(side, 1.0)
    assert test.effect is None
