"""The evidence of many tests after every event at once: the same as the tests of `roost.lifecycle.livetest` show one
event at a time, which a test checks."""

from __future__ import annotations

import math

import numpy as np

from bench.livetests.users import BoolArray, FloatArray
from roost.lifecycle.livetest.betting import log_capital_path
from roost.lifecycle.livetest.bounded import STEPS
from roost.lifecycle.livetest.means import CENTRE_GROWTH, FIRST_CENTRE


def mean_log_e(values: FloatArray, low: float = -1.0, high: float = 1.0) -> FloatArray:
    """Return the larger of a `MeanTest`'s evidence above and below 0 after each value, (n_tests, n_events)."""
    x = low + np.round((values - low) / (high - low) * STEPS) / STEPS * (high - low)
    return np.maximum(log_capital_path(x / -low), log_capital_path(-x / high)) - math.log(2.0)


def split_log_e(challenger: BoolArray, values: FloatArray, weights: FloatArray | float = 0.5) -> FloatArray:
    """Return the larger of a `SplitTest`'s evidence above and below 0 after each unit, (n_tests, n_events).

    Args:
        challenger: (n_tests, n_events) who serves each unit.
        values: (n_tests, n_events) from 0 to 1.
        weights: probability of the challenger for each unit.
    """
    values = np.round(values * STEPS) / STEPS
    n_events = values.shape[1]
    centre = np.full(values.shape, 0.5)
    set_after = FIRST_CENTRE
    while set_after < n_events:
        centre[:, set_after:] = values[:, :set_after].mean(axis=1, keepdims=True)
        set_after *= CENTRE_GROWTH
    x = np.where(challenger, (values - centre) / weights, (centre - values) / (1.0 - weights))
    lowest = np.maximum(centre / weights, (1.0 - centre) / (1.0 - weights))
    highest = np.maximum((1.0 - centre) / weights, centre / (1.0 - weights))
    return np.maximum(log_capital_path(x / lowest), log_capital_path(-x / highest)) - math.log(2.0)


def first_time(log_e: FloatArray, alpha: float) -> FloatArray:
    """Return after how many events each test decides, (n_tests,); inf where it does not."""
    enough = log_e >= -math.log(alpha)
    return np.where(enough.any(axis=1), enough.argmax(axis=1) + 1.0, np.inf)
