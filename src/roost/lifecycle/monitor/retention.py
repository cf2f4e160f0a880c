"""How long what was recorded is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from roost.errors import InvalidArgument
from roost.lifecycle.monitor import windows
from roost.lifecycle.store import Store
from roost.lifecycle.store.monitoring_tables import MonitorRow, MonitorSettingRow
from roost.lifecycle.store.tables import EventRow, LiveTestRow

DAY_S = 86_400.0
_BATCH_SIZE = 500


@dataclass(frozen=True)
class Retention:
    """How many days things are kept; None is for ever.

    Attributes:
        events_days: the events of live traffic. Those of a live test that is running are kept in any case.
        windows_days: the windows as they were written; older ones are merged to hours.
        history_days: the merged ones.
    """

    events_days: int | None = None
    windows_days: int | None = 7
    history_days: int | None = 400

    def __post_init__(self) -> None:
        for field in fields(self):
            days = getattr(self, field.name)
            if days is not None and (not isinstance(days, int) or days < 1):
                raise InvalidArgument(f"{field.name} is a number of days from 1 on, or None, not {days!r}")


def load(store: Store) -> Retention:
    """Return the workspace's setting."""
    with store.read() as session:
        stored = {row.name: row.value for row in session.scalars(select(MonitorSettingRow))}
    known = {field.name for field in fields(Retention)}
    return Retention(**{name: value for name, value in stored.items() if name in known})


def save(session: Session, retention: Retention) -> None:
    """Keep the workspace's setting."""
    for field in fields(Retention):
        session.merge(MonitorSettingRow(name=field.name, value=getattr(retention, field.name)))


def carry_out(store: Store, retention: Retention, now_s: float) -> int:
    """Merge and delete what is too old, and return how many rows are gone.

    Events go in small transactions, so that nobody waits long; a crash leaves the rest for the next time.
    """
    n_gone = 0
    with store.read() as session:
        endpoints = list(session.scalars(select(MonitorRow.endpoint)))
    for endpoint in endpoints:
        if retention.windows_days is not None:
            n_gone += windows.compact(store, endpoint, now_s - retention.windows_days * DAY_S)
        if retention.history_days is not None:
            n_gone += windows.forget(store, endpoint, now_s - retention.history_days * DAY_S)
    if retention.events_days is not None:
        n_gone += _forget_events(store, now_s - retention.events_days * DAY_S)
    return n_gone


def _forget_events(store: Store, before_s: float) -> int:
    running = select(LiveTestRow.id).where(LiveTestRow.state == "running")
    is_free = or_(EventRow.test_id.is_(None), EventRow.test_id.not_in(running))
    old = select(EventRow.id).where(EventRow.at < windows.to_text(before_s), is_free).order_by(EventRow.id)
    n_gone = 0
    while True:
        with store.write() as session:
            ids = list(session.scalars(old.limit(_BATCH_SIZE)))
            if ids:
                session.execute(delete(EventRow).where(EventRow.id.in_(ids)))
        n_gone += len(ids)
        if len(ids) < _BATCH_SIZE:
            return n_gone
