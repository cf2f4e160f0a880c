"""A test of who wins more often that may be looked at after every query.

The queries that did not end in a tie are coin flips with an unknown rate p of the challenger
winning, and H0 says p = 1/2. Under H0 the likelihood ratio of a mixture of alternatives,
p ~ Beta(a, a), against 1/2 is a non-negative martingale that starts at 1. With s wins and f losses

    e = 2^(s + f) B(a + s, a + f) / B(a, a)

and by Ville's inequality it ever reaches 1 / alpha with probability at most alpha, however often
it is looked at. Ties change nothing.

Sources: Ville 1939; Robbins, "Statistical methods related to the law of the iterated logarithm",
Annals of Mathematical Statistics 41(5), 1970 (mixtures and confidence sequences); Johari, Koomen,
Pekelis and Walsh, "Peeking at A/B tests", KDD 2017 (always-valid p-values); Howard, Ramdas,
McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of
Statistics 49(2), 2021; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 86(1), 2024 (the same martingale as a bet).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from roost.errors import InvalidArgument
from roost.lifecycle.livetest.interleave import Outcome, Side

_BISECTIONS = 60
"""Halvings of [0, 1] after which an interval's end is exact to a double."""

_MAX_CONCENTRATION = 1e6
"""Beyond it the mixture looks for differences that no live test could ever see."""


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """The state of a test: what was counted, and the most evidence that was ever seen.

    Attributes:
        alpha: probability of deciding although both sides win equally often; also of deciding for
            the worse side, whatever p is.
        concentration: `a` of the Beta(a, a) mixture. Larger looks for smaller differences: the
            mixture's standard deviation is 1 / (2 sqrt(2 a + 1)).
        n_champion: queries that the champion won.
        n_challenger: queries that the challenger won.
        n_ties: queries that neither won.
        max_log_e: the largest log of the e-value so far; never below 0.
        decision: the side that won the test; it stays once it is made.
    """

    alpha: float = 0.05
    concentration: float = 10.0
    n_champion: int = 0
    n_challenger: int = 0
    n_ties: int = 0
    max_log_e: float = 0.0
    decision: Side | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InvalidArgument(f"alpha must lie between 0 and 1, not {self.alpha}")
        if not 0.0 < self.concentration <= _MAX_CONCENTRATION:
            raise InvalidArgument(
                f"concentration must be positive and at most {_MAX_CONCENTRATION:g}, not {self.concentration}"
            )
        if min(self.n_champion, self.n_challenger, self.n_ties) < 0:
            raise InvalidArgument("the counts of a test cannot be negative")
        if not 0.0 <= self.max_log_e < math.inf:
            raise InvalidArgument(f"max_log_e must be finite and at least 0, not {self.max_log_e}")
        if self.decision not in (None, "champion", "challenger"):
            raise InvalidArgument(f"decision must be champion, challenger or None, not {self.decision!r}")

    def update(self, outcome: Outcome) -> SequentialTest:
        """Return the test with one more query counted.

        Outcomes that come after the decision are counted and leave the decision as it is.

        Raises: InvalidArgument: outcome is not champion, challenger or tie.
        """
        if outcome == "tie":
            return replace(self, n_ties=self.n_ties + 1)
        if outcome not in ("champion", "challenger"):
            raise InvalidArgument(f"outcome must be champion, challenger or tie, not {outcome!r}")
        n_champion = self.n_champion + (outcome == "champion")
        n_challenger = self.n_challenger + (outcome == "challenger")
        log_e = _log_e(n_challenger, n_champion, self.concentration)
        decision = self.decision
        if decision is None and log_e >= -math.log(self.alpha):
            decision = "challenger" if n_challenger > n_champion else "champion"
        return replace(
            self,
            n_champion=n_champion,
            n_challenger=n_challenger,
            max_log_e=max(self.max_log_e, log_e),
            decision=decision,
        )

    @property
    def n_queries(self) -> int:
        """Queries counted, ties included."""
        return self.n_champion + self.n_challenger + self.n_ties

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value now; the test decides at log(1 / alpha)."""
        return _log_e(self.n_challenger, self.n_champion, self.concentration)

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value: the smallest 1 / e so far, at most 1."""
        return math.exp(-self.max_log_e)

    @property
    def win_rate(self) -> float | None:
        """The challenger's share of the queries that one side won; None before the first."""
        n_decisive = self.n_champion + self.n_challenger
        return self.n_challenger / n_decisive if n_decisive else None

    @property
    def interval(self) -> tuple[float, float]:
        """The confidence sequence now: lowest and highest win rate that are not excluded.

        With probability 1 - alpha the true rate lies in the interval at every moment at once. The
        test decides at the moment when 1/2 leaves it.
        Source: Robbins 1970, section 3.
        """
        wins, losses = self.n_challenger, self.n_champion
        if wins + losses == 0:
            return 0.0, 1.0
        a = self.concentration
        least = _log_beta(a + wins, a + losses) - _log_beta(a, a) + math.log(self.alpha)

        def excluded(p: float) -> bool:
            return _xlogy(wins, p) + _xlogy(losses, 1.0 - p) <= least

        best = wins / (wins + losses)
        lower = 0.0 if wins == 0 else _boundary(0.0, best, excluded)
        upper = 1.0 if losses == 0 else _boundary(1.0, best, excluded)
        return lower, upper

    @property
    def n_units(self) -> int:
        """Queries counted, ties included."""
        return self.n_queries

    @property
    def effect(self) -> float | None:
        """The win rate minus 1/2; None before the first query that one side won."""
        return None if self.win_rate is None else self.win_rate - 0.5

    def log_e_above(self, bound: float) -> float:
        """Return the log evidence that the win rate is larger than 1/2 + `bound`.

        Raises: InvalidArgument: bound does not lie between -1/2 and 1/2.
        """
        return self._log_e_against(bound) if self.effect is not None and self.effect > bound else -math.inf

    def log_e_below(self, bound: float) -> float:
        """Return the log evidence that the win rate is smaller than 1/2 + `bound`.

        Raises: InvalidArgument: bound does not lie between -1/2 and 1/2.
        """
        return self._log_e_against(bound) if self.effect is not None and self.effect < bound else -math.inf

    def effect_interval(self, alpha: float) -> tuple[float, float]:
        """Return `interval` at another alpha, less 1/2."""
        low, high = replace(self, alpha=alpha).interval
        return low - 0.5, high - 0.5

    def _log_e_against(self, bound: float) -> float:
        if not -0.5 < bound < 0.5:
            raise InvalidArgument(f"a win rate minus 1/2 lies between -1/2 and 1/2; {bound} does not")
        wins, losses, a = self.n_challenger, self.n_champion, self.concentration
        mixed = _log_beta(a + wins, a + losses) - _log_beta(a, a)
        return mixed - _xlogy(wins, 0.5 + bound) - _xlogy(losses, 0.5 - bound)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SequentialTest:
        """Return the test that `to_dict` described.

        Raises: InvalidArgument: a key is unknown, or a value is of the wrong type or out of range.
        """
        unknown = sorted(set(state) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidArgument(f"the stored test holds unknown keys: {', '.join(unknown)}")
        try:
            return cls(**state)
        except TypeError as error:
            raise InvalidArgument(f"the stored test holds a value of the wrong type: {error}") from error


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_e(wins: int, losses: int, a: float) -> float:
    return (wins + losses) * math.log(2.0) + _log_beta(a + wins, a + losses) - _log_beta(a, a)


def _xlogy(count: int, p: float) -> float:
    if count == 0:
        return 0.0
    return count * math.log(p) if p > 0.0 else -math.inf


def _boundary(outside: float, inside: float, excluded: Callable[[float], bool]) -> float:
    """Return where `excluded` turns from true to false between the two points."""
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2.0
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside
