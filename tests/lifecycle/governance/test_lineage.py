from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from roost.errors import (
    AnswerNotFound,
    DataNotFound,
    DeploymentNotFound,
    InvalidArgument,
    ModelNotFound,
    WorkspaceError,
)
from roost.lifecycle.backfill import ArraySource
from roost.lifecycle.governance.lineage import AffectedDeployment, AffectedVersion
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.plain import plain
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def test_an_answer_leads_to_its_deployment_version_run_code_and_data(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    data = workspace.data.describe(digits.images[:300], name="digits-may")
    with workspace.runs.start("pca") as run:
        version = workspace.models.register("digits", digits.embedder(4), run=run, data=data, owner="ann")
    source = ArraySource(digits.images[:60], keys=np.arange(60))
    empty_endpoint.promote(empty_endpoint.deploy(version, source), reason="first")
    answer = empty_endpoint.search(digits.images[7])
    workspace.flush_events()

    found = workspace.governance.lineage(answer)
    nodes = {(node.kind, node.name): node for node in found.walk()}
    subject = f"{empty_endpoint.name}/digits-v1"
    assert found.kind == "answer" and found.name == answer.query_id
    assert nodes["deployment", subject].facts["rows"] == 60
    assert nodes["version", "digits/1"].facts["owner"] == "ann"
    assert ("run", run.id) in nodes
    assert nodes["data", data.digest].facts["name"] == "digits-may"
    assert nodes["data", "arrays"].facts["for"] == "backfill"
    if version.code is not None:
        assert ("code", version.code) in nodes

    assert workspace.governance.lineage(answer.query_id) == found
    deployment = workspace.governance.lineage(subject)
    assert found.origins == (deployment,)
    assert workspace.governance.lineage(empty_endpoint.deployment("digits-v1")) == deployment
    assert deployment.origins[0] == workspace.governance.lineage("digits/1") == workspace.governance.lineage(version)
    assert f"    version digits/1 (fingerprint {version.fingerprint}" in str(found)
    assert "digits-may" in found._repr_html_()
    json.dumps(found.to_dict())


def test_a_prediction_leads_to_its_data(place: Place, workspace: Workspace, digits: Digits) -> None:
    rows, labels = digits.images[:200] / 16, digits.labels[:200]
    data = workspace.data.describe(rows, name="scans")
    model = SklearnPredictor(LogisticRegression(max_iter=2000).fit(rows, labels))
    version = workspace.models.register("reader", model, data=data)
    reader = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    reader.promote(reader.deploy(version), reason="first")
    (prediction,) = reader.predict(rows[:1])
    workspace.flush_events()
    found = workspace.governance.lineage(prediction)
    assert [node.kind for node in found.walk() if node.kind != "code"] == ["answer", "deployment", "version", "data"]
    assert "collection" not in found.origins[0].facts


def test_a_version_that_the_registry_lost_is_named_by_its_deployment(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    data = workspace.data.describe(digits.images[:300], name="may")
    version = workspace.models.register("digits", digits.embedder(4), data=data)
    empty_endpoint.deploy(version, digits.records(0, 20))
    workspace._tracking.client.delete_model_version("digits", "1")
    made_by = workspace.governance.lineage(f"{empty_endpoint.name}/digits-v1").origins[0]
    assert (made_by.name, made_by.facts["registered"]) == ("digits/1", "not any more")
    assert [node.name for node in made_by.origins] == [data.digest]


def test_what_is_not_known_is_refused_by_name(workspace: Workspace, endpoint: SearchEndpoint) -> None:
    lineage = workspace.governance.lineage
    with pytest.raises(AnswerNotFound, match=r"no answer 'nothing' was recorded.*flush_events"):
        lineage("nothing")
    with pytest.raises(DeploymentNotFound, match="no deployment 'digits-v9'"):
        lineage(f"{endpoint.name}/digits-v9")
    with pytest.raises(ModelNotFound):
        lineage("digits/9")
    with pytest.raises(ModelNotFound):
        lineage("nowhere/1")
    for wrong in ("", "sha256:00"):
        with pytest.raises(DataNotFound, match="no data"):
            workspace.governance.affected(wrong)


def test_data_that_is_given_twice_is_used_once(workspace: Workspace, digits: Digits) -> None:
    one, same = (workspace.data.describe(digits.images[:20], name=name) for name in ("may", "all of may"))
    workspace.models.register("digits", digits.embedder(4), data=[one, same])
    assert workspace.governance.affected(one.digest).versions == (AffectedVersion("digits/1", "train"),)


def test_bad_data_leads_to_everything_that_was_made_from_it(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    endpoint, governance = empty_endpoint, workspace.governance
    bad = workspace.data.describe(digits.images[:100], name="may")
    good = workspace.data.describe(digits.images[100:200], name="june")
    first = workspace.models.register("digits", digits.embedder(4), data=[bad, good])
    second = workspace.models.register("digits", digits.embedder(8), data=good)
    endpoint.promote(endpoint.deploy(first, digits.records(0, 60)), reason="first")
    endpoint.deploy(second, digits.records(0, 60))
    test = endpoint.start_test("digits-v2")
    endpoint.promote("digits-v2", reason="better")

    found = governance.affected(bad.digest[:20])
    name = endpoint.name
    assert found.versions == (AffectedVersion("digits/1", "train"),)
    assert found.deployments == (AffectedDeployment(name, "digits-v1", "digits/1", "ready"),)
    assert [(one.deployment, one.until is not None) for one in found.periods] == [("digits-v1", True)]
    assert (found.serving, found.tests) == ((), (test.id,))
    assert governance.affected(good.digest).serving == (name,)
    assert governance.affected(good.name) == governance.affected(good.digest)

    marked = governance.mark_data(bad.digest, "bad", reason="exchanged labels")
    assert (marked.data.state, marked.data.reason) == ("bad", "exchanged labels")
    assert "digits-v1 from" in str(marked) and "is bad" in str(marked)
    assert "digits-v1" in marked._repr_html_()
    shown = json.loads(json.dumps(plain(marked)))
    assert shown["versions"] == [{"version": "digits/1", "role": "train"}]
    assert (shown["data"]["digest"], shown["periods"][0]["deployment"]) == (bad.digest, "digits-v1")
    facts = {node.name: node.facts for node in governance.lineage("digits/1").walk()}
    assert facts[bad.digest]["state"] == "bad" and "state" not in facts[good.digest]
    entry = workspace.ledger.entries()[-1]
    assert (entry.action, entry.subject, entry.reason) == ("data.mark", bad.digest, "exchanged labels")
    for state, reason in (("rotten", "why"), ("bad", " ")):
        with pytest.raises(InvalidArgument):
            governance.mark_data(bad.digest, state, reason=reason)
    with pytest.raises(WorkspaceError, match="2 versions of data"):
        governance.mark_data("sha256:", "bad", reason="all of it")
