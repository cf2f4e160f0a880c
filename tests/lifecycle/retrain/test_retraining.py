from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psutil
import pytest
from sqlalchemy import select, update

from roost.errors import AlreadyExists, Conflict, EndpointNotFound, InvalidArgument, WorkspaceError
from roost.lifecycle.deployments import State
from roost.lifecycle.retrain import Budget, Cron, Gate, MetricBelow, NewRows, Plan
from roost.lifecycle.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.retraining_tables import RetrainingPlanRow
from roost.lifecycle.store.tables import JobRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

RECIPES = "tests.lifecycle.retrain.recipes"


@pytest.fixture
def plan(endpoint: SearchEndpoint) -> Plan:
    """A recipe that beats the champion, whose model has 4 dimensions."""
    return Plan(
        name="digits-again",
        endpoint=endpoint.name,
        model="digits",
        train=f"{RECIPES}:train",
        evaluate=f"{RECIPES}:evaluate",
        records=f"{RECIPES}:records",
        gate=Gate("precision", at_least=0.5, margin=0.01),
        params={"n_components": 16},
    )


def test_a_run_ends_in_a_challenger_and_leaves_the_champion(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    workspace.retraining.register(plan)
    outcome = workspace.retraining.run(plan.name, reason="a new season")

    assert outcome.state == "challenger", outcome.reason
    assert outcome.version == "digits/2"
    assert outcome.metrics is not None
    assert outcome.champion_metrics is not None
    assert outcome.metrics["precision"] > outcome.champion_metrics["precision"]
    made = endpoint.deployment(str(outcome.deployment))
    assert (made.state, made.n_records) == (State.READY, 120)
    assert endpoint.champion is not None
    assert endpoint.champion.name == "digits-v1"
    assert workspace.models.get("digits", 2).run_id == outcome.run_id
    assert workspace.retraining.history(plan.name) == [outcome]
    actions = [entry.action for entry in workspace.ledger.entries(endpoint.name)]
    assert [action for action in actions if action.startswith("retrain")] == [
        "retrain.register",
        "retrain.start",
        "retrain.end",
    ]
    workspace.ledger.verify()


def test_a_challenger_can_begin_its_live_test(workspace: Workspace, endpoint: SearchEndpoint, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, live_test={"method": "interleave", "max_queries": 10}))
    outcome = workspace.retraining.run(plan.name, reason="test it")
    assert endpoint.test is not None
    assert endpoint.test.id == outcome.test_id


def test_a_model_that_does_not_pass_its_gate_is_not_registered(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    workspace.retraining.register(replace(plan, params={"n_components": 2}))
    outcome = workspace.retraining.run(plan.name, reason="too small")
    assert outcome.state == "refused"
    assert "the champion's is" in outcome.reason
    assert len(workspace.models.versions("digits")) == 1
    assert [deployment.name for deployment in endpoint.deployments()] == ["digits-v1"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": f"{RECIPES}:fails"}, "there is no fresh data"),
        ({"train": f"{RECIPES}:absent"}, "cannot be imported"),
        ({"train": "no_such_module:train"}, "cannot be imported"),
        ({"train": f"{RECIPES}:NOT_A_FUNCTION"}, "not a function"),
        ({"train": f"{RECIPES}:gives_nothing"}, "a recipe gives an Embedder or a Predictor"),
        ({"records": f"{RECIPES}:absent"}, "cannot be imported"),
    ],
)
def test_a_recipe_that_fails_says_why(workspace: Workspace, plan: Plan, changes: dict[str, str], says: str) -> None:
    workspace.retraining.register(replace(plan, **changes))  # type: ignore[arg-type]
    outcome = workspace.retraining.run(plan.name, reason="try")
    assert outcome.state == "failed"
    assert says in outcome.reason
    assert workspace.retraining.run(plan.name, reason="again").state == "failed", "it is not held back"


def test_metrics_that_are_missing_are_refused(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, evaluate=f"{RECIPES}:measures_nothing"))
    assert workspace.retraining.run(plan.name, reason="try").state == "refused"


def test_a_recipe_that_takes_too_long_is_ended(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, train=f"{RECIPES}:never_ends", budget=Budget(max_seconds=3.0)))
    outcome = workspace.retraining.run(plan.name, reason="try")
    assert outcome.state == "over_budget"
    assert not _recipes_running()


