from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.retrain.plan import Budget, Cron, Drift, Gate, MetricBelow, NewRows, Plan

GATE = Gate("precision")


def test_a_plan_is_what_its_text_says() -> None:
    plan = Plan(
        "nightly",
        "image-search",
        "digits",
        "shop.models:train",
        "shop.models:evaluate",
        Gate("precision", at_least=0.8, margin=0.01),
        records="shop.models:records",
        params={"n": 3},
        trusted=("shop.models.Scaler",),
        triggers=(Drift("queries"), MetricBelow("feedback_rate.click", 0.2), NewRows(10), Cron("0 3 * * *")),
        budget=Budget(60.0, 2, 3600.0),
        live_test={"method": "interleave"},
    )
    assert Plan.from_json(plan.to_json()) == plan


def test_a_trigger_says_of_which_kind_it_is() -> None:
    assert NewRows(10).to_dict() == {"kind": "new_rows", "n_rows": 10}
    assert MetricBelow("recall", 0.9).to_dict() == {
        "kind": "metric_below",
        "metric": "recall",
        "floor": 0.9,
        "n_windows": 3,
    }
    assert (inspect.getdoc(Drift.to_dict) or "").startswith("Return the trigger with its kind")


PLAN = {"name": "p", "endpoint": "e", "model": "m", "train": "a:b", "evaluate": "a:c", "gate": {"metric": "precision"}}
BELOW = {"kind": "metric_below", "metric": "recall"}


def test_what_has_a_default_may_be_left_out() -> None:
    assert Plan.from_json(json.dumps(PLAN)) == Plan("p", "e", "m", "a:b", "a:c", GATE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"speed": 1}, "a plan has no speed: it needs name, endpoint, model, train, evaluate, gate, and may have rec"),
        ({"gate": None}, "the gate is an object, not None; it needs metric, and may have at_least, margin, higher"),
        ({"gate": {"metrik": "x"}}, "the gate lacks metric and has no metrik: it needs metric"),
        ({"budget": {"runs": 1}}, "the budget has no runs: it needs nothing, and may have max_seconds, max_runs, per"),
        ({"triggers": {}}, "triggers of a plan is a list"),
        ({"triggers": [{"kind": "drift"}, {"kind": "tide"}]}, "trigger 2 is an object whose kind is one of drift, me"),
        ({"triggers": ["drift"]}, "trigger 1 is an object whose kind is one of"),
        (
            {"triggers": [{**BELOW, "flor": 0.2}]},
            r"trigger 1 \(metric_below\) lacks floor and has no flor: it needs metric, floor, and may have n_windows",
        ),
        ({"triggers": [{**BELOW, "floor": "low"}]}, r"trigger 1 \(metric_below\) holds a value of the wrong kind"),
        ({"triggers": [{"kind": "new_rows", "n_rows": "1"}]}, r"trigger 1 \(new_rows\) holds a value of the wrong"),
        ({"trusted": "x"}, "trusted of a plan is a list"),
    ],
)
def test_a_text_that_is_no_plan_is_refused_by_what_is_wrong(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Plan.from_json(json.dumps({**PLAN, **changes}))


def test_a_plan_without_what_it_needs_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="a plan lacks evaluate, gate: it needs"):
        Plan.from_json(json.dumps({name: PLAN[name] for name in ("name", "endpoint", "model", "train")}))
    with pytest.raises(InvalidArgument, match="written as JSON"):
        Plan.from_json("{")


def test_params_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="JSON"):
        Plan("p", "e", "m", "a:b", "a:c", GATE, params={"rows": object()}).to_json()


@pytest.mark.parametrize("path", ["train", "a.b", "a:b:c", "../a:b", "a b:c", ":b", "a:", "a:b()", ""])
def test_what_is_not_an_import_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="import path"):
        Plan("p", "e", "m", path, "a:c", GATE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MetricBelow("", 0.1),
        lambda: MetricBelow("feedback_rate.click", math.nan),
        lambda: MetricBelow("feedback_rate.click", 0.1, 0),
        lambda: NewRows(0),
        lambda: Cron("every day"),
        lambda: Cron("61 * * * *"),
        lambda: Budget(0.0),
        lambda: Budget(math.inf),
        lambda: Budget(max_runs=0),
        lambda: Budget(per_seconds=0.0),
        lambda: Gate(""),
        lambda: Gate("precision", at_least=math.nan),
        lambda: Gate("precision", margin=math.inf),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgument):
        make()


@pytest.mark.parametrize(
    ("gate", "challenger", "champion", "passes"),
    [
        (Gate("m"), 0.8, 0.8, True),
        (Gate("m"), 0.79, 0.8, False),
        (Gate("m", margin=0.05), 0.84, 0.8, False),
        (Gate("m", margin=0.03), 0.84, 0.8, True),
        (Gate("m", margin=-0.02), 0.79, 0.8, True),
        (Gate("m", margin=None), 0.1, 0.8, True),
        (Gate("m", at_least=0.9), 0.89, None, False),
        (Gate("m", at_least=0.9), 0.9, None, True),
        (Gate("m"), 0.1, None, True),
        (Gate("m", higher_is_better=False), 0.3, 0.4, True),
        (Gate("m", higher_is_better=False), 0.5, 0.4, False),
        (Gate("m", at_least=0.2, higher_is_better=False), 0.3, None, False),
        (Gate("m"), math.nan, 0.8, False),
        (Gate("m"), 0.8, math.nan, False),
    ],
)
def test_the_gate(gate: Gate, challenger: float, champion: float | None, passes: bool) -> None:
    refusal = gate.refusal({"m": challenger}, {"m": champion} if champion is not None else None)
    assert (refusal is None) == passes


def test_a_gate_without_its_metric_refuses_and_says_which_there_are() -> None:
    assert "it gave: loss, recall" in str(Gate("m").refusal({"recall": 1.0, "loss": 0.1}, None))
    assert "for the champion" in str(Gate("m").refusal({"m": 1.0}, {}))
