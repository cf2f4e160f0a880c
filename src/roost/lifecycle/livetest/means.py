"""Effects on the mean of a bounded metric: paired on the same queries, or between two groups of users.

`MeanTest` takes one number a query, the challenger's metric minus the champion's, as a shadow test measures it.
`SplitTest` takes one number a user together with the side that served the user, and turns it into

    x = (value - centre) (A / w - (1 - A) / (1 - w))

with A = 1 for the challenger, and w the probability with which that user was given the challenger. Given the past,
x has the expectation "mean with the challenger minus mean with the champion" whatever w is, and for any centre that
was fixed before: weights may change by a ramp, and the level of the metric may drift. The centre is the mean of the
values so far, which takes the level of the metric out of the variance of x.

Both bet on their numbers as `bounded` says.

Sources: Waudby-Smith and Ramdas 2024 (see `betting`); Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro,
"Anytime-valid off-policy inference for contextual bandits", ACM/IMS Journal of Data Science 1(3), 2024 (betting on
outcomes weighted by inverse propensities that may change); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2), 2021, section 4.2 (effects of a
treatment).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roost.errors import InvalidArgument
from roost.lifecycle.livetest.bounded import BettingEvidence, in_steps
from roost.lifecycle.livetest.interleave import Side

FIRST_CENTRE, CENTRE_GROWTH = 16, 4
"""The centre is set after 16 units and whenever there are four times as many: distinct x stay few."""


class MeanTest(BettingEvidence):
    """Evidence on the mean of a bounded number, such as a paired difference. Not safe for threads.

    Args:
        low: the smallest value possible; -1 for the difference of two rates.
        high: the largest value possible.
        null: what the mean is compared with: the effect is the mean minus `null`.
        margin: see `BettingEvidence`.
    Raises: InvalidArgument: null does not lie between low and high, or the margin does not fit.
    Source: Waudby-Smith and Ramdas 2024, section 4.
    """

    def __init__(self, low: float = -1.0, high: float = 1.0, null: float = 0.0, margin: float | None = None) -> None:
        if not low < null < high:
            raise InvalidArgument(f"the null must lie between the bounds: {low} < {null} < {high} does not hold")
        super().__init__(low - null, high - null, margin)
        self.low, self.high, self.null = low, high, null

    def add(self, value: float) -> None:
        """Count one observation.

        Raises: InvalidArgument: value does not lie between low and high.
        """
        value = in_steps(value, self.low, self.high)
        self._bet(value - self.null, self.low - self.null, self.high - self.null)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        return {"low": self.low, "high": self.high, "null": self.null, **self._state()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> MeanTest:
        """Return the test that `to_dict` described.

        Raises: InvalidArgument: the state lacks something, or holds what cannot be.
        """
        try:
            test = cls(state["low"], state["high"], state["null"], state["margin"])
            test._restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"the stored test cannot be read: {error!r}") from error
        return test


class SplitTest(BettingEvidence):
    """Evidence on the difference of two groups' means. Not safe for threads.

    Args:
        low: the smallest value possible for a unit; 0 for a rate.
        high: the largest value possible.
        margin: see `BettingEvidence`.
    Raises: InvalidArgument: low is not less than high, or the margin does not fit.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, margin: float | None = None) -> None:
        if not low < high:
            raise InvalidArgument(f"low must be less than high; {low} is not less than {high}")
        super().__init__(low - high, high - low, margin)
        self.low, self.high = low, high
        self._totals: dict[Side, tuple[int, float]] = {"champion": (0, 0.0), "challenger": (0, 0.0)}
        self._centre = (low + high) / 2.0
        self._next_centre = FIRST_CENTRE

    @property
    def n_champion(self) -> int:
        """Units that the champion served."""
        return self._totals["champion"][0]

    @property
    def n_challenger(self) -> int:
        """Units that the challenger served."""
        return self._totals["challenger"][0]

    def mean(self, side: Side) -> float | None:
        """Return the mean value of the units of one side; None before the first."""
        n_units, total = self._totals[side]
        return total / n_units if n_units else None

    def add(self, side: Side, value: float, weight: float = 0.5) -> None:
        """Count one unit.

        Args:
            side: which side served the unit.
            value: the unit's metric.
            weight: the probability, when the unit was assigned, of the challenger rather than the champion.
        Raises: InvalidArgument: side is unknown, value lies outside the bounds, or weight not between 0 and 1.
        """
        check_unit(side, weight)
        value = in_steps(value, self.low, self.high)
        x, low, high = contrast(side, value, weight, self._centre, self.low, self.high)
        self._bet(x, low, high, weight * (1.0 - weight))
        n_units, total = self._totals[side]
        self._totals[side] = n_units + 1, total + value
        if self._n_units == self._next_centre:
            self._next_centre *= CENTRE_GROWTH
            self._centre = sum(total for _, total in self._totals.values()) / self._n_units

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        own = {"low": self.low, "high": self.high, "centre": self._centre, "next_centre": self._next_centre}
        return {**own, "totals": {side: list(total) for side, total in self._totals.items()}, **self._state()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SplitTest:
        """Return the test that `to_dict` described.

        Raises: InvalidArgument: the state lacks something, or holds what cannot be.
        """
        try:
            test = cls(state["low"], state["high"], state["margin"])
            test._restore(state)
            test._centre, test._next_centre = state["centre"], state["next_centre"]
            for side in test._totals:
                n_units, total = state["totals"][side]
                test._totals[side] = n_units, total
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"the stored test cannot be read: {error!r}") from error
        return test


def contrast(
    side: Side, value: float, weight: float, centre: float, low: float, high: float
) -> tuple[float, float, float]:
    """Return a number whose expectation is the effect, and the bounds that it could not pass.

    Args:
        side: which side served the unit.
        value: the unit's metric, from `low` to `high`.
        weight: the probability of the challenger.
        centre: what the metric was expected to be, from `low` to `high`, fixed before the unit was seen.
    Source: Howard, Ramdas, McAuliffe and Sekhon 2021, section 4.2.
    """
    x = (value - centre) / weight if side == "challenger" else (centre - value) / (1.0 - weight)
    lowest = -max((centre - low) / weight, (high - centre) / (1.0 - weight))
    highest = max((high - centre) / weight, (centre - low) / (1.0 - weight))
    return x, lowest, highest


def check_unit(side: Side, weight: float) -> None:
    """Check what is said of a unit.

    Raises: InvalidArgument: side is unknown, or weight does not lie between 0 and 1.
    """
    if side not in ("champion", "challenger"):
        raise InvalidArgument(f"side must be champion or challenger, not {side!r}")
    if not 0.0 < weight < 1.0:
        raise InvalidArgument(f"weight must lie between 0 and 1, not {weight}")
