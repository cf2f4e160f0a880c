"""The roles, and which actions each allows: one table, and pure functions over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from roost.errors import InvalidArgument
from roost.lifecycle.names import suggestion

EVERYWHERE = "*"
"""In the place of an environment's name: all of them."""

VIEWER, DEVELOPER, OPERATOR, APPROVER, ADMIN = "viewer", "developer", "operator", "approver", "admin"
ROLES = (VIEWER, DEVELOPER, OPERATOR, APPROVER, ADMIN)

_DEVELOPERS = frozenset(
    {
        "register",
        "endpoint.create",
        "draft",
        "deploy",
        "bridge",
        "test.start",
        "test.stop",
        "retrain",
        "retrain.register",
        "retrain.enable",
        "retrain.disable",
        "retrain.remove",
        "retrain.cancel",
        "monitor.watch",
        "monitor.unwatch",
        "monitor.baseline",
        "data.mark",
        "write",
        "comment",
        "request",
    }
)
_APPROVERS = frozenset({"approve", "comment", "request"})
_ADMINS = frozenset({"role.grant", "role.revoke", "approval.require"})
_OPERATORS = frozenset(
    {
        "promote",
        "rollback",
        "retire",
        "purge",
        "endpoint.policy",
        "endpoint.owner",
        "monitor.retention",
        "monitor.clean",
    }
)

_TALK = frozenset({"write", "comment", "request", "approve"})
"""Traffic, and what an approval is itself made of."""

APPROVABLE = (_DEVELOPERS | _ADMINS | _OPERATORS) - _TALK
"""The actions that can need approvals: those that ask for them when they are done."""

ALLOWED: Mapping[str, frozenset[str]] = {
    VIEWER: frozenset(),
    DEVELOPER: _DEVELOPERS,
    APPROVER: _APPROVERS,
}
"""What each role allows that does not allow nearly everything. An operator may do everything that
is neither an approver's nor an admin's alone; an admin may do everything."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role of somebody in an environment.

    Attributes:
        environment: `*` is every environment.
    """

    principal: str
    role: str
    environment: str
    granted_by: str
    granted_at: str


def check_role(role: object) -> str:
    """Return the role. Raises: InvalidArgument: there is none of that name."""
    if role not in ROLES:
        raise InvalidArgument(f"there is no role {role!r}; use one of {', '.join(ROLES)}")
    return str(role)


def check_approvable(action: object) -> str:
    """Return the action. Raises: InvalidArgument: nothing that is done asks for approvals under that word."""
    if action not in APPROVABLE:
        raise InvalidArgument(f"no action {action!r} can need approvals ({suggestion(str(action), APPROVABLE)})")
    return str(action)


def allows(role: str, action: str) -> bool:
    """Return whether a role allows an action. One that no table names is an operator's."""
    if role == ADMIN:
        return True
    if role == OPERATOR:
        return action not in _ADMINS and (action not in _APPROVERS or action in _DEVELOPERS)
    return action in ALLOWED.get(role, frozenset())


def may(roles: Iterable[tuple[str, str]], action: str, environment: str | None) -> bool:
    """Return whether roles allow an action in an environment.

    Args:
        roles: role and environment of each grant of the actor.
        environment: None for what belongs to no environment, which a role in any of them allows;
            what concerns all environments, an admin's action, needs a role in all.
    """
    return any(
        allows(role, action) and (where in (EVERYWHERE, environment) or (environment is None and action not in _ADMINS))
        for role, where in roles
    )


def who_may(action: str) -> tuple[str, ...]:
    """Return the roles that allow an action, for a message."""
    return tuple(role for role in ROLES if allows(role, action))
