"""Paired means and splits: known answers, agreement of the ways to one number, error rates, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import MeanTest, SplitTest
from roost.lifecycle.livetest.betting import FRACTIONS, LOG_SHARES, log_capital_path
from roost.lifecycle.livetest.bounded import in_steps
from roost.lifecycle.livetest.means import contrast


def mean_after(values, **settings) -> MeanTest:
    test = MeanTest(**settings)
    for value in values:
        test.add(float(value))
    return test


def split_after(units, **settings) -> SplitTest:
    test = SplitTest(**settings)
    for unit in units:
        test.add(*unit)
    return test


def units_of(rng, n, rate_champion, rate_challenger, weight=0.5):
    for _ in range(n):
        side = "challenger" if rng.random() < weight else "champion"
        rate = rate_challenger if side == "challenger" else rate_champion
        yield side, float(rng.random() < rate), weight


def test_a_new_test_knows_nothing():
    for test in (MeanTest(), SplitTest()):
        assert (test.n_units, test.effect, test.p_value) == (0, None, 1.0)
        assert test.log_e_above(0.0) == test.log_e_below(0.0) == pytest.approx(-math.log(2.0))
        assert test.log_e_above(0.3) == pytest.approx(-math.log(2.0))
        low, high = test.effect_interval(0.05)
        assert low == pytest.approx(-1.0) and high == pytest.approx(1.0)


def test_the_evidence_of_a_run_of_wins_is_the_capital_of_the_bets():
    # A difference of 1 where -1 was possible gains 1 for 1 staked; half of the capital is bet on it.
    shares = np.exp(LOG_SHARES) @ (1.0 + FRACTIONS) ** 5
    assert mean_after([1.0] * 5).log_e_above(0.0) == pytest.approx(math.log(shares / 2.0))


def test_the_other_side_is_the_mirror():
    up, down = mean_after([0.3, -0.1, 0.5], margin=0.1), mean_after([-0.3, 0.1, -0.5], margin=0.1)
    assert up.log_e_above(0.0) == pytest.approx(down.log_e_below(0.0))
    assert up.log_e_above(-0.1) == pytest.approx(down.log_e_below(0.1))
    assert up.effect == pytest.approx(-down.effect)
    low, high = up.effect_interval(0.1)
    assert down.effect_interval(0.1) == pytest.approx((-high, -low))


def test_a_null_moves_the_effect():
    rate = mean_after([1.0, 0.0, 1.0, 1.0], low=0.0, high=1.0, null=0.5)
    assert rate.effect == pytest.approx(0.25)
    shifted = mean_after([0.5, -0.5, 0.5, 0.5], low=-0.5, high=0.5)
    assert rate.log_e_above(0.0) == pytest.approx(shifted.log_e_above(0.0))


values = st.lists(st.floats(-1.0, 1.0, allow_nan=False), min_size=1, max_size=40)


@settings(max_examples=60)
@given(values)
def test_what_is_kept_up_to_date_is_what_the_counts_say(found):
    test, plain = mean_after(found, margin=0.2), mean_after(found)
    for bound in (-0.2, 0.0, 0.2):
        assert test.log_e_above(bound) == pytest.approx(plain.log_e_above(bound), abs=1e-9)
        assert test.log_e_below(bound) == pytest.approx(plain.log_e_below(bound), abs=1e-9)
    path = np.array([in_steps(value, -1.0, 1.0) for value in found])
    assert test.log_e_above(0.0) == pytest.approx(log_capital_path(path)[-1] - math.log(2.0), abs=1e-9)
    assert mean_after(reversed(found)).log_e_above(0.0) == pytest.approx(plain.log_e_above(0.0), abs=1e-9)


@settings(max_examples=40)
@given(values, st.sampled_from([0.01, 0.05, 0.3]))
def test_a_bound_is_in_the_interval_unless_the_evidence_excludes_it(found, alpha):
    test = mean_after(found)
    low, high = test.effect_interval(alpha)
    assert -1.0 <= low <= high <= 1.0
    for bound in (-0.5, -0.01, 0.0, 0.2):
        assert (test.log_e_above(bound) >= -math.log(alpha)) == (bound <= low) or math.isclose(bound, low, abs_tol=1e-9)
        assert (test.log_e_below(bound) >= -math.log(alpha)) == (bound >= high) or math.isclose(
            bound, high, abs_tol=1e-9
        )


def test_an_interval_that_nothing_fits_is_a_point():
    # A mean that changes contradicts every fixed mean: the interval is empty.
    low, high = mean_after([1.0] * 300 + [-1.0] * 300 + [1.0] * 5).effect_interval(0.9)
    assert low <= high
    test = split_after([("challenger", 1.0, 0.5)] * 300 + [("champion", 1.0, 0.001)] * 300)
    low, high = test.effect_interval(0.9)
    assert low == high


def test_a_stored_test_goes_on_where_it_was():
    rng = np.random.default_rng(0)
    for test, more in (
        (mean_after(rng.uniform(-1, 1, 90), margin=0.1), (0.25,)),
        (split_after(units_of(rng, 90, 0.3, 0.5), margin=0.1), ("champion", 1.0, 0.2)),
    ):
        resumed = type(test).from_dict(json.loads(json.dumps(test.to_dict())))
        for _ in range(2):
            assert resumed.to_dict() == test.to_dict()
            assert resumed.effect == test.effect and resumed.p_value == test.p_value
            assert resumed.log_e_above(0.1) == pytest.approx(test.log_e_above(0.1))
            assert resumed.log_e_below(0.0) == pytest.approx(test.log_e_below(0.0))
            resumed.add(*more)
            test.add(*more)


@pytest.mark.parametrize("state", [{}, {"low": 0.0}, {"low": "a", "high": 1.0, "null": 0.0, "margin": None}])
@pytest.mark.parametrize("kind", [MeanTest, SplitTest])
def test_a_stored_state_that_does_not_fit_is_refused(kind, state):
    with pytest.raises(InvalidArgument, match="cannot be read"):
        kind.from_dict(state)


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("centre", [0.0, 0.2, 1.0])
def test_the_contrast_has_the_effect_as_its_mean(weight, centre):
    rates = {"champion": 0.2, "challenger": 0.7}
    mean = 0.0
    for side, share in (("champion", 1.0 - weight), ("challenger", weight)):
        for value in (0.0, 1.0):
            x, low, high = contrast(side, value, weight, centre, 0.0, 1.0)
            assert low - 1e-12 <= x <= high + 1e-12
            mean += share * (rates[side] if value else 1.0 - rates[side]) * x
    assert mean == pytest.approx(0.5)
    assert low <= -1.0 and high >= 1.0


def test_a_split_measures_each_side_and_the_difference():
    rng = np.random.default_rng(0)
    test = split_after(units_of(rng, 8_000, 0.3, 0.4))
    assert test.n_champion + test.n_challenger == test.n_units == 8_000
    assert test.mean("champion") == pytest.approx(0.3, abs=0.02)
    assert test.mean("challenger") == pytest.approx(0.4, abs=0.02)
    assert SplitTest().mean("champion") is None
    low, high = test.effect_interval(0.05)
    assert 0.0 < low < 0.1 < high < 0.15
    assert test.p_value < 1e-6


def test_a_ramp_does_not_mistake_a_drift_for_an_effect():
    # The level doubles while the challenger's weight grows: pooled means differ by far, the effect is 0.
    rng = np.random.default_rng(0)
    test = SplitTest()
    for weight, rate in ((0.1, 0.2), (0.5, 0.4), (0.9, 0.8)):
        for unit in units_of(rng, 2_000, rate, rate, weight):
            test.add(*unit)
    assert test.mean("challenger") - test.mean("champion") > 0.3
    assert abs(test.effect) < 0.04
    assert test.p_value > 0.05


def test_values_are_counted_in_steps():
    assert in_steps(0.123456, 0.0, 1.0) == pytest.approx(0.1235)
    assert in_steps(0.0, -1.0, 1.0) == 0.0
    assert in_steps(5.0, 1.0, 5.0) == 5.0


@pytest.mark.parametrize("value", [-1.1, 1.1, math.nan, math.inf])
def test_a_value_outside_the_bounds_is_refused(value):
    with pytest.raises(InvalidArgument, match="the value must lie between"):
        MeanTest().add(value)
    with pytest.raises(InvalidArgument, match="the value must lie between"):
        SplitTest().add("champion", value)


def test_a_unit_that_cannot_be_is_refused():
    with pytest.raises(InvalidArgument, match="not 'tie'"):
        SplitTest().add("tie", 1.0)
    for weight in (0.0, 1.0, math.nan):
        with pytest.raises(InvalidArgument, match="weight"):
            SplitTest().add("champion", 1.0, weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MeanTest(low=0.0, high=1.0),
        lambda: MeanTest(low=1.0, high=-1.0),
        lambda: MeanTest(low=-math.inf),
        lambda: MeanTest(margin=0.0),
        lambda: MeanTest(margin=1.0),
        lambda: SplitTest(low=1.0, high=1.0),
        lambda: SplitTest(margin=-0.1),
        lambda: MeanTest().effect_interval(0.0),
        lambda: MeanTest().log_e_above(1.0),
        lambda: SplitTest().log_e_below(-1.5),
    ],
)
def test_a_setting_that_cannot_be_is_refused(make):
    with pytest.raises(InvalidArgument):
        make()


def test_the_interval_covers_the_true_effect_at_every_moment():
    # 100 streams, looked at after every event through the evidence against the truth.
    rng = np.random.default_rng(0)
    n_missed = 0
    for _ in range(100):
        test = MeanTest(margin=0.2)
        for value in rng.choice([-1.0, 0.0, 1.0], p=[0.2, 0.4, 0.4], size=200):
            test.add(float(value))
            if max(test.log_e_above(0.2), test.log_e_below(0.2)) >= math.log(20.0):
                n_missed += 1
                break
    assert n_missed <= 5


@pytest.mark.parametrize(("effect", "n_queries"), [(0.2, 400), (-0.2, 400)])
def test_a_real_difference_is_found(effect, n_queries):
    rng = np.random.default_rng(0)
    for _ in range(20):
        test = mean_after(np.clip(rng.normal(effect, 0.5, n_queries), -1, 1))
        assert test.p_value < 0.05
        assert (test.log_e_above(0.0) > test.log_e_below(0.0)) == (effect > 0.0)
