"""What monitoring knows about an endpoint, as the triggers of retraining ask for it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy import select

from roost.lifecycle.monitor import windows
from roost.lifecycle.monitor.summary import metric
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.monitoring_tables import AlertRow

_DRIFT = "drift."
_FAR_ENOUGH = timedelta(days=7)
"""Windows that are older say nothing about the present."""


def drift_alerts(store: Store, endpoint: str, since: datetime) -> list[str]:
    """Return the names of the rules about drift that opened an alert since then."""
    query = select(AlertRow.rule).where(
        AlertRow.endpoint == endpoint, AlertRow.metric.startswith(_DRIFT), AlertRow.opened_at > utc_text(since)
    )
    with store.read() as session:
        return sorted(set(session.scalars(query)))


def last_windows(
    store: Store, endpoint: str, deployment: str, name: str, n_windows: int, ended_after: datetime | None = None
) -> list[float]:
    """Return a metric of a deployment in its last windows, oldest first; windows without the figure are left out.

    Args:
        ended_after: windows that were over by then are left out as well.
    """
    since = (datetime.now(timezone.utc) - _FAR_ENOUGH).timestamp()
    after = ended_after.timestamp() if ended_after is not None else since
    with store.read() as session:
        spans = windows.merged(windows.spans(session, endpoint, since_s=since, deployment=deployment))
    found = [span for span in spans if span.ended_s > after]
    figures = [value for span in found if (value := metric(span.summary, name, span.seconds)) is not None]
    return figures[-n_windows:]
