"""The bets of `roost.lifecycle.livetest.betting` against two other ways to bet on the same observations.

Sources: Waudby-Smith and Ramdas 2024, section 4.2 (predictable plug-in, c = 1/2); Fan, Grama and Liu, "Exponential
inequalities for martingales with applications", Electronic Journal of Probability 20(1), 2015 (the empirical-Bernstein
bound of a bet's logarithm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bench.livetests.paths import first_time
from bench.livetests.users import FloatArray
from roost.lifecycle.livetest.betting import FRACTIONS, LOG_SHARES, log_capital_path

N_RUNS = 300
_ALPHA = 0.025
"""Half of 0.05: the other half is bet on the other side."""


def plug_in(gains: FloatArray, scale: float) -> FloatArray:
    """Return the log capital of bets whose size follows the variance so far and shrinks with time.

    Args:
        scale: (m - low) / (high - low) of the observations behind the gains.
    """
    z, t = (gains + 1.0) * scale, np.arange(1, gains.shape[1] + 1)
    mean = (0.5 + np.cumsum(z, axis=1)) / (t + 1)
    variance = (0.25 + np.cumsum((z - mean) ** 2, axis=1)) / (t + 1)
    before = np.concatenate((np.full((len(z), 1), 0.25), variance[:, :-1]), axis=1)
    stake = np.minimum(np.sqrt(2.0 * math.log(1.0 / _ALPHA) / (before * t * np.log1p(t))), 0.5 / scale)
    return np.asarray(np.cumsum(np.log1p(stake * (z - scale)), axis=1))


def empirical_bernstein(gains: FloatArray) -> FloatArray:
    """Return a lower bound of the log capital of Roost's bets that knows only sums of the gains and their squares."""
    sums, squares = np.cumsum(gains, axis=1), np.cumsum(gains**2, axis=1)
    path = np.full(gains.shape, -np.inf)
    for fraction, log_share in zip(FRACTIONS, LOG_SHARES, strict=True):
        penalty = -math.log1p(-fraction) - fraction
        np.logaddexp(path, log_share + fraction * sums - penalty * squares, out=path)
    return path


def contrasts(rates: tuple[float, float], weight: float, n_events: int, rng: np.random.Generator) -> FloatArray:
    """Return gains of a split between two rates against "no effect", (N_RUNS, n_events)."""
    treated = rng.random((N_RUNS, n_events)) < weight
    values = rng.random((N_RUNS, n_events)) < np.where(treated, rates[1], rates[0])
    x = np.where(treated, (values - rates[0]) / weight, (rates[0] - values) / (1.0 - weight))
    return np.asarray(x / max(rates[0] / weight, (1.0 - rates[0]) / (1.0 - weight)))


def compare() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Return, for kinds of data and ways to bet, mean events until the decision and the share that has decided.

    A run that does not decide counts as long as it was, so that the mean is too small.
    """
    rng = np.random.default_rng(11)
    signs = np.array([-1.0, 0.0, 1.0])

    def paired(mean: float, n_events: int) -> FloatArray:
        return rng.choice(signs, p=[0.2 - mean / 2, 0.6, 0.2 + mean / 2], size=(N_RUNS, n_events))

    def harm(rate: float, limit: float, n_events: int) -> FloatArray:
        return np.asarray(((rng.random((N_RUNS, n_events)) < rate) - limit) / limit)

    data: Mapping[str, tuple[FloatArray, float]] = {
        "paired difference 0.2 in {-1, 0, 1}": (paired(0.2, 1_000), 0.5),
        "paired difference 0.02 in {-1, 0, 1}": (paired(0.02, 30_000), 0.5),
        "split, 0.30 against 0.40": (contrasts((0.3, 0.4), 0.5, 5_000, rng), 0.5),
        "split, 0.30 against 0.33": (contrasts((0.3, 0.33), 0.5, 30_000, rng), 0.5),
        "split, 0.30 against 0.40, weight 0.1": (contrasts((0.3, 0.4), 0.1, 10_000, rng), 0.3),
        "guardrail at 2 %, true rate 10 %": (harm(0.1, 0.02, 2_000), 0.02),
        "guardrail at 2 %, true rate 50 %": (harm(0.5, 0.02, 500), 0.02),
        "paired difference 0.04, deviation 0.1": (
            np.clip(rng.normal(0.04, 0.1, (N_RUNS, 2_000)), -1.0, 1.0),
            0.5,
        ),
    }
    found = {}
    for name, (gains, scale) in data.items():
        paths = {
            "mixture": log_capital_path(gains),
            "plug-in": plug_in(gains, scale),
            "empirical Bernstein": empirical_bernstein(gains),
        }
        ends = {way: first_time(path, _ALPHA) for way, path in paths.items()}
        found[name] = {
            way: (float(np.minimum(end, gains.shape[1]).mean()), float(np.isfinite(end).mean()))
            for way, end in ends.items()
        }
    return found
