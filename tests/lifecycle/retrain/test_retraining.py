from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.linear_model import LogisticRegression
from sqlalchemy import select, update

from roost.errors import (
    AlreadyExists,
    Conflict,
    EndpointNotFound,
    InvalidArgument,
    JobStopped,
    PermissionDenied,
    PlanNotFound,
    StorageFailure,
)
from roost.lifecycle.actor import acting_as
from roost.lifecycle.backfill import Progress
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.governance.lineage import AffectedVersion
from roost.lifecycle.models.embedders.callable import CallableEmbedder
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.monitor import windows
from roost.lifecycle.monitor.summary import Moments, Span, Summary
from roost.lifecycle.retrain import Budget, Cron, Drift, Gate, MetricBelow, NewRows, Plan
from roost.lifecycle.retrain.outcomes import Outcome
from roost.lifecycle.retrain.steps import Pulse
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.monitoring_tables import AlertRow
from roost.lifecycle.store.retraining_tables import RetrainingPlanRow
from roost.lifecycle.store.tables import EndpointRow, JobRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place
from tests.lifecycle.retrain.recipes import corners, images

RECIPES = "tests.lifecycle.retrain.recipes"
ABSENT = "absent_recipes:records"
"""Of a module that is not here: a run with it fails before it trains."""


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


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [("corners", "middle"), ("corners",)])
def test_the_process_of_a_recipe_trusts_what_its_workspace_trusts(
    place: Place, digits: Digits, trusted: tuple[str, ...]
) -> None:
    with place.open(trusted=[f"{RECIPES}:{name}" for name in trusted]) as trusting:
        endpoint = trusting.endpoints.create(f"{place.endpoint}-functions")
        version = trusting.models.register("functions", CallableEmbedder(corners, dim=4))
        endpoint.promote(endpoint.deploy(version, digits.records(0, 20)), reason="the first")
        plan = Plan(
            name="another-cut",
            endpoint=endpoint.name,
            model="functions",
            train=f"{RECIPES}:train_function",
            evaluate=f"{RECIPES}:evaluate",
            records=f"{RECIPES}:records",
            gate=Gate("precision", margin=None),
        )
        trusting.retraining.register(plan)
        outcome = trusting.retraining.run(plan.name, reason="a better cut")
    if "middle" in trusted:
        assert (outcome.state, outcome.version) == ("challenger", "functions/2"), outcome.reason
    else:
        assert outcome.state == "failed"
        assert f"trusted=['{RECIPES}:middle']" in outcome.reason


@pytest.mark.slow
def test_a_run_ends_in_a_challenger_and_leaves_the_champion(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    live_test = {"method": "interleave", "max_queries": 10}
    workspace.retraining.register(replace(plan, train=f"{RECIPES}:tells_about_its_process", live_test=live_test))
    outcome = workspace.retraining.run(plan.name, reason="a new season")

    assert outcome.state == "challenger", outcome.reason
    assert endpoint.test is not None and endpoint.test.id == outcome.test_id
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
    check_the_data_of_the_new_version(workspace, outcome)


def check_the_data_of_the_new_version(workspace: Workspace, outcome: Outcome) -> None:
    version = workspace.models.get("digits", 2)
    trained = workspace.data.describe(images()[:300], name="digits")
    assert version.data == (trained.digest,)
    assert version.data_versions[0].name == "digits"
    nodes = [node for node in workspace.governance.lineage("digits/2").walk() if node.kind == "data"]
    assert [(node.facts["for"], node.facts["name"], node.facts["rows"]) for node in nodes] == [
        ("train", "digits", 300),
        ("evaluation", "digits held out", 300),
    ]
    assert workspace.governance.affected(trained.digest).versions == (AffectedVersion("digits/2", "train"),)
    assert workspace.governance.affected(nodes[1].name).versions == (AffectedVersion("digits/2", "evaluation"),)
    run = workspace._tracking.client.get_run(outcome.run_id)
    sent = (run.data.metrics["mlflow_loaded"], run.data.metrics["telemetry"])
    assert sent == (0.0, 0.0), "the process of the recipe leaves MLflow alone"


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
        (
            {"train": f"{RECIPES}:dies"},
            "ended from outside by SIGKILL, perhaps for want of memory; it had",
        ),
        ({"records": ABSENT}, "cannot be imported"),
        ({"deploy": {"batch_size": -1}}, "digits/2 passed its gate and was not deployed: batch_size"),
    ],
)
def test_a_run_that_fails_says_why(workspace: Workspace, plan: Plan, changes: dict[str, Any], says: str) -> None:
    workspace.retraining.register(replace(plan, **changes))
    outcome = workspace.retraining.run(plan.name, reason="try")
    assert outcome.state == "failed"
    assert says in outcome.reason
    assert outcome.version == ("digits/2" if "digits/2" in says else None)
    run = workspace._tracking.client.get_run(outcome.run_id)
    assert (run.info.status, run.data.tags["retraining.state"]) == ("FAILED", "failed")
    if "absent" in str(changes):
        assert workspace.retraining.run(plan.name, reason="again").state == "failed", "it is not held back"


