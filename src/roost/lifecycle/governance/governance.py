"""The governance of a workspace, as its users call it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy import select

from roost.errors import EndpointNotFound, InvalidArgument, InvalidTransition, ModelNotFound, RoleNotFound
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.governance import data, facts, lineage, permits, requests, roles, subjects
from roost.lifecycle.governance.cards import CARD_TAG, SECTIONS, Card, card
from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.debt import DebtReport, Limits, find
from roost.lifecycle.governance.lineage import Affected, Node
from roost.lifecycle.governance.requests import (
    MAX_SUBJECT_LENGTH,
    REVIEW,
    Comment,
    Request,
    checked_subject,
    checked_text,
)
from roost.lifecycle.governance.roles import ADMIN, EVERYWHERE, Grant
from roost.lifecycle.governance.whereabouts import checked
from roost.lifecycle.html import table
from roost.lifecycle.models.engine_address import EngineAddress
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.names import suggestion
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.governance_tables import ApprovalRuleRow, RoleRow
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

if TYPE_CHECKING:
    from roost.lifecycle.serving.predict_endpoint import Prediction
    from roost.lifecycle.serving.traffic import Answer


class Governance:
    """Roles, approvals, comments, origins, cards and debt of a workspace. Safe to use from any thread."""

    def __init__(self, context: Context, engine: EngineAddress) -> None:
        """Hold the parts.

        Args:
            engine: of the context's vectors.
        """
        self._context = context
        self._engine = engine

    # Roles

    def grant(self, principal: str, role: str, environment: str | None = None) -> None:
        """Give somebody a role; nothing if they have it.

        With the first grant of a workspace, its granter becomes admin everywhere.

        Args:
            role: viewer, developer, operator, approver or admin.
            environment: None for every environment.
        Raises:
            InvalidArgument: there is no such role, or the name is empty.
            PermissionDenied: roles were granted before, and this actor is no admin there.
        """
        checked_subject(principal)
        roles.check_role(role)
        where = environment if environment is not None else EVERYWHERE
        actor, now = self._context.actor, utc_now()
        with self._context.store.write() as session:
            permits.check(session, actor, "role.grant", environment, principal)
            is_first = session.scalar(select(RoleRow).limit(1)) is None
            wanted = {(principal, role, where), *({(actor, ADMIN, EVERYWHERE)} if is_first else ())}
            for one in sorted(wanted):
                if session.get(RoleRow, one) is not None:
                    continue
                session.add(
                    RoleRow(principal=one[0], role=one[1], environment=one[2], granted_by=actor, granted_at=now)
                )
                evidence = {"role": one[1], "environment": one[2]}
                ledger.append(session, actor, "role.grant", None, one[0], evidence=evidence)

    def revoke(self, principal: str, role: str, environment: str | None = None) -> None:
        """Take a role away.

        Raises:
            RoleNotFound: they do not have it.
            InvalidTransition: nobody would be admin everywhere any more.
        """
        where = environment if environment is not None else EVERYWHERE
        actor = self._context.actor
        with self._context.store.write() as session:
            permits.check(session, actor, "role.revoke", environment, principal)
            row = session.get(RoleRow, (principal, role, where))
            if row is None:
                raise RoleNotFound(f"{principal!r} has no role {role!r} in {where}")
            admins = session.scalars(
                select(RoleRow.principal)
                .where(RoleRow.role == ADMIN, RoleRow.environment == EVERYWHERE)
                .with_for_update()
            ).all()
            if role == ADMIN and where == EVERYWHERE and admins == [principal]:
                raise InvalidTransition(f"{principal!r} is the only admin: make somebody else admin first")
            session.delete(row)
            evidence = {"role": role, "environment": where}
            ledger.append(session, actor, "role.revoke", None, principal, evidence=evidence)

    def roles(self, principal: str | None = None) -> list[Grant]:
        """Return all roles, or those of one person."""
        query = select(RoleRow).order_by(RoleRow.principal, RoleRow.environment, RoleRow.role)
        if principal is not None:
            query = query.where(RoleRow.principal == principal)
        with self._context.store.read() as session:
            return [
                Grant(row.principal, row.role, row.environment, row.granted_by, row.granted_at)
                for row in session.scalars(query)
            ]

    def check(self, action: str, subject: str, environment: str | None = None) -> None:
        """Ask whether the actor's roles allow an action; approvals are not looked at.

        Raises: PermissionDenied: they do not.
        """
        with self._context.store.read() as session:
            permits.check_role(session, self._context.actor, action, environment, subject)

    # Approvals

    def require(
        self,
        action: str,
        environment: str | None = None,
        n_approvals: int = 1,
        *,
        by_others: bool = True,
        expires_hours: float | None = None,
    ) -> None:
        """Let an action need approvals from now on; with `n_approvals=0`, no more.

        An approval is for one subject as it is when it is asked for, and is used up by the action.
        A rollback that a guardrail starts needs none.

        Args:
            action: as the ledger names it: "promote", "rollback", "retire", "deploy" ...
            environment: None for every environment that has no rule of its own.
            by_others: whether the approval of who asks does not count.
            expires_hours: after which a request is not good any more; None for never.
        Raises: InvalidArgument: there is no such action, or a value is out of range.
        """
        roles.check_approvable(action)
        if not 0 <= n_approvals <= 100:
            raise InvalidArgument(f"n_approvals must be between 0 and 100, not {n_approvals}")
        if expires_hours is not None and not expires_hours > 0:
            raise InvalidArgument(f"expires_hours must be positive, not {expires_hours}")
        where = environment if environment is not None else EVERYWHERE
        actor = self._context.actor
        with self._context.store.write() as session:
            permits.check(session, actor, "approval.require", environment, action)
            row = session.get(ApprovalRuleRow, (action, where)) or ApprovalRuleRow(action=action, environment=where)
            row.n_approvals, row.by_others, row.expires_hours = n_approvals, by_others, expires_hours
            row.required_by, row.required_at = actor, utc_now()
            session.add(row)
            evidence = {"n_approvals": n_approvals, "by_others": by_others, "expires_hours": expires_hours}
            ledger.append(session, actor, "approval.require", None, action, evidence={**evidence, "environment": where})

    def request(self, action: str, subject: str, reason: str) -> Request:
        """Ask for the approval of an action, for example request("promote", "image-search/digits-v2", "...").

        Raises:
            InvalidArgument: there is no such action, or the reason or the subject is empty.
            DeploymentNotFound: what is to be promoted, rolled back to, retired or purged is not there.
        """
        roles.check_approvable(action)
        checked_text("reason", reason)
        if action in subjects.OF_DEPLOYMENTS:
            subjects.check_deployment(self._context, subject)
        with self._context.store.write() as session:
            return requests.ask(session, self._context.actor, permits.APPROVAL, action, subject, reason, None)

    def request_review(self, subject: str, reason: str, reviewer: str | None = None) -> Request:
        """Ask somebody to look at a model version or a deployment; it holds nothing back by itself.

        Raises: ModelNotFound, DeploymentNotFound, SubjectNotFound: there is no such subject.
        """
        checked_text("reason", reason)
        subjects.check_subject(self._context, subject)
        with self._context.store.write() as session:
            return requests.ask(session, self._context.actor, REVIEW, REVIEW, subject, reason, reviewer)

    def approve(self, request_id: int, comment: str = "") -> Request:
        """Approve a request.

        Raises:
            PermissionDenied: the actor may not approve there, or another one was asked; or it is the actor's own
                request, and the approval of others is needed.
            InvalidTransition: the request is closed.
        """
        return self._decide(request_id, "approve", comment)

    def reject(self, request_id: int, comment: str) -> Request:
        """Reject a request for good, and say why; see `approve`."""
        checked_text("a rejection's comment", comment)
        return self._decide(request_id, "reject", comment)

    def request_changes(self, request_id: int, comment: str) -> Request:
        """Ask for changes before a review can be approved; see `approve`."""
        checked_text("a comment", comment)
        return self._decide(request_id, "request changes", comment)

    def requests(self, subject: str | None = None, open_only: bool = False) -> list[Request]:
        """Return the requests for approvals and reviews, oldest first."""
        with self._context.store.read() as session:
            return requests.requests(session, subject, open_only)

    # Comments

    def comment(self, subject: str, text: str) -> Comment:
        """Say something about a model version ("digits/2"), a deployment ("image-search/digits-v2") or an endpoint.

        Raises: ModelNotFound, DeploymentNotFound, SubjectNotFound: there is no such subject.
        """
        checked_text("a comment", text)
        subjects.check_subject(self._context, subject)
        with self._context.store.write() as session:
            return requests.comment(session, self._context.actor, subject, text)

    def comments(self, subject: str) -> list[Comment]:
        """Return what was said about a subject, oldest first."""
        with self._context.store.read() as session:
            return requests.comments(session, subject)

    # Origins

    def lineage(self, subject: str | ModelVersion | Deployment | Answer | Prediction) -> Node:
        """Return where something comes from: an answer, a deployment, or a model version.

        Args:
            subject: or its name: "digits/2", "image-search/digits-v2", or an answer's query id.
        Raises:
            AnswerNotFound, DeploymentNotFound, ModelNotFound: nothing of that name is recorded.
        """
        if isinstance(subject, ModelVersion):
            return self._version_node(subject)
        if isinstance(subject, Deployment):
            return self._deployment_node(subject.endpoint, subject.name)
        if not isinstance(subject, str):
            return self._answer_node(subject.query_id)
        first, _, last = subject.rpartition("/")
        if not first:
            return self._answer_node(subject)
        with self._context.store.read() as session:
            is_endpoint = session.scalar(select(EndpointRow.id).where(EndpointRow.name == first)) is not None
        if is_endpoint and not (last.isdecimal() and first in self._context.models.list()):
            return self._deployment_node(first, last)
        return self._version_node(self._version(subject))

    def data(self) -> list[KnownData]:
        """Return the data that model versions were made from, the oldest first."""
        with self._context.store.read() as session:
            return data.all_data(session)

    def affected(self, digest: str) -> Affected:
        """Return what was made from data: versions, deployments, what they served and when, and live tests.

        Args:
            digest: of the data, the beginning of it, or a name that no other version has.
        Raises:
            DataNotFound: no such data is known.
            WorkspaceError: several versions of data are called so.
        """
        ledger_ = ledger.Ledger(self._context.store)
        with self._context.store.read() as session:
            cause = data.known_data(session, digest)
            names = session.scalars(select(EndpointRow.name)).all()
        history = {name: ledger_.history(name) for name in names}
        with self._context.store.read() as session:
            return lineage.affected(session, cause, history)

    def mark_data(self, digest: str, state: str, reason: str) -> Affected:
        """Say that data is "good", "bad" or "gone", and return what is affected by it.

        Raises:
            InvalidArgument: there is no such state, or the reason is empty.
            DataNotFound, WorkspaceError: see `affected`.
        """
        checked_text("reason", reason)
        actor = self._context.actor
        with self._context.store.write() as session:
            permits.check(session, actor, "data.mark", None, digest)
            known = data.mark(session, digest, state, reason)
            ledger.append(session, actor, "data.mark", None, known.digest, reason, {"state": state})
        return self.affected(known.digest)

    # Owners, cards and debt

    def own(self, endpoint: str, owner: str, reason: str = "") -> None:
        """Say who answers for an endpoint from now on.

        Raises:
            EndpointNotFound: there is no such endpoint.
            InvalidArgument: the owner's name is empty or too long.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        if not isinstance(owner, str) or not 1 <= len(owner) <= MAX_SUBJECT_LENGTH or not owner.isprintable():
            raise InvalidArgument(f"an owner is named in 1 to {MAX_SUBJECT_LENGTH} characters, not {owner!r:.300}")
        actor = self._context.actor
        with self._context.store.write() as session:
            row = session.scalar(select(EndpointRow).where(EndpointRow.name == endpoint).with_for_update())
            if row is None:
                known = session.scalars(select(EndpointRow.name))
                raise EndpointNotFound(f"there is no endpoint {endpoint!r} ({suggestion(endpoint, known)})")
            permits.check(session, actor, "endpoint.owner", row.environment, endpoint)
            evidence = {"owner": owner, "before": row.owner}
            row.owner = owner
            ledger.append(session, actor, "endpoint.owner", endpoint, endpoint, reason, evidence)

    def write_card(self, version: str | ModelVersion, /, **sections: str) -> None:
        """Write what only people know into a version's card.

        Args:
            sections: intended_use, limitations, ethical_considerations, caveats.
        Raises: InvalidArgument: there is no such section, or a text is empty.
        """
        for name, text in sections.items():
            if name not in SECTIONS:
                raise InvalidArgument(f"a card has no section {name!r}; it has: {', '.join(SECTIONS)}")
            checked_text(name, text)
        found = self._version(version)
        with self._context.store.write() as session:
            permits.check(session, self._context.actor, "comment", None, str(found))
            ledger.append(session, self._context.actor, "card.write", None, str(found), evidence=sections)
        self._context.models.tag(found, {f"{CARD_TAG}{name}": text for name, text in sections.items()})

    def card(self, version: str | ModelVersion) -> Card:
        """Return the model card of a version ("digits/2"): what is recorded of it, as Markdown."""
        found = self._version(version)
        with self._context.store.read() as session:
            return card(found, facts.of_card(session, found, ledger.Ledger(self._context.store)))

    def debt(self, limits: Limits | None = None) -> DebtReport:
        """Return what nobody looks after: models never deployed, champions that are stale or drifted, and more.

        Data is looked for where it was described: files on the machine that this runs on, collections in the
        database of the vector engine that the workspace uses now. Of collections elsewhere nothing is said.
        """
        models, vectors = self._context.models, self._context.vectors
        versions = [version for name in models.list() for version in models.versions(name)]
        there = frozenset(vectors.list_collections())

        def has_collection(name: str) -> bool:
            return name in there or bool(vectors.has_collection(name))  # an alias is not listed

        now = {one.digest: checked(one, self._engine, has_collection) for one in self.data()}
        jobs = facts.of_jobs(self._context)
        with self._context.store.read() as session:
            return find(
                facts.of_versions(session, versions, now),
                facts.of_deployments(session, versions, now, there),
                jobs,
                limits or Limits(),
                datetime.now(timezone.utc),
            )

    def _version(self, version: str | ModelVersion) -> ModelVersion:
        if isinstance(version, ModelVersion):
            return self._context.models.get(version.name, version.version)
        name, _, number = version.rpartition("/")
        if not name:
            raise InvalidArgument(f"name a version as in 'digits/2' or 'digits/champion', not {version!r}")
        return self._context.models.get(name, int(number) if number.isdecimal() else number)

    def _version_node(self, version: ModelVersion) -> Node:
        with self._context.store.read() as session:
            return lineage.of_version(session, version)

    def _deployment_node(self, endpoint: str, name: str) -> Node:
        with self._context.store.read() as session:
            row = lineage.deployment_row(session, endpoint, name)
            source = lineage.backfill_source(session, row)
        return lineage.of_deployment(row, endpoint, self._made_by(row), source)

    def _made_by(self, row: DeploymentRow) -> Node:
        try:
            return self._version_node(self._context.models.get(row.model_name, row.model_version))
        except ModelNotFound:
            with self._context.store.read() as session:
                return lineage.of_unregistered(session, row)

    def _answer_node(self, query_id: str) -> Node:
        with self._context.store.read() as session:
            found = lineage.answered_by(session, query_id)
        nodes = tuple(self._deployment_node(endpoint, name) for endpoint, name, _ in found)
        return Node("answer", query_id, {"at": found[0][2]}, nodes)

    def _decide(self, request_id: int, decision: str, comment: str) -> Request:
        with self._context.store.write() as session:
            return requests.decide(session, self._context.actor, request_id, decision, comment)

    def __repr__(self) -> str:
        return f"Governance({len(self.roles())} roles, {len(self.requests(open_only=True))} open requests)"

    def _repr_html_(self) -> str:
        granted = [
            {"principal": one.principal, "role": one.role, "environment": one.environment} for one in self.roles()
        ]
        asked = [
            {"id": one.id, "what": f"{one.kind} of {one.action} {one.subject}", "by": one.requested_by}
            for one in self.requests(open_only=True)
        ]
        return table(granted, title="Roles") + table(asked, title="Open requests")
