from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from roost.errors import AlreadyExists, InvalidArgument, InvalidData, InvalidTransition
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def classifier(digits: Digits, penalty: float, labels: slice = slice(None)) -> SklearnPredictor:
    images, found = digits.images[:400] / 16, digits.labels[:400]
    kept = np.isin(found, np.arange(10)[labels])
    return SklearnPredictor(LogisticRegression(C=penalty, max_iter=2000).fit(images[kept], found[kept]))


@pytest.fixture
def first(workspace: Workspace, digits: Digits) -> ModelVersion:
    return workspace.models.register("reader", classifier(digits, 0.01))


@pytest.fixture
def second(workspace: Workspace, first: ModelVersion, digits: Digits) -> ModelVersion:
    return workspace.models.register("reader", classifier(digits, 1.0))


@pytest.fixture
def reading(place: Place, workspace: Workspace, first: ModelVersion, digits: Digits) -> PredictEndpoint:
    endpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    endpoint.promote(endpoint.deploy(first, check=digits.images[:3]), reason="first")
    return endpoint


def test_a_prediction_names_its_deployment_and_its_model(
    reading: PredictEndpoint, digits: Digits, workspace: Workspace, first: ModelVersion
) -> None:
    rows = digits.images[400:420] / 16
    answers = reading.predict(rows, user="u1")
    expected = workspace.models.load(first).predict(rows)
    assert [answer.value for answer in answers] == expected.values.tolist()
    assert {(answer.endpoint, answer.deployment, answer.model_version) for answer in answers} == {
        (reading.name, "reader-v1", "reader/1")
    }
    assert len({answer.query_id for answer in answers}) == 20
    probabilities = answers[0].probabilities
    assert probabilities is not None and list(probabilities) == list(range(10))
    assert max(probabilities, key=lambda label: probabilities[label]) == answers[0].value
    assert reading.predict(rows[:0]) == []


def test_a_predictor_is_promoted_rolled_back_and_found_again(
    place: Place, reading: PredictEndpoint, workspace: Workspace, second: ModelVersion, digits: Digits
) -> None:
    deployed = reading.deploy(second)
    assert (deployed.state, deployed.dim, deployed.seal is not None) == (State.READY, 0, True)
    assert workspace.models.get("reader", "challenger").version == 2
    reading.promote(deployed, "better")
    assert reading.predict(digits.images[:1])[0].deployment == "reader-v2"
    assert workspace.models.get("reader", "champion").version == 2
    reading.retire("reader-v1", "replaced")
    reading.rollback("reader-v1", reason="worse")
    assert reading.predict(digits.images[:1])[0].model_version == "reader/1"
    workspace.close()
    with place.open() as reopened:
        assert reopened.endpoints.get(place.endpoint).predict(digits.images[:1])[0].deployment == "reader-v1"
        assert reopened.vectors.list_collections() == [] or place.uri
        reopened.ledger.verify()


def test_a_model_of_another_kind_or_task_is_refused(
    place: Place, reading: PredictEndpoint, workspace: Workspace, digits: Digits, first: ModelVersion
) -> None:
    embedder = workspace.models.register("digits", digits.embedder(4))
    line = LinearRegression().fit(digits.images[:100], digits.labels[:100])
    numbers = workspace.models.register("line", SklearnPredictor(line))
    n_entries = workspace.ledger.verify()
    with pytest.raises(InvalidArgument, match=r"gives vectors; endpoint .* needs a classification model"):
        reading.deploy(embedder)
    with pytest.raises(InvalidArgument, match=r"is a regression model; endpoint .* needs a classification model"):
        reading.deploy(numbers)
    search: SearchEndpoint = workspace.endpoints.create(f"{place.endpoint}-s")
    with pytest.raises(InvalidArgument, match=r"is a classification model; endpoint .* is searched"):
        search.deploy(first, digits.records())
    assert [deployment.name for deployment in reading.deployments()] == ["reader-v1"]
    assert search.deployments() == []
    assert workspace.ledger.verify() == n_entries + 1
    regression = workspace.endpoints.create(f"{place.endpoint}-r", kind="predict", task="regression")
    regression.promote(regression.deploy(numbers), "first")
    answer = regression.predict(digits.images[:1])[0]
    assert isinstance(answer.value, float) and answer.probabilities is None
    for wrong in (True, np.True_, float("nan"), 10**400, "many"):
        with pytest.raises(InvalidArgument, match="is the right class or the true value"):
            regression.feedback(answer.query_id, wrong)
    workspace.flush_events()
    assert regression.feedback(answer.query_id, 3) and regression.feedback(answer.query_id, np.float32(3.5))


def test_other_classes_than_the_champion_s_are_refused_unless_allowed(
    reading: PredictEndpoint, workspace: Workspace, digits: Digits
) -> None:
    few = workspace.models.register("few", classifier(digits, 1.0, slice(0, 5)))
    with pytest.raises(InvalidTransition, match="allow_other_classes=True"):
        reading.deploy(few)
    reading.promote(reading.deploy(few, allow_other_classes=True), "five are enough")
    assert reading.predict(digits.images[:1])[0].deployment == "few-v1"
    with pytest.raises(InvalidTransition, match="'reader-v1' predicts the classes"):
        reading.rollback(reason="worse")
    assert reading.champion is not None and reading.champion.name == "few-v1"


def test_rows_that_a_model_cannot_take_are_refused(
    reading: PredictEndpoint, second: ModelVersion, digits: Digits
) -> None:
    with pytest.raises(InvalidData):
        reading.deploy(second, check=[[1.0, 2.0]])
    with pytest.raises(InvalidData):
        reading.predict([[1.0, 2.0]])
    with pytest.raises(AlreadyExists):
        reading.deploy(second, name="reader-v1")
    assert [deployment.name for deployment in reading.deployments()] == ["reader-v1"]


def test_a_predictor_may_be_a_draft_first(reading: PredictEndpoint, second: ModelVersion) -> None:
    draft = reading.draft(second, owner="ann")
    with pytest.raises(InvalidTransition, match="draft"):
        reading.promote(draft, "better")
    deployed = reading.deploy(draft)
    assert (deployed.state, deployed.owner) == (State.READY, "ann")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "predict"}, "needs a task"),
        ({"kind": "predict", "task": "ranking"}, "needs a task"),
        ({"kind": "predict", "task": "regression", "metric": "L2"}, "stores no records"),
        ({"kind": "guess"}, "use search or predict"),
        ({"task": "regression"}, "a search endpoint has no task"),
    ],
)
def test_what_an_endpoint_cannot_be_is_refused(workspace: Workspace, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        workspace.endpoints.create("reading", **arguments)  # type: ignore[call-overload]
    assert workspace.endpoints.list() == []
