"""Effects on ratios and on unbounded means, between two groups of users: asymptotic.

A ratio such as clicks per query is a sum over a sum when the unit is a user: R = sum Y / sum X. To first order its
error is the mean of (Y - R X) / mean(X), which is a mean over users (the delta method). With X = 1 it is the plain
mean of a metric that has no bound, such as the latency.

The interval is estimate plus and minus standard error times a factor that makes it hold at every moment at once,
where 1.96 holds at one. **It is asymptotic**: it holds as the number of units grows, for a metric with finite
variance, as every use of the central limit theorem does; heavy tails need more units. Nothing is said before each
side has `min_units`. For metrics with known bounds `means` has no such conditions: cap a metric where you can.

Units that were assigned with different weights are compared within their weight, and the comparisons are pooled, so
that a ramp cannot mix up a change of weights with a change of the metric.

Sources: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52(6), 2024, theorem 2.2; Robbins 1970 (the mixture); Deng, Knoblich and Lu, "Applying
the delta method in metric analytics", KDD 2018 (ratios whose unit of randomisation is the user).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.livetest.betting import FloatArray
from roost.lifecycle.livetest.interleave import Side
from roost.lifecycle.livetest.means import check_unit

_TUNED_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of the effect.

    Attributes:
        effect: challenger minus champion.
        error: its standard error, positive.
        n: the units behind it, as if all of them had been assigned with the weight 1/2.
    """

    effect: float
    error: float
    n: float