def test_a_run_can_be_cancelled_and_is_not_begun_twice(workspace: Workspace, place: Place, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, train=f"{RECIPES}:never_ends"))
    ended: list[str] = []
    run = threading.Thread(target=lambda: ended.append(workspace.retraining.run(plan.name, reason="try").state))
    run.start()
    _wait_until(lambda: bool(_recipes_running()))
    with pytest.raises(Conflict, match="running already"):
        workspace.retraining.run(plan.name, reason="me too")
    workspace.retraining.cancel(plan.name)
    run.join(timeout=60)
    assert ended == ["cancelled"]
    assert not _recipes_running()


def test_closing_the_workspace_ends_a_run_of_the_thread(place: Place, workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, train=f"{RECIPES}:never_ends", triggers=(Cron("* * * * *"),)))
    with workspace._context.store.write() as session:
        an_hour_ago = utc_text(datetime.now(timezone.utc) - timedelta(hours=1))
        session.execute(update(RetrainingPlanRow).values(checked_at=an_hour_ago))
    workspace.retraining.start(every_s=0.05)
    _wait_until(lambda: bool(_recipes_running()))
    workspace.retraining.stop()
    assert not _recipes_running()
    assert [outcome.state for outcome in workspace.retraining.history(plan.name)] == ["cancelled"]


def test_a_run_whose_process_died_is_marked_and_repeated(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(plan)
    workspace.retraining.run(plan.name, reason="first")
    with workspace._context.store.write() as session:
        job = session.scalars(select(JobRow).where(JobRow.kind == "retrain")).one()
        job.state, job.updated_at = "running", "2000-01-01T00:00:00.000000+00:00"
    workspace.retraining.run(plan.name, reason="second")
    assert next(outcome.state for outcome in workspace.retraining.history(plan.name)) == "interrupted"


def test_triggers_start_a_plan_within_its_budget(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan, digits: Digits
) -> None:
    workspace.retraining.register(replace(plan, triggers=(NewRows(20),)))
    assert workspace.retraining.check() == []
    endpoint.write(digits.records(300, 320))
    (outcome,) = workspace.retraining.check()
    assert (outcome.state, outcome.trigger) == ("challenger", "20 new rows")
    assert workspace.retraining.check() == [], "the rows are not new any more"
    endpoint.write(digits.records(320, 340))
    assert workspace.retraining.check() == [], "one run a day"
    (later,) = workspace.retraining.check(datetime.now(timezone.utc) + timedelta(days=2))
    assert later.trigger == "20 new rows"


def test_a_plan_that_is_disabled_is_not_started_by_triggers(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, triggers=(Cron("* * * * *"),)))
    workspace.retraining.enable(plan.name, False, reason="holidays")
    assert not workspace.retraining.is_enabled(plan.name)
    assert workspace.retraining.check(datetime.now(timezone.utc) + timedelta(hours=1)) == []


def test_metrics_of_the_monitor_are_looked_at(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, triggers=(MetricBelow("feedback_rate.click", 0.5),)))
    assert workspace.retraining.check() == [], "nothing was measured yet"


def test_plans_are_listed_and_removed(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(plan)
    assert workspace.retraining.plans() == [plan]
    with pytest.raises(AlreadyExists):
        workspace.retraining.register(plan)
    assert "digits-again" in repr(workspace.retraining)
    assert "digits-again" in workspace.retraining._repr_html_()
    workspace.retraining.remove(plan.name, reason="not needed")
    assert workspace.retraining.plans() == []
    with pytest.raises(WorkspaceError, match="there is no plan"):
        workspace.retraining.run(plan.name, reason="gone")


def test_a_plan_must_fit_its_endpoint(workspace: Workspace, plan: Plan) -> None:
    with pytest.raises(EndpointNotFound):
        workspace.retraining.register(replace(plan, endpoint="nowhere"))
    with pytest.raises(InvalidArgument, match="records"):
        workspace.retraining.register(replace(plan, records=None))
    with pytest.raises(InvalidArgument, match="positive"):
        workspace.retraining.start(every_s=0)


@pytest.mark.parametrize("act", ["run", "enable", "remove"])
def test_every_change_says_why(workspace: Workspace, plan: Plan, act: str) -> None:
    workspace.retraining.register(plan)
    with pytest.raises(InvalidArgument, match="reason"):
        getattr(workspace.retraining, act)(plan.name, reason=" ")


def _recipes_running() -> list[psutil.Process]:
    own = psutil.Process().children(recursive=True)
    return [child for child in own if any("retrain import training" in part for part in child.cmdline())]


def _wait_until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("it did not come about")
        time.sleep(0.05)
