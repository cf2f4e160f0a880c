from __future__ import annotations

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.monitor.summary import (
    MAX_CLASSES,
    METRICS,
    OTHER,
    Drift,
    FarLimit,
    Moments,
    Summary,
    metric,
    summarise,
)
from roost.lifecycle.serving.tap import NOT_FOUND, Failed, Judged, Observation, Predicted, Searched, Written
from roost.lifecycle.serving.traffic import Query

QUERY = Query()
VECTORS = np.array([[3.0, 4.0], [0.0, 1.0]], dtype=np.float32)
SEEN: list[Observation] = [
    Searched("v1", 0.010, [0.5, NOT_FOUND], VECTORS, QUERY),
    Searched("v1", 0.020, [2.0], None, QUERY),
    Searched("v2", 0.030, [1.0], None, QUERY),
    Failed("v1", False),
    Failed("v1", True),
    Judged("v1", "click", 1.0),
    Judged("v1", "click", 0.0),
    Judged("v1", "rating", 4.0),
    Written("v1", 2, VECTORS),
]


def test_observations_are_counted_by_deployment() -> None:
    found = summarise(SEEN, {"v1": FarLimit(1.0, larger_is_farther=True)})
    v1 = found["v1"]
    assert (v1.n_requests, v1.n_queries, v1.n_empty, v1.n_errors, v1.n_refused) == (2, 3, 1, 1, 1)
    assert (v1.n_scored, v1.n_low, v1.n_written) == (2, 1, 2)
    assert v1.norms == Moments(2, 6.0, 26.0)
    assert v1.latency.mean_s == pytest.approx(0.015)
    assert v1.feedback == {"click": Moments(2, 1.0, 1.0), "rating": Moments(1, 4.0, 16.0)}
    assert (found["v2"].n_requests, found["v2"].n_scored) == (1, 0)


def test_far_is_less_where_larger_is_closer() -> None:
    [summary] = summarise([Searched("v", 0.01, [0.9, 0.2], None, QUERY)], {"v": FarLimit(0.5, False)}).values()
    assert (summary.n_scored, summary.n_low) == (2, 1)


def test_predictions_are_counted_by_class_or_averaged() -> None:
    rows = np.zeros((3, 2))
    found = summarise([Predicted("a", 0.01, [1, 2, 1], rows), Predicted("b", 0.01, np.array([0.5, 1.5]), None)], {})
    assert (found["a"].classes, found["a"].n_queries) == ({"1": 2, "2": 1}, 3)
    assert found["b"].predictions == Moments(2, 2.0, 2.5) and found["b"].classes == {}


def test_classes_beyond_the_limit_are_one() -> None:
    values = [str(name) for name in range(MAX_CLASSES * 2)] + ["0"] * 5
    [summary] = summarise([Predicted("a", 0.01, values, None)], {}).values()
    assert len(summary.classes) == MAX_CLASSES and summary.classes["0"] == 6
    assert sum(summary.classes.values()) == len(values) and OTHER in (summary + summary).classes


def test_the_figures_are_what_they_say() -> None:
    summary = summarise(SEEN, {"v1": FarLimit(1.0, True)})["v1"]
    assert metric(summary, "rate", 6.0) == 0.5
    assert metric(summary, "error_rate", 6.0) == pytest.approx(1 / 3)
    assert metric(summary, "empty_rate", 6.0) == pytest.approx(1 / 3)
    assert metric(summary, "low_score_rate", 6.0) == 0.5
    assert metric(summary, "feedback.click", 6.0) == 0.5
    assert metric(summary, "feedback_rate.click", 6.0) == pytest.approx(2 / 3)
    assert metric(summary, "norm_mean", 6.0) == 3.0
    assert metric(summary, "latency_p99_ms", 6.0) == pytest.approx(20.0, rel=0.02)
    measured = Summary(drift={"queries": Drift(0.03, 1, 100, "ks")}, classes={"cat": 3, "dog": 1})
    assert metric(measured, "drift.queries", 1.0) == 0.03 and metric(measured, "class_share.dog", 1.0) == 0.25


def test_nothing_seen_gives_no_figure_but_counts() -> None:
    counts = {"requests", "queries", "errors", "refused", "labels", "written", "rate"}
    for name in METRICS:
        value = metric(Summary(), name, 60.0)
        assert value == 0.0 if name in counts else value is None
    assert metric(Summary(), "drift.queries", 60.0) is None and metric(Summary(), "feedback.click", 60.0) is None


@pytest.mark.parametrize("name", ["latency", "drift", "feedback.", "colour.red"])
def test_an_unknown_figure_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="there is no metric"):
        metric(Summary(), name, 1.0)


def test_a_summary_survives_json() -> None:
    summary = summarise(SEEN, {"v1": FarLimit(1.0, True)})["v1"] + Summary(
        recall=Moments.of([1.0, 0.9]),
        recall_reference="exact",
        drift={"queries": Drift(0.5, 2, 300, "mmd")},
        classes={"a": 1},
        n_left_out=3,
    )
    again = Summary.from_json(summary.to_json())
    assert again.to_json() == summary.to_json()
    assert again.drift == summary.drift and again.feedback == summary.feedback and again.latency.n == summary.latency.n


def test_what_a_later_version_stores_beside_is_passed_over() -> None:
    assert Summary.from_json('{"n_requests": 2, "n_of_tomorrow": 1}').n_requests == 2


def test_summaries_of_processes_add_up() -> None:
    first = Summary(
        n_requests=1, recall=Moments.of([1.0]), recall_reference="exact", feedback={"click": Moments.of([1])}
    )
    second = Summary(
        n_requests=2, recall=Moments.of([0.5]), recall_reference="wide", feedback={"label": Moments.of([0])}
    )
    both = first + second
    assert (both.n_requests, both.recall.mean, both.recall_reference) == (3, 0.75, "wide")
    assert set(both.feedback) == {"click", "label"}


def test_p_values_of_several_tests_are_corrected_for_their_number() -> None:
    both = Drift(0.01, 1, 100, "ks") + Drift(0.4, 1, 50, "mmd")
    assert both == Drift(0.02, 2, 150, "ks")
    assert (both + Drift(0.5, 1, 10, "ks")).p_value == pytest.approx(0.03)


def test_the_least_of_many_null_p_values_is_small_as_often_as_it_says(rng: np.random.Generator) -> None:
    n_alarms = 0
    for _ in range(2_000):
        total = Drift(1.0, 1, 1, "x")
        for p_value in rng.uniform(size=4):
            total = total + Drift(float(p_value), 1, 1, "x")
        n_alarms += total.p_value <= 0.05
    assert n_alarms / 2_000 <= 0.05 + 0.02


def test_whether_anything_was_seen() -> None:
    assert Summary().is_empty
    assert not Summary(recall=Moments.of([1.0])).is_empty and not Summary(n_left_out=1).is_empty
