"""The evidence of many tests at once is that of the tests themselves."""

from __future__ import annotations

import numpy as np
import pytest

from bench.livetests.paths import first_time, mean_log_e, split_log_e
from roost.lifecycle.livetest import MeanTest, SplitTest


def test_paired_means(rng: np.random.Generator) -> None:
    values = rng.uniform(-1.0, 1.0, (3, 120))
    for row, path in zip(values, mean_log_e(values), strict=True):
        test = MeanTest()
        for value, log_e in zip(row, path, strict=True):
            test.add(float(value))
            assert max(test.log_e_above(0.0), test.log_e_below(0.0)) == pytest.approx(log_e, abs=1e-9)


@pytest.mark.parametrize("ramped", [False, True])
def test_splits(rng: np.random.Generator, ramped: bool) -> None:
    weights = np.repeat([0.1, 0.5], (100, 200)) if ramped else np.full(300, 0.5)
    challenger = rng.random((2, 300)) < weights
    values = rng.random((2, 300)) * np.where(challenger, 0.9, 0.6)
    for sides, row, path in zip(challenger, values, split_log_e(challenger, values, weights), strict=True):
        test = SplitTest()
        for side, value, weight, log_e in zip(sides, row, weights, path, strict=True):
            test.add("challenger" if side else "champion", float(value), float(weight))
            assert max(test.log_e_above(0.0), test.log_e_below(0.0)) == pytest.approx(log_e, abs=1e-9)


def test_the_first_time_is_counted_from_one() -> None:
    log_e = np.array([[5.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert first_time(log_e, 0.05).tolist() == [1.0, 2.0, np.inf]
