"""Events of live traffic, written to the store in the background.

A search hands its event over and goes on. A crash loses the events of the last moments, at most
`FLUSH_EVERY_S` of them. When the store is slower than the traffic, answers are left out and
counted; feedback and outcomes are never left out. An event that the store cannot hold, whatever it is asked,
is set aside, counted and logged: those behind it are written.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from roost.errors import RoostError
from roost.lifecycle.store.database import Store, utc_now
from roost.lifecycle.store.tables import EventRow

ANSWERED = ("search", "predict")
"""The kinds of events that are answered queries."""

FLUSH_EVERY_S = 0.2
MAX_WAITING = 50_000

_BATCH_SIZE = 200
_MANY = frozenset({*ANSWERED, "shadow"})
"""Kinds of events that come with the traffic, and are left out when the store cannot keep up with it."""

_PAUSE_S = 0.02
"""Between two batches, so that whoever changes an endpoint meanwhile gets the store soon."""

_log = logging.getLogger(__name__)


class Jsonable(Protocol):
    """What can be written down as JSON."""

    def to_json(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; see `EventRow`.

    Attributes:
        value: text, or what is written down as text when the event is written to the store.
        event_id: an event with one that the store has already is left out.
        on_stored: called when the event is in the store, and not when it was there before; it has an event_id.
    """

    kind: str
    endpoint: str
    deployment: str
    query_id: str
    test_id: int | None = None
    actor: str | None = None
    latency_ms: float | None = None
    item: str | None = None
    value: str | Jsonable | None = None
    at: str = field(default_factory=utc_now)
    metric: str | None = None
    event_id: str | None = None
    n_results: int | None = None
    score: float | None = None
    error: str | None = None
    on_stored: Callable[[], None] | None = field(default=None, compare=False, repr=False)


class Recorder:
    """Writes events in the background. Safe to use from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._searches: deque[Event] = deque()
        self._others: deque[Event] = deque()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.n_left_out = 0
        self.n_duplicates = 0
        self.n_set_aside = 0

    def put(self, event: Event) -> None:
        """Hand an event over; it never waits for the store."""
        if event.kind not in _MANY:
            self._others.append(event)
        elif len(self._searches) < MAX_WAITING:
            self._searches.append(event)
        else:
            self.n_left_out += 1
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write what was handed over before.

        Raises: StorageFailure: the store refused; the events are kept for the next time.
        """
        self.flush_feedback()
        self._write(self._searches)

    def flush_feedback(self) -> None:
        """Write the feedback and the outcomes that were handed over before.

        Raises: StorageFailure: the store refused; the events are kept for the next time.
        """
        self._write(self._others)

    def _write(self, waiting: deque[Event], pause_s: float = 0.0) -> None:
        with self._writing:  # what another thread has taken out is in the store now, or waits again
            n_left = len(waiting)
        while n_left > 0:
            with self._writing:
                n_taken = self._write_next(waiting)
            if not n_taken:
                return
            n_left -= n_taken
            if pause_s and n_left > 0:
                self._closed.wait(pause_s)

    def _write_next(self, waiting: deque[Event]) -> int:
        """Write the next events, and return how many were taken out.

        What the store refuses for its content is halved until the one event is found; the rest is written.
        """
        n_taken = min(_BATCH_SIZE, len(waiting))
        parts = [[waiting.popleft() for _ in range(n_taken)]] if n_taken else []
        while parts:
            part = parts.pop()
            try:
                self.n_duplicates += len(part) - self._insert(part)
            except BaseException as error:
                if not _is_about_content(error):
                    for unwritten in (*parts, part):
                        waiting.extendleft(reversed(unwritten))
                    raise
                if len(part) > 1:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
                    continue
                self.n_set_aside += 1
                _log.error(
                    "an event (%s of %r, query %r) is set aside, the store cannot hold it: %s",
                    part[0].kind,
                    part[0].endpoint,
                    part[0].query_id,
                    error,
                )
        return n_taken

    def _insert(self, events: list[Event]) -> int:
        """Write events in one transaction, and return how many were not there yet."""
        with self._store.write() as session:
            # With RETURNING one statement takes all rows; without it, SQLite's driver waits for the
            # interpreter lock after every row, and whoever promotes waits for the store.
            statement = _insert(session.connection()).returning(EventRow.event_id)
            stored = session.scalars(statement, [_columns(event) for event in events]).all()
        new = set(stored)
        for event in events:
            if event.on_stored is not None and event.event_id in new:
                new.remove(event.event_id)  # the next one of the same number was left out
                event.on_stored()
        return len(stored)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="roost-recorder", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(FLUSH_EVERY_S):
            try:
                self._write(self._others, _PAUSE_S)
                self._write(self._searches, _PAUSE_S)
            except Exception as error:  # a thread that ended would lose every event from here on
                _log.warning("events are waiting, the store refused them: %s", error)


_COLUMNS = tuple(column.name for column in fields(Event) if column.name != "on_stored")


def _columns(event: Event) -> dict[str, Any]:
    columns = {name: getattr(event, name) for name in _COLUMNS}
    if event.value is not None and not isinstance(event.value, str):
        columns["value"] = event.value.to_json()
    return columns


def _is_about_content(error: BaseException) -> bool:
    """Return whether an event's values are refused, and will be as often as they are offered."""
    cause = error.__cause__ if isinstance(error, RoostError) else error
    return isinstance(cause, (DataError, IntegrityError, ValueError, TypeError, OverflowError))


def _insert(connection: Connection) -> Insert:
    """Return the statement that leaves out rows whose number is there; the two databases spell it alike."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(EventRow).on_conflict_do_nothing(index_elements=["event_id"])
    return sqlite.insert(EventRow).on_conflict_do_nothing(index_elements=["event_id"])