class RatioTest:
    """Evidence on the difference of two groups' ratios, or of their means. Not safe for threads.

    Args:
        n_tuned: units after which the interval is as narrow as it can be made; it is valid for any.
        min_units: units that each side must have, for each weight, before they are used; at least 30.
    Raises: InvalidArgument: n_tuned is not positive, or min_units is less than 30.
    """

    def __init__(self, n_tuned: int = 1_000, min_units: int = 100) -> None:
        if n_tuned < 1:
            raise InvalidArgument(f"n_tuned must be at least 1, not {n_tuned}")
        if min_units < 30:
            raise InvalidArgument(f"min_units must be at least 30, not {min_units}: the method is asymptotic")
        self.n_tuned, self.min_units = n_tuned, min_units
        self._rho = mixture_precision(n_tuned)
        self._sums: dict[float, FloatArray] = {}
        self._n_units = 0
        self._max_log_e = 0.0
        self._estimate: Estimate | None = None

    def add(self, side: Side, numerator: float, denominator: float = 1.0, weight: float = 0.5) -> None:
        """Count one unit.

        Args:
            side: which side served the unit.
            numerator: what is counted, such as the user's clicks.
            denominator: what it is counted per, such as the user's queries; 1 for a plain mean.
            weight: the probability, when the unit was assigned, of the challenger rather than the champion.
        Raises: InvalidArgument: side is unknown, weight does not lie between 0 and 1, a number is not finite, or
            the denominator is negative.
        """
        check_unit(side, weight)
        if not (math.isfinite(numerator) and 0.0 <= denominator < math.inf):
            raise InvalidArgument(f"a ratio needs finite numbers and a denominator >= 0: {numerator} / {denominator}")
        sums = self._sums.setdefault(weight, np.zeros((2, 6)))
        y, x = numerator, denominator
        sums[int(side == "challenger")] += (1.0, x, y, x * x, x * y, y * y)
        self._n_units += 1
        self._estimate = self._estimated()
        self._max_log_e = max(self._max_log_e, self.log_e_above(0.0), self.log_e_below(0.0))

    @property
    def n_units(self) -> int:
        """Units counted."""
        return self._n_units

    @property
    def effect(self) -> float | None:
        """The estimate of the effect; None before each side has enough units."""
        return None if self._estimate is None else self._estimate.effect

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "no effect", two-sided, asymptotic: it never grows."""
        return math.exp(-self._max_log_e)

    def log_e_above(self, bound: float) -> float:
        """Return the log evidence that the effect is larger than `bound`."""
        return self._log_e(bound) if self._estimate is not None and self._estimate.effect > bound else -math.inf

    def log_e_below(self, bound: float) -> float:
        """Return the log evidence that the effect is smaller than `bound`."""
        return self._log_e(bound) if self._estimate is not None and self._estimate.effect < bound else -math.inf

    def effect_interval(self, alpha: float) -> tuple[float, float]:
        """Return the lowest and the highest effect that the evidence does not exclude at `alpha`.

        Source: Waudby-Smith et al. 2024, theorem 2.2.
        """
        if not 0.0 < alpha < 1.0:
            raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
        if self._estimate is None:
            return -math.inf, math.inf
        n, rho = self._estimate.n, self._rho
        factor = math.sqrt((1.0 + rho / n) * math.log((n + rho) / (rho * alpha**2)))
        radius = factor * self._estimate.error
        return self._estimate.effect - radius, self._estimate.effect + radius

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        sums = [[weight, *both.ravel().tolist()] for weight, both in self._sums.items()]
        return {"n_tuned": self.n_tuned, "min_units": self.min_units, "max_log_e": self._max_log_e, "sums": sums}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RatioTest:
        """Return the test that `to_dict` described.

        Raises: InvalidArgument: the state lacks something, or holds what cannot be.
        """
        try:
            test = cls(state["n_tuned"], state["min_units"])
            test._sums = {weight: np.array(both).reshape(2, 6) for weight, *both in state["sums"]}
            test._n_units = round(sum(float(both[:, 0].sum()) for both in test._sums.values()))
            test._max_log_e = state["max_log_e"]
            test._estimate = test._estimated()
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"the stored test cannot be read: {error!r}") from error
        return test

    def _log_e(self, bound: float) -> float:
        estimate = self._estimate
        if estimate is None:
            return 0.0
        z = (estimate.effect - bound) / estimate.error
        held = self._rho / (estimate.n + self._rho)
        return 0.5 * math.log(held) + 0.5 * (1.0 - held) * z * z

    def _estimated(self) -> Estimate | None:
        """Return the comparisons within each weight, pooled by the units behind them."""
        pooled = total = variance = 0.0
        for weight, sums in self._sums.items():
            if sums[:, 0].min() < self.min_units or sums[:, 1].min() <= 0.0:
                continue
            n = 4.0 * weight * (1.0 - weight) * float(sums[:, 0].sum())
            ratio, squared_error = _ratios(sums)
            total += n
            pooled += n * float(ratio[1] - ratio[0])
            variance += n * n * float(squared_error.sum())
        if total == 0.0 or variance <= 0.0:
            return None
        return Estimate(pooled / total, math.sqrt(variance) / total, total)


def mixture_precision(n_tuned: float) -> float:
    """Return the precision of Robbins' normal mixture that makes the interval narrowest after `n_tuned` units.

    Source: Waudby-Smith et al. 2024, appendix B.2; Howard et al. 2021, section 3.5.
    """
    # The narrowest one solves n / rho = log((n + rho) / rho) - 2 log(alpha); the iteration contracts.
    excess = 1.0
    for _ in range(100):
        excess = math.log1p(excess) - 2.0 * math.log(_TUNED_ALPHA)
    return n_tuned / excess


def _ratios(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each side's ratio and its squared standard error by the delta method.

    Args:
        sums: (2, 6) units, sums of X, Y, X^2, XY and Y^2; the champion first.
    Returns: two arrays of the shape (2,).
    Source: Deng, Knoblich and Lu 2018, section 3.
    """
    n, x, y, xx, xy, yy = sums.T
    ratio = y / x
    residual = np.maximum(yy - 2.0 * ratio * xy + ratio**2 * xx, 0.0)
    return ratio, residual / (n - 1.0) * n / x**2
