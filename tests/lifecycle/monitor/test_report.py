from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from roost.errors import InvalidArgument
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.monitor.histogram import Histogram
from roost.lifecycle.monitor.report import Report
from roost.lifecycle.monitor.summary import Span, Summary
from roost.workspace import Workspace

from ..conftest import Digits, Place

START_S = 1_700_000_000.0


def report(*spans: Span) -> Report:
    return Report("shop", "2023-11-14T22:13:20", "2023-11-14T22:20:00", (), (), spans)


def span(deployment: str, minute: int, latency_s: float) -> Span:
    start = START_S + 60 * minute
    summary = Summary(n_requests=1, n_queries=1, latency=Histogram.of([latency_s]))
    return Span(deployment, start, start + 60, summary)


def test_a_plot_has_a_line_for_each_deployment(tmp_path: Any) -> None:
    shown = report(span("v1", 0, 0.010), span("v2", 1, 0.050), span("v1", 3, 0.020))
    figure = shown.plot()
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"v1", "v2"}
    assert lines["v1"].get_xdata().tolist() == [0.0, 3.0]
    assert lines["v1"].get_ydata() == pytest.approx([10.0, 20.0], rel=0.05)
    assert lines["v2"].get_xdata().tolist() == [1.0]
    assert axes.get_ylabel() == "latency_p95_ms"
    figure.savefig(tmp_path / "latency.png")
    assert (tmp_path / "latency.png").stat().st_size > 1000


def test_a_plot_of_nothing_is_empty_and_an_unknown_figure_is_refused() -> None:
    assert len(report().plot("requests").axes[0].lines) == 0
    with pytest.raises(InvalidArgument):
        report().plot("happiness")


def test_predictions_come_to_their_window(place: Place, workspace: Workspace, digits: Digits) -> None:
    rows, labels = digits.images[:200] / 16, digits.labels[:200]
    model = SklearnPredictor(LogisticRegression(max_iter=500).fit(rows, labels))
    reader = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    reader.promote(reader.deploy(workspace.models.register("reader", model)), reason="first")
    workspace.monitors.watch(reader.name, rules=[], window_s=1e7)
    answers = reader.predict(digits.images[200:230] / 16)
    reader.predict(digits.images[:1] / 16)
    reader.feedback(answers[0].query_id, value=1.0, kind="click")
    workspace.monitors.check_now(reader.name)
    (figures,) = workspace.monitors.report(reader.name).figures
    seen = figures.metrics
    assert (figures.deployment, seen["requests"], seen["errors"]) == ("reader-v1", 2, 0)
    shares = {name: value for name, value in seen.items() if name.startswith("class_share.")}
    ones = np.mean([answer.value == 1 for answer in answers] + [model.predict(rows[:1]).values[0] == 1])
    assert sum(value or 0.0 for value in shares.values()) == pytest.approx(1.0)
    assert shares["class_share.1"] == pytest.approx(ones)
    assert seen["feedback.click"] == 1.0
