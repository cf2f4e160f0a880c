"""The capital of the bets: what it is, and that it is a fair game."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from roost.lifecycle.livetest.betting import (
    FRACTIONS,
    LOG_SHARES,
    log_capital,
    log_capital_of_counts,
    log_capital_path,
    log_returns,
)


def test_the_shares_are_the_whole_capital():
    assert np.exp(LOG_SHARES).sum() == pytest.approx(1.0)
    assert log_capital(np.zeros(FRACTIONS.size)) == pytest.approx(0.0)
    assert FRACTIONS.max() < 1.0


def test_one_gain_grows_every_share_by_its_fraction():
    expected = sum(
        math.exp(share) * (1.0 + 0.5 * fraction) for share, fraction in zip(LOG_SHARES, FRACTIONS, strict=True)
    )
    assert log_capital(log_returns(np.array(0.5))) == pytest.approx(math.log(expected))


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
def test_the_game_is_fair(rate):
    # Of all sequences of six draws, weighted by their probability under the hypothesis, the mean capital is 1.
    gains = {1: (1.0 - rate) / rate, 0: -1.0}
    mean = 0.0
    for draws in itertools.product((0, 1), repeat=6):
        chance = math.prod(rate if draw else 1.0 - rate for draw in draws)
        path = log_capital_path(np.array([gains[draw] for draw in draws]))
        mean += chance * math.exp(path[-1])
    assert mean == pytest.approx(1.0)


def test_a_loss_of_everything_that_was_bet_leaves_something():
    assert math.isfinite(log_capital_path(np.full(1_000, -1.0))[-1])


def test_the_path_and_the_counts_agree():
    rng = np.random.default_rng(0)
    gains = rng.choice([-1.0, 0.0, 0.5, 3.0], size=(3, 200))
    path = log_capital_path(gains)
    assert path.shape == gains.shape
    for row, ends in zip(gains, path[:, -1], strict=True):
        values, counts = np.unique(row, return_counts=True)
        assert log_capital_of_counts(values, counts.astype(float)) == pytest.approx(ends)
