from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from roost.lifecycle.retrain.plan import Budget, Cron, Drift, Gate, MetricBelow, NewRows, Plan, Trigger
from roost.lifecycle.retrain.triggers import Facts, due, over_budget

NOW = datetime(2024, 5, 6, 7, 8, tzinfo=timezone.utc)


def plan(*triggers: Trigger) -> Plan:
    return Plan("p", "e", "m", "a:train", "a:evaluate", Gate("precision"), triggers=triggers)


def facts(**known: Any) -> Facts:
    return Facts(now=NOW, **{"checked_at": NOW - timedelta(minutes=1), **known})


def test_a_plan_without_triggers_is_never_due() -> None:
    assert due(plan(), facts(drift=["queries"], n_rows=10**9, n_rows_before=0)) is None


def test_an_alert_of_any_rule_about_drift_fires() -> None:
    assert due(plan(Drift()), facts(drift=["queries"])) == "drift: queries"
    assert due(plan(Drift()), facts()) is None


def test_only_the_rule_that_is_named_fires() -> None:
    assert due(plan(Drift("vectors")), facts(drift=["queries"])) is None
    assert due(plan(Drift("queries")), facts(drift=["vectors", "queries"])) == "drift: queries"


@pytest.mark.parametrize(
    ("values", "fires"),
    [
        ([0.1, 0.1], True),
        ([0.9, 0.1, 0.1], True),
        ([0.1, 0.2], False),
        ([0.1], False),
        ([], False),
        ([0.1, 0.3], False),
    ],
)
def test_a_metric_fires_where_all_of_the_last_windows_are_below_the_floor(values: Sequence[float], fires: bool) -> None:
    found = due(
        plan(MetricBelow("feedback_rate.click", 0.2, n_windows=2)), facts(metrics={"feedback_rate.click": values})
    )
    assert (found is not None) == fires


def test_new_rows_fire_once_there_are_enough() -> None:
    trigger = plan(NewRows(100))
    assert due(trigger, facts(n_rows=1099, n_rows_before=1000)) is None
    assert due(trigger, facts(n_rows=1100, n_rows_before=1000)) == "100 new rows"
    assert due(trigger, facts(n_rows=None, n_rows_before=1000)) is None
    assert due(trigger, facts(n_rows=5000, n_rows_before=None)) is None


def test_a_schedule_fires_once_for_all_moments_that_were_missed() -> None:
    hourly = plan(Cron("0 * * * *"))
    found = due(hourly, facts(checked_at=NOW - timedelta(hours=3)))
    assert found == "schedule '0 * * * *' of 2024-05-06T07:00+00:00"
    assert due(hourly, facts(checked_at=NOW - timedelta(minutes=8))) is None, "that moment was looked at before"
    assert due(hourly, facts(checked_at=NOW - timedelta(minutes=9))) is not None


def test_the_first_trigger_that_fires_gives_the_reason() -> None:
    assert due(plan(Drift(), NewRows(1)), facts(n_rows=2, n_rows_before=1)) == "1 new rows"


def test_the_budget_counts_the_runs_of_its_period() -> None:
    budget = Budget(max_runs=2, per_seconds=3600.0)
    old, recent = NOW - timedelta(hours=2), NOW - timedelta(minutes=10)
    assert over_budget(budget, facts(runs=[old, old, recent])) is None
    refusal = over_budget(budget, facts(runs=[recent, recent]))
    assert refusal is not None
    assert "next after 2024-05-06T07:58:00" in refusal
