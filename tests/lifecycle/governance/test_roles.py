from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.governance.roles import (
    APPROVABLE,
    ROLES,
    allows,
    check_approvable,
    check_role,
    may,
    who_may,
)

PERMITS = {"check", "_permit"}
WORDS = re.compile(r"[a-z]+(\.[a-z]+)?")


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("register", {"developer", "operator", "admin"}),
        ("deploy", {"developer", "operator", "admin"}),
        ("test.start", {"developer", "operator", "admin"}),
        ("promote", {"operator", "admin"}),
        ("rollback", {"operator", "admin"}),
        ("retire", {"operator", "admin"}),
        ("approve", {"approver", "admin"}),
        ("comment", {"developer", "operator", "approver", "admin"}),
        ("request", {"developer", "operator", "approver", "admin"}),
        ("role.grant", {"admin"}),
        ("approval.require", {"admin"}),
        ("something.new", {"operator", "admin"}),
    ],
)
def test_which_roles_allow_an_action(action: str, allowed: set[str]) -> None:
    assert {role for role in ROLES if allows(role, action)} == allowed
    assert set(who_may(action)) == allowed


def test_a_role_counts_in_its_environment() -> None:
    staging = [("operator", "staging")]
    assert may(staging, "promote", "staging")
    assert not may(staging, "promote", "production")
    assert may([("operator", "*")], "promote", "production")
    assert not may([], "promote", "staging")


def test_what_belongs_to_no_environment_needs_a_role_in_any() -> None:
    assert may([("developer", "staging")], "register", None)
    assert not may([("viewer", "*")], "register", None)


def test_what_concerns_all_environments_needs_an_admin_of_all() -> None:
    assert not may([("admin", "staging")], "role.grant", None)
    assert may([("admin", "staging")], "role.grant", "staging")
    assert may([("admin", "*")], "role.grant", None)


def test_every_action_that_asks_for_a_permit_can_need_approvals() -> None:
    asked = set()
    for file in (Path(__file__).parents[3] / "src" / "roost").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PERMITS:
                asked |= {one.value for one in node.args if isinstance(one, ast.Constant) and _is_word(one.value)}
    assert asked >= {"deploy", "retire", "monitor.watch", "retrain.cancel"}
    assert asked - {"request", "approve", "comment"} <= APPROVABLE


def _is_word(value: object) -> bool:
    return isinstance(value, str) and WORDS.fullmatch(value) is not None


def test_an_action_that_nobody_does_cannot_need_approvals() -> None:
    assert check_approvable("promote") == "promote"
    with pytest.raises(InvalidArgument, match=r"no action 'promot' can need approvals \(did you mean 'promote'"):
        check_approvable("promot")


def test_an_unknown_role_is_refused() -> None:
    assert check_role("viewer") == "viewer"
    with pytest.raises(InvalidArgument, match="viewer, developer"):
        check_role("root")