@pytest.mark.slow
def test_a_predictor_is_trained_again(place: Place, workspace: Workspace, digits: Digits) -> None:
    weak = SklearnPredictor(LogisticRegression(max_iter=100).fit(digits.images[:20], digits.labels[:20]))
    reader = workspace.endpoints.create(place.endpoint, kind="predict", task="classification")
    reader.promote(reader.deploy(workspace.models.register("reader", weak)), reason="first")
    plan = Plan(
        name="reader-again",
        endpoint=reader.name,
        model="reader",
        train=f"{RECIPES}:train_reader",
        evaluate=f"{RECIPES}:evaluate_reader",
        gate=Gate("accuracy", margin=0.05),
        triggers=(NewRows(1),),
        deploy={"check": digits.images[:2].tolist()},
    )
    with pytest.raises(InvalidArgument, match="stores no records"):
        workspace.retraining.register(replace(plan, records=f"{RECIPES}:records"))
    workspace.retraining.register(plan)
    assert workspace.retraining.check() == [], "it has no collection whose rows could be counted"
    outcome = workspace.retraining.run(plan.name, reason="more scans")
    assert (outcome.state, outcome.version, outcome.deployment) == ("challenger", "reader/2", "reader-v2"), outcome
    assert outcome.metrics is not None and outcome.metrics["accuracy"] > 0.8
    assert reader.predict(digits.images[:1])[0].deployment == "reader-v1"
    reader.promote("reader-v2", reason="better")
    assert reader.predict(digits.images[:1])[0].model_version == "reader/2"


def test_a_live_test_that_cannot_begin_leaves_a_challenger(
    workspace: Workspace, contested: SearchEndpoint, plan: Plan
) -> None:
    running = contested.start_test("digits-v2")
    workspace.retraining.register(replace(plan, gate=Gate("precision"), live_test={"method": "interleave"}))
    outcome = workspace.retraining.run(plan.name, reason="meanwhile")
    assert (outcome.state, outcome.deployment, outcome.test_id) == ("challenger", "digits-v3", None)
    assert "its live test did not begin" in outcome.reason
    assert contested.test is not None and contested.test.id == running.id


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
    workspace.retraining.register(replace(plan, records=ABSENT))
    workspace.retraining.run(plan.name, reason="first")
    with workspace._context.store.write() as session:
        job = session.scalars(select(JobRow).where(JobRow.kind == "retrain")).one()
        job.state, job.updated_at = "running", "2000-01-01T00:00:00.000000+00:00"
    workspace.retraining.run(plan.name, reason="second")
    assert next(outcome.state for outcome in workspace.retraining.history(plan.name)) == "interrupted"


