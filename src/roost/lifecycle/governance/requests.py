"""Approvals, reviews and comments: what somebody asks for, and what others say to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import InvalidArgument, InvalidTransition, PermissionDenied, RequestNotFound
from roost.lifecycle import ledger
from roost.lifecycle.governance import permits
from roost.lifecycle.governance.permits import APPROVAL, APPROVED, OPEN, REJECTED
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.governance_tables import CommentRow, DecisionRow, RequestRow
from roost.lifecycle.store.tables import EndpointRow

REVIEW = "review"
CHANGES_REQUESTED = "changes requested"
DECISIONS: Mapping[str, str] = {"approve": APPROVED, "reject": REJECTED, "request changes": CHANGES_REQUESTED}
"""What somebody may say to a request, and the state that it brings a review to."""

MAX_TEXT_LENGTH = 20_000
MAX_SUBJECT_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person said to a request."""

    actor: str
    decision: str
    comment: str
    at: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request for an approval or a review.

    Attributes:
        kind: "approval" of an action, or "review" of a model version or a deployment.
        state: "open", "approved", "rejected", "changes requested", or "used" once the action was done.
        reviewer: who is asked; None for anybody who may approve.
    """

    id: int
    kind: str
    action: str
    subject: str
    environment: str | None
    reason: str
    reviewer: str | None
    requested_by: str
    requested_at: str
    state: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said about a subject."""

    subject: str
    actor: str
    text: str
    at: str


def ask(
    session: Session, actor: str, kind: str, action: str, subject: str, reason: str, reviewer: str | None
) -> Request:
    """Write a request.

    Raises: InvalidArgument: the reason or the subject is empty or too long.
    """
    checked_text("reason", reason)
    checked_subject(subject)
    environment = _environment(session, subject)
    permits.check(session, actor, "request", environment, subject)
    row = RequestRow(
        kind=kind,
        action=action,
        subject=subject,
        environment=environment,
        binding=permits.binding(session, subject),
        reason=reason,
        reviewer=reviewer,
        requested_by=actor,
        requested_at=utc_now(),
        state=OPEN,
    )
    session.add(row)
    session.flush()
    evidence = {"request": row.id, "action": action, "reviewer": reviewer}
    ledger.append(session, actor, f"{kind}.request", _endpoint(session, subject), subject, reason, evidence)
    return request_of(session, row)


def decide(session: Session, actor: str, request_id: int, decision: str, comment: str) -> Request:
    """Write what somebody says to a request. Who spoke before may change the mind while the request is open.

    Raises:
        RequestNotFound: there is no such request.
        InvalidTransition: it is closed.
        PermissionDenied: the actor may not approve there, or another one was asked; or it is the actor's own request.
    """
    if decision not in DECISIONS:
        raise InvalidArgument(f"a decision is one of {', '.join(DECISIONS)}, not {decision!r}")
    row = session.get(RequestRow, request_id, with_for_update=True)
    if row is None:
        raise RequestNotFound(f"there is no request {request_id}")
    if row.state not in (OPEN, APPROVED):
        raise InvalidTransition(f"request {request_id} is {row.state}: ask again")
    if row.reviewer is not None and row.reviewer != actor:
        raise PermissionDenied(f"request {request_id} asks {row.reviewer!r}, not {actor!r}")
    if row.kind == APPROVAL or row.reviewer is None:
        permits.check(session, actor, "approve", row.environment, row.subject)
    if decision == "approve" and row.kind == APPROVAL and actor == row.requested_by:
        _refuse_own(session, row)
    said = session.scalar(select(DecisionRow).where(DecisionRow.request_id == request_id, DecisionRow.actor == actor))
    if said is None:
        said = DecisionRow(request_id=request_id, actor=actor)
        session.add(said)
    said.decision, said.comment, said.at = decision, comment, utc_now()
    session.flush()
    row.state = _state(session, row, decision)
    if row.state not in (OPEN, APPROVED):
        row.closed_at = utc_now()
    evidence = {"request": row.id, "action": row.action, "state": row.state}
    name = f"{row.kind}.{decision.replace(' ', '_')}"
    ledger.append(session, actor, name, _endpoint(session, row.subject), row.subject, comment, evidence)
    return request_of(session, row)


