"""`roost livetest`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from roost.workspace import Workspace

START = ("image-search", "pca-v1", "--method", "interleave", "--seed", "1")


@pytest.fixture
def tested_path(roost, workspace_path):
    """A workspace with a live test of which 30 queries were counted, all won by the champion."""
    assert roost("livetest", "start", workspace_path, *START).exit_code == 0
    images = np.random.default_rng(3).random((30, 16), dtype=np.float32)
    with Workspace(workspace_path) as workspace:
        endpoint = workspace.endpoints.get("image-search")
        for image in images:
            answer = endpoint.search(image, limit=10)
            best = endpoint.search_vectors(
                workspace.models.load("pca", 2).embed(image[None]), endpoint.champion.fingerprint, limit=10
            )[0]
            shown = {hit.id for hit in answer.hits}
            # The gains of all results judge a query at once: it does not matter how long a slow machine takes.
            endpoint.feedback(answer.query_id, {next(hit.id for hit in best.hits if hit.id in shown): 1.0})
        assert endpoint.test.status().n_queries == 30
    return workspace_path


def test_start_status_and_stop(roost, workspace_path):
    options = ["--guardrail", "error_rate <= 0.2", "--deadline", "7d", "--margin", "0.02", "--json"]
    started = roost("livetest", "start", workspace_path, *START, *options)
    assert started.exit_code == 0, started.stderr
    found = json.loads(started.stdout)
    assert (found["state"], found["champion"], found["challenger"]) == ("running", "pca-v2", "pca-v1")
    again = roost("livetest", "start", workspace_path, *START)
    assert again.exit_code == 1 and "is running" in again.stderr
    assert "running, undecided" in roost("livetest", "status", workspace_path, "image-search").stdout
    stopped = roost("livetest", "stop", workspace_path, "image-search", "--reason", "enough", "--json")
    assert (json.loads(stopped.stdout)["state"], json.loads(stopped.stdout)["reason"]) == ("stopped", "enough")
    assert roost("livetest", "stop", workspace_path, "image-search").exit_code == 1
    (listed,) = json.loads(roost("livetest", "list", workspace_path, "--json").stdout)
    assert (listed["state"], listed["challengers"], listed["plan"]["margin"]) == ("stopped", ["pca-v1"], 0.02)
    assert "pca-v1" in roost("livetest", "list", workspace_path, "--endpoint", "image-search").stdout


def test_a_split_has_weights(roost, workspace_path):
    split = ["image-search", "pca-v1", "--method", "split", "--weight", "pca-v1=0.1", "--json"]
    started = roost("livetest", "start", workspace_path, *split)
    assert started.exit_code == 0, started.stderr
    (listed,) = json.loads(roost("livetest", "list", workspace_path, "--json").stdout)
    assert listed["plan"]["stages"] == [[0.0, {"pca-v1": 0.1}]]


def test_a_split_has_a_ramp(roost, workspace_path):
    split = ["livetest", "start", workspace_path, "image-search", "pca-v1", "--method", "split", "--ramp", "0=0.05"]
    both = roost(*split, "--weight", "pca-v1=0.1")
    assert both.exit_code == 2 and "not both" in both.stderr
    shrinking = roost(*split, "--ramp", "24h=0.01")
    assert shrinking.exit_code == 2 and "shrinks" in shrinking.stderr
    started = roost(*split, "--ramp", "24h=pca-v1:0.5")
    assert started.exit_code == 0, started.stderr
    (listed,) = json.loads(roost("livetest", "list", workspace_path, "--json").stdout)
    assert listed["plan"]["stages"] == [[0.0, {"pca-v1": 0.05}], [86400.0, {"pca-v1": 0.5}]]


def test_the_status_from_the_store_is_that_of_the_process(roost, tested_path):
    with Workspace(tested_path) as workspace:
        in_process = workspace.endpoints.get("image-search").test.status()
        result = roost("livetest", "status", tested_path, "image-search", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    for name in ("n_queries", "champion_wins", "challenger_wins", "ties", "p_value", "decision", "state"):
        assert found[name] == getattr(in_process, name)


def test_plot_draws_a_picture(roost, tested_path, tmp_path):
    result = roost("livetest", "plot", tested_path, "image-search", "--out", tmp_path / "a.png", "--json")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert roost("livetest", "plot", tested_path, "image-search", "--out", tmp_path / "a.gif").exit_code == 2


def test_promote_winners_is_said_for_an_endpoint(roost, workspace_path):
    refused = roost("livetest", "start", workspace_path, *START, "--on-win", "promote")
    assert refused.exit_code == 1 and "may not promote" in refused.stderr
    assert "may promote" in roost("livetest", "promote-winners", workspace_path, "image-search", "--allow").stdout
    assert roost("livetest", "start", workspace_path, *START, "--on-win", "promote").exit_code == 0
    forbidden = roost("livetest", "promote-winners", workspace_path, "image-search", "--forbid", "--json")
    assert json.loads(forbidden.stdout)["promote_winners"] is False


def test_what_is_not_there_is_an_error(roost, workspace_path):
    assert "has no live test" in roost("livetest", "status", workspace_path, "image-search").stderr
    assert "has no live test 7" in roost("livetest", "status", workspace_path, "image-search", "--test", "7").stderr
    assert "pca-v9" in roost("livetest", "start", workspace_path, "image-search", "pca-v9").stderr


def test_power_needs_no_workspace(roost):
    found = json.loads(roost("livetest", "power", "--effect", "0.1", "--json").stdout)
    assert found["unit"] == "queries" and found["expected"] <= found["enough"]
    split = roost("livetest", "power", "--effect", "0.1", "--method", "split", "--base-rate", "0.3")
    assert "users expected" in split.stdout
    assert roost("livetest", "power", "--effect", "0.1", "--method", "split").exit_code == 2
