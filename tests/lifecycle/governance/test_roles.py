from __future__ import annotations

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.governance.roles import ROLES, allows, check_role, may, who_may


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


def test_an_unknown_role_is_refused() -> None:
    assert check_role("viewer") == "viewer"
    with pytest.raises(InvalidArgument, match="viewer, developer"):
        check_role("root")
