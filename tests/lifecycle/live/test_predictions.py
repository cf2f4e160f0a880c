"""Live tests of endpoints that predict: split and shadow, with the truth fed back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from roost.errors import InvalidArgument
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


@pytest.fixture
def reading(place: Place, workspace: Workspace, digits: Digits) -> PredictEndpoint:
    """A classifier that saw 4 pixels is champion; one that saw all is ready."""
    endpoint: PredictEndpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    images, labels = digits.images[:600] / 16, digits.labels[:600]
    poor = LogisticRegression(max_iter=2000).fit(images * (np.arange(64) % 16 == 3), labels)
    good = LogisticRegression(max_iter=2000).fit(images, labels)
    for number, model in enumerate((poor, good), start=1):
        endpoint.deploy(workspace.models.register("reader", SklearnPredictor(model)))
        if number == 1:
            endpoint.promote("reader-v1", "first")
    return endpoint


@pytest.mark.parametrize("method", ["split", "shadow"])
def test_the_better_classifier_wins_by_the_truth(reading: PredictEndpoint, digits: Digits, method: Any) -> None:
    test = reading.start_test("reader-v2", method=method, metric="label", seed=1)
    for position in range(600, 1700):
        [prediction] = reading.predict(digits.images[position : position + 1] / 16)
        assert prediction.test_id == test.id
        assert prediction.deployment in (("reader-v1",) if method == "shadow" else ("reader-v1", "reader-v2"))
        assert reading.feedback(prediction.query_id, digits.labels[position])
        if position % 20 == 0:
            assert test.drain()
        if not test.running or test.complete:
            break
    assert test.drain()
    test.tend()
    result = test.result
    assert result is not None and result.decision == "challenger"
    agreement = result.arms[1].agreement
    assert (agreement is not None and 0.0 < agreement < 1.0) if method == "shadow" else agreement is None


def test_a_split_of_predictions_is_sticky(reading: PredictEndpoint, digits: Digits) -> None:
    reading.start_test("reader-v2", method="split", metric="label", seed=1)
    rows = digits.images[600:605] / 16
    by_user = {}
    for user in ("ann", "bob", "carl", "dora", "emil", "fred"):
        by_user[user] = {prediction.deployment for prediction in reading.predict(rows, user=user)}
        assert len(by_user[user]) == 1
        assert {prediction.deployment for prediction in reading.predict(rows, user=user)} == by_user[user]
    assert len(set(map(tuple, by_user.values()))) == 2
    values = [prediction.value for prediction in reading.predict(digits.images[600:640] / 16)]
    assert len(values) == 40


def test_predictions_are_not_interleaved_and_labels_are_needed(reading: PredictEndpoint, digits: Digits) -> None:
    with pytest.raises(InvalidArgument, match="use one of split, shadow"):
        reading.start_test("reader-v2")
    [prediction] = reading.predict(digits.images[:1] / 16)
    with pytest.raises(InvalidArgument, match="right class"):
        reading.feedback(prediction.query_id)
    assert reading.feedback(prediction.query_id, value=1.0, kind="click")
    assert reading.feedback("of-another-day", 3) is False


def test_a_label_is_one_of_the_classes(reading: PredictEndpoint, digits: Digits) -> None:
    test = reading.start_test("reader-v2", method="shadow", metric="label", seed=1)
    [prediction] = reading.predict(digits.images[600:601] / 16)
    for wrong in ("seven", 11, 0.5):
        with pytest.raises(InvalidArgument, match="none of the classes"):
            reading.feedback(prediction.query_id, wrong)
    assert test.status().n_queries == 0
    assert reading.feedback(prediction.query_id, "7") and reading.feedback(prediction.query_id, np.int64(7))


@pytest.mark.parametrize("method", ["split", "shadow"])
def test_the_better_regression_wins_by_the_true_values(place: Place, workspace: Workspace, method: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2500, 4))
    truth = rows @ np.array([1.0, 2.0, 3.0, 4.0]) + rng.normal(size=2500)
    endpoint: PredictEndpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="regression")
    poor = LinearRegression().fit(rows[:500] * [1, 0, 0, 0], truth[:500])
    good = LinearRegression().fit(rows[:500], truth[:500])
    for model in (poor, good):
        deployment = endpoint.deploy(workspace.models.register("price", SklearnPredictor(model)))
        if endpoint.champion is None:
            endpoint.promote(deployment, "first")
    test = endpoint.start_test("price-v2", method=method, metric="label", seed=1)
    for start in range(500, 2500, 20):
        batch = slice(start, start + 20)
        for prediction, value in zip(endpoint.predict(rows[batch]), truth[batch], strict=True):
            endpoint.feedback(prediction.query_id, value)
        assert test.drain()
        if not test.running or test.complete:
            break
    test.tend()
    assert test.result is not None and test.result.decision == "challenger"
    with pytest.raises(InvalidArgument, match="true value"):
        endpoint.feedback("q", "much")
