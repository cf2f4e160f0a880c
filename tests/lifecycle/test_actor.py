from __future__ import annotations

import contextvars
import threading

import pytest

from roost.errors import InvalidArgument, PermissionDenied
from roost.lifecycle.actor import acting, acting_as, check_actor
from roost.workspace import Workspace


def test_a_block_acts_as_somebody_and_ends() -> None:
    assert acting("own") == "own"
    with acting_as("ann"):
        assert acting("own") == "ann"
        with acting_as("bob"):
            assert acting("own") == "bob"
        with acting_as(None):
            assert acting("own") == "own"
        assert acting("own") == "ann"
    with pytest.raises(RuntimeError), acting_as("ann"):
        raise RuntimeError
    assert acting("own") == "own"


def test_a_thread_acts_as_the_workspace_unless_it_is_given_the_context() -> None:
    found: list[str] = []
    with acting_as("ann"):
        context = contextvars.copy_context()
        for target in (lambda: found.append(acting("own")), lambda: found.append(context.run(acting, "own"))):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert found == ["own", "ann"]


@pytest.mark.parametrize("actor", ["", "a\nb", "x" * 256, 3])
def test_a_name_that_is_none_is_refused(actor: object) -> None:
    with pytest.raises(InvalidArgument, match="actor"):
        check_actor(actor)


def test_what_a_block_changes_is_somebodys_doing(workspace: Workspace) -> None:
    with workspace.acting_as("ann"):
        workspace.endpoints.create("of-ann")
        assert workspace.models.list() == []
    workspace.endpoints.create("of-nobody")
    assert [entry.actor for entry in workspace.ledger.entries()] == ["ann", "tester"]


def test_roles_are_asked_for_without_a_change(workspace: Workspace) -> None:
    governance = workspace.governance
    governance.check("write", "image-search", "production")
    governance.grant("ann", "viewer")
    governance.grant("bob", "developer", "staging")
    n_entries = len(workspace.ledger.entries())
    governance.check("write", "image-search", "production")
    with workspace.acting_as("ann"), pytest.raises(PermissionDenied, match="'ann' has viewer"):
        governance.check("write", "image-search", "production")
    with workspace.acting_as("bob"):
        governance.check("write", "image-search", "staging")
        with pytest.raises(PermissionDenied, match="may not write image-search in production"):
            governance.check("write", "image-search", "production")
    assert len(workspace.ledger.entries()) == n_entries
