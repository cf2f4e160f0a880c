"""An endpoint: the stable name that an application uses, behind which models change."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

from roost.errors import WorkspaceError
from roost.lifecycle import builder, promotion, traffic
from roost.lifecycle.answered import Answered
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import Deployment, deployment_of, row_named, rows_of
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.live import LiveTest, TestStatus
from roost.lifecycle.livetest import Id
from roost.lifecycle.promotion import Switch
from roost.lifecycle.recorder import Event
from roost.lifecycle.router import Router
from roost.lifecycle.store.tables import EndpointRow

_log = logging.getLogger(__name__)


class Endpoint:
    """A stable name, behind which models change. Safe to use from any thread.

    This is what endpoints that are searched and endpoints that predict have in common. Traffic waits for no
    change of the endpoint. Changes of one endpoint wait for each other.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.name = row.name
        self.alias = row.identifier
        self.metric = row.metric
        self.description = row.description
        self._context = context
        self._router = Router(context, row)
        self._answered = Answered()

    # Deployments

    def retire(self, deployment: Deployment | str, reason: str) -> None:
        """End a deployment and drop its vectors; there is no way back to it.

        Raises:
            InvalidTransition: it is the champion, or takes part in a live test.
            InvalidArgument: the reason is empty.
        """
        builder.retire(self._router, name_of(deployment), reason)
        promotion.follow(self._context, self._router.endpoint_id)

    def deployments(self) -> list[Deployment]:
        """Return all deployments, oldest first, the retired ones included."""
        with self._context.store.read() as session:
            return [deployment_of(row, self.name) for row in rows_of(session, self._router.endpoint_id)]

    def deployment(self, name: str) -> Deployment:
        """Return one deployment.

        Raises: DeploymentNotFound: the endpoint has none of that name.
        """
        with self._context.store.read() as session:
            return deployment_of(row_named(rows_of(session, self._router.endpoint_id), name), self.name)

    @property
    def champion(self) -> Deployment | None:
        """The deployment that answers; None before the first promotion."""
        champion = self._router.routing.champion
        return champion.deployment if champion is not None else None

    @property
    def version(self) -> int:
        """The version of the endpoint's row that this process has seen."""
        return self._router.routing.version

    def promote(
        self,
        deployment: Deployment | str,
        reason: str,
        evidence: Mapping[str, Any] | TestStatus | None = None,
        expected_version: int | None = None,
    ) -> Switch:
        """Make a deployment the champion. A live test that is running is stopped: see `Switch.stopped_test`.

        Args:
            reason: why, for the ledger.
            evidence: what the decision rests on: figures, or the result of a live test.
            expected_version: the `version` that the decision rests on; by default the last one seen.
        Raises:
            InvalidTransition: the deployment is the champion already, or is not ready.
            InvalidArgument: the reason is empty.
            WorkspaceError: it cannot be opened; or it is the champion now, and its aliases could not be moved.
            Conflict: another actor changed the endpoint since; nothing was changed.
        """
        return self._switch("promote", name_of(deployment), reason, evidence, expected_version)

    def rollback(
        self, to: Deployment | str | None = None, *, reason: str, expected_version: int | None = None
    ) -> Switch:
        """Go back to an earlier champion, by default to the last one before the present that is ready.

        Rolling back again goes further back; what was rolled back is reached by `promote` alone. A
        live test that is running is stopped, as by `promote`.

        Args:
            reason: why, for the ledger.
        Raises:
            InvalidTransition: there is no earlier champion, or `to` is none, or it is not ready.
            InvalidArgument: the reason is empty.
            Conflict: another actor changed the endpoint since; nothing was changed.
        """
        return self._switch("rollback", name_of(to) if to is not None else None, reason, None, expected_version)

    # Live tests

    def start_test(
        self,
        challenger: Deployment | str,
        method: str = "interleave",
        alpha: float = 0.05,
        max_queries: int | None = None,
        seed: int | None = None,
    ) -> LiveTest:
        """Let a challenger answer together with the champion until one is known to be better.

        Args:
            alpha: probability of a decision although both are equally good, however often one looks.
            max_queries: end undecided after as many queries with feedback.
            seed: of the coin that interleaves; by default a fresh one, which is recorded.
        Raises:
            InvalidTransition: a test is running, or the challenger is not ready.
            InvalidArgument: the method is not known, or alpha is not between 0 and 1.
        """
        return self._router.start_test(name_of(challenger), method, alpha, max_queries, seed)

    @property
    def test(self) -> LiveTest | None:
        """The live test that is running."""
        return self._router.routing.test

    def feedback(self, query_id: str, item: Id | Mapping[Id, float], value: float = 1.0) -> bool:
        """Say how good results were.

        It is recorded in any case, and counted by the live test of which the query is part; a test
        counts a query once.

        Args:
            item: the id of one result, whose gain is `value`; or the gains of all results that
                have one, which judges the query as a whole.
            value: 1 for a click or a right result, a grade, or negative for a rejection.
        Returns: whether the query is among the last 10,000 that this process answered. Feedback for another one,
            answered elsewhere or long ago or never, cannot be checked against its results and counts in no test.
        Raises: InvalidArgument: an item was not among the results of a query that is known, or a gain is not a
            finite number; nothing was recorded.
        """
        gains = traffic.checked_feedback(query_id, dict(item) if isinstance(item, Mapping) else {item: value})
        is_known = self._answered.check(query_id, gains)
        test = self._router.routing.test
        if test is not None:
            test.credit(query_id, gains, whole=isinstance(item, Mapping))
        champion = self.champion
        self._context.recorder.put(
            Event(
                kind="feedback",
                endpoint=self.name,
                deployment=champion.name if champion is not None else "",
                query_id=query_id,
                test_id=test.id if test is not None else None,
                value=canonical_json({str(key): gain for key, gain in gains.items()}),
            )
        )
        if test is not None and test.complete:
            self._router.end_test(test, "decided", "")
        return is_known

    def refresh(self) -> None:
        """Take over what other processes changed."""
        self._router.refresh()

    def __repr__(self) -> str:
        champion = self.champion
        return f"Endpoint({self.name!r}, champion={champion.name if champion is not None else None!r})"

    def _switch(
        self,
        action: Literal["promote", "rollback"],
        name: str | None,
        reason: str,
        evidence: Mapping[str, Any] | TestStatus | None,
        expected_version: int | None,
    ) -> Switch:
        promotion.check_reason(reason)
        given = evidence.as_evidence() if isinstance(evidence, TestStatus) else dict(evidence or {})
        expected = expected_version if expected_version is not None else self.version
        started = time.perf_counter()
        chosen = name or ""
        with self._router.changing:
            with self._router.change(expected, then=lambda: self._router.route_to(chosen)) as (session, row):
                rolls_back = action == "rollback"
                chosen = promotion.rollback_target(session, row, name) if rolls_back or name is None else name
                self._router.check_opened(chosen)
                previous, stopped = promotion.write_champion(
                    session, row, chosen, self._context.actor, action, reason, given
                )
            routed = time.perf_counter() - started
            self._router.refresh()
            self._follow(chosen)
        return Switch(self.name, previous, chosen, stopped, routed, time.perf_counter() - started)

    def _follow(self, champion: str) -> None:
        try:
            promotion.follow(self._context, self._router.endpoint_id)
        except Exception as error:
            raise WorkspaceError(
                f"{champion!r} is the champion of {self.name!r} and answers, but its aliases could not be moved "
                f"({error}); they are moved when the workspace is opened next"
            ) from error


def name_of(deployment: Deployment | str) -> str:
    return deployment if isinstance(deployment, str) else deployment.name
