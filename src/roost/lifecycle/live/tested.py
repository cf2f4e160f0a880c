"""What an endpoint does with live tests and feedback."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from roost.errors import ApprovalRequired, Conflict, InvalidTransition, PermissionDenied, StorageFailure
from roost.lifecycle import ledger
from roost.lifecycle.actor import acting_as
from roost.lifecycle.deployments import promotion
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.deployments.policy import AUTOMATIC
from roost.lifecycle.governance import permits
from roost.lifecycle.live import course
from roost.lifecycle.live.guardrails import Guardrail
from roost.lifecycle.live.intake import Intake
from roost.lifecycle.live.plan import WINDOW_S, Method, OnWin, RampStage, make_plan
from roost.lifecycle.live.status import TestStatus
from roost.lifecycle.live.stored import standing_of
from roost.lifecycle.live.test import LiveTest
from roost.lifecycle.livetest import Id
from roost.lifecycle.serving.answered import Answered
from roost.lifecycle.store.tables import EndpointRow

if TYPE_CHECKING:
    from roost.lifecycle.context import Context
    from roost.lifecycle.deployments.promotion import Switch
    from roost.lifecycle.serving.router import Router

_log = logging.getLogger(__name__)


class Tested:
    """The part of an endpoint that tests challengers and takes feedback. Safe to use from any thread.

    What it needs beside, and an endpoint has: its name, its task where it predicts, its router and how to promote.
    """

    name: str
    task: str | None
    _context: Context
    _router: Router

    def __init__(self, context: Context, name: str) -> None:
        self._answered = Answered()
        self._intake = Intake(context, name, self._answered, self.task)
        self._tended = -1

    def promote(
        self, deployment: Deployment | str, reason: str, evidence: Any = None, expected_version: int | None = None
    ) -> Switch:
        """Make a deployment the champion; see `Endpoint.promote`."""
        raise NotImplementedError

    def start_test(
        self,
        challenger: Deployment | str | Sequence[Deployment | str],
        method: Method = "interleave",
        alpha: float = 0.05,
        max_queries: int | None = None,
        seed: int | None = None,
        *,
        metric: str = "click",
        margin: float | None = None,
        weights: float | Mapping[str, float] | None = None,
        ramp: Sequence[RampStage] | None = None,
        guardrails: Sequence[Guardrail | str] = (),
        deadline: datetime | timedelta | str | None = None,
        on_win: OnWin = "nothing",
        window_s: float = WINDOW_S,
    ) -> LiveTest:
        """Test one or several challengers against the champion until one is known to be better.

        Args:
            method: "interleave" mixes the rankings of all into every answer (team draft), "balanced" of two with less
                bias by position; "split" lets each user be answered by one of them; "shadow" shows the champion's
                answers alone, and the challengers answer behind the scenes.
            alpha: probability of naming a better side although there is none, however often one looks.
            max_queries: end after as many queries (of a split: users), decided or not.
            seed: of the coin that mixes and of the hash that splits; by default a fresh one, which is recorded.
            metric: the kind of feedback that counts: "click", "conversion", "label" or "rating".
            margin: a difference of at most this is none, and the test may end with that: of win rates from 1/2 when
                interleaving, of means otherwise.
            weights: of a split, the challengers' shares of the users; by default equal ones.
            ramp: of a split, pairs of seconds since the start and weights from then on, which may only grow.
            guardrails: limits that a challenger has to keep, as in "error_rate <= 0.01" or "p95_ratio <= 1.5"; the test
                is stopped as soon as one is known to be broken.
            deadline: end then, decided or not: a time, or how long from now.
            on_win: "promote" makes a challenger that wins the champion at once, where the endpoint allows that: see
                `promote_winners`.
            window_s: seconds after an answer in which feedback counts.
        Raises:
            InvalidTransition: a test is running, a challenger is not ready, or tests may not promote here.
            InvalidArgument: a value is not allowed, or values do not fit together.
            PermissionDenied: the actor may not.
        """
        given = [challenger] if isinstance(challenger, (str, Deployment)) else list(challenger)
        plan = make_plan(
            [one if isinstance(one, str) else one.name for one in given],
            now=time.time(),
            task=self.task,
            method=method,
            metric=metric,
            alpha=alpha,
            margin=margin,
            weights=weights,
            ramp=ramp,
            guardrails=guardrails,
            max_queries=max_queries,
            deadline=deadline,
            on_win=on_win,
            window_s=window_s,
        )
        return course.begin(self._router, plan, seed)

    @property
    def test(self) -> LiveTest | None:
        """The live test that is running."""
        return self._router.routing.test

    def test_status(self, number: int | None = None) -> TestStatus:
        """Return how a live test stands, or how it ended.

        Args:
            number: the test's id; None for the endpoint's last one.
        Raises: LiveTestNotFound: the endpoint has no such test.
        """
        test = self.test
        if test is not None and number in (None, test.id):
            return test.status()
        return standing_of(self._context, self.name, number)

    def promote_winners(self, allowed: bool) -> None:
        """Say whether live tests may promote the winner by themselves; by default they may, but not in production.

        Raises: PermissionDenied: the actor may not.
        """
        with self._router.change() as (session, row):
            permits.check(session, self._context.actor, "endpoint.policy", row.environment, row.name)
            values = {AUTOMATIC: bool(allowed)}
            promotion.set_policy(row, **values)
            ledger.append(session, self._context.actor, "endpoint.policy", row.name, row.name, evidence=values)

    def feedback(
        self,
        query_id: str,
        item: Id | Mapping[Id, float],
        value: float = 1.0,
        kind: str = "click",
        *,
        event_id: str | None = None,
        at: datetime | str | float | None = None,
    ) -> bool:
        """Say how good results were.

        It is recorded in any case, and counted by the live test of which the query is part if it is of the test's
        kind and comes in time. What is said twice counts once.

        Args:
            item: the id of one result, whose gain is `value`; or the gains of all results that
                have one, which judges the query as a whole.
            value: of a click or conversion 1, or 0 for none; of a label 1 for right, 0 for wrong; of a rating 0 to 5.
            kind: "click", "conversion", "label" or "rating".
            event_id: the sender's own number of it: the same number counts once. Without one, the same kind of
                feedback on the same result of a query counts once.
            at: when it happened; by default now.
        Returns: whether the answer is known. Feedback on one that is not, because it was never given or another
            process has not written it down yet, cannot be checked against its results; it is counted when the answer
            is found.
        Raises: InvalidArgument: an item was not among the results of a query that is known, or a gain is not a
            number in its kind's range; nothing was recorded.
        """
        whole = isinstance(item, Mapping)
        gains = dict(item) if isinstance(item, Mapping) else {item: value}
        return self._take(query_id, gains, kind=kind, whole=whole, event_id=event_id, at=at)

    def _take(self, query_id: str, gains: Mapping[Id, float], **about: Any) -> bool:
        """Take feedback, and end the live test if it is over by that."""
        test, champion = self.test, self._router.routing.champion
        answered_by = champion.deployment.name if champion is not None else ""
        is_known = self._intake.take(test, answered_by, query_id, gains, **about)
        if test is not None and test.complete:
            try:
                self._decide(test)
            except StorageFailure as error:
                _log.warning("live test %d of %r is over and cannot be ended yet: %s", test.id, self.name, error)
        return is_known

    def _decide(self, test: LiveTest) -> None:
        if self._router.end_test(test, "decided", ""):
            self._promote_winner()

    def _promote_winner(self) -> None:
        """Promote the winner of the last test, if that was asked for and is not done yet."""
        version = self._router.routing.version
        found = course.winner_to_promote(self._context, self._router.endpoint_id)
        if found is None:
            return
        # Neither who sends the last feedback nor the process that counts it: who started the test is to promote.
        with acting_as(found.starter):
            self._try_to_promote(found.winner, found.test_id, version)

    def _try_to_promote(self, winner: str, test_id: int, version: int) -> None:
        try:
            with self._context.store.read() as session:
                course.check_promotion(session.get_one(EndpointRow, self._router.endpoint_id))
            self.promote(winner, f"won live test {test_id}", {"test_id": test_id}, version)
        except Conflict:
            _log.info("endpoint %r was changed meanwhile: who promotes %r is looked at again", self.name, winner)
        except (InvalidTransition, PermissionDenied, ApprovalRequired) as error:
            _log.warning("%r won live test %d of %r and is not promoted: %s", winner, test_id, self.name, error)
            course.refuse_promotion(self._router, test_id, winner, error.message)

    def tend(self) -> None:
        """Close what is due in the live test, count what other processes counted, and end it when it is over.

        Open endpoints are tended every second.
        """
        test = self.test
        if test is not None:
            self._measure_recall(test)
            test.tend()
        version = self._router.routing.version
        if self.test is None and self._tended != version:
            self._promote_winner()
            self._tended = version

    def _measure_recall(self, test: LiveTest) -> None:
        """Tell a live test the recall of its challengers on sampled queries."""

    def close(self) -> None:
        """End the threads of the live test."""
        test = self.test
        if test is not None:
            test.close()
