"""What the store keeps of a live test: its queries, their feedback, and the outcomes that were counted.

A query's event holds what was drawn, so every process can judge it. An outcome has the number of its unit, which the
store takes once: whichever process closes a unit, it counts once. A process that ends by a crash loses the events of
its last moments; the units that it had open are judged by another process, or by itself after its restart, from
what the store has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from roost.lifecycle.live.feedback import Feedback, digest
from roost.lifecycle.live.judging import Drawn, Rival, Said
from roost.lifecycle.live.units import Unit
from roost.lifecycle.serving.recorder import ANSWERED, Event, Recorder
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.tables import EventRow

LATE = "late"

_AT_ONCE = 400
"""Values in one statement; SQLite takes 32,766, older ones 999."""

_OVERLAP = 2_000
"""Numbers of events that are read again: on PostgreSQL a smaller one may be committed later."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An outcome in the store."""

    number: int
    unit: str
    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """An answered query in the store; `at` in seconds since 1970."""

    deployment: str
    at: float
    user: str | None
    test_id: int | None
    drawn: Drawn


def unit_key(user: str | None, query_id: str, by_user: bool) -> str:
    """Return the key of a query's unit."""
    return f"user {user}" if by_user and user is not None else query_id


class Records:
    """The events of one live test. Safe to use from any thread."""

    def __init__(
        self, store: Store, recorder: Recorder, test_id: int, endpoint: str, champion: str, only_challenger: str | None
    ) -> None:
        """Name the test.

        Args:
            only_challenger: where there is one challenger, outcomes of older versions name a side alone.
        """
        self._store = store
        self._recorder = recorder
        self._test_id = test_id
        self._endpoint = endpoint
        self._champion = champion
        self._only_challenger = only_challenger

    def put_outcome(self, unit: str, query_id: str, outcome: Mapping[str, Any]) -> None:
        """Hand a unit's outcome over to be written."""
        self._recorder.put(
            Event(
                "outcome",
                self._endpoint,
                self._champion,
                query_id,
                test_id=self._test_id,
                item=unit,
                value=json.dumps(outcome, separators=(",", ":")),
                event_id=digest("outcome", str(self._test_id), unit),
            )
        )

    def put_rival(self, name: str, query_id: str, rival: Rival, agreement: float) -> None:
        """Hand over what a challenger made of a mirrored query."""
        self._recorder.put(
            Event(
                "shadow",
                self._endpoint,
                name,
                query_id,
                test_id=self._test_id,
                value=rival,
                n_results=len(rival.ids),
                score=agreement,
            )
        )

    def outcomes(self) -> list[Counted]:
        """Return all outcomes of all processes in the order in which they came."""
        return self._outcomes(0)

    def newer(self, number: int) -> list[Counted]:
        """Return the outcomes after that number, and some before it."""
        return self._outcomes(max(number - _OVERLAP, 0))

    def said(self, query_ids: Sequence[str], metric: str) -> dict[str, list[Feedback]]:
        """Return the feedback on queries that any process took in time, by the query's id."""
        found: dict[str, list[Feedback]] = {}
        for some in _in_parts(query_ids):
            query = select(EventRow.query_id, EventRow.at, EventRow.value, EventRow.item).where(
                EventRow.query_id.in_(some),
                EventRow.kind == "feedback",
                EventRow.endpoint == self._endpoint,
                EventRow.metric == metric,
                EventRow.error.is_(None),
            )
            with self._store.read() as session:
                for row in session.execute(query.order_by(EventRow.id)):
                    found.setdefault(row.query_id, []).append(_feedback(row, metric))
        return found

    def rivals(self, query_ids: Sequence[str]) -> dict[str, dict[str, Rival]]:
        """Return what the challengers made of mirrored queries, by the query's id and the challenger's name."""
        found: dict[str, dict[str, Rival]] = {}
        for some in _in_parts(query_ids):
            query = select(EventRow.query_id, EventRow.deployment, EventRow.value).where(
                EventRow.query_id.in_(some), EventRow.kind == "shadow", EventRow.test_id == self._test_id
            )
            with self._store.read() as session:
                for row in session.execute(query):
                    found.setdefault(row.query_id, {})[row.deployment] = Rival.from_json(row.value)
        return found

    def abandoned(self, since: float, until: float, window_s: float, by_user: bool, even_silent: bool) -> list[Unit]:
        """Return the units that began between two moments and have no outcome, each with its whole window.

        Args:
            window_s: how long a unit takes in the queries of its user.
            by_user: whether a user's queries are one unit.
            even_silent: whether queries without any feedback are observations too.
        """
        outcome, feedback = aliased(EventRow), aliased(EventRow)
        query = (
            select(EventRow.query_id, EventRow.at, EventRow.actor, EventRow.value)
            .where(EventRow.test_id == self._test_id, EventRow.kind.in_(ANSWERED), EventRow.value.is_not(None))
            .where(EventRow.at >= text_of(since), EventRow.at < text_of(until + window_s))
            .where(~exists().where(outcome.query_id == EventRow.query_id, outcome.kind == "outcome"))
        )
        if not even_silent:
            said = exists().where(feedback.query_id == EventRow.query_id, feedback.kind == "feedback")
            query = query.where(said)
        units: list[Unit] = []
        newest: dict[str, Unit] = {}
        with self._store.read() as session:
            for row in session.execute(query.order_by(EventRow.at, EventRow.id)):
                key, at = unit_key(row.actor, row.query_id, by_user), seconds_of(row.at)
                unit = newest.get(key)
                if unit is None or at > unit.began + window_s:
                    unit = newest[key] = Unit(key, at)
                    units.append(unit)
                unit.queries[row.query_id] = Drawn.from_json(row.value), Said()
        return [unit for unit in units if unit.began < until]

    def n_late(self) -> int:
        """Return how many pieces of feedback came after their window, in all processes."""
        query = select(func.count()).where(
            EventRow.test_id == self._test_id, EventRow.kind == "feedback", EventRow.error == LATE
        )
        with self._store.read() as session:
            return session.scalar(query) or 0

    def n_ignored(self, metric: str) -> int:
        """Return how many pieces of feedback are of another kind than the one that counts, in all processes."""
        query = select(func.count()).where(
            EventRow.test_id == self._test_id, EventRow.kind == "feedback", EventRow.metric != metric
        )
        with self._store.read() as session:
            return session.scalar(query) or 0

    def _outcomes(self, after: int) -> list[Counted]:
        self._recorder.flush_feedback()
        query = select(EventRow.id, EventRow.query_id, EventRow.item, EventRow.value).where(
            EventRow.test_id == self._test_id, EventRow.kind == "outcome", EventRow.id > after
        )
        with self._store.read() as session:
            rows = session.execute(query.order_by(EventRow.id)).all()
        return [Counted(row.id, row.item or row.query_id, self._outcome(row.value)) for row in rows]

    def _outcome(self, value: str) -> Mapping[str, Any]:
        if value.startswith("{"):
            found: Mapping[str, Any] = json.loads(value)
            return found
        return {self._only_challenger or "": value}


def shown(store: Store, endpoint: str, query_id: str) -> Shown | None:
    """Return a query that any process of the endpoint answered; None where the store does not have it (yet)."""
    query = select(EventRow).where(
        EventRow.query_id == query_id, EventRow.kind.in_(ANSWERED), EventRow.endpoint == endpoint
    )
    with store.read() as session:
        row = session.scalars(query.limit(1)).first()
    if row is None:
        return None
    return Shown(row.deployment, seconds_of(row.at), row.actor, row.test_id, Drawn.from_json(row.value))


def text_of(seconds: float) -> str:
    """Return a moment in seconds since 1970 as the store writes it."""
    return utc_text(datetime.fromtimestamp(seconds, timezone.utc))


def seconds_of(text: str) -> float:
    """Return a moment of the store in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _feedback(row: Any, metric: str) -> Feedback:
    stored = json.loads(row.value or "{}")
    truth = stored.pop("", None) if isinstance(stored.get(""), str) else None
    return Feedback(row.query_id, metric, stored, row.item is None, seconds_of(row.at), "", row.item, truth)


def _in_parts(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
