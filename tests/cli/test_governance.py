"""`roost role`, `approval`, `comment`, `data` and `debt`: all but the promotion while an application runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from roost.client import connect
from roost.lifecycle.models.data_versions import DataVersion
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.workspace import Workspace


def test_roles_are_granted_listed_and_revoked(roost, workspace_path):
    with Workspace(workspace_path):
        granted = roost(
            "role", "grant", workspace_path, "bob", "operator", "--environment", "staging", "--actor", "ann"
        )
        assert granted.exit_code == 0, granted.stderr
        roles = json.loads(roost("role", "list", workspace_path, "--json").stdout)
        assert {(one["principal"], one["role"], one["environment"]) for one in roles} == {
            ("ann", "admin", "*"),
            ("bob", "operator", "staging"),
        }
        refused = roost("role", "grant", workspace_path, "eve", "admin", "--actor", "bob")
        assert refused.exit_code == 1 and "bob" in refused.stderr
        where = ["--environment", "staging", "--actor", "ann", "--json"]
        assert json.loads(roost("role", "revoke", workspace_path, "bob", "operator", *where).stdout) == []
    assert "ann" in roost("role", "list", workspace_path, "--who", "ann").stdout
    assert roost("role", "grant", workspace_path, "bob", "king", "--actor", "ann").exit_code == 2


def test_an_action_needs_an_approval(roost, workspace_path):
    with Workspace(workspace_path):
        assert "needs 1 approvals" in roost("approval", "require", workspace_path, "rollback", "--actor", "ann").stdout
    rollback = ["rollback", workspace_path, "image-search", "--to", "pca-v1", "--reason", "worse", "--actor", "ann"]
    refused = roost(*rollback)
    assert refused.exit_code == 1
    whole = "`roost approval request WORKSPACE rollback image-search/pca-v1 --reason WHY`"
    assert whole in " ".join(refused.stderr.split())
    asked = ["rollback", "image-search/pca-v1", "--reason", "worse", "--actor", "ann", "--json"]
    request = json.loads(roost("approval", "request", workspace_path, *asked).stdout)
    approved = roost(
        "approval", "approve", workspace_path, request["id"], "--comment", "yes", "--actor", "bob", "--json"
    )
    assert json.loads(approved.stdout)["state"] == "approved"
    done = roost(*rollback)
    assert done.exit_code == 0, done.stderr
    (listed,) = json.loads(roost("approval", "list", workspace_path, "--json").stdout)
    assert listed["state"] == "used"
    assert json.loads(roost("approval", "list", workspace_path, "--open", "--json").stdout) == []


def test_an_endpoint_gets_an_owner(roost, workspace_path):
    def has_none():
        findings = json.loads(roost("debt", workspace_path, "--json").stdout)
        return ("unknown owner", "image-search/pca-v2") in {(one["kind"], one["subject"]) for one in findings}

    command = ["endpoint", "own", workspace_path, "image-search", "the search team", "--reason", "ada left"]
    assert has_none()
    assert "the search team answers for image-search" in roost(*command).stdout
    assert json.loads(roost(*command, "--json").stdout)["owner"] == "the search team"
    assert not has_none()


def test_reviews_are_asked_for_and_rejected(roost, workspace_path):
    review = ["pca/2", "--reason", "please look", "--reviewer", "bob", "--actor", "ann"]
    assert "please look" in roost("approval", "review", workspace_path, *review).stdout
    first = ["1", "--comment", "no card", "--changes", "--actor", "bob", "--json"]
    assert json.loads(roost("approval", "reject", workspace_path, *first).stdout)["state"] == "changes requested"
    final = roost("approval", "reject", workspace_path, "9", "--comment", "no", "--actor", "bob")
    assert final.exit_code == 1 and "9" in final.stderr
    assert roost("approval", "require", workspace_path, "promote", "--approvals", "0", "--json").exit_code == 0


def test_comments(roost, workspace_path):
    added = roost("comment", "add", workspace_path, "pca/2", "looks good", "--actor", "ann")
    assert "ann on pca/2: looks good" in added.stdout
    assert roost("comment", "add", workspace_path, "pca/2", " ", "--json").exit_code == 2
    (comment,) = json.loads(roost("comment", "list", workspace_path, "pca/2", "--json").stdout)
    assert (comment["actor"], comment["text"]) == ("ann", "looks good")
    assert "looks good" in roost("comment", "list", workspace_path, "pca/2").stdout


def test_bad_data_and_what_it_affects(roost, shop):
    (shop / "rows.txt").write_text("1\n")
    made = roost("model", "register", "new", "digits", "--from", "cli_shop:model", "--data", "rows.txt")
    assert made.exit_code == 0, made.stderr
    (data,) = json.loads(roost("data", "list", "new", "--json").stdout)
    assert "rows.txt" in roost("data", "list", "new").stdout
    digest = data["digest"][:16]
    affected = json.loads(roost("data", "affected", "new", digest, "--json").stdout)
    assert [one["version"] for one in affected["versions"]] == ["digits/1"]
    assert "digits/1" in roost("data", "affected", "new", digest).stdout
    marked = roost("data", "mark", "new", digest, "bad", "--reason", "mislabelled", "--json")
    assert json.loads(marked.stdout)["data"]["state"] == "bad"
    assert "is gone" in roost("data", "mark", "new", digest, "gone", "--reason", "deleted").stdout
    assert roost("data", "affected", "new", "sha256:00").exit_code == 1


@pytest.mark.parametrize(("severity", "status"), [("high", 0), ("medium", 1), ("low", 1)])
def test_debt_ends_with_1_where_it_is_as_bad(roost, workspace_path, severity, status):
    with Workspace(workspace_path):
        result = roost("debt", workspace_path, "--fail-on", severity, "--json")
    findings = json.loads(result.stdout)
    assert {one["severity"] for one in findings} >= {"medium"}
    assert "high" not in {one["severity"] for one in findings}
    assert result.exit_code == status


def test_debt_for_people(roost, workspace_path):
    assert "not watched" in roost("debt", workspace_path).stdout
    assert "takes high, medium, low" in roost("debt", workspace_path, "--fail-on", "awful").stderr
    assert "roost: " in roost("debt", f"sqlite:///{workspace_path}/store.db").stderr


def test_no_debt(roost, tmp_path):
    with Workspace(tmp_path / "new"):
        pass
    assert "no debt was found" in roost("debt", tmp_path / "new", "--fail-on", "low").stdout


def test_debt_looks_for_collections_beside_a_running_application(roost, tmp_path):
    with Workspace(tmp_path / "new") as workspace:
        workspace.vectors.create_collection("rows", dimension=2)
        workspace.vectors.create_alias("rows", "rows_now")
        data = workspace.data.describe("rows_now")
        rng = np.random.default_rng(3)
        model = SklearnEmbedder(PCA(2).fit(rng.random((9, 4), dtype=np.float32)))
        workspace.models.register("pca", model, data=data, owner="ann")
        assert "no debt was found" in roost("debt", tmp_path / "new").stdout
        workspace.vectors.drop_alias("rows_now")
        workspace.vectors.drop_collection("rows")
        findings = json.loads(roost("debt", tmp_path / "new", "--json").stdout)
    assert [one["kind"] for one in findings] == ["data is gone"]
    assert "there is no collection 'rows_now'" in findings[0]["evidence"]


def _register(workspace, data):
    rng = np.random.default_rng(3)
    model = SklearnEmbedder(PCA(2).fit(rng.random((9, 4), dtype=np.float32)))
    workspace.models.register("pca", model, data=data, owner="ann")


def test_debt_does_not_look_for_collections_of_another_database(roost, tmp_path):
    with connect(tmp_path / "new" / "vectors.roost") as client:
        client.create_database("prod")
    with Workspace(tmp_path / "new", db_name="prod") as workspace:
        workspace.vectors.create_collection("rows", dimension=2)
        _register(workspace, workspace.data.describe("rows"))
    assert "no debt was found" in roost("debt", tmp_path / "new").stdout
    with Workspace(tmp_path / "new", db_name="prod") as workspace:
        workspace.vectors.drop_collection("rows")
        assert [one.kind for one in workspace.governance.debt().findings] == ["data is gone"]


@pytest.mark.parametrize(
    ("asked", "recorded", "kinds"),
    [
        ("http://u:hunter2@milvus:19530", "http://milvus:19530#rows", ["data is gone"]),
        ("http://milvus:19530", "http://***@milvus:19530#rows", ["data is gone"]),
        ("http://milvus:19530/prod", "http://milvus:19530#prod/rows", ["data is gone"]),
        ("http://milvus:19530", "http://milvus:19530#prod/rows", []),
    ],
)
def test_debt_looks_for_collections_of_a_server(roost, tmp_path, monkeypatch, asked, recorded, kinds):
    with Workspace(tmp_path / "new") as workspace:
        _register(workspace, DataVersion("sha256:12", "collection", "rows", recorded, 3, "2026-01-31T00:00:00+00:00"))
    # An engine of this process answers for the server, which has no collection.
    monkeypatch.setattr("roost.client.connect", lambda uri, **options: connect(tmp_path / "server"))
    result = roost("debt", asked, "--store", tmp_path / "new", "--json")
    assert result.exit_code == 0, result.stderr
    findings = json.loads(result.stdout)
    assert [one["kind"] for one in findings] == kinds
    assert "hunter2" not in result.stdout
