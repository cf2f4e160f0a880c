"""Detectors raise an alarm at the rate that they say when nothing has changed, on real rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from roost.lifecycle.drift import Classifier, Detector, detector_names, make_detector

N_REFERENCES, N_WINDOWS, N_ROWS = 30, 10, 40
N_REFERENCE = 600
UNLIKELY = 1e-4


def p_values(make: Any, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """P-values of windows that share no row with their reference; references are drawn anew every ten windows."""
    rng = np.random.default_rng(11)
    found = []
    for seed in range(N_REFERENCES):
        chosen = rng.permutation(len(rows))[: N_REFERENCE + N_WINDOWS * N_ROWS]
        detector: Detector = make(rows[chosen[:N_REFERENCE]], seed)
        found += [detector.test(rows[w]).p_value for w in np.split(chosen[N_REFERENCE:], N_WINDOWS)]
    return np.array(found)


def assert_rate(found: npt.NDArray[np.float64], alpha: float) -> None:
    """Neither more nor fewer alarms than chance allows at the stated rate."""
    n_alarms, n = int((found <= alpha).sum()), len(found)
    assert binom.ppf(UNLIKELY, n, alpha) <= n_alarms <= binom.ppf(1 - UNLIKELY, n, alpha), (n_alarms, n, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("name", detector_names())
def test_the_rate_of_false_alarms_is_the_stated_one(
    name: str, digits: npt.NDArray[Any], digit_classes: npt.NDArray[Any]
) -> None:
    rows = digit_classes if name == "chi_square" else digits
    found = p_values(lambda reference, seed: make_detector(name, reference, seed=seed), rows)
    assert_rate(found, 0.05)
    assert_rate(found, 0.2)


@pytest.mark.slow
def test_the_rate_is_the_stated_one_with_a_model_of_scikit_learn(digits: npt.NDArray[Any]) -> None:
    model = LogisticRegression(max_iter=200)
    found = p_values(lambda reference, seed: Classifier(reference, seed=seed, n_components=16, model=model), digits)
    assert_rate(found, 0.05)


def test_the_check_finds_a_wrong_rate() -> None:
    uniform = np.random.default_rng(0).random(300)
    assert_rate(uniform, 0.05)
    with pytest.raises(AssertionError):
        assert_rate(uniform / 3, 0.05)
    with pytest.raises(AssertionError):
        assert_rate(uniform * 0 + 1, 0.05)