def test_triggers_start_a_plan_within_its_budget(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan, digits: Digits
) -> None:
    workspace.retraining.register(replace(plan, triggers=(NewRows(20),), records=ABSENT))
    assert workspace.retraining.check() == []
    endpoint.write(digits.records(300, 320))
    (outcome,) = workspace.retraining.check()
    assert (outcome.state, outcome.trigger) == ("failed", "20 new rows")
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


def test_figures_of_the_monitor_start_a_plan(workspace: Workspace, endpoint: SearchEndpoint, plan: Plan) -> None:
    trigger = MetricBelow("feedback_rate.click", 0.5, n_windows=2)
    workspace.retraining.register(replace(plan, triggers=(trigger,), records=ABSENT))
    assert workspace.retraining.check() == [], "nothing was measured yet"
    now = time.time()

    def saw(n_clicks: int, minutes_ago: int, deployment: str = "digits-v1") -> None:
        start = now - 60 * minutes_ago
        seen = Summary(n_queries=10, n_requests=10, feedback={"click": Moments.of(np.ones(n_clicks))})
        windows.append(workspace._context.store, endpoint.name, "p", [Span(deployment, start, start + 60, seen)])

    saw(1, 5)
    saw(9, 4)
    assert workspace.retraining.check() == [], "one of the two is well"
    saw(1, 3)
    saw(1, 2, "another")
    assert workspace.retraining.check() == [], "another deployment's are not counted"
    saw(2, 1)
    (outcome,) = workspace.retraining.check()
    assert outcome.trigger == "feedback_rate.click is below 0.5: 0.1, 0.2 in the last windows"


