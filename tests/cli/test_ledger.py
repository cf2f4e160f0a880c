"""`roost ledger`."""

from __future__ import annotations

import json
import sqlite3

import pytest

from roost.lifecycle.ledger import Ledger
from roost.lifecycle.store import Store


def test_a_whole_ledger_verifies(roost, workspace_path):
    result = roost("ledger", "verify", workspace_path)
    assert result.exit_code == 0
    assert "the chain is whole" in result.stdout


def test_verify_gives_the_head_to_keep_elsewhere(roost, workspace_path):
    store = Store(f"sqlite:///{workspace_path / 'store.db'}")
    n_entries, head = Ledger(store).head
    store.close()
    result = roost("ledger", "verify", workspace_path, "--json")
    assert json.loads(result.stdout) == {"n_entries": n_entries, "head": head}


def test_a_database_url_is_as_good_as_a_folder(roost, workspace_path):
    assert roost("ledger", "verify", f"sqlite:///{workspace_path / 'store.db'}").exit_code == 0


def test_an_altered_entry_is_named(roost, workspace_path):
    connection = sqlite3.connect(workspace_path / "store.db")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute("UPDATE roost_ledger SET actor = 'eve' WHERE seq = 2")
    connection.commit()
    connection.close()
    result = roost("ledger", "verify", workspace_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("roost: ledger row 2 was altered")


def test_show_lists_who_did_what(roost, workspace_path):
    result = roost("ledger", "show", workspace_path)
    assert result.exit_code == 0
    for word in ("ada", "promote", "pca-v2", "4 dimensions"):
        assert word in result.stdout


def test_show_can_be_narrowed(roost, workspace_path):
    every = json.loads(roost("ledger", "show", workspace_path, "--json").stdout)
    newest = json.loads(roost("ledger", "show", workspace_path, "--json", "--limit", 1).stdout)
    own = json.loads(roost("ledger", "show", workspace_path, "--json", "--endpoint", "image-search").stdout)
    assert [entry["seq"] for entry in every] == list(range(1, len(every) + 1))
    assert newest == every[-1:]
    assert own == [entry for entry in every if entry["endpoint"] == "image-search"]
    assert newest[0]["subject"] == "pca-v2"


@pytest.mark.parametrize(
    "words", [("ledger", "verify"), ("ledger", "show"), ("endpoint", "list"), ("endpoint", "show")]
)
def test_a_folder_that_is_no_workspace_is_refused_and_left_as_it_was(roost, tmp_path, words):
    result = roost(*words, tmp_path)
    assert result.exit_code == 1
    assert "is not a workspace" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_named(roost, tmp_path):
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to be taken for one" * 30)
    result = roost("ledger", "verify", tmp_path)
    assert result.exit_code == 1
    assert "store.db" in result.stderr


@pytest.mark.parametrize("columns", ["40", "200"])
def test_show_breaks_nothing_and_shortens_hashes(roost, workspace_path, columns):
    result = roost("ledger", "show", workspace_path, COLUMNS=columns)
    entries = json.loads(roost("ledger", "show", workspace_path, "--json").stdout)
    seal = next(entry["evidence"]["seal"] for entry in entries if entry["action"] == "ready")
    assert f"    seal: {seal.removeprefix('sha256:')[:12]}\n" in result.stdout
    assert seal not in result.stdout
    assert "promote pca-v2 of image-search" in result.stdout
    assert "    reason: 4 dimensions\n" in result.stdout
    assert sum(line.startswith("#") for line in result.stdout.splitlines()) == len(entries)


def test_at_says_what_was_in_production_and_why(roost, workspace_path):
    found = json.loads(roost("ledger", "at", workspace_path, "image-search", "2999-01-01", "--json").stdout)
    assert (found["deployment"], found["entry"]["reason"]) == ("pca-v2", "4 dimensions")
    assert "pca-v2 was in production" in roost("ledger", "at", workspace_path, "image-search", "2999-01-01").stdout
    before = roost("ledger", "at", workspace_path, "image-search", "1999-01-01")
    assert "image-search had no champion yet" in before.stdout
    assert roost("ledger", "at", workspace_path, "image-search", "yesterday").exit_code == 2
    assert "image-search" in roost("ledger", "at", workspace_path, "image-serach", "1999-01-01").stderr


def test_history_lists_the_champions(roost, workspace_path):
    periods = json.loads(roost("ledger", "history", workspace_path, "image-search", "--json").stdout)
    assert [(one["deployment"], one["model"]) for one in periods] == [("pca-v1", "pca/1"), ("pca-v2", "pca/2")]
    assert (periods[0]["until"], periods[1]["until"]) == (periods[1]["since"], None)
    assert "2 dimensions" in roost("ledger", "history", workspace_path, "image-search").stdout