def _refuse_own(session: Session, row: RequestRow) -> None:
    """Raise PermissionDenied where the approval of who asks would not count."""
    rule = permits.rule_for(session, row.action, row.environment)
    if rule is not None and rule.by_others:
        raise PermissionDenied(
            f"request {row.id} is {row.requested_by!r}'s own, and {row.action} needs the approval of others: somebody "
            "else has to approve it, or the rule is set with by_others=False"
        )


def comment(session: Session, actor: str, subject: str, text: str) -> Comment:
    """Write a comment. Raises: InvalidArgument: it is empty or too long."""
    checked_text("a comment", text)
    checked_subject(subject)
    permits.check(session, actor, "comment", _environment(session, subject), subject)
    row = CommentRow(subject=subject, actor=actor, text=text, at=utc_now())
    session.add(row)
    ledger.append(session, actor, "comment", _endpoint(session, subject), subject, text)
    return Comment(row.subject, row.actor, row.text, row.at)


def comments(session: Session, subject: str) -> list[Comment]:
    """Return the comments on a subject, oldest first."""
    rows = session.scalars(select(CommentRow).where(CommentRow.subject == subject).order_by(CommentRow.id))
    return [Comment(row.subject, row.actor, row.text, row.at) for row in rows]


def requests(session: Session, subject: str | None, open_only: bool) -> list[Request]:
    """Return the requests, oldest first."""
    query = select(RequestRow).order_by(RequestRow.id)
    if subject is not None:
        query = query.where(RequestRow.subject == subject)
    if open_only:
        query = query.where(RequestRow.state == OPEN)
    return [request_of(session, row) for row in session.scalars(query).all()]


def request_of(session: Session, row: RequestRow) -> Request:
    """Return a row as a value, with what was said to it."""
    said = session.scalars(select(DecisionRow).where(DecisionRow.request_id == row.id).order_by(DecisionRow.id))
    return Request(
        id=row.id,
        kind=row.kind,
        action=row.action,
        subject=row.subject,
        environment=row.environment,
        reason=row.reason,
        reviewer=row.reviewer,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        state=row.state,
        decisions=tuple(Decision(one.actor, one.decision, one.comment, one.at) for one in said),
    )


def checked_text(what: str, text: object) -> str:
    """Return the text. Raises: InvalidArgument: it is none, empty, or too long."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT_LENGTH:
        raise InvalidArgument(f"{what} must be a text of 1 to {MAX_TEXT_LENGTH} characters")
    return text


def checked_subject(subject: object) -> str:
    """Return the subject. Raises: InvalidArgument: it is none, empty, too long, or not printable."""
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise InvalidArgument(
            "a subject is named as in 'digits/2' (a model version) or 'image-search/digits-v2' (a deployment), "
            f"in at most {MAX_SUBJECT_LENGTH} characters; it is {subject!r:.300}"
        )
    return subject


def _state(session: Session, row: RequestRow, decision: str) -> str:
    if row.kind == REVIEW or decision != "approve":
        return DECISIONS[decision]
    rule = permits.rule_for(session, row.action, row.environment)
    return APPROVED if rule is None or permits.is_enough(session, rule, row) else OPEN


def _environment(session: Session, subject: str) -> str | None:
    name = _endpoint(session, subject)
    return session.scalar(select(EndpointRow.environment).where(EndpointRow.name == name)) if name else None


def _endpoint(session: Session, subject: str) -> str | None:
    """Return the endpoint that a subject belongs to; None for a model version."""
    name = subject.rpartition("/")[0] or subject
    return session.scalar(select(EndpointRow.name).where(EndpointRow.name == name))
