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
    assert "ask it over REST" in result.stderr and "read_only" not in result.stderr
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


def test_a_model_is_registered_beside_a_running_application(roost, running_path, shop):
    told = ("--from", "cli_shop:model", "--data", "cli_shop.py", "--json")
    result = roost("model", "register", running_path, "digits", *told)
    assert result.exit_code == 0, result.stderr
    registered = json.loads(result.stdout)
    assert (registered["version"], registered["data"][0]["kind"]) == (1, "file")
    shown = json.loads(roost("endpoint", "show", running_path, "--json").stdout)
    collection = shown["deployments"][0]["collection"]
    described = roost("model", "register", running_path, "digits", "--from", "cli_shop:model", "--data", collection)
    assert described.exit_code == 0, described.stderr
    assert json.loads(roost("model", "list", running_path, "--json").stdout)[0]["name"] == "digits"


def test_a_model_needs_a_folder_for_its_files(roost, tmp_path, shop):
    told = ("digits", "--from", "cli_shop:model")
    refused = roost("model", "register", f"sqlite:///{tmp_path}/store.db", *told)
    assert refused.exit_code == 2
    assert "--artifacts FOLDER" in refused.stderr
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    foreign = roost("model", "register", tmp_path / "thesis", *told)
    assert foreign.exit_code == 2
    assert "holds other things" in foreign.stderr


def test_a_server_needs_a_store(roost):
    for command in (("model", "list"), ("endpoint", "create")):
        rest = ("x",) if command[1] == "create" else ()
        result = roost(*command, "http://127.0.0.1:1", *rest)
        assert result.exit_code == 2
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
