"""The tests against `ville`, an independent implementation of always-valid inference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roost.lifecycle.livetest import MeanTest, RatioTest, SampleRatioTest, SequentialTest, SplitTest
from roost.lifecycle.livetest.ratios import mixture_precision

ville = pytest.importorskip("ville", reason="needs ville, which the extra dev brings")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("bound", [0.0, 0.1, -0.2])
def test_the_win_rate_has_the_same_evidence(rng, bound):
    wins = (rng.random(300) < 0.62).astype(float)
    other = ville.BernoulliTest(p0=0.5 + bound, prior=(10.0, 10.0)).fit(wins)
    test = SequentialTest()
    for win, log_e in zip(wins, other.log_e_values_, strict=True):
        test = test.update("challenger" if win else "champion")
        if test.effect == bound:
            continue
        evidence = test.log_e_above(bound) if test.effect > bound else test.log_e_below(bound)
        assert evidence == pytest.approx(log_e, abs=1e-9)
    if bound == 0.0:
        assert test.p_value == pytest.approx(other.p_values_[-1])


def test_the_win_rate_has_the_same_interval(rng):
    wins = (rng.random(200) < 0.62).astype(float)
    other = ville.BernoulliCS(alpha=0.05, prior=(10.0, 10.0), intersect=False).fit(wins)
    test = SequentialTest(alpha=0.05)
    for n, win in enumerate(wins):
        test = test.update("challenger" if win else "champion")
        assert test.interval == pytest.approx((other.lower_[n], other.upper_[n]), abs=1e-9)


def test_the_sample_ratio_has_the_same_evidence(rng):
    counted = (rng.random(400) < 0.35).astype(float)
    other = ville.BernoulliTest(p0=0.3, prior=(30.0, 70.0)).fit(counted)
    test = SampleRatioTest(concentration=100.0)
    for unit, log_e in zip(counted, other.log_e_values_, strict=True):
        test.add({"new": 0.3, "champion": 0.7}, "new" if unit else "champion")
        assert test.log_e == pytest.approx(log_e, abs=1e-8)
    assert test.p_value == pytest.approx(other.p_values_[-1])


@pytest.mark.parametrize("n_tuned", [200, 1_000, 50_000])
def test_the_asymptotic_interval_has_the_same_width(rng, n_tuned):
    assert mixture_precision(n_tuned) == pytest.approx(ville.best_rho(n_tuned, 0.05), rel=1e-3)
    test, found = RatioTest(n_tuned=n_tuned), {"champion": [], "challenger": []}
    for value in rng.lognormal(2.0, 1.0, 900):
        side = "challenger" if rng.random() < 0.5 else "champion"
        found[side].append(value)
        test.add(side, float(value))
    error = math.sqrt(sum(np.var(values, ddof=1) / len(values) for values in found.values()))
    for alpha in (0.01, 0.05):
        low, high = test.effect_interval(alpha)
        width = ville.normal_mixture(900.0, alpha, mixture_precision(n_tuned)) / math.sqrt(900.0)
        assert (high - low) / 2.0 / error == pytest.approx(float(width), rel=1e-9)


@pytest.mark.parametrize("effect", [0.0, 0.15, -0.15])
def test_paired_means_come_to_the_same_decisions(rng, effect):
    # Other bets on the same game: the plug-in of the source there, a mixture here.
    agreed = []
    for _ in range(8):
        values = np.clip(rng.normal(effect, 0.4, 400), -1.0, 1.0)
        test = MeanTest()
        for value in values:
            test.add(float(value))
        other = ville.BettingTest(0.0, bounds=(-1.0, 1.0)).fit(values)
        agreed.append((test.p_value <= 0.05) == (other.p_values_[-1] <= 0.05))
        low, high = test.effect_interval(0.05)
        other_low, other_high = ville.BettingCS(bounds=(-1.0, 1.0), grid=1_000, intersect=False).fit(values).interval()
        assert max(low, other_low) < min(high, other_high)
        assert (high - low) / (other_high - other_low) == pytest.approx(1.0, abs=0.4)
    assert sum(agreed) >= 7


@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_splits_come_to_the_same_decisions(rng, effect):
    agreed = []
    for _ in range(8):
        treated = (rng.random(600) < 0.5).astype(float)
        values = (rng.random(600) < 0.3 + effect * treated).astype(float)
        test = SplitTest()
        for unit, value in zip(treated, values, strict=True):
            test.add("challenger" if unit else "champion", float(value))
        other = ville.BettingABTest(grid=1_000).fit(values, treated)
        agreed.append((test.p_value <= 0.05) == (other.stopping_time() is not None))
        low, high = test.effect_interval(0.05)
        other_low, other_high = other.interval()
        assert max(low, other_low) < min(high, other_high)
    assert sum(agreed) >= 7
