"""Alerts: opened and resolved in the store, then told. What could not be told is tried again, also after a restart.

An alert is told at least once: a crash after telling and before writing that down tells it again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import RoostError
from roost.lifecycle.monitor.notify import Channel, Message, channel_from_dict
from roost.lifecycle.monitor.rules import Rule
from roost.lifecycle.monitor.windows import to_seconds, to_text
from roost.lifecycle.store import Store
from roost.lifecycle.store.monitoring_tables import AlertRow

MAX_ATTEMPTS = 8
FIRST_RETRY_S = 10.0
"""Doubled after each further failure."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that was broken.

    Attributes:
        value: the figure of the window that opened it.
        is_open: False once the figure was good again for as many windows.
        n_undelivered: deliveries that are still to be made.
        failures: why a delivery did not succeed, last attempt only.
    """

    id: int
    endpoint: str
    deployment: str
    rule: str
    severity: str
    is_open: bool
    metric: str
    value: float
    message: str
    opened_at: str
    resolved_at: str | None
    n_undelivered: int
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def alert_of(row: AlertRow) -> Alert:
    """Return a row as a value."""
    return Alert(
        row.id,
        row.endpoint,
        row.deployment,
        row.rule,
        row.severity,
        row.state == "open",
        row.metric,
        row.value,
        row.message,
        row.opened_at,
        row.resolved_at,
        row.n_undelivered,
        tuple(entry["error"] for entry in json.loads(row.deliveries) if entry["error"]),
    )


def listed(store: Store, endpoint: str | None, open_only: bool) -> list[Alert]:
    """Return alerts, the newest first."""
    query = select(AlertRow)
    if endpoint is not None:
        query = query.where(AlertRow.endpoint == endpoint)
    if open_only:
        query = query.where(AlertRow.state == "open")
    with store.read() as session:
        return [alert_of(row) for row in session.scalars(query.order_by(AlertRow.id.desc()))]


def open_alert(
    session: Session,
    endpoint: str,
    deployment: str,
    rule: Rule,
    value: float,
    channels: Sequence[Channel],
    now_s: float,
    cooldown_s: float,
) -> AlertRow:
    """Record that a rule was broken, and that it is to be told unless the same was told a short time ago."""
    same = (AlertRow.endpoint == endpoint, AlertRow.rule == rule.name, AlertRow.deployment == deployment)
    query = select(AlertRow.notified_at).where(*same, AlertRow.notified_at.is_not(None))
    told_at = session.scalar(query.order_by(AlertRow.id.desc()).limit(1))
    is_quiet = told_at is not None and now_s - to_seconds(told_at) < cooldown_s
    row = AlertRow(
        endpoint=endpoint,
        deployment=deployment,
        rule=rule.name,
        severity=rule.severity,
        state="open",
        metric=rule.metric,
        value=value,
        message=f"{endpoint}/{deployment}: {rule.metric} is {value:.6g} ({rule})",
        deliveries="[]",
        n_undelivered=0,
        notified_at=None if is_quiet else to_text(now_s),
        opened_at=to_text(now_s),
    )
    if not is_quiet:
        _ask_for(row, "open", channels, now_s)
    session.add(row)
    session.flush()
    return row


def resolve(
    session: Session, endpoint: str, deployment: str, rule: str, channels: Sequence[Channel], now_s: float
) -> list[AlertRow]:
    """Close the open alerts of a rule; who was told of one is told of its end."""
    same = (AlertRow.endpoint == endpoint, AlertRow.rule == rule, AlertRow.deployment == deployment)
    rows = list(session.scalars(select(AlertRow).where(*same, AlertRow.state == "open")))
    for row in rows:
        row.state, row.resolved_at = "resolved", to_text(now_s)
        if row.notified_at is not None:
            _ask_for(row, "resolved", channels, now_s)
    return rows


def deliver(store: Store, endpoint: str, clock: Callable[[], float]) -> None:
    """Tell what is due. Nothing is locked meanwhile, however slow the receiver is."""
    with store.read() as session:
        query = select(AlertRow).where(AlertRow.endpoint == endpoint, AlertRow.n_undelivered > 0)
        waiting = list(session.scalars(query.order_by(AlertRow.id)))
    for row in waiting:
        alert = alert_of(row)
        tried = [_tried(alert, entry, clock) for entry in json.loads(row.deliveries)]
        if any(entry != before for entry, before in zip(tried, json.loads(row.deliveries), strict=True)):
            _note(store, alert.id, tried)


def message_of(alert: Alert, event: str) -> Message:
    """Return what is told of an alert."""
    word = "resolved" if event == "resolved" else alert.severity
    title = f"[{word}] {alert.endpoint}: {alert.rule}"
    content = {
        "event": event,
        "alert_id": alert.id,
        "endpoint": alert.endpoint,
        "deployment": alert.deployment,
        "rule": alert.rule,
        "severity": alert.severity,
        "metric": alert.metric,
        "value": alert.value,
        "message": alert.message,
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
    }
    return Message(event, alert.severity, title, f"{title}: {alert.message}", content)


def _ask_for(row: AlertRow, event: str, channels: Sequence[Channel], now_s: float) -> None:
    entries: list[dict[str, Any]] = json.loads(row.deliveries)
    for channel in channels:
        entries.append(
            {"event": event, "channel": channel.to_dict(), "state": "due", "n": 0, "due_s": now_s, "error": ""}
        )
    _keep(row, entries)


def _tried(alert: Alert, entry: Mapping[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
    if entry["state"] != "due" or entry["due_s"] > clock():
        return dict(entry)
    n = entry["n"] + 1
    try:
        channel_from_dict(entry["channel"]).send(message_of(alert, entry["event"]))
    except Exception as error:  # one receiver's fault keeps no other alert from being told
        state = "failed" if n >= MAX_ATTEMPTS else "due"
        said = error.message if isinstance(error, RoostError) else type(error).__name__
        _log.warning("alert %d could not be told by %s: %s", alert.id, entry["channel"].get("kind"), said)
        due_s = clock() + FIRST_RETRY_S * 2.0 ** (n - 1)
        return {**entry, "state": state, "n": n, "due_s": due_s, "error": said}
    return {**entry, "state": "done", "n": n, "error": ""}


def _note(store: Store, alert_id: int, tried: Sequence[Mapping[str, Any]]) -> None:
    """Write how the deliveries went; one that was asked for meanwhile is kept."""
    with store.write() as session:
        row = session.get(AlertRow, alert_id, with_for_update=True)
        if row is not None:
            entries = json.loads(row.deliveries)
            _keep(row, [*tried, *entries[len(tried) :]])


def _keep(row: AlertRow, entries: Sequence[Mapping[str, Any]]) -> None:
    row.deliveries = json.dumps(list(entries))
    row.n_undelivered = sum(entry["state"] == "due" for entry in entries)
