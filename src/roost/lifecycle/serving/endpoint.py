"""An endpoint: the stable name that an application uses, behind which models change."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from roost.errors import Conflict, FingerprintMismatch, InvalidTransition, WorkspaceError
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion, retirement
from roost.lifecycle.deployments.deployment import Deployment, State, deployment_of, row_named, rows_of, summary
from roost.lifecycle.deployments.policy import Policy, check_keep_retired, policy_of
from roost.lifecycle.deployments.probation import ACTOR as PROBATION_ACTOR
from roost.lifecycle.deployments.probation import Probation, Review
from roost.lifecycle.deployments.promotion import Switch
from roost.lifecycle.governance import permits
from roost.lifecycle.html import table
from roost.lifecycle.live import TestStatus
from roost.lifecycle.live.tested import Tested
from roost.lifecycle.serving.router import Router
from roost.lifecycle.serving.traffic import failed_event, takes
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

_log = logging.getLogger(__name__)


class Endpoint(Tested):
    """A stable name, behind which models change. Safe to use from any thread.

    This is what endpoints that are searched and endpoints that predict have in common. Traffic waits for no
    change of the endpoint. Changes of one endpoint wait for each other.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.name = row.name
        self.alias = row.identifier
        self.kind = row.kind
        self.task = row.task
        self.environment = row.environment
        self.metric = row.metric
        self.description = row.description
        self._context = context
        self._router = Router(context, row)
        super().__init__(context, row.name)
        self._review = Review(context.store, row.name)

    # Deployments

    def retire(self, deployment: Deployment | str, reason: str) -> None:
        """Take a deployment out of use. It takes no writes any more, and its collection leaves the memory.

        One that was ready keeps its vectors, so that `rollback` can go back to it, until `purge`.
        Those of any other are dropped.

        Raises:
            InvalidTransition: it is the champion, or takes part in a live test.
            InvalidArgument: the reason is empty.
            PermissionDenied: the actor may not.
        """
        retirement.retire(self._router, name_of(deployment), reason)
        promotion.follow(self._context, self._router.endpoint_id)

    def purge(self, deployment: Deployment | str, reason: str) -> None:
        """Drop the vectors of a retired deployment; there is no way back to it.

        Raises:
            InvalidTransition: it is not retired, or was purged before.
            InvalidArgument: the reason is empty.
            PermissionDenied: the actor may not.
        """
        retirement.purge(self._router, name_of(deployment), reason)

    def missed(self, deployment: Deployment | str) -> list[str]:
        """Return the keys, as text, that were written or deleted while a deployment was retired.

        They are still listed when it is champion again: write these records once more then.
        """
        return retirement.missed(self._router, name_of(deployment))

    @property
    def owner(self) -> str | None:
        """Who answers for the endpoint."""
        with self._context.store.read() as session:
            return session.get_one(EndpointRow, self._router.endpoint_id).owner

    @property
    def policy(self) -> Policy:
        """What the endpoint does by itself."""
        with self._context.store.read() as session:
            return policy_of(session.get_one(EndpointRow, self._router.endpoint_id))

    def keep_retired(self, n_deployments: int | None) -> None:
        """Keep the vectors of this many retired deployments from the next retirement on; None for all.

        Raises:
            InvalidArgument: it is not a number of deployments.
            PermissionDenied: the actor may not.
        """
        check_keep_retired(n_deployments)
        with self._router.change() as (session, row):
            permits.check(session, self._context.actor, "endpoint.policy", row.environment, row.name)
            promotion.set_policy(row, keep_retired=n_deployments)
            evidence = {"keep_retired": n_deployments}
            ledger.append(session, self._context.actor, "endpoint.policy", row.name, row.name, evidence=evidence)

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
        *,
        probation: Probation | None = None,
        accept_missing: bool = False,
    ) -> Switch:
        """Make a deployment the champion. A live test that is running is stopped: see `Switch.stopped_test`.

        Args:
            reason: why, for the ledger.
            evidence: what the decision rests on: figures, or the result of a live test.
            expected_version: the `version` that the decision rests on; by default the last one seen.
            probation: guardrails that the new champion has to keep for a while; when it breaks one, the
                endpoint rolls back to the former champion by itself.
            accept_missing: promote a retired deployment although it missed records; see `missed`.
        Raises:
            InvalidTransition: the deployment is the champion already, is not ready, or missed records.
            InvalidArgument: the reason is empty.
            WorkspaceError: it cannot be opened; or it is the champion now, and its aliases could not be moved.
            Conflict: another actor changed the endpoint since; nothing was changed.
            PermissionDenied: the actor may not.
            ApprovalRequired: somebody else has to approve it first.
        """
        change = _Change("promote", self._context.actor, reason, _facts(evidence), accept_missing, probation)
        return self._switch(change, name_of(deployment), expected_version)

    def rollback(
        self,
        to: Deployment | str | None = None,
        *,
        reason: str,
        evidence: Mapping[str, Any] | TestStatus | None = None,
        expected_version: int | None = None,
        accept_missing: bool = False,
    ) -> Switch:
        """Go back to an earlier champion, by default to the last one before the present that is ready.

        Rolling back again goes further back; what was rolled back is reached by its name alone. A
        live test that is running is stopped, as by `promote`. A retired deployment is loaded first,
        while the present champion answers.

        Args:
            to: any deployment that was champion once and is ready, or retired with its vectors kept.
            reason: why, for the ledger.
            accept_missing: go back to a retired deployment although it missed records; see `missed`.
        Raises:
            InvalidTransition: there is no earlier champion; or `to` never was champion, was purged, or missed records.
            InvalidArgument: the reason is empty.
            Conflict: another actor changed the endpoint since; nothing was changed.
            PermissionDenied: the actor may not.
        """
        change = _Change("rollback", self._context.actor, reason, _facts(evidence), accept_missing)
        return self._switch(change, name_of(to) if to is not None else None, expected_version)

    def refresh(self) -> None:
        """Take over what other processes changed."""
        self._router.refresh()

    def verify(self) -> None:
        """Look whether the collections are still those that the deployments' models filled.

        An endpoint whose champion's collection was put there by somebody else refuses to answer and
        to take writes until its own is back. Open endpoints are looked at every few seconds.

        Raises: pymilvus.MilvusException: the vector engine did not answer; nothing was changed.
        """
        self._router.verify()

    def review(self) -> Switch | None:
        """Look how the champion keeps its probation, end it when it is over, and roll back when a guardrail is broken.

        Open endpoints are looked at every second. Returns: the rollback; None without one.
        """
        version, on_probation = self.version, self.policy.probation
        finding = self._review.look(on_probation) if on_probation is not None else None
        if finding is None or on_probation is None:
            return None
        reason = finding.reason
        try:
            if finding.outcome == "broken":
                change = _Change("rollback", PROBATION_ACTOR, reason, finding.evidence, is_permitted=True)
                try:
                    return self._switch(change, on_probation["previous"], version)
                except InvalidTransition as error:
                    _log.error(
                        "the champion of %r broke %s, and it cannot be rolled back: %s", self.name, reason, error
                    )
                    reason = f"{reason}; it could not be rolled back: {error.message}"
            with self._router.change(version) as (session, row):
                promotion.set_policy(row, probation=None)
                subject = on_probation["deployment"]
                ledger.append(session, PROBATION_ACTOR, "probation.end", row.name, subject, reason, finding.evidence)
        except Conflict:
            _log.info("the probation of %r was ended by another process, or is looked at again", self.name)
        return None

    def __repr__(self) -> str:
        champion = self.champion
        return f"{type(self).__name__}({self.name!r}, champion={champion.name if champion is not None else None!r})"

    def _repr_html_(self) -> str:
        rows = [{**summary(one), "champion": one.id == self._champion_id} for one in self.deployments()]
        return table(rows, title=f"Endpoint {self.name}: {self.description}" if self.description else self.name)

    @property
    def _champion_id(self) -> int | None:
        champion = self.champion
        return champion.id if champion is not None else None

    def _note_failure(self, deployment: str, n_queries: int, user: str | None, error: Exception) -> None:
        """Record queries that were not answered, for which the deployment is to blame."""
        # Vectors of another model are the caller's mistake too; a champion that is refused is seen by `verify`.
        if isinstance(error, FingerprintMismatch):
            return
        for _ in range(n_queries):
            self._context.recorder.put(failed_event(self.kind, self.name, deployment, user, error))

    def _is_refused_by_others(self, deployment: str, contents: Any) -> bool:
        """Return whether the models of the other deployments that are ready refuse contents that this one has refused.

        Then the caller is at fault. Where there is no other that can say, the model is.
        """
        if contents is None:
            return False
        said = False
        for target in self._router.routing.live:
            if target.deployment.state != State.BUILDING and target.deployment.name != deployment:
                taken = takes(target, contents)
                if taken:
                    return False
                said = said or taken is False
        return said

    def _switch(self, change: _Change, name: str | None, expected_version: int | None) -> Switch:
        promotion.check_reason(change.reason)
        expected = expected_version if expected_version is not None else self.version
        started = time.perf_counter()
        chosen = name or ""
        with self._router.changing, ExitStack() as prepared:
            if expected != self.version:
                self._router.catch_up()
            if name is not None and self._router.routing.target(name) is None:
                prepared.enter_context(self._router.prepared(name))

            def route() -> None:
                self._router.route_to(chosen, promotion.reason_to_stop(change.action, chosen))

            with self._router.change(expected, then=route) as (session, row):
                rolls_back = change.action == "rollback"
                chosen = promotion.rollback_target(session, row, name) if rolls_back or name is None else name
                previous, stopped = self._write_champion(session, row, chosen, change)
            routed = time.perf_counter() - started
            self._router.refresh()
            self._follow(chosen)
        return Switch(self.name, previous, chosen, stopped, routed, time.perf_counter() - started)

    def _write_champion(
        self, session: Session, row: EndpointRow, chosen: str, change: _Change
    ) -> tuple[str | None, int | None]:
        if not change.is_permitted:
            permits.check(session, change.actor, change.action, row.environment, f"{row.name}/{chosen}")
        self._router.check_opened(chosen)
        rows = rows_of(session, row.id)
        deployment = row_named(rows, chosen)
        n_missed = retirement.check_complete(session, deployment, change.accept_missing)
        self._check_fit(deployment)
        facts = {**change.evidence, **({"n_missed": n_missed} if n_missed else {})}
        probation = change.probation
        if probation is not None:
            facts["probation"] = [str(text) for text in probation.guardrails]
        previous, stopped = promotion.write_champion(
            session, row, chosen, change.actor, change.action, change.reason, facts, rows
        )
        if probation is not None:
            if previous is None:
                raise InvalidTransition(f"{chosen!r} is the first champion: there is none to roll back to on probation")
            promotion.set_policy(row, probation=probation.begin(chosen, previous))
        return previous, stopped

    def _check_fit(self, row: DeploymentRow) -> None:
        """Raise InvalidTransition for a deployment whose answers the endpoint's users would not expect."""

    def _follow(self, champion: str) -> None:
        try:
            promotion.follow(self._context, self._router.endpoint_id)
        except Exception as error:
            raise WorkspaceError(
                f"{champion!r} is the champion of {self.name!r} and answers, but its aliases could not be moved "
                f"({error}); that is tried again every second, and when the workspace is opened next"
            ) from error


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of champion that somebody wants. `is_permitted`: it was allowed when it was arranged."""

    action: Literal["promote", "rollback"]
    actor: str
    reason: str
    evidence: Mapping[str, Any]
    accept_missing: bool = False
    probation: Probation | None = None
    is_permitted: bool = False


def _facts(evidence: Mapping[str, Any] | TestStatus | None) -> dict[str, Any]:
    return evidence.as_evidence() if isinstance(evidence, TestStatus) else dict(evidence or {})


def name_of(deployment: Deployment | str) -> str:
    return deployment if isinstance(deployment, str) else deployment.name
