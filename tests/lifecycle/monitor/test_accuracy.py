from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from roost.lifecycle.monitor.accuracy import LEVEL, interval


@pytest.mark.parametrize(("n_right", "n"), [(0, 1), (1, 1), (3, 4), (45, 50), (50, 50), (917, 1_000)])
def test_the_interval_is_that_of_the_exact_test(n_right: int, n: int) -> None:
    known = binomtest(n_right, n).proportion_ci(LEVEL, method="exact")
    assert interval(n_right, n) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_interval_holds_the_accuracy_as_often_as_it_says(n: int) -> None:
    ends = np.array([interval(k, n) for k in range(n + 1)])
    for accuracy in np.linspace(0.01, 0.99, 99):
        holds = (ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1])
        assert binom.pmf(np.arange(n + 1), n, accuracy)[holds].sum() >= LEVEL - 1e-9


@pytest.mark.parametrize(
    ("n", "accuracy", "percent"),
    [(5, 0.95, 2.3), (100, 0.95, 1.1), (360, 0.95, 2.5), (5, 0.97, 0.8), (100, 0.97, 0.02)],
)
def test_the_upper_end_is_below_a_true_accuracy_as_rarely_as_the_guide_says(
    n: int, accuracy: float, percent: float
) -> None:
    is_below = np.array([interval(k, n)[1] < 0.95 for k in range(n + 1)])
    rate = 100 * binom.pmf(np.arange(n + 1), n, accuracy)[is_below].sum()
    assert rate == pytest.approx(percent, abs=0.05 if percent > 0.1 else 0.005)
    assert rate <= 100 * (1 - LEVEL) / 2
