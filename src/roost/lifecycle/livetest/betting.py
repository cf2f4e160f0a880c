"""Evidence by betting: a game whose money only grows, on average, when the hypothesis is wrong.

Under "the mean is at most m" the observations x, each at least `low`, make the gains

    g = (x - m) / (m - low) >= -1

whose expectation, given the past, is at most 0. Who stakes the fraction b of the capital on every one of them is
left with the product of 1 + b g, a non-negative supermartingale that starts at 1: by Ville's inequality it ever
reaches 1 / alpha with probability at most alpha. The best fraction depends on an effect that nobody knows, so the
capital is shared among `FRACTIONS` from the start and each share is bet with its own fraction. Halving fractions
lose little: half or twice the best one still earns three quarters of its growth.

The product does not depend on the order of the observations, so counts of equal ones are enough to know it at any m.

Sources: Ville 1939; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B
86(1), 2024 (the capital process; a mixture over fractions in place of the predictable plug-in); Orabona and Jun,
"Tight concentrations and confidence sequences from the regret of universal portfolio", IEEE Transactions on
Information Theory 70(1), 2024 (mixtures over constant fractions).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

FRACTIONS: FloatArray = 0.9 * np.exp2(-np.arange(16.0))
"""Fractions of the capital that are bet. The largest never loses everything; the smallest, 1/36,000, finds effects far
smaller than a live test has the queries for."""

_HARMONIC = 1.0 / np.arange(2, FRACTIONS.size + 2)
LOG_SHARES: FloatArray = np.log(_HARMONIC / _HARMONIC.sum())
"""Logarithm of the share of the capital that each fraction has at the start: more for the larger fractions, whose
tests are over sooner and have less time to make up for a small share."""


def log_returns(gains: FloatArray) -> FloatArray:
    """Return what one observation adds to the logarithm of each share.

    Args:
        gains: (...) gains of at least -1.
    Returns: (..., n_fractions).
    """
    returns: FloatArray = np.log1p(gains[..., np.newaxis] * FRACTIONS)
    return returns


def log_capital(log_shares: FloatArray) -> FloatArray:
    """Return the logarithm of the whole capital, the e-value.

    Args:
        log_shares: (..., n_fractions) sums of `log_returns`.
    Returns: (...).
    """
    shares = log_shares + LOG_SHARES
    top = shares.max(axis=-1)
    capital: FloatArray = top + np.log(np.exp(shares - top[..., np.newaxis]).sum(axis=-1))
    return capital


def log_capital_of_counts(gains: FloatArray, counts: FloatArray) -> float:
    """Return the logarithm of the capital after every gain was seen as often as it was counted.

    Args:
        gains: (n,) distinct gains of at least -1.
        counts: (n,) how often each was seen.
    """
    return float(log_capital(counts @ log_returns(gains)))


def log_capital_path(gains: FloatArray) -> FloatArray:
    """Return the logarithm of the capital after every observation, for simulations.

    Args:
        gains: (..., n_observations).
    Returns: (..., n_observations).
    """
    path = np.full(gains.shape, -np.inf)
    for fraction, log_share in zip(FRACTIONS, LOG_SHARES, strict=True):
        np.logaddexp(path, log_share + np.cumsum(np.log1p(fraction * gains), axis=-1), out=path)
    return path
