"""`roost promote` and `roost rollback`."""

from __future__ import annotations

import json

from roost.workspace import Workspace


def test_rollback_and_promote_with_evidence_on_probation(roost, workspace_path):
    back = roost("rollback", workspace_path, "image-search", "--reason", "too many dimensions", "--actor", "eve")
    assert back.exit_code == 0, back.stderr
    assert "pca-v1 answers for image-search, before it pca-v2" in back.stdout
    options = ["--reason", "better", "--evidence", "precision=0.9", "--guardrail", "error_rate <= 0.01"]
    result = roost("promote", workspace_path, "image-search", "pca-v2", *options, "--probation-minutes", "5", "--json")
    assert result.exit_code == 0, result.stderr
    switch = json.loads(result.stdout)
    assert (switch["previous"], switch["champion"]) == ("pca-v1", "pca-v2")
    entries = json.loads(roost("ledger", "show", workspace_path, "--limit", "2", "--json").stdout)
    assert entries[0]["actor"] == "eve"
    assert entries[1]["evidence"]["precision"] == 0.9
    with Workspace(workspace_path) as workspace:
        assert workspace.endpoints.get("image-search").policy.probation["guardrails"] == ["error_rate <= 0.01"]


def test_rollback_to_a_named_deployment(roost, workspace_path):
    result = roost("rollback", workspace_path, "image-search", "--to", "pca-v1", "--reason", "worse", "--json")
    assert json.loads(result.stdout)["champion"] == "pca-v1"


def test_what_cannot_be_promoted_is_an_error(roost, workspace_path):
    for name, reason, status, said in (
        ("pca-v2", "again", 1, "champion already"),
        ("pca-v9", "new", 1, "pca-v9"),
        ("pca-v1", " ", 2, "reason"),
    ):
        result = roost("promote", workspace_path, "image-search", name, "--reason", reason)
        assert result.exit_code == status
        assert said in result.stderr, result.stderr
    rail = ["--reason", "new", "--guardrail", "speed < 3"]
    assert "not a guardrail" in roost("promote", workspace_path, "image-search", "pca-v1", *rail).stderr
    assert roost("promote", workspace_path, "image-search", "pca-v1").exit_code == 2
