"""Like with like: windows are compared with the same hour of the day or day of the week."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.drift.corrections import holm
from roost.lifecycle.drift.detector import MIN_ROWS, Detector, DriftResult
from roost.lifecycle.drift.registry import make_detector

Season: TypeAlias = Literal["hour", "weekday", "hour_of_week"]

_HOUR_S, _DAY_S = 3_600, 86_400
_EPOCH_WEEKDAY = 3
"""The first of January 1970 was a Thursday; Monday is 0."""


def seasons_of(times_s: npt.ArrayLike, season: Season, utc_offset_s: float = 0.0) -> npt.NDArray[np.int64]:
    """Return the season of each moment: the hour (0 to 23), the weekday (Monday is 0), or 24 weekday + hour.

    Args:
        times_s: (n,) seconds since 1970 in UTC.
        utc_offset_s: what the users' clocks show more than UTC; a zone with summer time has two.
    Returns: (n,).
    Raises: InvalidArgument: there is no such season. InvalidData: the times are not numbers.
    """
    try:
        local = np.asarray(times_s, dtype=np.float64) + utc_offset_s
    except (TypeError, ValueError) as error:
        raise InvalidData(f"times are seconds since 1970: {error}") from error
    if not np.isfinite(local).all():
        raise InvalidData("times are seconds since 1970; one is NaN or infinity")
    hours = np.floor_divide(local, _HOUR_S).astype(np.int64) % 24
    weekdays = (np.floor_divide(local, _DAY_S).astype(np.int64) + _EPOCH_WEEKDAY) % 7
    if season == "hour":
        return np.asarray(hours)
    if season == "weekday":
        return np.asarray(weekdays)
    if season == "hour_of_week":
        return np.asarray(24 * weekdays + hours)
    raise InvalidArgument(f"there is no season {season!r}; there are: hour, weekday, hour_of_week")


def baseline_windows(
    starts_s: npt.ArrayLike, at_s: float, season: Season, n: int = 4, utc_offset_s: float = 0.0
) -> npt.NDArray[np.int64]:
    """Return which past windows to compare a window with: the latest ones of its season.

    Args:
        starts_s: (n_windows,) when the windows that are kept began, in any order.
        at_s: when the window in question began; windows from then on are not taken.
        n: how many at most.
    Returns: (at most n,) indices into starts_s, the latest first.
    Raises: InvalidArgument: n is less than 1, or there is no such season.
    """
    if n < 1:
        raise InvalidArgument(f"n is {n}; it is at least 1")
    starts = np.asarray(starts_s, dtype=np.float64)
    fits = (seasons_of(starts, season, utc_offset_s) == seasons_of([at_s], season, utc_offset_s)[0]) & (starts < at_s)
    found = np.flatnonzero(fits)
    return found[np.argsort(-starts[found], kind="stable")][:n]


def _array(rows: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise InvalidData(f"the rows are not an array: {error}") from error


class SeasonalDetector:
    """A detector for each season: rows are compared with rows of the reference from the same season.

    A window that spans several seasons is split, and the p-values are corrected for their number by Holm's method; so
    the rate of false alarms holds however the mix of seasons differs from the reference's.

    Args:
        reference: (n_reference, dim).
        times_s: (n_reference,) when each row came, seconds since 1970.
        detector: a name of the table.
        season: what counts as the same season.
        utc_offset_s: what the users' clocks show more than UTC.
        options: of the detector, such as alpha and seed.
    Raises:
        InvalidArgument: no season has enough rows of the reference, or as the detector.
        InvalidData: there is not one time for each row.
    """

    def __init__(
        self,
        reference: npt.ArrayLike,
        times_s: npt.ArrayLike,
        detector: str = "mmd",
        season: Season = "hour",
        utc_offset_s: float = 0.0,
        **options: Any,
    ) -> None:
        self.season: Season = season
        self.utc_offset_s = utc_offset_s
        self.detectors: dict[int, Detector] = {}
        rows = _array(reference)
        seasons = self._seasons(rows, times_s)
        for value in np.unique(seasons):
            of_season = rows[seasons == value]
            # A quarter is set apart at most, and both parts must be large enough to be tested.
            if len(of_season) >= 4 * MIN_ROWS:
                self.detectors[int(value)] = make_detector(detector, of_season, **options)
        if not self.detectors:
            raise InvalidArgument(f"no season has {4 * MIN_ROWS} rows of the reference")

    def _seasons(self, rows: npt.NDArray[Any], times_s: npt.ArrayLike) -> npt.NDArray[np.int64]:
        seasons = seasons_of(times_s, self.season, self.utc_offset_s)
        if seasons.shape != rows.shape[:1]:
            raise InvalidData(f"there are {len(rows)} rows and {seasons.size} times; one time for each row is needed")
        return seasons

    def test(self, window: npt.ArrayLike, times_s: npt.ArrayLike) -> DriftResult:
        """Compare a window, season by season.

        Args:
            window: (n_window, dim); times_s: (n_window,).
        Returns: the result of the season that moved most, its p-value corrected; details has `season`, `n_seasons`
            that were tested, and `n_left_out`, the rows of seasons with too few rows here or in the reference.
        Raises: InvalidArgument: no season has enough rows on both sides; or as Detector.test.
        """
        rows = _array(window)
        seasons = self._seasons(rows, times_s)
        values, counts = np.unique(seasons, return_counts=True)
        tested = [int(v) for v, n in zip(values, counts, strict=True) if n >= MIN_ROWS and int(v) in self.detectors]
        if not tested:
            raise InvalidArgument(f"no season has {MIN_ROWS} rows of the window and a reference")
        results = [self.detectors[value].test(rows[seasons == value]) for value in tested]
        first = min(range(len(results)), key=lambda i: results[i].p_value)
        p = min(holm([result.p_value for result in results]))
        worst = results[first]
        details = {
            **worst.details,
            "season": tested[first],
            "n_seasons": len(tested),
            "n_left_out": int(len(rows) - np.isin(seasons, tested).sum()),
        }
        return DriftResult(
            name=f"{worst.name}@{self.season}",
            statistic=worst.statistic,
            p_value=p,
            is_drift=p <= worst.alpha,
            alpha=worst.alpha,
            n_reference=worst.n_reference,
            n_window=len(rows),
            details=MappingProxyType(details),
        )
