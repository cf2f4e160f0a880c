"""Which workspace a command works on."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from roost.cli.workspaces import changes
from roost.workspace import Workspace

HOLD = "import sys, roost; w = roost.Workspace(sys.argv[1]); print('open', flush=True); sys.stdin.read(); w.close()"


@pytest.fixture
def running_path(workspace_path):
    """A workspace that another process has open."""
    command = [sys.executable, "-c", HOLD, str(workspace_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        yield workspace_path
        process.stdin.close()


def test_the_vectors_of_a_running_application_are_its_own(roost, running_path):
    result = roost("promote", running_path, "image-search", "pca-v1", "--reason", "better")
    assert result.exit_code == 1
    assert "An application that has" in result.stderr
    assert "Traceback" not in result.stderr
    commands = [("model", "list"), ("debt",), ("role", "list"), ("backfill", "list"), ("livetest", "list")]
    for words in [*commands, ("monitor", "alerts"), ("retrain", "list"), ("data", "list"), ("approval", "list")]:
        assert roost(*words, running_path).exit_code == 0, words


@pytest.mark.parametrize(
    "command",
    [
        ("promote", "image-search", "pca-v1", "--reason", "x"),
        ("model", "list"),
        ("role", "grant", "bob", "viewer"),
        ("backfill", "list"),
    ],
)
def test_a_folder_that_is_no_workspace_stays_as_it_is(roost, tmp_path, command):
    words = list(command)
    words.insert(1 if words[0] == "promote" else 2, str(tmp_path))
    result = roost(*words)
    assert result.exit_code == 1
    assert "is not a workspace" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_needs_a_store(roost):
    for command in (("model", "list"), ("endpoint", "create")):
        rest = ("x",) if command[1] == "create" else ()
        result = roost(*command, "http://127.0.0.1:1", *rest)
        assert result.exit_code == 1
        assert "say where the rest is kept" in result.stderr


def test_the_store_may_be_named_apart_from_the_vectors(roost, workspace_path):
    with_folder = roost("model", "list", "http://127.0.0.1:1", "--store", workspace_path, "--json")
    with_url = roost("model", "list", f"sqlite:///{workspace_path}/store.db", "--json")
    assert with_folder.exit_code == 0, with_folder.stderr
    assert json.loads(with_folder.stdout) == json.loads(with_url.stdout)


def test_a_command_has_the_options_of_its_function_between_workspace_and_actor():
    @changes
    def command(workspace: Workspace, name: str, folder: Path | None = None) -> None:
        """Do it."""

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["workspace", "name", "folder", "store", "artifacts", "actor", "trust"]
    assert (parameters["name"].default, parameters["folder"].default) == (inspect.Parameter.empty, None)
    assert command.__doc__ == "Do it."
