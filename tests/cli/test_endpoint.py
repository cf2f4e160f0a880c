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
