"""Whether an actor may change something now. Every change of state asks inside its own transaction.

A workspace in which nobody was granted a role has one user, who may do everything. The actor is
whoever the process says that it is: what keeps people apart who can reach the store itself is the
database's own access control.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta, timezone

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from roost.errors import ApprovalRequired, PermissionDenied
from roost.lifecycle.governance import roles
from roost.lifecycle.governance.roles import EVERYWHERE
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.governance_tables import ApprovalRuleRow, DecisionRow, RequestRow, RoleRow
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

APPROVAL = "approval"
OPEN, APPROVED, REJECTED, USED = "open", "approved", "rejected", "used"


def check(session: Session, actor: str, action: str, environment: str | None, subject: str) -> None:
    """Let a change pass, or refuse it. An approval that lets it pass is used up in the same transaction.

    Args:
        action: the word under which the ledger will record it, as in "promote".
        environment: of the endpoint; None for what belongs to none.
        subject: what is changed, as in "image-search/digits-v2".
    Raises:
        PermissionDenied: the actor's roles do not allow the action there.
        ApprovalRequired: the action needs an approval there, and there is none that is good.
    """
    has_roles, has_rules = _governed(session, action)
    if has_roles:
        check_role(session, actor, action, environment, subject)
    rule = rule_for(session, action, environment) if has_rules else None
    if rule is None:
        return
    bound = binding(session, subject)
    query = (
        select(RequestRow)
        .where(RequestRow.kind == APPROVAL, RequestRow.action == action, RequestRow.subject == subject)
        .where(RequestRow.state.in_((OPEN, APPROVED)))
        .order_by(RequestRow.id.desc())
        .with_for_update()
    )
    for request in session.scalars(query):
        if request.binding == bound and not _is_expired(rule, request) and is_enough(session, rule, request):
            request.state, request.closed_at = USED, utc_now()
            return
    raise ApprovalRequired(
        f"{action} of {subject} in {environment or 'any environment'} needs {_n_approvals(rule)}, and there is none "
        f"that is still good: ask with governance.request({action!r}, {subject!r}, reason=...) or "
        f"`roost approval request WORKSPACE {action} {shlex.quote(subject)} --reason WHY`"
    )


def rule_for(session: Session, action: str, environment: str | None) -> ApprovalRuleRow | None:
    """Return how many approvals an action needs; the rule of the environment itself comes first."""
    places = [place for place in (environment, EVERYWHERE) if place is not None]
    query = select(ApprovalRuleRow).where(ApprovalRuleRow.action == action, ApprovalRuleRow.environment.in_(places))
    rules = {rule.environment: rule for rule in session.scalars(query)}
    rule = rules.get(environment or EVERYWHERE) or rules.get(EVERYWHERE)
    return rule if rule is not None and rule.n_approvals > 0 else None


def is_enough(session: Session, rule: ApprovalRuleRow, request: RequestRow) -> bool:
    """Return whether enough people approved a request and nobody rejected it."""
    decisions = session.scalars(select(DecisionRow).where(DecisionRow.request_id == request.id)).all()
    if any(decision.decision != "approve" for decision in decisions):
        return False
    approvers = {decision.actor for decision in decisions}
    if rule.by_others:
        approvers.discard(request.requested_by)
    return len(approvers) >= rule.n_approvals


def binding(session: Session, subject: str) -> str:
    """Return what a subject is now: the seal of a deployment, and nothing for what cannot change."""
    endpoint, _, deployment = subject.rpartition("/")
    query = (
        select(DeploymentRow)
        .join(EndpointRow, EndpointRow.id == DeploymentRow.endpoint_id)
        .where(EndpointRow.name == endpoint, DeploymentRow.name == deployment)
    )
    row = session.scalar(query)
    return "" if row is None else row.seal or row.fingerprint


def check_role(session: Session, actor: str, action: str, environment: str | None, subject: str) -> None:
    """Raise PermissionDenied where the actor's roles do not allow an action; approvals are not looked at."""
    if session.scalar(select(func.count()).select_from(RoleRow)) == 0:
        return
    own = session.execute(select(RoleRow.role, RoleRow.environment).where(RoleRow.principal == actor)).all()
    if not roles.may([(role, where) for role, where in own], action, environment):
        where = f" in {environment}" if environment is not None else ""
        has = ", ".join(f"{role} in {place}" for role, place in own) or "no role"
        raise PermissionDenied(
            f"{actor!r} has {has} and may not {action} {subject}{where}; that needs one of: "
            f"{', '.join(roles.who_may(action))}"
        )


def _governed(session: Session, action: str) -> tuple[bool, bool]:
    """Return whether anybody has a role, and whether there is a rule for an action anywhere.

    One statement, for it is asked while a promotion holds the store, and most workspaces have neither.
    """
    has_roles = select(RoleRow.role).exists()
    has_rules = select(ApprovalRuleRow.action).where(ApprovalRuleRow.action == action).exists()
    roles_found, rules_found = session.execute(select(has_roles, has_rules)).one()
    return bool(roles_found), bool(rules_found)


def _is_expired(rule: ApprovalRuleRow, request: RequestRow) -> bool:
    if rule.expires_hours is None:
        return False
    asked = datetime.fromisoformat(request.requested_at)
    return datetime.now(timezone.utc) > asked + timedelta(hours=rule.expires_hours)


def _n_approvals(rule: ApprovalRuleRow) -> str:
    others = " by somebody else than who asks" if rule.by_others else ""
    return ("an approval" if rule.n_approvals == 1 else f"{rule.n_approvals} approvals") + others
