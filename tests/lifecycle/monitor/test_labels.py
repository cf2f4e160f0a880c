"""What labels say of predictions comes to the figures of the deployment that predicted, once for each label."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.report import Figures
from roost.lifecycle.monitor.rules import Rule
from roost.lifecycle.monitor.summary import Moments, Summary, metric, summarise
from roost.lifecycle.retrain.observed import last_windows
from roost.lifecycle.retrain.plan import Gate, MetricBelow, Plan
from roost.lifecycle.retrain.triggers import Facts, due
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint, Prediction
from roost.lifecycle.serving.tap import Labelled
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

QUIET: dict[str, Any] = {"window_s": 1e7, "drift_every_s": 0}


@pytest.fixture
def reading(place: Place, workspace: Workspace, digits: Digits) -> PredictEndpoint:
    """An endpoint with two deployments, which is watched."""
    endpoint: PredictEndpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    for n_rows in (100, 300):
        model = LogisticRegression(max_iter=500).fit(digits.images[:n_rows] / 16, digits.labels[:n_rows])
        endpoint.deploy(workspace.models.register("reader", SklearnPredictor(model)))
    endpoint.promote("reader-v1", reason="first")
    workspace.monitors.watch(endpoint.name, rules=[Rule("accuracy", "<", 0.5, severity="critical")], **QUIET)
    return endpoint


def label(endpoint: PredictEndpoint, answers: list[Prediction], n_right: int) -> None:
    """Label answers: the first so many as predicted, the others otherwise."""
    for position, answer in enumerate(answers):
        value = int(str(answer.value))
        assert endpoint.feedback(answer.query_id, value if position < n_right else (value + 1) % 10)


def figures(workspace: Workspace, endpoint: PredictEndpoint) -> dict[str, Figures]:
    return {one.deployment: one for one in workspace.monitors.report(endpoint.name).figures}


def test_labels_show_the_accuracy_of_each_deployment(
    workspace: Workspace, reading: PredictEndpoint, digits: Digits
) -> None:
    early = reading.predict(digits.images[400:420] / 16)
    label(reading, early[:10], 9)
    reading.promote("reader-v2", reason="better")
    label(reading, reading.predict(digits.images[400:404] / 16), 3)
    label(reading, early[10:], 9)
    seen = figures(workspace, reading)
    first, second = seen["reader-v1"], seen["reader-v2"]
    assert (first.metrics["labels"], first.metrics["accuracy"]) == (20.0, 0.9)
    assert (second.metrics["labels"], second.metrics["accuracy"]) == (4.0, 0.75)
    assert first.accuracy_interval == pytest.approx((0.68302, 0.98765), abs=1e-4)
    assert first.metrics["accuracy_upper"] == pytest.approx(0.98765, abs=1e-4)
    assert first.metrics["mean_absolute_error"] is None
    report = workspace.monitors.report(reading.name)
    assert "0.9 (95 %: 0.683 to 0.988, 20 labels)" in repr(report)
    assert json.loads(json.dumps(report.to_dict()))["deployments"][0]["accuracy_interval"] is not None
    [point] = workspace.monitors.history(reading.name, "accuracy", deployment="reader-v2")
    assert point.value == 0.75
    text = workspace.monitors.prometheus()
    of = f'{{deployment="reader-v2",endpoint="{reading.name}"}}'
    assert f"roost_endpoint_labels_total{of} 4.0" in text and f"roost_endpoint_accuracy{of} 0.75" in text


def test_a_label_counts_once_also_when_it_comes_late_or_to_another_process(
    place: Place, workspace: Workspace, reading: PredictEndpoint, digits: Digits
) -> None:
    answers = reading.predict(digits.images[400:410] / 16)
    for _ in range(3):
        label(reading, answers[:4], 2)
    assert reading.feedback("0" * 32, 3) is False
    assert figures(workspace, reading)["reader-v1"].metrics["labels"] == 4.0
    workspace.close()
    with place.open() as again:
        same: PredictEndpoint = again.endpoints.get(place.endpoint)
        label(same, answers[:6], 2)
        seen = figures(again, same)["reader-v1"].metrics
    assert seen["labels"] == 6.0 and seen["accuracy"] == pytest.approx(2 / 6)


def test_a_low_accuracy_raises_an_alert_and_starts_a_retraining(
    workspace: Workspace, reading: PredictEndpoint, digits: Digits
) -> None:
    floor = MetricBelow("accuracy", 0.5, n_windows=1)
    gate = Gate("accuracy", at_least=0.8)
    plan = Plan("again", reading.name, "reader", "recipes:train", "recipes:evaluate", gate, triggers=(floor,))

    def reason() -> str | None:
        windows = last_windows(workspace._context.store, reading.name, "reader-v1", "accuracy", 1)
        now = datetime.now(timezone.utc)
        return due(plan, Facts(now, now, metrics={"accuracy": windows}))

    label(reading, reading.predict(digits.images[400:405] / 16), 3)
    assert workspace.monitors.check_now(reading.name) == [] and reason() is None
    label(reading, reading.predict(digits.images[400:405] / 16), 2)
    [alert] = workspace.monitors.check_now(reading.name)
    assert (alert.metric, alert.value, alert.deployment) == ("accuracy", 0.4, "reader-v1")
    assert reason() == "accuracy is below 0.5: 0.4 in the last windows"


def test_labels_after_a_promotion_are_in_the_history_and_alert_nobody(
    workspace: Workspace, reading: PredictEndpoint, digits: Digits
) -> None:
    told: list[Alert] = []
    workspace.monitors.subscribe(told.append)
    early = reading.predict(digits.images[400:415] / 16)
    reading.promote("reader-v2", reason="better")
    for start in (0, 5, 10):
        label(reading, early[start : start + 5], 0)
        assert workspace.monitors.check_now(reading.name) == []
    assert told == [] and workspace.monitors.alerts(reading.name) == []
    points = workspace.monitors.history(reading.name, "accuracy", deployment="reader-v1")
    assert [point.value for point in points] == [0.0, 0.0, 0.0]
    assert figures(workspace, reading)["reader-v1"].metrics["labels"] == 15.0
    label(reading, reading.predict(digits.images[400:405] / 16), 0)
    [alert] = workspace.monitors.check_now(reading.name)
    assert alert.deployment == "reader-v2" and alert.is_open and [one.id for one in told] == [alert.id]


def test_labels_of_numbers_show_the_mean_absolute_error(place: Place, workspace: Workspace, digits: Digits) -> None:
    line = LinearRegression().fit(digits.images[:200], digits.labels[:200])
    endpoint: PredictEndpoint = workspace.endpoints.create(place.endpoint, kind="predict", task="regression")
    endpoint.promote(endpoint.deploy(workspace.models.register("line", SklearnPredictor(line))), reason="first")
    workspace.monitors.watch(endpoint.name, rules=["mean_absolute_error > 1"], **QUIET)
    for answer, error in zip(endpoint.predict(digits.images[300:303]), (0.5, -2.0, 3.5), strict=True):
        assert endpoint.feedback(answer.query_id, float(str(answer.value)) + error)
    [alert] = workspace.monitors.check_now(endpoint.name)
    seen = figures(workspace, endpoint)["line-v1"]
    assert seen.metrics["mean_absolute_error"] == pytest.approx(2.0) == alert.value
    assert (seen.metrics["labels"], seen.metrics["accuracy"], seen.accuracy_interval) == (3.0, None, None)
    assert "mean_absolute_error" in repr(workspace.monitors.report(endpoint.name))
    assert "roost_endpoint_mean_absolute_error{" in workspace.monitors.prometheus()


def test_summaries_of_labels_add_up_and_are_read_back() -> None:
    right, wrong = Labelled("v1", is_right=True), Labelled("v1", is_right=False)
    first = summarise([right, wrong, right], {})["v1"]
    both = Summary.from_json((first + summarise([wrong], {})["v1"]).to_json())
    assert both.right == Moments(4, 2.0, 2.0) and not both.is_empty
    assert metric(both, "accuracy", 60.0) == 0.5


@pytest.mark.parametrize("error", [1e200, np.inf])
def test_a_label_that_is_absurdly_far_off_is_left_out(error: float) -> None:
    labels = [Labelled("v1", absolute_error=1.0), Labelled("v1", absolute_error=error)]
    summary = Summary.from_json(summarise(labels, {})["v1"].to_json())
    assert metric(summary, "mean_absolute_error", 60.0) == 1.0
