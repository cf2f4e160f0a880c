"""Bets on observations with known bounds, and all that they say about the mean.

Half of the capital is bet on "larger than m" and half on "smaller than m", so that a test at alpha errs on either
side with probability at most alpha in all. The evidence against a few m is kept up to date; against any other it is
found from the counts of distinct observations, since the capital does not depend on their order.

Observations are counted in steps of 1 / `STEPS` of their range, and the mean of the rounded ones is what the
statements are about.

Source: Waudby-Smith and Ramdas 2024 (see `betting`), section 4 (capital against every m, and the interval).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import betting
from roost.lifecycle.livetest.betting import FloatArray

STEPS = 10_000
"""Steps into which the range of a metric is divided."""

_LOG_2 = math.log(2.0)
"""Half of the capital is bet on either side."""

_BISECTIONS = 40
"""Halvings of the range after which an end of an interval is far more exact than the data."""


class BettingEvidence:
    """Bets on observations with known bounds, and the evidence that came of them. Not safe for threads.

    Args:
        lowest: every effect that is possible is larger than it; negative.
        highest: every effect that is possible is smaller than it; positive.
        margin: the evidence at 0, -margin and margin is kept up to date, and costs nothing to read.
    Raises: InvalidArgument: the bounds do not hold 0, or the margin does not fit between them.
    """

    def __init__(self, lowest: float, highest: float, margin: float | None = None) -> None:
        if not -math.inf < lowest < 0.0 < highest < math.inf:
            raise InvalidArgument(f"effects must lie on both sides of 0 and be finite, not from {lowest} to {highest}")
        if margin is not None and not 0.0 < margin < min(-lowest, highest):
            raise InvalidArgument(f"margin must be positive and less than {min(-lowest, highest):g}, not {margin}")
        self.margin = margin
        self._lowest, self._highest = lowest, highest
        self._bounds = np.array([0.0] if margin is None else [0.0, -margin, margin])
        self._log_shares = np.zeros((2, self._bounds.size, betting.FRACTIONS.size))
        self._log_e = np.full((2, self._bounds.size), -_LOG_2)
        self._counts: dict[tuple[float, float, float], int] = {}
        self._n_units = 0
        self._max_log_e = 0.0
        self._weighted_sum = self._sum_of_weights = 0.0

    @property
    def n_units(self) -> int:
        """Observations counted."""
        return self._n_units

    @property
    def effect(self) -> float | None:
        """The estimate of the effect; None before the first observation."""
        return self._weighted_sum / self._sum_of_weights if self._n_units else None

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "no effect", two-sided: it never grows."""
        return math.exp(-self._max_log_e)

    def log_e_above(self, bound: float) -> float:
        """Return the log evidence that the effect is larger than `bound`.

        Raises: InvalidArgument: no effect can be as far out as `bound`.
        """
        return self._log_e_beyond(bound, 0)

    def log_e_below(self, bound: float) -> float:
        """Return the log evidence that the effect is smaller than `bound`.

        Raises: InvalidArgument: no effect can be as far out as `bound`.
        """
        return self._log_e_beyond(bound, 1)

    def effect_interval(self, alpha: float) -> tuple[float, float]:
        """Return the lowest and the highest effect that the evidence does not exclude at `alpha`.

        It goes through all distinct observations, up to some thousand: for a report, not for every event.
        """
        if not 0.0 < alpha < 1.0:
            raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
        low = self._end(alpha, 0, self._lowest, self._highest)
        high = self._end(alpha, 1, self._highest, self._lowest)
        # No effect is left with probability at most alpha: the effect changed meanwhile, or luck was bad.
        return (low, high) if low <= high else ((low + high) / 2.0, (low + high) / 2.0)

    def _bet(self, x: float, low: float, high: float, precision: float = 1.0) -> None:
        """Take an observation between `low` and `high`, which were known before it.

        Args:
            precision: what it counts for in the estimate of the effect.
        """
        key = (low, high, x)
        gains = _gains(np.array([key]), self._bounds)[:, 0]
        self._log_shares += betting.log_returns(gains)
        self._log_e = betting.log_capital(self._log_shares) - _LOG_2
        self._max_log_e = max(self._max_log_e, float(self._log_e[:, 0].max()))
        self._counts[key] = self._counts.get(key, 0) + 1
        self._n_units += 1
        self._weighted_sum += precision * x
        self._sum_of_weights += precision

    def _log_e_beyond(self, bound: float, side: int) -> float:
        if not self._lowest < bound < self._highest:
            raise InvalidArgument(f"effects lie between {self._lowest:g} and {self._highest:g}; {bound} does not")
        known = np.flatnonzero(self._bounds == bound)
        return float(self._log_e[side, known[0]]) if known.size else self._log_e_of_counts(bound, side)

    def _log_e_of_counts(self, bound: float, side: int) -> float:
        if not self._counts:
            return -_LOG_2
        gains = _gains(np.array(list(self._counts)), np.array([bound]))[side, :, 0]
        counts = np.array(list(self._counts.values()), dtype=np.float64)
        return betting.log_capital_of_counts(gains, counts) - _LOG_2

    def _end(self, alpha: float, side: int, outer: float, inner: float) -> float:
        """Return where the evidence falls below log(1 / alpha) on the way from `outer` to `inner`."""
        excluded, kept = outer, inner
        for _ in range(_BISECTIONS):
            middle = (excluded + kept) / 2.0
            if self._log_e_of_counts(middle, side) >= -math.log(alpha):
                excluded = middle
            else:
                kept = middle
        return excluded

    def _state(self) -> dict[str, Any]:
        return {
            "margin": self.margin,
            "counts": [[*key, count] for key, count in self._counts.items()],
            "max_log_e": self._max_log_e,
            "weighted_sum": self._weighted_sum,
            "sum_of_weights": self._sum_of_weights,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._counts = {(low, high, x): n for low, high, x, n in state["counts"]}
        self._n_units = sum(self._counts.values())
        self._max_log_e = state["max_log_e"]
        self._weighted_sum = state["weighted_sum"]
        self._sum_of_weights = state["sum_of_weights"]
        for key, count in self._counts.items():
            self._log_shares += count * betting.log_returns(_gains(np.array([key]), self._bounds)[:, 0])
        self._log_e = betting.log_capital(self._log_shares) - _LOG_2


def in_steps(value: float, low: float, high: float) -> float:
    """Return the value rounded to a step of the range.

    Raises: InvalidArgument: value does not lie between low and high.
    """
    if not low <= value <= high:
        raise InvalidArgument(f"the value must lie between {low} and {high}, not {value}")
    return low + round((value - low) / (high - low) * STEPS) / STEPS * (high - low)


def _gains(observations: FloatArray, bounds: FloatArray) -> FloatArray:
    """Return the gains of bets against "at most" and "at least" each bound.

    Args:
        observations: (n, 3): lowest and highest value possible, and the value.
        bounds: (n_bounds,).
    Returns: (2, n, n_bounds), each at least -1.
    """
    low, high, x = (column[:, np.newaxis] for column in observations.T)
    return np.stack(((x - bounds) / (bounds - low), (bounds - x) / (high - bounds)))
