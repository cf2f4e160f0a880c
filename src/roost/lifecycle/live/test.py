"""A live test: deployments answer the same traffic until one is known to be better.

The method says how a query is answered: `interleaved`, `split` or `shadow`. Every
answered query is kept with what was drawn for it, and belongs to a unit (`units`). Feedback reaches its unit in the
process that has it open, and the store in any case; a unit that is closed is judged (`judging`) into one outcome,
which is counted (`tally`) here and written to the store (`records`). Looking costs nothing: the evidence holds at
every moment.

Every process counts the outcomes of all of them, which it reads once a second. Before a test is decided it is
counted again from the store, so the promise on false alarms is that of one test, whoever looks at it.

What a crash leaves: outcomes and queries of the last moments may not be in the store, and are lost; a unit that was
open is judged from the store by another process, or by this one when it is back. A test whose end could not be
recorded goes on.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.lifecycle.live.feedback import Feedback
from roost.lifecycle.live.guardrails import Observation
from roost.lifecycle.live.guards import Guards
from roost.lifecycle.live.interleaved import Interleaved
from roost.lifecycle.live.judging import Rival, outcome
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.records import Counted, Records, unit_key
from roost.lifecycle.live.report import status_of
from roost.lifecycle.live.serving import Batch, Contents, Part, Run
from roost.lifecycle.live.shadow import Mirrored, Shadow
from roost.lifecycle.live.split import Split
from roost.lifecycle.live.status import State, TestStatus
from roost.lifecycle.live.tally import Tally
from roost.lifecycle.live.units import GRACE_S, Unit, Units
from roost.lifecycle.livetest import TestOutcome
from roost.lifecycle.serving.traffic import Target

Ending: TypeAlias = Literal["decided", "stopped"]
Credit: TypeAlias = Literal["taken", "late", "elsewhere"]
"""What became of feedback: a unit of this process took it; it came after its window; another process may take it."""

ADOPT_EVERY_S = 10.0
"""Between two looks at units that nobody closes; also how long one is left to the process that opened it."""

_SAMPLES_KEPT = 8
_SAMPLED_SHARE = 0.05


class LiveTest:
    """A live test of an endpoint. Safe to use from any thread."""

    __test__ = False

    def __init__(
        self,
        end: Callable[[LiveTest, Ending, str, bool], bool],
        records: Records,
        test_id: int,
        plan: Plan,
        arms: Sequence[Target],
        seeds: tuple[str, str],
        started_at: float,
    ) -> None:
        """Take a test up, with the outcomes that were counted before.

        Args:
            end: records in the store how the test ended; told whether that is done by hand.
            arms: the champion first, then the challengers in the plan's order.
            seeds: the test's own, and this process's.
            started_at: in seconds since 1970.
        """
        self.id = test_id
        self.plan = plan
        self.champion = arms[0]
        self.challengers = tuple(arms[1:])
        self._end = end
        self._records = records
        self._lock = threading.Lock()
        self._tending = threading.RLock()
        self._state: State = "running"
        self._reason = ""
        self._units = Units(plan.window_s)
        self.guards = Guards(plan, self.champion.deployment.name)
        self._samples: deque[tuple[Target, npt.NDArray[Any]]] = deque(maxlen=_SAMPLES_KEPT)
        self._method = self._made(arms, seeds, started_at)
        self._adopted_until = started_at
        self._look_again_at = 0.0
        self._n_late = self._n_late_stored = self._last_number = 0
        self._n_ignored = self._n_ignored_stored = 0
        self._counted: set[str] = set()
        self._tally = Tally(plan, self.champion.deployment.name)
        self._count_stored(records.outcomes())

    def _made(self, arms: Sequence[Target], seeds: tuple[str, str], started_at: float) -> Interleaved | Split | Shadow:
        if self.plan.interleaves:
            return Interleaved(self.plan, arms, seeds[1], self.guards)
        if self.plan.method == "split":
            return Split(self.plan, arms, seeds, started_at, self.guards)
        return Shadow(self.plan, arms, self.guards, self._mirrored)

    @property
    def challenger(self) -> Target:
        """The first challenger."""
        return self.challengers[0]

    @property
    def running(self) -> bool:
        return self._state == "running"

    @property
    def serving(self) -> bool:
        """Whether queries are to be answered by the test: it runs, and no guardrail is known to be broken."""
        return self.running and self.guards.breach is None

    @property
    def result(self) -> TestStatus | None:
        """How the test ended; None while it is running."""
        return None if self.running else self.status()

    @property
    def winner(self) -> str | None:
        """The challenger that is known to be the best, if one is."""
        with self._lock:
            return self._tally.verdict.challenger

    def status(self) -> TestStatus:
        """Return how the test stands; looking changes nothing and may be done at any time."""
        if self.running and self._is_due(time.time()):
            self.tend()
        return self.standing()

    def standing(self) -> TestStatus:
        """Return what is counted by now."""
        with self._lock:
            return status_of(
                self.id,
                self.plan,
                self.champion.deployment.name,
                self._state,
                self._reason,
                self._tally,
                self.guards.seen(),
                max(self._n_late, self._n_late_stored),
                self._method.n_left_out if isinstance(self._method, Shadow) else 0,
                max(self._n_ignored, self._n_ignored_stored),
            )

    def stop(self, reason: str = "") -> TestStatus:
        """End the test where it stands. It is recorded; the champion stays.

        Raises: PermissionDenied: the actor may not.
        """
        self._end(self, "stopped", reason, True)
        return self.standing()

    # Traffic

    def serve(self, contents: Contents, user: str | None, run: Run, limit: int = 1) -> list[Part]:
        """Answer a batch of queries by the test's method."""
        return self._method.serve(contents, user, self._sampled(run) if self.guards.wants_recall else run, limit)

    def opened(self, part: Part, query_ids: Sequence[str], user: str | None) -> None:
        """Remember answered queries for their feedback.

        Args:
            query_ids: of the part's results.
        """
        now, by_user = time.time(), self.plan.method == "split"
        with self._lock:
            for query_id, drawn in zip(query_ids, part.drawn, strict=True):
                key = unit_key(user, query_id, by_user)
                if drawn is None:
                    continue
                # Also whom another process has counted: which users those are may depend on their arm.
                if isinstance(self._method, Split):
                    self.guards.assigned(self._method.weights(now), drawn.arm or "", user)
                if key not in self._counted:
                    self._units.open(key, query_id, drawn, now)

    def mirror(self, contents: Contents, part: Part, query_ids: Sequence[str], run: Run) -> None:
        """Hand an answered batch to the challengers of a shadow test; nothing for other methods."""
        if isinstance(self._method, Shadow):
            drawn = [one for one in part.drawn if one is not None]
            wanted = self._sampled(run) if self.guards.wants_recall else run
            self._method.mirror(Mirrored(contents, wanted, drawn, query_ids))

    def drain(self, timeout_s: float = 10.0) -> bool:
        """Wait until every mirrored query is answered; return whether it is."""
        return not isinstance(self._method, Shadow) or self._method.wait(timeout_s)

    def credit(self, feedback: Feedback, answered_at: float) -> Credit:
        """Take feedback of the kind that counts, and close its unit if that judges it as a whole.

        Args:
            answered_at: when the query was answered, in seconds since 1970.
        """
        now, window_s = time.time(), self.plan.window_s
        with self._lock:
            unit = self._units.unit_of(feedback.query_id)
            ends = (unit.began if unit is not None else answered_at) + window_s
            if feedback.at > ends or now > ends + GRACE_S:
                self._n_late += 1
                return "late"
            if unit is None:
                return "elsewhere"
            self._units.take(feedback)
            is_closed = self._is_whole(unit)
            if is_closed:
                self._units.forget(unit)
        if is_closed:
            self._judge([unit])
        return "taken"

    def ignore(self) -> None:
        """Take note of feedback of a kind that does not count."""
        with self._lock:
            self._n_ignored += 1

    # Looking after

    def tend(self, now: float | None = None) -> None:
        """Close what is due, count what other processes counted, and end the test if it is over.

        Raises: StorageFailure: the store did not answer; nothing is lost.
        """
        with self._tending:
            if not self.running:
                return
            moment = time.time() if now is None else now
            if self.guards.breach is not None:
                self._end(self, "stopped", self.guards.breach, False)
                return
            self._close_due(moment)
            self._count_stored(self._records.newer(self._last_number))
            if moment >= self._look_again_at:
                self._adopt(moment)
                self._n_late_stored = self._records.n_late()
                self._n_ignored_stored = self._records.n_ignored(self.plan.metric)
                self._look_again_at = moment + ADOPT_EVERY_S
            if self.complete:
                self._end(self, "decided", "", False)

    def samples(self) -> list[tuple[Target, npt.NDArray[Any]]]:
        """Take out the sampled queries, as a challenger's model embedded them, whose recall is to be measured."""
        return [self._samples.popleft() for _ in range(len(self._samples))]

    def recount(self) -> bool:
        """Count what is in the store instead, and return whether the test is complete by that."""
        stored = self._records.outcomes()
        with self._lock:
            # One that has ended counts nothing more: it would be left with nothing.
            if self.running:
                self._tally = Tally(self.plan, self.champion.deployment.name)
                self._counted.clear()
                self._take_stored(stored)
        return self.complete

    def finish(
        self, state: Ending, reason: str = "", outcome: TestOutcome | None = None, winner: str | None = None
    ) -> None:
        """Count nothing more; nothing if the test has ended.

        Args:
            outcome: as another process recorded it, with the challenger that won; None for what is known here.
        """
        with self._lock:
            if self.running:
                self._state, self._reason = state, reason
                self._tally.end(outcome, winner)
            self._units.clear()
        self._method.close()

    def close(self) -> None:
        """End the threads; the test goes on when the endpoint is opened again."""
        self._method.close()

    @property
    def complete(self) -> bool:
        """Whether it is decided, or as many queries as allowed were counted, or the deadline is over."""
        deadline = self.plan.deadline
        with self._lock:
            return self._is_complete() or (deadline is not None and time.time() >= deadline)

    def _is_complete(self) -> bool:
        return self._tally.verdict.outcome is not None or self._tally.is_full

    def _is_due(self, now: float) -> bool:
        deadline = self.plan.deadline
        with self._lock:
            is_due = self._units.is_due(now) or self._is_complete()
        return is_due or self.guards.breach is not None or (deadline is not None and now >= deadline)

    def _is_whole(self, unit: Unit) -> bool:
        """Return whether nothing more is to be said about a unit. A user may always come back."""
        [(drawn, said), *others] = unit.judgements
        if others or unit.key != unit.first:
            return False
        if self.plan.method == "shadow" and len(drawn.rivals) < len(self.challengers):
            return False
        is_said = said.whole or said.truth is not None
        return is_said or (bool(drawn.ids) and all(item in said.gains for item in drawn.ids))

    def _mirrored(self, name: str, query_id: str, rival: Rival, agreement: float) -> None:
        self._records.put_rival(name, query_id, rival, agreement)
        with self._lock:
            unit = self._units.rival(query_id, name, rival)
            is_closed = unit is not None and self._is_whole(unit)
            if unit is not None and is_closed:
                self._units.forget(unit)
        if unit is not None and is_closed:
            self._judge([unit])

    def _close_due(self, now: float) -> None:
        with self._lock:
            units = self._units.due(now)
        try:
            self._complete_from_store(units)
        except BaseException:
            with self._lock:
                self._units.reopen(units)
            raise
        self._judge(units)

    def _adopt(self, now: float) -> None:
        """Judge the units that nobody closed: their process is gone, or had too many open."""
        until = now - self.plan.window_s - GRACE_S - ADOPT_EVERY_S
        if until <= self._adopted_until:
            return
        by_user = self.plan.method == "split"
        found = self._records.abandoned(
            self._adopted_until, until, self.plan.window_s, by_user, self.plan.silence_counts
        )
        with self._lock:
            units = [unit for unit in found if unit.key not in self._counted and unit.key not in self._units]
        self._complete_from_store(units)
        self._judge(units)
        self._adopted_until = until

    def _complete_from_store(self, units: Sequence[Unit]) -> None:
        """Add to units what other processes were told about them, and what challengers made of them."""
        if not units:
            return
        ids = [query_id for unit in units for query_id in unit.queries]
        said = self._records.said(ids, self.plan.metric)
        rivals = self._records.rivals(ids) if self.plan.method == "shadow" else {}
        for unit in units:
            ends = unit.began + self.plan.window_s
            for query_id, (drawn, heard) in unit.queries.items():
                for feedback in said.get(query_id, ()):
                    if feedback.at <= ends:
                        heard.take(feedback)
                if query_id in rivals:
                    unit.queries[query_id] = drawn.beside(rivals[query_id]), heard

    def _judge(self, units: Iterable[Unit]) -> None:
        """Count what units say, and write it to the store."""
        champion = self.champion.deployment.name
        for unit in units:
            result = outcome(self.plan, champion, unit.judgements)
            if result is None:
                continue
            with self._lock:
                is_counted = self._count(unit.key, result)
            if is_counted:
                self._records.put_outcome(unit.key, unit.first, result)

    def _count(self, unit: str, result: Mapping[str, Any]) -> bool:
        if unit in self._counted or self._is_complete() or not self.running:
            return False
        self._counted.add(unit)
        self._tally.add(result)
        return True

    def _count_stored(self, stored: Iterable[Counted]) -> None:
        with self._lock:
            self._take_stored(stored)

    def _take_stored(self, stored: Iterable[Counted]) -> None:
        for one in stored:
            self._count(one.unit, one.outcome)
            self._last_number = max(self._last_number, one.number)

    def _sampled(self, run: Run) -> Run:
        """Keep a sample of what the challengers' models make of the queries."""

        def sampling(target: Target, contents: Contents) -> Batch:
            batch = run(target, contents)
            if target is not self.champion and batch.inputs is not None and random.random() < _SAMPLED_SHARE:
                self._samples.append((target, np.asarray(batch.inputs)[:1]))
            return batch

        return sampling

    def see_recall(self, name: str, recall: float) -> None:
        """Take a challenger's recall on sampled queries, between 0 and 1."""
        if math.isfinite(recall):
            self.guards.see(name, Observation(recall=recall))

    def _repr_html_(self) -> str:
        return self.standing()._repr_html_()

    def __repr__(self) -> str:
        names = ", ".join(repr(name) for name in self.plan.challengers)
        n_ignored = max(self._n_ignored, self._n_ignored_stored)
        ignored = f", {n_ignored} ignored: their kind is not {self.plan.metric!r}" if n_ignored else ""
        return (
            f"LiveTest({self.plan.method}, {self.champion.deployment.name!r} against {names}, {self._state}, "
            f"{self._tally.n_units} queries{ignored})"
        )
