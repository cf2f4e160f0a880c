"""The history of windows in the store: writing, reading, merging, and what happens to the old ones.

Rows older than a week become one row an hour and deployment, in one transaction for each hour: a crash leaves an
hour as it was or merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from roost.lifecycle.monitor.summary import Span, Summary
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.monitoring_tables import MonitorWindowRow

HOUR_S = 3_600.0
MERGED = "merged"

_MAX_HOURS_A_TIME = 48


def append(store: Store, endpoint: str, process: str, windows: Sequence[Span]) -> None:
    """Write windows of this process.

    Raises: StorageFailure: the store refused; nothing was written.
    """
    if not windows:
        return
    with store.write() as session:
        session.execute(insert(MonitorWindowRow), [_columns(endpoint, process, window) for window in windows])


def spans(
    session: Session,
    endpoint: str,
    since_s: float | None = None,
    until_s: float | None = None,
    deployment: str | None = None,
    ended_after_s: float | None = None,
) -> list[Span]:
    """Return the windows of an endpoint, those of several processes apart, by the time of their beginning."""
    query = select(MonitorWindowRow).where(MonitorWindowRow.endpoint == endpoint)
    if since_s is not None:
        query = query.where(MonitorWindowRow.started_at >= to_text(since_s))
    if until_s is not None:
        query = query.where(MonitorWindowRow.started_at < to_text(until_s))
    if ended_after_s is not None:
        query = query.where(MonitorWindowRow.ended_at > to_text(ended_after_s))
    if deployment is not None:
        query = query.where(MonitorWindowRow.deployment == deployment)
    rows = session.scalars(query.order_by(MonitorWindowRow.started_at, MonitorWindowRow.id))
    return [_span(row) for row in rows]


def merged(found: Iterable[Span], bucket_s: float | None = None) -> list[Span]:
    """Add up the spans of several processes, by deployment and time.

    Args:
        bucket_s: spans that begin in the same bucket of this length are one; by default those that begin together.
    """
    together: dict[tuple[float, str], Span] = {}
    for span in found:
        start = span.started_s if bucket_s is None else span.started_s // bucket_s * bucket_s
        key = (start, span.deployment)
        known = together.get(key)
        if known is None:
            together[key] = span
        else:
            together[key] = Span(
                span.deployment,
                min(known.started_s, span.started_s),
                max(known.ended_s, span.ended_s),
                known.summary + span.summary,
            )
    return [together[key] for key in sorted(together)]


def compact(store: Store, endpoint: str, before_s: float) -> int:
    """Merge the windows of each hour before a time, some hours at a time, and return how many rows are gone."""
    before_s = before_s // HOUR_S * HOUR_S
    with store.read() as session:
        old = select(MonitorWindowRow.started_at).where(
            MonitorWindowRow.endpoint == endpoint,
            MonitorWindowRow.process != MERGED,
            MonitorWindowRow.started_at < to_text(before_s),
        )
        starts = list(session.scalars(old.order_by(MonitorWindowRow.started_at).limit(_MAX_HOURS_A_TIME * 120)))
    hours = sorted({to_seconds(start) // HOUR_S for start in starts})[:_MAX_HOURS_A_TIME]
    return sum(_compact_hour(store, endpoint, hour * HOUR_S) for hour in hours)


def forget(store: Store, endpoint: str, before_s: float) -> int:
    """Delete the windows before a time, and return how many there were."""
    with store.write() as session:
        done = session.execute(
            delete(MonitorWindowRow)
            .where(MonitorWindowRow.endpoint == endpoint, MonitorWindowRow.started_at < to_text(before_s))
            .returning(MonitorWindowRow.id)
        )
        return len(done.all())


def to_text(seconds: float) -> str:
    """Return seconds since 1970 as the store writes a time."""
    return utc_text(datetime.fromtimestamp(seconds, tz=timezone.utc))


def to_seconds(text: str) -> float:
    """Return a time of the store as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _compact_hour(store: Store, endpoint: str, start_s: float) -> int:
    with store.write() as session:
        query = select(MonitorWindowRow).where(
            MonitorWindowRow.endpoint == endpoint,
            MonitorWindowRow.started_at >= to_text(start_s),
            MonitorWindowRow.started_at < to_text(start_s + HOUR_S),
        )
        rows = list(session.scalars(query.with_for_update()))
        whole = merged((_span(row) for row in rows), HOUR_S)
        session.execute(delete(MonitorWindowRow).where(MonitorWindowRow.id.in_([row.id for row in rows])))
        columns = [_columns(endpoint, MERGED, span) for span in whole]
        session.execute(insert(MonitorWindowRow), columns)
    return len(rows) - len(whole)


def _span(row: MonitorWindowRow) -> Span:
    summary = Summary.from_json(row.statistics)
    return Span(row.deployment, to_seconds(row.started_at), to_seconds(row.ended_at), summary)


def _columns(endpoint: str, process: str, window: Span) -> dict[str, str]:
    return {
        "endpoint": endpoint,
        "deployment": window.deployment,
        "process": process,
        "started_at": to_text(window.started_s),
        "ended_at": to_text(window.ended_s),
        "statistics": window.summary.to_json(),
    }
