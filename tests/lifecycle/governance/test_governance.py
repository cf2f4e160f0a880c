from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import update

from roost.errors import (
    ApprovalRequired,
    DeploymentNotFound,
    EndpointNotFound,
    InvalidArgument,
    InvalidTransition,
    ModelNotFound,
    PermissionDenied,
    RequestNotFound,
    RoleNotFound,
    SubjectNotFound,
)
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.governance_tables import RequestRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


class People:
    """The workspace, as several people act on it in turn."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __call__(self, actor: str) -> Workspace:
        self._workspace._context._actor = actor
        self._workspace.models._actor = actor
        return self._workspace


@pytest.fixture
def people(workspace: Workspace) -> People:
    return People(workspace)


def test_without_roles_everybody_may_do_everything(people: People, contested: SearchEndpoint) -> None:
    people("anybody")
    contested.promote("digits-v2", reason="better")
    assert people("anybody").governance.roles() == []


def test_the_first_grant_makes_its_granter_admin(people: People) -> None:
    people("ann").governance.grant("bob", "viewer")
    assert {(one.principal, one.role, one.environment) for one in people("ann").governance.roles()} == {
        ("ann", "admin", "*"),
        ("bob", "viewer", "*"),
    }
    with pytest.raises(PermissionDenied, match=r"'bob' has viewer in \*"):
        people("bob").governance.grant("bob", "admin")


def test_a_grant_in_one_environment_does_not_make_its_granter_powerless(people: People) -> None:
    people("ann").governance.grant("bob", "operator", "staging")
    people("ann").governance.grant("carl", "viewer")


def test_the_last_admin_stays(people: People) -> None:
    governance = people("ann").governance
    governance.grant("ann", "admin")
    with pytest.raises(InvalidTransition, match="only admin"):
        governance.revoke("ann", "admin")
    governance.grant("bob", "admin")
    governance.revoke("ann", "admin")
    with pytest.raises(RoleNotFound, match="no role"):
        people("bob").governance.revoke("ann", "admin")


def test_roles_are_enforced_where_state_changes(
    people: People, contested: SearchEndpoint, strong: ModelVersion, digits: Digits
) -> None:
    people("ann").governance.grant("dev", "developer")
    people("ann").governance.grant("ops", "operator", "production")
    people("ann").governance.grant("eve", "viewer")

    people("eve")
    with pytest.raises(PermissionDenied):
        contested.deploy(strong, digits.records(), name="mine")
    with pytest.raises(PermissionDenied):
        contested.start_test("digits-v2")
    with pytest.raises(PermissionDenied):
        people("eve").models.register("digits", digits.embedder(8))
    people("dev")
    with pytest.raises(PermissionDenied, match="one of: operator, admin"):
        contested.promote("digits-v2", reason="mine is better")
    assert contested.champion is not None
    assert contested.champion.name == "digits-v1", "nothing was changed"
    people("ops")
    contested.promote("digits-v2", reason="better")
    contested.rollback(reason="not so much better")
    with pytest.raises(PermissionDenied):
        people("stranger").endpoints.create("another")


def test_a_role_in_one_environment_does_not_reach_another(people: People, workspace: Workspace, place: Place) -> None:
    people("ann").governance.grant("ops", "operator", "staging")
    people("ops")
    workspace.endpoints.create(place.endpoint, environment="staging")
    with pytest.raises(PermissionDenied, match="in production"):
        workspace.endpoints.create(place.endpoint)


def test_a_promotion_waits_for_its_approval(people: People, contested: SearchEndpoint) -> None:
    subject = f"{contested.name}/digits-v2"
    people("ann").governance.require("promote", "production")
    with pytest.raises(ApprovalRequired, match=r"governance\.request"):
        contested.promote("digits-v2", reason="better")

    request = people("ann").governance.request("promote", subject, "it won its test")
    with pytest.raises(PermissionDenied, match="own, and promote needs the approval of others"):
        people("ann").governance.approve(request.id)
    with pytest.raises(ApprovalRequired, match="somebody else"):
        contested.promote("digits-v2", reason="better")
    approved = people("bob").governance.approve(request.id, "I looked at it")
    assert approved.state == "approved"
    people("ann")
    contested.promote("digits-v2", reason="better")

    (used,) = people("ann").governance.requests(subject)
    assert used.state == "used"
    assert [(one.actor, one.comment) for one in used.decisions] == [("bob", "I looked at it")]
    contested.rollback(reason="another look")
    with pytest.raises(ApprovalRequired):
        contested.promote("digits-v2", reason="an approval is good once")
    people("ann").ledger.verify()


def test_a_rejected_request_stays_so(people: People, contested: SearchEndpoint) -> None:
    people("ann").governance.require("promote")
    request = people("ann").governance.request("promote", f"{contested.name}/digits-v2", "better")
    people("bob").governance.reject(request.id, "the labels are wrong")
    with pytest.raises(InvalidTransition, match="is rejected"):
        people("carl").governance.approve(request.id)
    with pytest.raises(ApprovalRequired):
        contested.promote("digits-v2", reason="better")


def test_as_many_people_as_were_asked_for_approve(people: People, contested: SearchEndpoint) -> None:
    people("ann").governance.require("promote", "production", n_approvals=2)
    request = people("ann").governance.request("promote", f"{contested.name}/digits-v2", "better")
    assert people("bob").governance.approve(request.id).state == "open"
    assert people("bob").governance.approve(request.id).state == "open", "one person counts once"
    assert people("carl").governance.approve(request.id).state == "approved"
    contested.promote("digits-v2", reason="better")


def test_an_approval_is_for_what_was_there(
    people: People, contested: SearchEndpoint, strong: ModelVersion, digits: Digits
) -> None:
    people("ann").governance.require("promote")
    subject = f"{contested.name}/digits-v2"
    request = people("ann").governance.request("promote", subject, "better")
    people("bob").governance.approve(request.id)
    with people("ann")._context.store.write() as session:
        session.execute(update(RequestRow).values(binding="sha256:of another seal"))
    with pytest.raises(ApprovalRequired):
        contested.promote("digits-v2", reason="better")


def test_an_approval_expires(people: People, contested: SearchEndpoint) -> None:
    people("ann").governance.require("promote", expires_hours=1.0)
    request = people("ann").governance.request("promote", f"{contested.name}/digits-v2", "better")
    people("bob").governance.approve(request.id)
    with people("ann")._context.store.write() as session:
        asked = utc_text(datetime.now(timezone.utc) - timedelta(hours=2))
        session.execute(update(RequestRow).values(requested_at=asked))
    with pytest.raises(ApprovalRequired):
        contested.promote("digits-v2", reason="better")


def test_a_rule_can_be_lifted_for_one_environment(people: People, contested: SearchEndpoint) -> None:
    people("ann").governance.require("promote")
    people("ann").governance.require("promote", "production", n_approvals=0)
    contested.promote("digits-v2", reason="better")


def test_only_approvers_approve(people: People, contested: SearchEndpoint) -> None:
    governance = people("ann").governance
    governance.grant("dev", "developer")
    governance.grant("app", "approver")
    request = people("dev").governance.request("promote", f"{contested.name}/digits-v2", "better")
    with pytest.raises(PermissionDenied):
        people("dev").governance.approve(request.id)
    people("app").governance.approve(request.id)


def test_a_review_is_asked_for_and_given(people: People, weak: ModelVersion) -> None:
    request = people("ann").governance.request_review("digits/1", "is it fair?", reviewer="bob")
    with pytest.raises(PermissionDenied, match="asks 'bob'"):
        people("carl").governance.approve(request.id)
    changed = people("bob").governance.request_changes(request.id, "measure it by class")
    assert changed.state == "changes requested"
    assert people("ann").governance.requests(open_only=True) == []


def test_comments_are_kept_in_their_order(people: People, weak: ModelVersion) -> None:
    people("ann").governance.comment("digits/1", "four dimensions are few")
    people("bob").governance.comment("digits/1", "they are enough for a demo")
    said = people("ann").governance.comments("digits/1")
    assert [(one.actor, one.text) for one in said] == [
        ("ann", "four dimensions are few"),
        ("bob", "they are enough for a demo"),
    ]
    assert "comment" in [entry.action for entry in people("ann").ledger.entries()]


def test_who_asks_may_approve_where_the_rule_says_so(people: People, contested: SearchEndpoint) -> None:
    governance = people("ann").governance
    governance.require("promote", by_others=False)
    request = governance.request("promote", f"{contested.name}/digits-v2", "better")
    assert governance.approve(request.id).state == "approved"


def test_what_somebody_speaks_of_is_there(people: People, contested: SearchEndpoint) -> None:
    governance = people("ann").governance
    for there in ("digits", "digits/1", contested.name, f"{contested.name}/digits-v2"):
        governance.comment(there, "seen")
    wrong: list[tuple[str, type[Exception], str]] = [
        ("digits/9", ModelNotFound, "no version 9"),
        ("digit/1", SubjectNotFound, "did you mean 'digits'"),
        ("digit", SubjectNotFound, "did you mean 'digits'"),
        (f"{contested.name}/digits-v9", DeploymentNotFound, "did you mean 'digits-v"),
    ]
    for subject, error, message in wrong:
        with pytest.raises(error, match=message):
            governance.comment(subject, "seen")
        with pytest.raises(error, match=message):
            governance.request_review(subject, "is it fair?")
    for subject in (f"{contested.name}/digits-v9", "digits/1", contested.name):
        with pytest.raises(DeploymentNotFound):
            governance.request("promote", subject, "better")
    assert governance.request("deploy", f"{contested.name}/digits-v9", "it is not there yet").state == "open"


def test_what_is_shown_of_it(people: People) -> None:
    governance = people("ann").governance
    governance.grant("<b>", "viewer")
    governance.request("register", "digits", "why not")
    assert repr(governance) == "Governance(2 roles, 1 open requests)"
    assert "&lt;b&gt;" in governance._repr_html_()


def test_bad_arguments_are_refused(people: People) -> None:
    governance = people("ann").governance
    for wrong in (
        lambda: governance.grant("", "viewer"),
        lambda: governance.grant("bob", "king"),
        lambda: governance.require("promote", n_approvals=-1),
        lambda: governance.require("promote", expires_hours=0),
        lambda: governance.require(" "),
        lambda: governance.require("promot"),
        lambda: governance.require("write"),
        lambda: governance.request("approve", "e/d", "why"),
        lambda: governance.write_card("digits/1", **{"version": "2"}),
        lambda: governance.request("promote", "e/d", ""),
        lambda: governance.request("promote", "", "why"),
        lambda: governance.comment("digits/1", " "),
        lambda: governance.comment("digits/1\n", "text"),
        lambda: governance.reject(1, ""),
    ):
        with pytest.raises(InvalidArgument):
            wrong()
    with pytest.raises(RequestNotFound, match="no request 7"):
        governance.approve(7)


def test_an_endpoint_gets_an_owner_later(people: People, contested: SearchEndpoint) -> None:
    governance = people("ann").governance
    name = contested.name
    assert contested.owner is None
    governance.own(name, "the search team", reason="ann left")
    assert contested.owner == "the search team"
    entry = people("ann").ledger.entries(name)[-1]
    assert (entry.action, entry.subject, entry.reason) == ("endpoint.owner", name, "ann left")
    assert entry.evidence == {"owner": "the search team", "before": None}
    with pytest.raises(EndpointNotFound, match="there is no endpoint 'nowhere'"):
        governance.own("nowhere", "ann")
    for wrong in ("", "a\nb", "x" * 300):
        with pytest.raises(InvalidArgument, match="an owner is named"):
            governance.own(name, wrong)
    governance.grant("eve", "developer")
    with pytest.raises(PermissionDenied):
        people("eve").governance.own(name, "eve")


def test_an_approval_is_asked_for_by_a_whole_command(people: People, contested: SearchEndpoint) -> None:
    people("ann").governance.require("promote")
    people("ann").governance.require("role.grant")
    command = f"`roost approval request WORKSPACE promote {contested.name}/digits-v2 --reason WHY`"
    with pytest.raises(ApprovalRequired, match=re.escape(command)):
        contested.promote("digits-v2", reason="better")
    with pytest.raises(ApprovalRequired, match=r"WORKSPACE role\.grant 'Eve Adams' --reason WHY"):
        people("ann").governance.grant("Eve Adams", "viewer")
