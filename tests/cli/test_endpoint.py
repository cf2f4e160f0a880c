"""`roost endpoint`."""

from __future__ import annotations

import json

from roost.workspace import Workspace


def test_list_names_the_champion(roost, workspace_path):
    result = roost("endpoint", "list", workspace_path)
    assert result.exit_code == 0
    for word in ("image-search", "pca-v2", "pca/2", "L2", "a test"):
        assert word in result.stdout


def test_list_as_json(roost, workspace_path):
    endpoints = json.loads(roost("endpoint", "list", workspace_path, "--json").stdout)
    assert [(e["name"], e["champion"], e["model"], e["n_deployments"]) for e in endpoints] == [
        ("image-search", "pca-v2", "pca/2", 2)
    ]


def test_an_endpoint_without_a_champion_says_so(roost, workspace_path):
    with Workspace(workspace_path) as workspace:
        workspace.endpoints.create("new")
    endpoints = json.loads(roost("endpoint", "list", workspace_path, "--json").stdout)
    assert [(e["name"], e["champion"], e["model"]) for e in endpoints][-1] == ("new", None, None)
    assert "none" in roost("endpoint", "list", workspace_path).stdout


def test_show_lists_the_deployments(roost, workspace_path):
    result = roost("endpoint", "show", workspace_path, "image-search")
    assert result.exit_code == 0
    for word in ("pca-v1", "ready", "pca-v2", "serving", "HNSW"):
        assert word in result.stdout
    shown = json.loads(roost("endpoint", "show", workspace_path, "--json").stdout)
    for deployment in shown["deployments"]:
        assert deployment["fingerprint"].removeprefix("sha256:")[:12] in result.stdout


def test_show_needs_no_name_where_there_is_one_endpoint(roost, workspace_path):
    shown = json.loads(roost("endpoint", "show", workspace_path, "--json").stdout)
    assert shown["name"] == "image-search"
    assert shown["policy"]["promote_winners"] is False
    assert [(d["name"], d["state"], d["n_records"], d["dim"]) for d in shown["deployments"]] == [
        ("pca-v1", "ready", 120, 2),
        ("pca-v2", "serving", 120, 4),
    ]


def test_show_asks_for_a_name_where_there_are_two(roost, workspace_path):
    with Workspace(workspace_path) as workspace:
        workspace.endpoints.create("new")
    result = roost("endpoint", "show", workspace_path)
    assert result.exit_code == 1
    assert "image-search, new" in result.stderr


def test_an_unknown_endpoint_is_refused_with_those_that_are_there(roost, workspace_path):
    result = roost("endpoint", "show", workspace_path, "video-search")
    assert result.exit_code == 1
    assert "no endpoint 'video-search' (it has: image-search)" in result.stderr


def test_a_running_application_is_not_in_the_way(roost, workspace_path):
    with Workspace(workspace_path):
        assert roost("endpoint", "list", workspace_path).exit_code == 0
        assert roost("info", workspace_path).exit_code == 0


def test_nothing_is_broken_in_80_columns(roost, workspace_path):
    shown = roost("endpoint", "show", workspace_path, COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("serving", "ready", "HNSW"):
        assert word in shown


def test_create_makes_the_workspace(roost, tmp_path):
    options = ["--metric", "COSINE", "--environment", "staging", "--owner", "ann", "--text-key", "40", "--json"]
    result = roost("endpoint", "create", tmp_path / "new", "texts", *options)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["name"] == "texts@staging"
    (listed,) = json.loads(roost("endpoint", "list", tmp_path / "new", "--json").stdout)
    assert (listed["name"], listed["metric"]) == ("texts@staging", "COSINE")
    assert roost("endpoint", "create", tmp_path / "new", "p", "--kind", "predict").exit_code == 2
    with_metric = ["--kind", "predict", "--task", "regression", "--metric", "L2"]
    assert "no metric" in roost("endpoint", "create", tmp_path / "new", "p", *with_metric).stderr


def test_retire_and_purge(roost, workspace_path):
    kept = roost("endpoint", "keep-retired", workspace_path, "image-search", "2", "--json")
    assert json.loads(kept.stdout)["keep_retired"] == 2
    assert "all retired" in roost("endpoint", "keep-retired", workspace_path, "image-search", "all").stdout
    assert roost("endpoint", "keep-retired", workspace_path, "image-search", "some").exit_code == 2
    retired = roost("endpoint", "retire", workspace_path, "image-search", "pca-v1", "--reason", "old", "--json")
    assert json.loads(retired.stdout)["state"] == "retired"
    purged = roost("endpoint", "purge", workspace_path, "image-search", "pca-v1", "--reason", "space")
    assert "image-search/pca-v1 is purged" in purged.stdout
    refused = roost("endpoint", "retire", workspace_path, "image-search", "pca-v2", "--reason", "old")
    assert refused.exit_code == 1 and "is serving" in refused.stderr