def test_triggers_on_one_metric_each_look_at_their_own_windows(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    metric, now = "feedback_rate.click", time.time()
    seen = Summary(n_queries=10, n_requests=10, feedback={"click": Moments.of(np.ones(1))})
    for minutes_ago in (4, 3, 2):
        start = now - 60 * minutes_ago
        windows.append(workspace._context.store, endpoint.name, "p", [Span("digits-v1", start, start + 60, seen)])
    triggers = (MetricBelow(metric, 0.5, n_windows=3), MetricBelow(metric, 0.05, n_windows=1))
    workspace.retraining.register(replace(plan, triggers=triggers, records=ABSENT))
    (outcome,) = workspace.retraining.check()
    assert outcome.trigger == f"{metric} is below 0.5: 0.1, 0.1, 0.1 in the last windows"


def test_windows_that_were_the_reason_of_a_run_are_not_the_reason_of_another(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    trigger, again = MetricBelow("feedback_rate.click", 0.5, n_windows=2), Budget(max_runs=9)
    workspace.retraining.register(replace(plan, triggers=(trigger,), records=ABSENT, budget=again))
    seen = Summary(n_queries=10, n_requests=10, feedback={"click": Moments.of(np.ones(1))})

    def saw(started_s: float, ended_s: float) -> None:
        windows.append(workspace._context.store, endpoint.name, "p", [Span("digits-v1", started_s, ended_s, seen)])

    now = time.time()
    saw(now - 300, now - 240)
    saw(now - 200, now - 140)
    assert len(workspace.retraining.check()) == 1
    assert workspace.retraining.check() == [], "nothing was measured since"
    saw(now - 100, now + 60)
    assert workspace.retraining.check() == [], "one window since, and two are needed"
    saw(now - 40, now + 120)
    (outcome,) = workspace.retraining.check()
    assert outcome.trigger == "feedback_rate.click is below 0.5: 0.1, 0.1 in the last windows"


@pytest.mark.slow
def test_the_model_that_is_there_already_is_neither_registered_nor_deployed_again(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    workspace.retraining.register(replace(plan, gate=Gate("precision", margin=None), deploy={"batch_size": -1}))
    first = workspace.retraining.run(plan.name, reason="first")
    assert (first.state, first.version) == ("failed", "digits/2"), "it is registered, and not deployed"

    workspace.retraining.remove(plan.name, reason="its configuration was wrong")
    workspace.retraining.register(replace(plan, gate=Gate("precision", margin=None)))
    second = workspace.retraining.run(plan.name, reason="mended")
    assert (second.state, second.version, second.deployment) == ("challenger", "digits/2", "digits-v2"), second.reason

    third = workspace.retraining.run(plan.name, reason="again")
    assert (third.state, third.version, third.deployment) == ("unchanged", None, None)
    said = "the recipe gave the model that is there already: digits/2, whose deployment digits-v2 is ready"
    assert third.reason == said
    endpoint.promote("digits-v2", reason="better")
    assert "digits-v2 is serving" in workspace.retraining.run(plan.name, reason="again").reason
    assert len(workspace.models.versions("digits")) == 2
    assert [one.name for one in endpoint.deployments()] == ["digits-v1", "digits-v2"]
    run = workspace._tracking.client.get_run(third.run_id)
    assert (run.info.status, run.data.tags["retraining.state"]) == ("FINISHED", "unchanged")


@pytest.mark.parametrize(
    ("what", "path", "says"),
    [
        ("train", f"{RECIPES}:trian", "has no function 'trian' .did you mean 'train'"),
        ("evaluate", f"{RECIPES}:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("records", f"{RECIPES}:record", "did you mean 'records'"),
    ],
)
def test_a_function_that_its_module_does_not_have_is_refused(
    workspace: Workspace, plan: Plan, what: str, path: str, says: str
) -> None:
    wrong: dict[str, Any] = {what: path}
    with pytest.raises(InvalidArgument, match=says):
        workspace.retraining.register(replace(plan, **wrong))
    assert workspace.retraining.plans() == []


def test_a_module_that_is_not_here_or_does_not_load_is_a_warning(
    workspace: Workspace,
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "ends_at_once.py").write_text("raise SystemExit('not on this machine')")
    monkeypatch.syspath_prepend(tmp_path)
    workspace.retraining.register(replace(plan, train="ends_at_once:train", records=ABSENT))
    assert [one.getMessage() for one in caplog.records if "was registered" in one.message] == [
        "plan 'digits-again' was registered, but 'ends_at_once:train' cannot be imported here: not on this machine",
        f"plan 'digits-again' was registered, but {ABSENT!r} cannot be imported here: No module named 'absent_recipes'",
    ]


def test_an_alert_of_drift_starts_a_plan_once(workspace: Workspace, endpoint: SearchEndpoint, plan: Plan) -> None:
    again = Budget(max_runs=5)
    workspace.retraining.register(replace(plan, triggers=(Drift("queries moved"),), records=ABSENT, budget=again))

    def alert(rule: str, metric: str, opened_at: str) -> None:
        given = {"endpoint": endpoint.name, "deployment": "digits-v1", "rule": rule, "metric": metric}
        row = AlertRow(**given, severity="warning", state="open", value=0.001, message="", opened_at=opened_at)
        with workspace._context.store.write() as session:
            session.add(row)

    alert("queries moved", "drift.queries", "2000-01-01T00:00:00.000000+00:00")
    alert("queries moved", "latency_p95_ms", utc_now())
    alert("data moved", "drift.data", utc_now())
    assert workspace.retraining.check() == [], "an old one, one that is not about drift, and another rule's"
    alert("queries moved", "drift.queries", utc_now())
    (outcome,) = workspace.retraining.check()
    assert outcome.trigger == "drift: queries moved"
    assert workspace.retraining.check() == [], "no alert since"


def test_one_plan_s_fault_keeps_no_other_from_running(workspace: Workspace, plan: Plan) -> None:
    hourly = replace(plan, triggers=(Cron("0 * * * *"),), records=ABSENT, budget=Budget(max_runs=5))
    workspace.retraining.register(replace(hourly, name="a-first"))
    workspace.retraining.register(replace(hourly, name="b-second"))
    with _carrying_out(workspace, "a-first"):
        (outcome,) = workspace.retraining.check(datetime.now(timezone.utc) + timedelta(hours=1))
    assert outcome.plan == "b-second", "the first is running elsewhere"


def test_a_run_that_gave_no_sign_of_life_for_long_is_not_dead_while_it_is_held(
    workspace: Workspace, plan: Plan
) -> None:
    workspace.retraining.register(replace(plan, records=ABSENT))
    workspace.retraining.run(plan.name, reason="first")
    with workspace._context.store.write() as session:
        job = session.scalars(select(JobRow).where(JobRow.kind == "retrain")).one()
        job.state, job.updated_at = "running", "2000-01-01T00:00:00.000000+00:00"
    with _carrying_out(workspace, plan.name), pytest.raises(Conflict, match=r"running already: job \d+ on "):
        workspace.retraining.run(plan.name, reason="me too")
    assert [outcome.state for outcome in workspace.retraining.history(plan.name)] == ["running"]


def test_a_moment_of_the_schedule_that_the_budget_held_back_comes_later(
    workspace: Workspace, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """A daily run begins some seconds after its moment, so the next day's moment is within 24 hours of it."""
    daily = replace(plan, triggers=(Cron("0 3 * * *"),), records=ABSENT)
    workspace.retraining.register(daily)
    tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).replace(hour=3, minute=0, second=30, microsecond=0)
    with workspace._context.store.write() as session:
        session.execute(update(RetrainingPlanRow).values(checked_at=utc_text(tomorrow - timedelta(minutes=1))))
        request = f'{{"plan": "{plan.name}", "trigger": ""}}'
        started = utc_text(tomorrow - timedelta(days=1) + timedelta(seconds=20))
        given = {"created_at": started, "updated_at": started, "request": request}
        session.add(JobRow(kind="retrain", state="failed", digest="", **given))
    assert workspace.retraining.check(tomorrow) == []
    assert workspace.retraining.check(tomorrow + timedelta(seconds=5)) == []
    assert len([record for record in caplog.records if "is due" in record.message]) == 1, "it is said once"
    (outcome,) = workspace.retraining.check(tomorrow + timedelta(minutes=1))
    assert outcome.trigger.startswith("schedule '0 3 * * *'")
    assert workspace.retraining.check(tomorrow + timedelta(minutes=2)) == []
    assert workspace.retraining.check(tomorrow + timedelta(hours=23)) == [], "its moment was not repeated"


def test_a_moment_of_the_schedule_starts_one_of_two_processes(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, triggers=(Cron("* * * * *"),), budget=Budget(max_runs=9)))
    found = workspace.retraining
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    kept = found.get(plan.name)
    first, second = found._due(kept, later), found._due(kept, later)
    assert first is not None and second is not None
    found._claim(kept, first, None)
    with pytest.raises(Conflict, match="meanwhile"):
        found._claim(kept, second, None)


def test_a_run_by_hand_goes_on_after_the_background_was_stopped(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(replace(plan, params={"n_components": 2}))
    workspace.retraining.start(every_s=60)
    workspace.retraining.stop()
    assert workspace.retraining.run(plan.name, reason="by hand").state == "refused"


def test_a_sign_of_life_that_cannot_be_given_ends_no_run() -> None:
    def away() -> bool:
        raise StorageFailure("the store is away")

    pulse = Pulse(away, threading.Event())
    assert pulse.goes_on()


def test_only_whom_roles_let_cancels_a_run(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(plan)
    workspace.retraining.cancel(plan.name)
    assert workspace.jobs.list(kind="retrain") == [], "nothing is running"
    with workspace._context.store.write() as session:
        session.add(JobRow(id=9, kind="retrain", state="running", digest="", updated_at=utc_now(), endpoint_id=1))
        session.flush()
        row = session.get_one(JobRow, 9)
        row.request, row.endpoint_id = f'{{"plan": "{plan.name}"}}', session.scalars(select(EndpointRow.id)).one()
        session.execute(update(RetrainingPlanRow).values(job_id=9))
    workspace.governance.grant("eve", "viewer")
    with acting_as("eve"), pytest.raises(PermissionDenied):
        workspace.retraining.cancel(plan.name)
    workspace.retraining.cancel(plan.name, "not needed")
    assert workspace.jobs.get(9).wanted == "cancel"
    entry = workspace.ledger.entries(plan.endpoint)[-1]
    assert (entry.action, entry.subject, entry.reason) == ("retrain.cancel", plan.name, "not needed")


def test_plans_are_listed_and_removed(workspace: Workspace, plan: Plan) -> None:
    workspace.retraining.register(plan)
    assert workspace.retraining.plans() == [plan]
    with pytest.raises(AlreadyExists):
        workspace.retraining.register(plan)
    assert "digits-again" in repr(workspace.retraining)
    assert "digits-again" in workspace.retraining._repr_html_()
    workspace.retraining.remove(plan.name, reason="not needed")
    assert workspace.retraining.plans() == []
    with pytest.raises(PlanNotFound, match="there is no plan"):
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


@contextmanager
def _carrying_out(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold a plan as the process does that carries it out."""
    with workspace._context.store.read() as session:
        number = session.scalars(select(RetrainingPlanRow.id).where(RetrainingPlanRow.name == name)).one()
    with workspace._context.store.lock(f"retrain-{number}"):
        yield


def _recipes_running() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            if any("retrain import training" in part for part in child.cmdline()):
                found.append(child)
    return found


def _wait_until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("it did not come about")
        time.sleep(0.05)


@pytest.mark.slow
def test_a_deployment_that_was_broken_off_is_begun_anew(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    workspace.retraining.register(replace(plan, gate=Gate("precision", margin=None)))
    first = workspace.retraining.run(plan.name, reason="first")
    assert first.deployment == "digits-v2"
    endpoint.retire("digits-v2", "a mistake")
    version = workspace.models.get("digits/2")

    def broken() -> Iterator[dict[str, object]]:
        yield {"id": 1, "content": np.zeros(64)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(version, broken(), batch_size=1)
    half = next(one for one in endpoint.deployments() if one.state is State.BUILDING)
    again = workspace.retraining.run(plan.name, reason="again")
    assert again.state == "challenger" and again.deployment is not None, again.reason
    assert endpoint.deployment(again.deployment).state is State.READY
    assert all(one.state is not State.BUILDING for one in endpoint.deployments()), half
    cancelled = [e for e in workspace.ledger.entries(endpoint.name) if e.action == "backfill.cancel"]
    assert [entry.subject for entry in cancelled] == [half.name]


@pytest.mark.slow
def test_a_deployment_that_somebody_has_paused_is_left_alone(
    workspace: Workspace, endpoint: SearchEndpoint, plan: Plan
) -> None:
    workspace.retraining.register(replace(plan, gate=Gate("precision", margin=None)))
    assert workspace.retraining.run(plan.name, reason="first").deployment == "digits-v2"
    endpoint.retire("digits-v2", "a mistake")
    records = [{"id": i, "content": np.full(64, float(i % 7))} for i in range(60)]

    def pause(at: Progress) -> None:
        if at.stage == "embed" and at.n_done == 20:
            endpoint.pause("digits-v2-2", "the night is over")

    with pytest.raises(JobStopped):
        endpoint.deploy(workspace.models.get("digits/2"), records, batch_size=10, rate_limit=200, progress=pause)
    again = workspace.retraining.run(plan.name, reason="again")
    assert again.state == "failed" and "'digits-v2-2' of this model is paused: resume or cancel it" in again.reason
    assert endpoint.deployment("digits-v2-2").state is State.BUILDING
    assert endpoint.resume("digits-v2-2", records).n_records == 60
