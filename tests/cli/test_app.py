"""The command line as a whole: help, version, exit statuses, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

import roost as package
from roost.cli.app import app
from roost.errors import Corruption


def commands(group=None, prefix=()):
    """Return every command and every group, as the words that call it."""
    group = group or typer.main.get_command(app)
    found = [prefix]
    for name, command in group.commands.items():
        words = (*prefix, name)
        found += commands(command, words) if hasattr(command, "commands") else [words]
    return found


COMMANDS = commands()


def find(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return command


GROUPS = {
    "": "demo info check load deploy promote rollback debt serve",
    "model": "list versions show card write-card lineage register",
    "endpoint": "list show create retire purge keep-retired own",
    "backfill": "list show rejected estimate pause resume cancel",
    "livetest": "list status start stop promote-winners power plot",
    "monitor": "watch unwatch status report history alerts check",
    "retrain": "list register run check history enable disable cancel remove",
    "ledger": "verify show at history",
    "role": "grant revoke list",
    "approval": "require request review approve reject list",
    "comment": "add list",
    "data": "list affected mark",
}


def test_these_are_the_commands():
    named = {f"{group} {word}".strip() for group, words in GROUPS.items() for word in words.split()}
    assert {" ".join(words) for words in COMMANDS} == {*GROUPS, *named}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(roost, words):
    result = roost(*words, "--help")
    assert result.exit_code == 0
    assert "Usage: roost" in result.stdout
    command = find(words)
    assert command.help
    assert command.help.splitlines()[0].rstrip().endswith(".")
    assert [p.name for p in command.params if p.param_type_name == "option" and not p.help] == []


ANSWERING = [words for words in COMMANDS if not hasattr(find(words), "commands") and words != ("serve",)]
"""What ends with a result; a server does not."""


@pytest.mark.parametrize("words", ANSWERING, ids=" ".join)
def test_every_command_speaks_json(words):
    assert "--json" in [option for param in find(words).params for option in param.opts]


def test_the_version_is_the_packages(roost):
    result = roost("--version")
    assert (result.exit_code, result.stdout) == (0, f"roost {package.__version__}\n")


def test_without_a_command_there_is_help(roost):
    assert "Commands" in roost().output


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["info"], ["demo", "--data", "cats"], ["ledger", "show", "x", "--limit", "0"], ["--no-such-option"]],
)
def test_a_wrong_call_ends_with_2_and_says_why(roost, arguments):
    result = roost(*arguments)
    assert result.exit_code == 2
    assert "Usage: roost" in result.stderr
    assert "Traceback" not in result.output


def test_an_error_is_one_line_and_the_exit_status_1(roost, tmp_path):
    result = roost("info", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("roost: ")
    assert "is not there" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["debt", "--fail-on", "hihg"],
        ["deploy", "image-search", "pca/1"],
        ["ledger", "at", "image-search", "yesterday"],
        ["endpoint", "create", "new", "--kind", "serach"],
        ["livetest", "start", "image-search", "pca-v1", "--method", "splitt"],
    ],
)
def test_a_value_that_is_never_allowed_ends_with_2(roost, workspace_path, arguments):
    at = 1 if arguments[0] in ("debt", "deploy") else 2
    result = roost(*arguments[:at], workspace_path, *arguments[at:])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("roost: ") and result.stderr.count("\n") == 1


def test_power_takes_only_the_methods_there_are(roost):
    assert roost("livetest", "power", "--effect", "0.1", "--method", "splitt").exit_code == 2


def test_debug_shows_the_traceback(roost, tmp_path):
    result = roost("--debug", "info", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "DatabaseNotFound"


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail


def test_an_error_of_the_operating_system_is_one_line(roost, monkeypatch):
    monkeypatch.setattr("roost.cli.info.describe", failing(PermissionError(13, "Permission denied", "x.roost")))
    result = roost("info", "x.roost")
    assert result.exit_code == 1
    assert result.stderr == "roost: [Errno 13] Permission denied: 'x.roost'\n"


def test_a_message_of_many_lines_becomes_one(roost, monkeypatch):
    monkeypatch.setattr("roost.cli.info.describe", failing(Corruption("segment 3\n   is [damaged]")))
    assert roost("info", "x.roost").stderr == "roost: segment 3 is [damaged]\n"


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), BrokenPipeError()])
def test_a_defect_and_a_closed_pipe_are_not_dressed_up(roost, monkeypatch, error):
    monkeypatch.setattr("roost.cli.info.describe", failing(error))
    result = roost("info", "x.roost")
    assert "roost: " not in result.stderr


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(Path(package.__file__).parents[1])},
    )


def test_python_m_roost_is_roost():
    done = run_python("-m", "roost", "--help")
    assert done.returncode == 0
    assert "demo" in done.stdout
    assert done.stderr == ""


def test_the_command_line_and_the_workspace_mean_the_same_files():
    from roost import workspace
    from roost.cli import database, store

    assert (database.VECTORS_FOLDER, store.STORE_FILE) == (workspace._VECTORS, workspace._STORE)


def test_help_loads_nothing_heavy():
    heavy = ("numpy", "pymilvus", "pyarrow", "faiss", "mlflow", "sqlalchemy", "sklearn", "matplotlib", "pandas")
    done = run_python("-c", f"import sys, roost.cli; print([m for m in {heavy!r} if m in sys.modules])")
    assert done.stdout == "[]\n"
