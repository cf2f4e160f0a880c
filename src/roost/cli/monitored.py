"""What was seen of the endpoints of a workspace, read from its store: no vectors are opened, nothing is watched."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from roost.errors import InvalidArgument, MonitorNotFound
from roost.lifecycle.monitor import alerts, report, windows
from roost.lifecycle.monitor.baselines import Baselines
from roost.lifecycle.monitor.configuration import Configuration
from roost.lifecycle.monitor.monitors import DEFAULT_SPAN_S, MonitorStatus
from roost.lifecycle.monitor.report import Point, Report
from roost.lifecycle.monitor.summary import Span, check_metric
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.monitoring_tables import AlertRow, MonitorRow

if TYPE_CHECKING:
    from roost.cli.administration import Administration

_ALL_TIME_S = 1e12


def status_of(workspace: Administration, endpoint: str) -> MonitorStatus:
    """Return how an endpoint is watched.

    Raises: MonitorNotFound: it is not watched.
    """
    with workspace.store.read() as session:
        row = session.scalar(select(MonitorRow).where(MonitorRow.endpoint == endpoint))
        is_open = (AlertRow.endpoint == endpoint, AlertRow.state == "open")
        n_open = session.scalar(select(func.count()).select_from(AlertRow).where(*is_open)) or 0
    if row is None:
        raise MonitorNotFound(f"endpoint {endpoint!r} is not watched: roost monitor watch")
    kept = Baselines(workspace.store, workspace.artifacts / "baselines").latest(endpoint)
    chosen = Configuration.from_json(row.configuration)
    return MonitorStatus(endpoint, chosen, row.holder, row.judged_until, n_open, tuple(kept.values()))


def report_of(workspace: Administration, endpoint: str, since: str | timedelta | None) -> Report:
    """Return all figures over a span of time, by default the last day."""
    workspace.endpoint(endpoint)
    since_s, found = _spans(workspace, endpoint, since, None)
    return Report(
        endpoint,
        windows.to_text(since_s),
        windows.to_text(time.time()),
        tuple(report.figures_of(span) for span in windows.merged(found, _ALL_TIME_S)),
        tuple(alerts.listed(workspace.store, endpoint, True)),
        tuple(windows.merged(found)),
    )


def history_of(
    workspace: Administration,
    endpoint: str,
    metric: str,
    since: str | timedelta | None,
    deployment: str | None,
    bucket_s: float | None,
) -> list[Point]:
    """Return one figure over time, by default for each window of the last day.

    Raises: InvalidArgument: there is no such metric.
    """
    check_metric(metric)
    workspace.endpoint(endpoint)
    _, found = _spans(workspace, endpoint, since, deployment)
    return report.points(windows.merged(found, bucket_s), metric)


def _spans(
    workspace: Administration, endpoint: str, since: str | timedelta | None, deployment: str | None
) -> tuple[float, list[Span]]:
    since_s = _since_s(since)
    report.check_since(since_s, time.time())
    with workspace.store.read() as session:
        return since_s, list(windows.spans(session, endpoint, since_s, None, deployment))


def _since_s(since: str | timedelta | None) -> float:
    if since is None:
        return time.time() - DEFAULT_SPAN_S
    if isinstance(since, timedelta):
        return time.time() - since.total_seconds()
    try:
        return windows.to_seconds(utc_text(datetime.fromisoformat(since).astimezone(timezone.utc)))
    except ValueError as error:
        raise InvalidArgument(f"{since!r} is not a time: give ISO 8601, or how long ago, as in 90m or 7d") from error
