from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.live.plan import Plan, check_seed, make_plan

NOW = 1_000_000.0


def plan(*challengers: str, **options: Any) -> Plan:
    return make_plan(challengers or ("b",), now=NOW, **options)


def test_what_is_stored_is_what_was_asked_for() -> None:
    asked = plan(
        "b",
        "c",
        method="split",
        metric="rating",
        alpha=0.01,
        margin=0.1,
        ramp=[(0, {"b": 0.01, "c": 0.02}), (60, {"b": 0.2, "c": 0.2})],
        guardrails=("error_rate <= 0.01", "sample_ratio"),
        max_queries=7,
        deadline=timedelta(hours=1),
        on_win="promote",
        window_s=5,
    )
    assert Plan.of_row("split", ("b", "c"), 0.01, 7, asked.configuration()) == asked
    assert asked.deadline == NOW + 3600
    assert dict(asked.ramp.weights(61.0)) == {"b": 0.2, "c": 0.2}


def test_a_test_of_an_older_version_is_read() -> None:
    assert Plan.of_row("interleave", ("b",), 0.05, None, "{}") == plan()


def test_the_traffic_is_shared_equally_by_default() -> None:
    assert dict(plan("b", method="split").ramp.weights(0.0)) == {"b": 0.5}
    assert dict(plan("b", method="split", weights=0.2).ramp.weights(0.0)) == {"b": 0.2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "coin"}, "method 'coin'"),
        ({"metric": "mood"}, "metric 'mood'"),
        ({"on_win": "party"}, "on_win"),
        ({"alpha": 0.0}, "alpha"),
        ({"margin": 0.0}, "margin"),
        ({"max_queries": 0}, "max_queries"),
        ({"window_s": -1.0}, "window_s"),
        ({"weights": 0.5}, "has none"),
        ({"method": "split", "weights": 1.0}, "between 0 and 1"),
        ({"method": "split", "weights": {"x": 0.1}}, "weights name x"),
        ({"method": "split", "weights": 0.1, "ramp": [(0, 0.1)]}, "not both"),
        ({"method": "split", "ramp": [(0, 0.2), (10, 0.1)]}, "shrinks"),
        ({"method": "split", "weights": {"b": "much"}}, "must be numbers"),
        ({"guardrails": ("nothing",)}, "is not a guardrail"),
        ({"guardrails": ("sample_ratio",)}, "split"),
        ({"deadline": timedelta(0)}, "over already"),
        ({"deadline": "tomorrow"}, "is not a time"),
        ({"method": "split", "deadline": timedelta(seconds=20)}, "window of 30 s"),
        ({"task": "classification"}, "use one of split, shadow"),
        ({"task": "regression", "method": "split", "guardrails": ("recall >= 0.5",)}, "predicts"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        plan(**options)


def test_challengers_are_named_once_and_balanced_takes_one() -> None:
    for names in ((), ("b", "b")):
        with pytest.raises(InvalidArgument, match="name each challenger once"):
            make_plan(names, now=NOW)
    with pytest.raises(InvalidArgument, match="two rankings"):
        plan("b", "c", method="balanced")


def test_a_deadline_is_a_time_or_a_while() -> None:
    at = datetime.fromtimestamp(NOW + 60, timezone.utc)
    assert plan(deadline=at).deadline == plan(deadline=at.isoformat()).deadline == NOW + 60


def test_a_seed_fits_the_store() -> None:
    check_seed(None)
    check_seed(2**63 - 1)
    for seed in (-1, 2**63):
        with pytest.raises(InvalidArgument):
            check_seed(seed)
