"""Guardrails fire early on harm, and hardly ever without it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Guardrail, SplitGuardrail
from roost.lifecycle.livetest.betting import log_capital_path


def queries_until_breach(guardrail: Guardrail, values) -> float:
    for n, value in enumerate(values, start=1):
        guardrail = guardrail.update(float(value))
        if guardrail.breached:
            return n
    return math.inf


def users_until_breach(guardrail: SplitGuardrail, rng, rates, n, weight=0.5) -> float:
    for count in range(1, n + 1):
        side = "challenger" if rng.random() < weight else "champion"
        guardrail = guardrail.update(side, float(rng.random() < rates[side]), weight)
        if guardrail.breached:
            return count
    return math.inf


def test_a_challenger_that_always_fails_is_stopped_after_a_handful_of_queries():
    assert queries_until_breach(Guardrail(limit=0.02), [1.0] * 50) <= 3
    # Both answered the same query; the challenger's failed and the champion's did not.
    assert queries_until_breach(Guardrail(limit=0.02, low=-1.0), [1.0] * 50) <= 10


@pytest.mark.parametrize(("rate", "at_most"), [(0.5, 20), (0.1, 200)])
def test_harm_is_found_early(rate, at_most):
    rng = np.random.default_rng(0)
    ends = [queries_until_breach(Guardrail(limit=0.02), rng.random(1_000) < rate) for _ in range(50)]
    assert np.quantile(ends, 0.9) <= at_most


def test_a_split_finds_a_group_that_fares_worse():
    rng = np.random.default_rng(0)
    rates = {"champion": 0.02, "challenger": 0.3}
    ends = [users_until_breach(SplitGuardrail(0.02), rng, rates, 1_500) for _ in range(20)]
    assert np.quantile(ends, 0.9) <= 300
    ramped = [users_until_breach(SplitGuardrail(0.02), rng, rates, 3_000, weight=0.1) for _ in range(10)]
    assert np.quantile(ramped, 0.9) <= 900


def test_a_challenger_at_its_limit_is_hardly_ever_stopped():
    rng = np.random.default_rng(0)
    values = rng.random((2_000, 500)) < 0.1
    gains = (values - 0.1) / 0.1
    stopped = (log_capital_path(gains) >= math.log(20.0)).any(axis=1)
    assert 0.01 < stopped.mean() <= 0.05
    for row, expected in zip(values[:20, :100], gains[:20, :100], strict=True):
        guardrail = Guardrail(limit=0.1)
        for value in row:
            guardrail = guardrail.update(float(value))
        assert guardrail.max_log_e == pytest.approx(max(0.0, log_capital_path(expected).max()))


def test_a_group_at_the_tolerance_is_hardly_ever_stopped():
    rng = np.random.default_rng(0)
    rates = {"champion": 0.1, "challenger": 0.15}
    n_stopped = sum(math.isfinite(users_until_breach(SplitGuardrail(0.05), rng, rates, 150)) for _ in range(200))
    assert n_stopped <= 10


def test_a_better_challenger_earns_no_evidence():
    guardrail = Guardrail(limit=0.1)
    for _ in range(500):
        guardrail = guardrail.update(0.0)
    assert guardrail.p_value == 1.0
    assert guardrail.mean == 0.0
    assert not guardrail.breached


def test_a_breach_stays():
    guardrail = Guardrail(limit=0.1)
    for value in [1.0] * 10 + [0.0] * 2_000:
        guardrail = guardrail.update(value)
    assert guardrail.breached
    assert guardrail.mean == pytest.approx(10 / 2_010)
    assert Guardrail(limit=0.1).mean is None


def test_a_stored_guardrail_goes_on_where_it_was():
    plain = Guardrail(limit=0.1).update(1.0).update(0.0)
    split = SplitGuardrail(tolerance=0.0).update("challenger", 1.0).update("champion", 0.0, 0.3)
    for guardrail in (plain, split):
        assert type(guardrail).from_dict(json.loads(json.dumps(guardrail.to_dict()))) == guardrail
    assert split.p_value < 1.0


@pytest.mark.parametrize("kind", [Guardrail(0.1), SplitGuardrail(0.1)])
@pytest.mark.parametrize(
    "change", [{"log_shares": [0.0]}, {"log_shares": 5}, {"max_log_e": -1.0}, {"alpha": 0.0}, {"surprise": 1}]
)
def test_a_stored_state_that_does_not_fit_is_refused(kind, change):
    with pytest.raises(InvalidArgument):
        type(kind).from_dict({**kind.to_dict(), **change})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Guardrail(limit=0.0),
        lambda: Guardrail(limit=1.0),
        lambda: Guardrail(limit=0.1).update(1.5),
        lambda: Guardrail(limit=0.1).update(math.nan),
        lambda: SplitGuardrail(tolerance=-0.1),
        lambda: SplitGuardrail(tolerance=1.0),
        lambda: SplitGuardrail(tolerance=0.0, low=1.0, high=0.0),
        lambda: SplitGuardrail(tolerance=0.0).update("champion", 2.0),
        lambda: SplitGuardrail(tolerance=0.0).update("nobody", 1.0),
        lambda: SplitGuardrail(tolerance=0.0).update("champion", 1.0, 1.0),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(InvalidArgument):
        make()
