"""Harm is found early, also late in a deployment's life, and hardly ever where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import LimitTest


def losses_until_breach(test: LimitTest, losses) -> float:
    for n, loss in enumerate(losses, start=1):
        test = test.update(float(loss))
        if test.breached:
            return n
    return math.inf


def test_the_wealth_is_the_product_of_its_bets():
    test = LimitTest(allowed=0.25)
    wealth, losses = 1.0, [1.0, 0.0, 0.5, 1.0, 0.0]
    for n, loss in enumerate(losses):
        guess = (sum(losses[:n]) + 0.5) / (n + 1)
        wealth *= 1.0 + max(guess - 0.25, 0.0) / (0.25 * 0.75) * (loss - 0.25)
        test = test.update(loss)
    assert math.exp(test.log_e) == pytest.approx(wealth) == pytest.approx(math.exp(test.block_log_e))
    assert (test.n, test.total, test.mean, test.n_in_block) == (5, 2.5, 0.5, 5)
    assert (LimitTest(0.1).mean, LimitTest(0.1).n_in_block) == (None, 0)


@pytest.mark.parametrize(("rate", "at_most"), [(1.0, 5), (0.5, 30), (0.1, 300)])
def test_harm_is_found_early(rate, at_most):
    rng = np.random.default_rng(0)
    ends = [losses_until_breach(LimitTest(0.02), rng.random(1_000) < rate) for _ in range(50)]
    assert np.quantile(ends, 0.9) <= at_most


def test_harm_that_comes_late_is_found_as_soon():
    calm = LimitTest(0.02)
    for _ in range(5_000):
        calm = calm.update(0.0)
    assert losses_until_breach(calm, [1.0] * 50) <= 10
    with_one = calm.update(1.0)
    assert (with_one.n_in_block, with_one.block_total) == (1, 1.0)


@pytest.mark.parametrize("allowed", [0.01, 0.05, 0.3])
def test_a_deployment_at_its_limit_is_stopped_as_seldom_as_promised(allowed):
    """The rate of losses is exactly the limit, the worst that keeps it; 200 deployments, looked at 800 times each."""
    rng = np.random.default_rng(3)
    ends = [losses_until_breach(LimitTest(allowed, alpha=0.05), rng.random(800) < allowed) for _ in range(200)]
    assert np.isfinite(ends).mean() <= 0.05


def test_losses_between_nothing_and_all_keep_the_promise_too():
    rng = np.random.default_rng(4)
    ends = [losses_until_breach(LimitTest(0.2, alpha=0.05), rng.beta(0.4, 1.6, 400)) for _ in range(200)]
    assert np.isfinite(ends).mean() <= 0.05


def test_a_deployment_without_losses_earns_no_evidence():
    test = LimitTest(allowed=0.1)
    for _ in range(500):
        test = test.update(0.0)
    assert test.log_e <= 0.0 and test.mean == 0.0 and not test.breached


def test_a_breach_stays():
    test = LimitTest(allowed=0.1)
    for loss in [1.0] * 20 + [0.0] * 500:
        test = test.update(loss)
    assert test.breached and test.mean == pytest.approx(20 / 520) and test.n_in_block == 20


def test_no_loss_at_all_and_any_loss_are_limits_too():
    assert losses_until_breach(LimitTest(0.0), [0.0, 0.0, 0.001]) == 3
    assert losses_until_breach(LimitTest(1.0), [1.0] * 300) == math.inf


@pytest.mark.parametrize(
    "make",
    [
        lambda: LimitTest(-0.1),
        lambda: LimitTest(1.1),
        lambda: LimitTest(math.nan),
        lambda: LimitTest(0.1, alpha=0.0),
        lambda: LimitTest(0.1, alpha=1.0),
        lambda: LimitTest(0.1).update(1.5),
        lambda: LimitTest(0.1).update(math.nan),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(InvalidArgument):
        make()
