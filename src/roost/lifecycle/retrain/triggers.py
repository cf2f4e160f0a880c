"""Which trigger of a plan fires, and whether the budget lets it: pure functions of what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile

from cronsim import CronSim

from roost.lifecycle.retrain.plan import Budget, Cron, Drift, MetricBelow, NewRows, Plan, Trigger


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about an endpoint at one moment.

    Attributes:
        now: in UTC.
        checked_at: until when the schedule was looked at before.
        drift: the monitor's rules about drift that gave an alert since the plan ran last.
        metrics: values of the last windows of the endpoint's metrics that ended since the plan ran last, oldest first.
        n_rows: rows in the champion's collection; None where that is not known.
        n_rows_before: the same when the plan ran last, or was made.
        runs: when the plan was started before.
    """

    now: datetime
    checked_at: datetime
    drift: Sequence[str] = ()
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    n_rows: int | None = None
    n_rows_before: int | None = None
    runs: Sequence[datetime] = ()


def due(plan: Plan, facts: Facts) -> str | None:
    """Return why the plan is to run now, by its first trigger that fires; None where none does."""
    return next((reason for trigger in plan.triggers if (reason := _fires(trigger, facts)) is not None), None)


def over_budget(budget: Budget, facts: Facts) -> str | None:
    """Return why a trigger may not start the plan now; None where it may."""
    since = facts.now - timedelta(seconds=budget.per_seconds)
    recent = [started for started in facts.runs if started > since]
    if len(recent) < budget.max_runs:
        return None
    again = min(recent) + timedelta(seconds=budget.per_seconds)
    return (
        f"it ran {len(recent)} times in the last {budget.per_seconds:.0f} s, and {budget.max_runs} are allowed; "
        f"next after {again.isoformat(timespec='seconds')}"
    )


def _fires(trigger: Trigger, facts: Facts) -> str | None:
    if isinstance(trigger, Drift):
        found = [rule for rule in facts.drift if trigger.rule in (None, rule)]
        return f"drift: {', '.join(sorted(set(found)))}" if found else None
    if isinstance(trigger, MetricBelow):
        windows = facts.metrics.get(trigger.metric, ())[-trigger.n_windows :]
        if len(windows) == trigger.n_windows and all(value < trigger.floor for value in windows):
            last = ", ".join(f"{value:.4g}" for value in windows)
            return f"{trigger.metric} is below {trigger.floor:.4g}: {last} in the last windows"
        return None
    if isinstance(trigger, NewRows):
        if facts.n_rows is None or facts.n_rows_before is None:
            return None
        n_new = facts.n_rows - facts.n_rows_before
        return f"{n_new} new rows" if n_new >= trigger.n_rows else None
    return _scheduled(trigger, facts)


def _scheduled(trigger: Cron, facts: Facts) -> str | None:
    """Fire once for the newest moment of the schedule that was passed, also where several were missed."""
    passed = list(takewhile(lambda at: at <= facts.now, CronSim(trigger.expression, facts.checked_at)))
    return f"schedule {trigger.expression!r} of {passed[-1].isoformat(timespec='minutes')}" if passed else None
