"""Judging windows by the rules: one process at a time, each window once, alerts and progress in one transaction.

The process that judges an endpoint holds it for some windows' time; when it dies, another one takes over after that.
A crash before the commit judges the windows again; after it, nothing is judged twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.lifecycle.deployments.deployment import LIVE, rows_of
from roost.lifecycle.deployments.promotion import arms_of, running_test
from roost.lifecycle.monitor import alerts, windows
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.configuration import Configuration
from roost.lifecycle.monitor.rules import Progress, Rule, step
from roost.lifecycle.monitor.seasons import occurrences
from roost.lifecycle.monitor.summary import Span, Summary, metric
from roost.lifecycle.store import Store
from roost.lifecycle.store.monitoring_tables import AlertRow, MonitorRow
from roost.lifecycle.store.tables import EndpointRow

GRACE_S = 5.0
"""Windows are judged so long after their end, so that every process has written what it saw."""

HELD_WINDOWS = 3

_ROUNDING_S = 1e-5
"""The store keeps times in whole microseconds, so one that was stored may be a little later than it was."""


@dataclass(frozen=True)
class Verdict:
    """What judging led to.

    Attributes:
        is_holder: whether this process judges the endpoint.
        changed: alerts that were opened or resolved.
    """

    is_holder: bool
    changed: tuple[Alert, ...] = ()


@dataclass(frozen=True)
class _Judged:
    """Whose windows the rules are for. Others, as of late labels of a replaced champion, are kept and alert nobody.

    Attributes:
        answering: the champion, and who takes part in the running live test.
        written: who takes the endpoint's writes.
    """

    answering: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()

    def covers(self, deployment: str, metric: str) -> bool:
        return deployment in self.answering or (metric == "drift.data" and deployment in self.written)


def judge(
    store: Store,
    endpoint: str,
    process: str,
    configuration: Configuration,
    champion: str | None,
    now_s: float,
    watching_since_s: float,
    at_once: bool = False,
) -> Verdict:
    """Judge the windows that ended since the last time.

    Args:
        champion: the deployment for which a window without any traffic is judged too.
        watching_since_s: when this process began to watch; what was before, nobody may have seen.
        at_once: judge all that is stored now, also when another process is the judge.
    """
    with store.write() as session:
        row = session.scalar(select(MonitorRow).where(MonitorRow.endpoint == endpoint).with_for_update())
        if row is None or not (at_once or _take(row, process, configuration.window_s, now_s)):
            return Verdict(False)
        until_s = now_s if at_once else now_s - GRACE_S
        found, judged = _to_judge(session, row, until_s, configuration.window_s), _judged(session, endpoint)
        seen = [span.ended_s for span in found if span.deployment in judged.answering]
        seen_s = max([watching_since_s, windows.to_seconds(row.judged_until), *seen])
        if champion is not None and until_s - seen_s >= configuration.window_s:
            # Nothing was asked for a window's time: rules on the rate have to see that.
            found.append(Span(champion, until_s - configuration.window_s, until_s, Summary()))
        changed: list[int] = []
        if found:
            changed = _apply(session, row, configuration, judged, found, now_s)
            row.judged_until = windows.to_text(max(span.ended_s for span in found))
        changed += _let_go(session, row, configuration, judged, now_s)
        session.flush()
        by_id = {alert_id: session.get_one(AlertRow, alert_id) for alert_id in changed}
        return Verdict(True, tuple(alerts.alert_of(alert) for alert in by_id.values()))


def release(store: Store, endpoint: str, process: str) -> None:
    """Let another process judge the endpoint; nothing if this one does not."""
    with store.write() as session:
        row = session.scalar(select(MonitorRow).where(MonitorRow.endpoint == endpoint).with_for_update())
        if row is not None and row.holder == process:
            row.holder = row.held_until = None


def _take(row: MonitorRow, process: str, window_s: float, now_s: float) -> bool:
    is_free = row.holder in (None, process) or row.held_until is None or windows.to_seconds(row.held_until) <= now_s
    if is_free:
        row.holder = process
        row.held_until = windows.to_text(now_s + HELD_WINDOWS * window_s + GRACE_S)
    return is_free


def _to_judge(session: Session, row: MonitorRow, until_s: float, window_s: float) -> list[Span]:
    # The first windows of two processes end together and do not begin together: they are one window all the same.
    found = windows.spans(session, row.endpoint, ended_after_s=windows.to_seconds(row.judged_until))
    return [span for span in windows.merged(found, window_s) if span.ended_s <= until_s + _ROUNDING_S]


def _judged(session: Session, endpoint: str) -> _Judged:
    place = session.scalar(select(EndpointRow).where(EndpointRow.name == endpoint))
    if place is None:
        return _Judged()
    states = {one.id: (one.name, one.state) for one in rows_of(session, place.id)}
    test = running_test(session, place.id)
    arms = [] if test is None else [arm.deployment_id for arm in arms_of(session, test.id)]
    return _Judged(
        frozenset(states[found][0] for found in (place.champion_id, *arms) if found in states),
        frozenset(name for name, state in states.values() if state in LIVE),
    )


def _apply(
    session: Session,
    row: MonitorRow,
    configuration: Configuration,
    judged: _Judged,
    spans: Sequence[Span],
    now_s: float,
) -> list[int]:
    progress = {key: Progress(**stored) for key, stored in json.loads(row.progress).items()}
    changed: list[int] = []
    for span in spans:
        for rule in configuration.rules:
            if not judged.covers(span.deployment, rule.metric):
                continue
            key = f"{rule.name}/{span.deployment}"
            value = figure(session, row.endpoint, rule, span)
            progress[key], event = step(progress.get(key, Progress()), rule, value)
            if event == "open" and value is not None:
                opened = alerts.open_alert(
                    session,
                    row.endpoint,
                    span.deployment,
                    rule,
                    value,
                    configuration.notify,
                    now_s,
                    configuration.cooldown_s,
                )
                changed.append(opened.id)
            elif event == "resolved":
                session.flush()
                closed = alerts.resolve(session, row.endpoint, span.deployment, rule.name, configuration.notify, now_s)
                changed += [alert.id for alert in closed]
    row.progress = json.dumps({key: asdict(stands) for key, stands in progress.items() if stands != Progress()})
    return list(dict.fromkeys(changed))


def _let_go(
    session: Session, row: MonitorRow, configuration: Configuration, judged: _Judged, now_s: float
) -> list[int]:
    """Resolve the alerts of deployments that are not judged any more: no window of theirs will be good again.

    Should they be judged again some time, it is from the beginning.
    """
    session.flush()
    stands = session.scalars(select(AlertRow).where(AlertRow.endpoint == row.endpoint, AlertRow.state == "open"))
    over = [alert for alert in stands.all() if not judged.covers(alert.deployment, alert.metric)]
    progress = json.loads(row.progress)
    metrics = {rule.name: rule.metric for rule in configuration.rules}
    for key in list(progress):
        rule, _, deployment = key.partition("/")
        if rule in metrics and not judged.covers(deployment, metrics[rule]):
            del progress[key]
    changed = []
    for alert in over:
        progress.pop(f"{alert.rule}/{alert.deployment}", None)
        closed = alerts.resolve(session, row.endpoint, alert.deployment, alert.rule, configuration.notify, now_s)
        changed += [one.id for one in closed]
    row.progress = json.dumps(progress)
    return changed


def figure(session: Session, endpoint: str, rule: Rule, span: Span) -> float | None:
    """Return what a rule compares: the metric of a span, or its ratio to that of the same season before."""
    value = metric(span.summary, rule.metric, span.seconds)
    if value is None or rule.relative_to is None:
        return value
    usual = []
    for start_s, end_s in occurrences(span.started_s, rule.relative_to, rule.n_seasons):
        past = _of_all(windows.spans(session, endpoint, start_s, end_s))
        found = metric(past.summary, rule.metric, past.seconds) if past is not None else None
        if found is not None:
            usual.append(found)
    reference = median(usual) if usual else 0.0
    return value / reference if reference else None


def _of_all(found: Sequence[Span]) -> Span | None:
    """Add up the spans of all deployments; their length is that of the time they cover."""
    if not found:
        return None
    summary = Summary()
    for span in found:
        summary = summary + span.summary
    return Span("", min(span.started_s for span in found), max(span.ended_s for span in found), summary)
