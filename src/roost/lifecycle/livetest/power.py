"""How many queries a live test will need, for an effect that one would not want to miss.

The tests here have no fixed length: they end when the evidence is there, sooner for larger effects. So a test is
played many times with the effect put in, and what comes back is the distribution of the moment at which it ends. The
evidence is the one that the test itself collects, looked at in steps of 1 % of the queries so far instead of after
every one, which makes the answer at most 1 % too large.

Source: Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16(2), 1945 (the number
of observations of a sequential test is what its power is about).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import betting
from roost.lifecycle.livetest.betting import FloatArray
from roost.lifecycle.livetest.interleave import Side
from roost.lifecycle.livetest.means import contrast
from roost.lifecycle.livetest.sequential import SequentialTest

Method: TypeAlias = Literal["interleave", "shadow", "split"]
UNITS: dict[Method, str] = {"interleave": "queries", "shadow": "queries", "split": "users"}

_STEP = 0.01
_MOST = 10**9
"""Nobody waits for more: tests that are not over by then count as this long."""

_Evidence: TypeAlias = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class SampleSize:
    """When a test ends, if the effect is as stated.

    Attributes:
        unit: what is counted: "queries", or for a split "users", those of the champion and of one challenger.
        expected: the mean.
        enough: the number within which the test ends with probability `power`.
        power: that probability.
    """

    unit: str
    expected: int
    enough: int
    power: float


def n_queries(
    method: Method,
    effect: float,
    base_rate: float | None = None,
    deviation: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    ties: float = 0.0,
    weight: float = 0.5,
    n_challengers: int = 1,
    n_simulations: int = 400,
    seed: int = 0,
) -> SampleSize:
    """Return how many queries, or users, a test needs to find an effect.

    Args:
        method: "interleave", "shadow" or "split".
        effect: the challenger's metric minus the champion's; for interleaving its win rate minus 1/2.
        base_rate: of a split whose metric is yes or no for each user: the champion's rate.
        deviation: standard deviation of the metric between users (split), or of its difference between the two
            answers to a query (shadow). Metrics lie in [0, 1] and differences in [-1, 1].
        alpha: of the test.
        power: the probability with which the test is to end within the number `enough`.
        ties: of interleaving: the share of queries that neither side wins, those without a click included.
        weight: of a split: the challenger's share of the users of both.
        n_challengers: in the test; each is held to alpha / n_challengers.
        n_simulations: tests that are played.
        seed: of the simulation.
    Raises: InvalidArgument: a value is out of range, or one that the method needs is missing.
    """
    _check(effect, alpha, power, weight, ties, n_challengers, n_simulations)
    if method == "interleave":
        chances, evidence = _interleaving(effect, ties)
    elif method == "shadow":
        chances, evidence = _shadow(effect, deviation)
    elif method == "split":
        chances, evidence = _split(effect, base_rate, deviation, weight)
    else:
        raise InvalidArgument(f"method {method!r} is not known; use one of {', '.join(UNITS)}")
    rng = np.random.default_rng(seed)
    ends = _stopping_times(chances, evidence, math.log(n_challengers / alpha), n_simulations, rng)
    return SampleSize(UNITS[method], round(float(ends.mean())), math.ceil(float(np.quantile(ends, power))), power)


def _stopping_times(
    chances: FloatArray, evidence: _Evidence, enough: float, n_simulations: int, rng: np.random.Generator
) -> FloatArray:
    """Return after how many units each simulated test ends, (n_simulations,).

    Args:
        chances: (n_kinds,) probability of each kind of unit.
        evidence: turns counts of each kind, (n_tests, n_kinds), into log e-values for the effect.
        enough: the log e-value that ends a test.
    """
    ends = np.full(n_simulations, float(_MOST))
    running = np.arange(n_simulations)
    counts = np.zeros((n_simulations, chances.size))
    n = 0
    while running.size and n < _MOST:
        step = max(1, int(n * _STEP))
        n += step
        counts += rng.multinomial(step, chances, size=running.size)
        over = evidence(counts) >= enough
        ends[running[over]] = n
        running, counts = running[~over], counts[~over]
    return ends


def _interleaving(effect: float, ties: float) -> tuple[FloatArray, _Evidence]:
    if not abs(effect) < 0.5:
        raise InvalidArgument(f"a win rate minus 1/2 must lie between -1/2 and 1/2, not {effect}")
    wins = 0.5 + abs(effect)

    def evidence(counts: FloatArray) -> FloatArray:
        tests = (SequentialTest(n_challenger=int(won), n_champion=int(lost)) for won, lost, _ in counts)
        return np.array([test.log_e_above(0.0) for test in tests])

    return np.array([wins * (1.0 - ties), (1.0 - wins) * (1.0 - ties), ties]), evidence


def _shadow(effect: float, deviation: float | None) -> tuple[FloatArray, _Evidence]:
    if deviation is None:
        raise InvalidArgument("a shadow test's power needs the deviation of the difference between queries")
    values, chances = _distribution(abs(effect), deviation, -1.0, 1.0)
    return chances, _bets(values, np.full(values.size, -1.0))


def _split(
    effect: float, base_rate: float | None, deviation: float | None, weight: float
) -> tuple[FloatArray, _Evidence]:
    if (base_rate is None) == (deviation is None):
        raise InvalidArgument("a split's power needs either the base rate or the deviation between users")
    if base_rate is not None:
        if not (0.0 <= base_rate <= 1.0 and 0.0 <= base_rate + effect <= 1.0):
            raise InvalidArgument(f"rates must lie in [0, 1]: {base_rate} and {base_rate + effect}")
        metrics = [(np.array([1.0, 0.0]), np.array([rate, 1.0 - rate])) for rate in (base_rate, base_rate + effect)]
    else:
        means = (0.5 - effect / 2.0, 0.5 + effect / 2.0)
        metrics = [_distribution(mean, deviation or 0.0, 0.0, 1.0) for mean in means]
    arms: list[tuple[Side, float]] = [("champion", 1.0 - weight), ("challenger", weight)]
    centre = sum(arm[1] * float(values @ chances) for arm, (values, chances) in zip(arms, metrics, strict=True))
    x, lowest, kinds = [], [], []
    for (side, share), (values, chances) in zip(arms, metrics, strict=True):
        for value, chance in zip(values.tolist(), chances.tolist(), strict=True):
            found, low, high = contrast(side, value, weight, centre, 0.0, 1.0)
            x.append(found if effect > 0.0 else -found)
            lowest.append(low if effect > 0.0 else -high)
            kinds.append(share * chance)
    return np.array(kinds), _bets(np.array(x), np.array(lowest))


def _bets(values: FloatArray, lowest: FloatArray) -> _Evidence:
    """Return the evidence of bets on "larger than 0", with half of the capital."""
    returns = betting.log_returns(values / -lowest)

    def evidence(counts: FloatArray) -> FloatArray:
        return betting.log_capital(counts @ returns) - math.log(2.0)

    return evidence


def _distribution(mean: float, deviation: float, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Return values and probabilities that have this mean and deviation.

    Three values with the first five moments of a normal distribution, where they fit between the bounds; else the
    bounds and a value between them.
    """
    variance = deviation**2
    if not deviation > 0.0 or variance > (high - mean) * (mean - low):
        raise InvalidArgument(f"no metric from {low:g} to {high:g} has the mean {mean} and the deviation {deviation}")
    reach = math.sqrt(3.0) * deviation
    if low <= mean - reach and mean + reach <= high:
        return np.array([mean - reach, mean, mean + reach]), np.array([1.0, 4.0, 1.0]) / 6.0
    above, below = variance / ((high - mean) * (high - low)), variance / ((mean - low) * (high - low))
    return np.array([low, mean, high]), np.array([below, 1.0 - above - below, above])


def _check(
    effect: float, alpha: float, power: float, weight: float, ties: float, n_challengers: int, n_simulations: int
) -> None:
    for name, value in (("alpha", alpha), ("power", power), ("weight", weight)):
        if not 0.0 < value < 1.0:
            raise InvalidArgument(f"{name} must lie between 0 and 1, not {value}")
    if not 0.0 <= ties < 1.0:
        raise InvalidArgument(f"ties must be at least 0 and less than 1, not {ties}")
    if effect == 0.0 or not math.isfinite(effect):
        raise InvalidArgument(f"effect must be a number other than 0, not {effect}")
    if n_challengers < 1 or n_simulations < 1:
        raise InvalidArgument("n_challengers and n_simulations must be at least 1")
