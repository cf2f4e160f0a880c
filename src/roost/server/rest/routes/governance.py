"""Who may do what, who approved it, where things come from, and what nobody looks after."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.debt import DebtReport
from roost.lifecycle.governance.lineage import Affected, Node
from roost.lifecycle.governance.requests import Comment, Request
from roost.lifecycle.governance.roles import Grant
from roost.server.rest.answers import ApprovalRule, shown
from roost.server.rest.bodies import ApprovalRequest, Decision, MarkData, NewComment, ReviewRequest, RoleGrant, Rule
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Ws

router = APIRouter(prefix="/v1/governance", tags=["governance"], dependencies=CHANGES)


@router.get(
    "/roles",
    summary="List the roles",
    response_description="All, or those of one person.",
    responses=shows(list[Grant]),
)
def roles(ws: Ws, principal: str | None = None) -> Any:
    return shown(ws.governance.roles(principal))


@router.post(
    "/roles",
    summary="Give somebody a role",
    response_description="Their roles.",
    responses=shows(list[Grant]),
)
def grant(ws: Ws, body: RoleGrant) -> Any:
    ws.governance.grant(body.principal, body.role, body.environment)
    return shown(ws.governance.roles(body.principal))


@router.post(
    "/roles/revoke",
    summary="Take a role away",
    response_description="Their roles.",
    responses=shows(list[Grant]),
)
def revoke(ws: Ws, body: RoleGrant) -> Any:
    ws.governance.revoke(body.principal, body.role, body.environment)
    return shown(ws.governance.roles(body.principal))


@router.put(
    "/rules",
    summary="Let an action need approvals",
    response_description="The rule.",
    responses=shows(ApprovalRule),
)
def require(ws: Ws, body: Rule) -> Any:
    ws.governance.require(**body.given())
    return shown(ApprovalRule(**body.model_dump()))


@router.get(
    "/requests",
    summary="List the requests for approvals and reviews",
    response_description="Oldest first.",
    responses=shows(list[Request]),
)
def requests(ws: Ws, subject: str | None = None, open_only: bool = False) -> Any:
    return shown(ws.governance.requests(subject, open_only))


@router.post(
    "/requests",
    status_code=201,
    summary="Ask for an approval",
    response_description="The request.",
    responses=shows(Request, 201),
)
def request(ws: Ws, body: ApprovalRequest) -> Any:
    return shown(ws.governance.request(body.action, body.subject, body.reason))


@router.post(
    "/reviews",
    status_code=201,
    summary="Ask for a review",
    response_description="The request.",
    responses=shows(Request, 201),
)
def request_review(ws: Ws, body: ReviewRequest) -> Any:
    return shown(ws.governance.request_review(body.subject, body.reason, body.reviewer))


@router.post(
    "/requests/{request_id}/decision",
    summary="Approve a request, reject it, or ask for changes",
    response_description="The request.",
    responses=shows(Request),
)
def decide(ws: Ws, request_id: int, body: Decision) -> Any:
    deciding = {
        "approve": ws.governance.approve,
        "reject": ws.governance.reject,
        "request_changes": ws.governance.request_changes,
    }
    return shown(deciding[body.decision](request_id, body.comment))


@router.get(
    "/comments",
    summary="List what was said about a subject",
    response_description="Oldest first.",
    responses=shows(list[Comment]),
)
def comments(ws: Ws, subject: str) -> Any:
    return shown(ws.governance.comments(subject))


@router.post(
    "/comments",
    status_code=201,
    summary="Say something about a subject",
    response_description="The comment.",
    responses=shows(Comment, 201),
)
def comment(ws: Ws, body: NewComment) -> Any:
    return shown(ws.governance.comment(body.subject, body.text))


@router.get(
    "/lineage",
    summary="Say where an answer, a deployment or a version comes from",
    response_description="The subject, with what it was made from below it.",
    responses=shows(Node),
)
def lineage(ws: Ws, subject: str) -> Any:
    return shown(ws.governance.lineage(subject))


@router.get(
    "/data",
    summary="List the data that models were made from",
    response_description="The oldest first.",
    responses=shows(list[KnownData]),
)
def data(ws: Ws) -> Any:
    return shown(ws.governance.data())


@router.get(
    "/affected",
    summary="Say what was made from data",
    response_description="Versions, deployments, what they served and when, and live tests.",
    responses=shows(Affected),
)
def affected(ws: Ws, digest: str) -> Any:
    return shown(ws.governance.affected(digest))


@router.post(
    "/data/mark",
    summary="Say that data is good, bad or gone",
    response_description="What it affects.",
    responses=shows(Affected),
)
def mark_data(ws: Ws, body: MarkData) -> Any:
    return shown(ws.governance.mark_data(body.digest, body.state, body.reason))


@router.get(
    "/debt",
    summary="List what nobody looks after",
    response_description="The findings.",
    responses=shows(DebtReport),
)
def debt(ws: Ws) -> Any:
    return shown(ws.governance.debt())
