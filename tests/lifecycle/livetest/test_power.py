"""The calculator against the tests themselves, and against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import MeanTest, SequentialTest, SplitTest, power


def test_interleaving_takes_as_long_as_real_tests_do():
    promised = power.n_queries("interleave", 0.15, ties=0.5)
    rng, ends = np.random.default_rng(0), []
    for _ in range(200):
        test, n = SequentialTest(), 0
        while test.decision is None:
            n += 1
            test = test.update("tie" if rng.random() < 0.5 else "challenger" if rng.random() < 0.65 else "champion")
        ends.append(n)
    assert promised.unit == "queries"
    assert np.mean(ends) == pytest.approx(promised.expected, rel=0.15)
    assert np.quantile(ends, 0.8) == pytest.approx(promised.enough, rel=0.2)


def test_a_shadow_test_takes_as_long_as_real_tests_do():
    promised = power.n_queries("shadow", -0.1, deviation=0.35)
    rng, ends = np.random.default_rng(0), []
    for _ in range(80):
        test = MeanTest()
        while test.p_value > 0.05:
            test.add(float(np.clip(rng.normal(-0.1, 0.35), -1.0, 1.0)))
        ends.append(test.n_units)
    assert np.mean(ends) == pytest.approx(promised.expected, rel=0.2)


def test_a_split_takes_as_long_as_real_tests_do():
    promised = power.n_queries("split", 0.2, base_rate=0.3, weight=0.3)
    rng, ends = np.random.default_rng(0), []
    for _ in range(60):
        test = SplitTest()
        while test.p_value > 0.05:
            side = "challenger" if rng.random() < 0.3 else "champion"
            test.add(side, float(rng.random() < (0.5 if side == "challenger" else 0.3)), 0.3)
        ends.append(test.n_units)
    assert promised.unit == "users"
    assert np.mean(ends) == pytest.approx(promised.expected, rel=0.25)


def test_half_the_effect_takes_about_four_times_as_long():
    for settings in ({"method": "shadow", "deviation": 0.3}, {"method": "split", "base_rate": 0.2}):
        large, small = power.n_queries(effect=0.04, **settings), power.n_queries(effect=0.02, **settings)
        assert 3.5 < small.expected / large.expected < 6.0


def test_what_makes_a_test_harder_makes_it_longer():
    base = power.n_queries("split", 0.05, base_rate=0.3)
    assert base.expected < base.enough
    assert power.n_queries("split", 0.05, base_rate=0.3, weight=0.1).expected > 1.5 * base.expected
    assert power.n_queries("split", 0.05, base_rate=0.3, alpha=0.01).expected > base.expected
    assert power.n_queries("split", 0.05, base_rate=0.3, n_challengers=3).expected > base.expected
    assert power.n_queries("split", 0.05, base_rate=0.3, power=0.95).enough > base.enough
    ties = [power.n_queries("interleave", 0.1, ties=share, n_simulations=150).expected for share in (0.0, 0.75)]
    assert ties[1] == pytest.approx(4.0 * ties[0], rel=0.2)


def test_a_metric_that_is_mostly_extreme_can_be_planned_for():
    # No normal distribution with this deviation fits between -1 and 1.
    assert (
        power.n_queries("shadow", 0.05, deviation=0.9).expected
        > power.n_queries("shadow", 0.05, deviation=0.3).expected
    )
    assert power.n_queries("split", -0.1, deviation=0.45).expected > 0


def test_the_same_seed_gives_the_same_answer():
    assert power.n_queries("split", 0.1, base_rate=0.3) == power.n_queries("split", 0.1, base_rate=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess", "effect": 0.1}, "method 'guess' is not known"),
        ({"method": "interleave", "effect": 0.0}, "other than 0"),
        ({"method": "interleave", "effect": 0.5}, "between -1/2 and 1/2"),
        ({"method": "interleave", "effect": 0.1, "ties": 1.0}, "ties"),
        ({"method": "shadow", "effect": 0.1}, "needs the deviation"),
        ({"method": "shadow", "effect": 0.5, "deviation": 0.9}, "no metric from -1 to 1"),
        ({"method": "shadow", "effect": 0.5, "deviation": 0.0}, "no metric"),
        ({"method": "split", "effect": 0.1}, "either the base rate or the deviation"),
        ({"method": "split", "effect": 0.1, "base_rate": 0.1, "deviation": 0.1}, "either"),
        ({"method": "split", "effect": 0.5, "base_rate": 0.7}, "rates must lie"),
        ({"method": "split", "effect": 0.1, "base_rate": 0.2, "alpha": 0.0}, "alpha"),
        ({"method": "split", "effect": 0.1, "base_rate": 0.2, "power": 1.0}, "power"),
        ({"method": "split", "effect": 0.1, "base_rate": 0.2, "weight": 0.0}, "weight"),
        ({"method": "split", "effect": 0.1, "base_rate": 0.2, "n_challengers": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        power.n_queries(**arguments)
