"""Guardrails: a challenger that does harm is stopped as soon as the evidence of it is there.

A guardrail watches a badness: 1 for an error, an empty answer or an answer that came too late, else 0; or what is
missing from a perfect recall. `Guardrail` compares its mean with a limit: the challenger's own, or the challenger's
minus the champion's where both answered the same query, with the tolerance as the limit. `SplitGuardrail` compares
two groups of users. Both are one-sided: they bet on "more than allowed" alone and never say that all is well.

A guardrail stops a challenger that keeps to its limit with probability at most alpha, over all time. With several
guardrails, give each its share of alpha.

Sources: as in `betting` and `means`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import betting
from roost.lifecycle.livetest.interleave import Side
from roost.lifecycle.livetest.means import check_unit, contrast

_NOTHING_BET = (0.0,) * betting.FRACTIONS.size


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A watch on the mean of a badness.

    Attributes:
        limit: the largest mean that is allowed; more than `low` and less than `high`.
        alpha: the chance that a challenger within the limit is ever stopped.
        low: the smallest value possible; -1 for the difference of two rates.
        high: the largest value possible.
        n: values seen.
        total: their sum.
        log_shares: logarithm of what each fraction's bets made of its share.
        max_log_e: the most evidence that was ever seen; never below 0.
    """

    limit: float
    alpha: float = 0.05
    low: float = 0.0
    high: float = 1.0
    n: int = 0
    total: float = 0.0
    log_shares: tuple[float, ...] = _NOTHING_BET
    max_log_e: float = 0.0

    def __post_init__(self) -> None:
        if not self.low < self.limit < self.high:
            raise InvalidArgument(f"the limit must lie between {self.low} and {self.high}, not at {self.limit}")
        _check_state(self.alpha, self.log_shares, self.max_log_e)

    def update(self, value: float) -> Guardrail:
        """Return the guardrail with one more value counted.

        Raises: InvalidArgument: value does not lie between low and high.
        """
        if not self.low <= value <= self.high:
            raise InvalidArgument(f"the value must lie between {self.low} and {self.high}, not {value}")
        log_shares, log_e = _bet(self.log_shares, (value - self.limit) / (self.limit - self.low))
        n, total = self.n + 1, self.total + value
        return replace(self, n=n, total=total, log_shares=log_shares, max_log_e=max(self.max_log_e, log_e))

    @property
    def mean(self) -> float | None:
        """The mean of the values; None before the first."""
        return self.total / self.n if self.n else None

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "the mean is within the limit"; it never grows."""
        return math.exp(-self.max_log_e)

    @property
    def breached(self) -> bool:
        """Whether the evidence was ever enough to stop; it stays."""
        return self.max_log_e >= -math.log(self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        return {**asdict(self), "log_shares": list(self.log_shares)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Guardrail:
        """Return the guardrail that `to_dict` described.

        Raises: InvalidArgument: a key is missing or unknown, or a value cannot be.
        """
        return cls(**_read(cls, state))


@dataclass(frozen=True, slots=True)
class SplitGuardrail:
    """A watch on how much worse the challenger's group is than the champion's.

    Attributes:
        tolerance: the largest difference of the means, challenger minus champion, that is allowed; at least 0.
        alpha: the chance that a challenger within the tolerance is ever stopped.
        low: the smallest value possible.
        high: the largest value possible.
        n: units seen.
        total: sum of their values.
        log_shares: logarithm of what each fraction's bets made of its share.
        max_log_e: the most evidence that was ever seen; never below 0.
    """

    tolerance: float
    alpha: float = 0.05
    low: float = 0.0
    high: float = 1.0
    n: int = 0
    total: float = 0.0
    log_shares: tuple[float, ...] = _NOTHING_BET
    max_log_e: float = 0.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InvalidArgument(f"low must be less than high; {self.low} is not less than {self.high}")
        if not 0.0 <= self.tolerance < self.high - self.low:
            raise InvalidArgument(f"the tolerance must be from 0 to {self.high - self.low}, not {self.tolerance}")
        _check_state(self.alpha, self.log_shares, self.max_log_e)

    def update(self, side: Side, value: float, weight: float = 0.5) -> SplitGuardrail:
        """Return the guardrail with one more unit counted.

        Args:
            side: which side served the unit.
            value: the unit's badness.
            weight: the probability, when the unit was assigned, of the challenger rather than the champion.
        Raises: InvalidArgument: side is unknown, value lies outside the bounds, or weight not between 0 and 1.
        """
        check_unit(side, weight)
        if not self.low <= value <= self.high:
            raise InvalidArgument(f"the value must lie between {self.low} and {self.high}, not {value}")
        # Two made-up units at the middle of the range keep the first centres away from its ends.
        centre = (self.total + self.low + self.high) / (self.n + 2)
        x, lowest, _ = contrast(side, value, weight, centre, self.low, self.high)
        log_shares, log_e = _bet(self.log_shares, (x - self.tolerance) / (self.tolerance - lowest))
        n, total = self.n + 1, self.total + value
        return replace(self, n=n, total=total, log_shares=log_shares, max_log_e=max(self.max_log_e, log_e))

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "the difference is within the tolerance"; it never grows."""
        return math.exp(-self.max_log_e)

    @property
    def breached(self) -> bool:
        """Whether the evidence was ever enough to stop; it stays."""
        return self.max_log_e >= -math.log(self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        return {**asdict(self), "log_shares": list(self.log_shares)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SplitGuardrail:
        """Return the guardrail that `to_dict` described.

        Raises: InvalidArgument: a key is missing or unknown, or a value cannot be.
        """
        return cls(**_read(cls, state))


def _bet(log_shares: tuple[float, ...], gain: float) -> tuple[tuple[float, ...], float]:
    shares = np.array(log_shares) + betting.log_returns(np.array(gain))
    return tuple(shares.tolist()), float(betting.log_capital(shares))


def _check_state(alpha: float, log_shares: tuple[float, ...], max_log_e: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
    if len(log_shares) != betting.FRACTIONS.size or not 0.0 <= max_log_e < math.inf:
        raise InvalidArgument("the evidence of the guardrail cannot be read")


def _read(cls: type[Guardrail] | type[SplitGuardrail], state: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    if set(state) != names:
        raise InvalidArgument(f"the stored guardrail must hold exactly {sorted(names)}, not {sorted(state)}")
    try:
        return {**state, "log_shares": tuple(float(share) for share in state["log_shares"])}
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the stored guardrail cannot be read: {error!r}") from error
