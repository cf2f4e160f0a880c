"""The time after a promotion in which a new champion that breaks a guardrail is rolled back.

What is watched is kept in the endpoint's row, and what was seen is read from the events of live
traffic. So every process that serves the endpoint sees the answers of all of them, and a restart
forgets nothing. The query path does nothing for it. Events that are committed out of order by
several processes may be passed over; they are few, and cannot cause a breach. A model that refuses
what users send fails them: that counts where the model of another deployment that is ready, as the former
champion is, takes it. What they all refuse, a wrong filter or another wrong argument does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from sqlalchemy import select

from roost.errors import InvalidArgument
from roost.lifecycle.live.guardrails import BASELINE_SIZE, Guardrail, Observation, Watch
from roost.lifecycle.serving.recorder import ANSWERED
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.tables import EventRow

ACTOR = "roost"
"""Who rolls back, in the ledger; whoever promoted with a probation allowed it."""

_BASELINE_LIMIT = 50 * BASELINE_SIZE
_BATCH_SIZE = 1000


@dataclass(frozen=True, slots=True)
class Probation:
    """What a new champion has to keep, and for how long: until the time or the queries are over, whatever is first.

    Attributes:
        guardrails: as in "error_rate <= 0.01"; `roost.lifecycle.live.guardrails` lists the forms. One that is kept
            is ever taken for broken with a probability of at most 1 %.
        minutes: how long; None for no limit.
        max_queries: how many answers; None for no limit.
    """

    guardrails: tuple[str, ...]
    minutes: float | None = 60.0
    max_queries: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.guardrails, str) or not self.guardrails:
            raise InvalidArgument('guardrails must be a sequence of texts, for example ("error_rate <= 0.01",)')
        kinds = {Guardrail.parse(text).kind for text in self.guardrails}
        if kinds & {"sample_ratio", "recall"}:
            raise InvalidArgument("a probation watches error_rate, empty_rate and latency; the others need a live test")
        if self.minutes is None and self.max_queries is None:
            raise InvalidArgument("say when the probation ends: minutes, max_queries, or both")
        if (self.minutes is not None and not self.minutes > 0) or (
            self.max_queries is not None and self.max_queries < 1
        ):
            raise InvalidArgument("minutes must be more than 0 and max_queries at least 1")

    def begin(self, deployment: str, previous: str | None) -> dict[str, Any]:
        """Return what the endpoint's row holds of a probation that begins now."""
        now = datetime.now(timezone.utc)
        until = utc_text(now + timedelta(minutes=self.minutes)) if self.minutes is not None else None
        return {
            "deployment": deployment,
            "previous": previous,
            "guardrails": [str(Guardrail.parse(text)) for text in self.guardrails],
            "since": utc_text(now),
            "until": until,
            "max_queries": self.max_queries,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """How a probation ended: the guardrail that was broken, or that all were kept."""

    outcome: Literal["broken", "kept"]
    reason: str
    evidence: Mapping[str, Any]


class Review:
    """Reads what an endpoint's champion answered during its probation. For one thread."""

    def __init__(self, store: Store, endpoint: str) -> None:
        self._store = store
        self._endpoint = endpoint
        self._probation: Mapping[str, Any] | None = None
        self._watch = Watch(())
        self._last_event = 0
        self._n_answers = 0

    def look(self, probation: Mapping[str, Any]) -> Finding | None:
        """Take in the answers since the last look, and return how the probation ended; None while it goes on."""
        if probation != self._probation:
            self._probation = dict(probation)
            self._watch = Watch.over(probation["guardrails"], self._baseline())
            self._last_event = self._n_answers = 0
        limit = probation["max_queries"]
        now = utc_now()
        left = limit - self._n_answers if limit is not None else None
        while (left is None or left > 0) and (rows := self._new_events(probation, left)):
            for row in rows:
                self._observe(row)
                if self._watch.breach is not None:
                    return self._finding("broken", f"guardrail {self._watch.breach}")
            self._last_event = rows[-1].id
            left = limit - self._n_answers if limit is not None else None
        if limit is not None and self._n_answers >= limit:
            return self._finding("kept", f"all guardrails were kept over {self._n_answers} answers")
        if probation["until"] is not None and now >= probation["until"]:
            return self._finding("kept", f"all guardrails were kept until {probation['until']}")
        return None

    def _observe(self, row: EventRow) -> None:
        self._n_answers += 1
        failed = row.error is not None
        # A prediction has no number of results.
        self._watch = self._watch.observe(Observation(None if failed else row.latency_ms, failed, row.n_results))

    def _finding(self, outcome: Literal["broken", "kept"], reason: str) -> Finding:
        tests = zip(self._watch.guardrails, self._watch.tests, strict=True)
        seen = {str(rail): test.mean for rail, test in tests if test is not None and test.mean is not None}
        evidence = {"probation": dict(self._probation or {}), "n_answers": self._n_answers, "mean_losses": seen}
        return Finding(outcome, reason, evidence)

    def _new_events(self, probation: Mapping[str, Any], n_wanted: int | None) -> list[EventRow]:
        query = (
            select(EventRow)
            .where(EventRow.endpoint == self._endpoint, EventRow.at >= probation["since"])
            .where(EventRow.deployment == probation["deployment"], EventRow.kind.in_(ANSWERED))
            .where(EventRow.id > self._last_event)
            .order_by(EventRow.id)
            .limit(min(n_wanted or _BATCH_SIZE, _BATCH_SIZE))
        )
        with self._store.read() as session:
            return list(session.scalars(query))

    def _baseline(self) -> list[float]:
        """Return the latencies of the former champion's last answers."""
        probation = self._probation or {}
        query = (
            select(EventRow.latency_ms)
            .where(EventRow.endpoint == self._endpoint, EventRow.at < probation["since"])
            .where(EventRow.deployment == probation["previous"], EventRow.kind.in_(ANSWERED))
            .where(EventRow.error.is_(None), EventRow.latency_ms.is_not(None))
            .order_by(EventRow.id.desc())
            .limit(_BASELINE_LIMIT)
        )
        with self._store.read() as session:
            return [latency for latency in session.scalars(query) if latency is not None]


def probation_of(policy: str) -> Mapping[str, Any] | None:
    """Return the probation that an endpoint's stored policy holds."""
    found: Mapping[str, Any] | None = json.loads(policy or "{}").get("probation")
    return found
