from __future__ import annotations

import numpy as np
import pytest

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.drift import SeasonalDetector, baseline_windows, make_detector, seasons_of

HOUR_S, DAY_S = 3_600, 86_400
MONDAY_S = 1_704_067_200
"""2024-01-01, a Monday, at midnight UTC."""


def test_hours_and_weekdays() -> None:
    assert seasons_of([0, MONDAY_S, MONDAY_S - 1], "weekday").tolist() == [3, 0, 6]
    assert seasons_of([MONDAY_S, MONDAY_S + 90 * 60], "hour").tolist() == [0, 1]
    assert seasons_of([MONDAY_S + DAY_S + 5 * HOUR_S], "hour_of_week").tolist() == [29]
    assert seasons_of([MONDAY_S], "hour_of_week", utc_offset_s=-HOUR_S).tolist() == [167]


def test_seasons_that_are_not() -> None:
    with pytest.raises(InvalidArgument, match="no season 'month'"):
        seasons_of([0], "month")  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match="seconds since 1970"):
        seasons_of(["today"], "hour")
    with pytest.raises(InvalidData, match="NaN"):
        seasons_of([float("nan")], "hour")


def test_baselines_are_the_latest_windows_of_the_same_hour() -> None:
    starts = MONDAY_S + HOUR_S * np.arange(24 * 14)
    at = MONDAY_S + 8 * DAY_S + 9 * HOUR_S
    found = baseline_windows(starts, at, "hour", n=3)
    assert [(at - starts[i]) / DAY_S for i in found] == [1, 2, 3]
    assert [(at - starts[i]) / DAY_S for i in baseline_windows(starts, at, "hour_of_week")] == [7]
    assert baseline_windows(starts, MONDAY_S, "weekday").size == 0
    with pytest.raises(InvalidArgument, match="n is 0"):
        baseline_windows(starts, at, "hour", n=0)


def daily(rng: np.random.Generator, times_s: np.ndarray) -> np.ndarray:
    """Rows whose mean goes up in the afternoon."""
    return rng.normal(size=(len(times_s), 4)) + 2.0 * (times_s % DAY_S > DAY_S / 2)[:, None]


def test_an_afternoon_is_drift_only_from_the_whole_day() -> None:
    rng = np.random.default_rng(0)
    times = MONDAY_S + rng.uniform(0, 7 * DAY_S, 4_000)
    reference = daily(rng, times)
    afternoon = MONDAY_S + 8 * DAY_S + 15 * HOUR_S + rng.uniform(0, HOUR_S, 60)
    window = daily(rng, afternoon)
    assert make_detector("mmd", reference).test(window).is_drift
    seasonal = SeasonalDetector(reference, times, "mmd", "hour")
    result = seasonal.test(window, afternoon)
    assert not result.is_drift
    assert result.name == "mmd@hour" and result.details["season"] == 15 and result.n_window == 60
    assert seasonal.test(window + 1, afternoon).is_drift


def test_a_window_over_several_seasons_is_split() -> None:
    rng = np.random.default_rng(1)
    times = MONDAY_S + rng.uniform(0, DAY_S, 4_000)
    seasonal = SeasonalDetector(daily(rng, times), times, "mean", "hour")
    few = np.full(5, MONDAY_S + 20.0 * HOUR_S)
    moments = np.concatenate([MONDAY_S + 11.5 * HOUR_S + rng.uniform(0, HOUR_S, 100), few])
    result = seasonal.test(daily(rng, moments), moments)
    assert not result.is_drift
    assert result.details["n_seasons"] == 2 and result.details["n_left_out"] == 5


def test_the_false_alarms_of_a_split_window_stay_at_alpha() -> None:
    rng = np.random.default_rng(2)
    times = MONDAY_S + rng.uniform(0, DAY_S, 3_000)
    n_windows, alarms = 120, 0
    for k in range(n_windows // 10):
        seasonal = SeasonalDetector(daily(rng, times), times, "norm", "hour", seed=k)
        for _ in range(10):
            moments = MONDAY_S + 11 * HOUR_S + rng.uniform(0, 2 * HOUR_S, 60)
            alarms += seasonal.test(daily(rng, moments), moments).is_drift
    assert alarms <= 0.05 * n_windows + 3.5 * np.sqrt(n_windows * 0.05 * 0.95)


def test_times_and_rows_must_agree() -> None:
    rows, times = np.zeros((100, 2)), np.zeros(100)
    with pytest.raises(InvalidData, match="99 times"):
        SeasonalDetector(rows, times[1:])
    with pytest.raises(InvalidData, match="not an array"):
        SeasonalDetector([[1.0], [1.0, 2.0]], [0, 0])
    with pytest.raises(InvalidArgument, match="40 rows of the reference"):
        SeasonalDetector(rows[:30], times[:30])
    seasonal = SeasonalDetector(rows, times, "norm")
    with pytest.raises(InvalidArgument, match="no season has 10 rows"):
        seasonal.test(rows[:50], times[:50] + HOUR_S)
