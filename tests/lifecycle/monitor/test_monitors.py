from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import func, select

from roost.errors import EndpointNotFound, InvalidArgument, MonitorNotFound, PermissionDenied
from roost.lifecycle.actor import acting_as
from roost.lifecycle.drift import DriftResult, KolmogorovSmirnov, registry
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.configuration import configuration
from roost.lifecycle.monitor.monitors import Monitors
from roost.lifecycle.monitor.notify import Log, Webhook
from roost.lifecycle.monitor.rules import Rule
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.monitoring_tables import MonitorWindowRow
from roost.workspace import Workspace

from ..conftest import Digits, Place
from .receivers import garbage_sender, web_receiver

BUSY = Rule("requests", ">", 5, name="busy")
LONG: dict[str, Any] = {"window_s": 1e7}
"""Windows that do not end in the middle of a test by themselves."""

QUIET: dict[str, Any] = {**LONG, "recall_every_s": 0, "drift_every_s": 0}


class Endless(KolmogorovSmirnov):
    """A drift test that ends when it is told to."""

    name = "endless"
    began, may_end = threading.Event(), threading.Event()

    def test(self, window: npt.ArrayLike) -> DriftResult:
        self.began.set()
        self.may_end.wait(120)
        return super().test(window)


@pytest.fixture
def monitors(workspace: Workspace) -> Monitors:
    return workspace.monitors


def ask(endpoint: SearchEndpoint, digits: Digits, n: int = 20, start: int = 0, scale: float = 1.0) -> None:
    for position in range(start, start + n):
        endpoint.search(digits.images[position % len(digits.images)] * scale, limit=5)


def test_a_report_says_what_happened(endpoint: SearchEndpoint, monitors: Monitors, digits: Digits) -> None:
    monitors.watch(endpoint.name, rules=[], **LONG)
    ask(endpoint, digits, 20)
    answer = endpoint.search(digits.images[0])
    endpoint.feedback(answer.query_id, answer.ids[0])
    endpoint.search(digits.images[0], filter="label == 77")
    with pytest.raises(Exception, match=r"\w"):
        endpoint.search(digits.images[0], filter="((")
    report = monitors.report(endpoint.name)
    [figures] = report.figures
    metrics = figures.metrics
    assert (figures.deployment, metrics["requests"], metrics["errors"], metrics["refused"]) == ("digits-v1", 22, 0, 1)
    assert metrics["empty_rate"] == pytest.approx(1 / 22) and metrics["feedback.click"] == 1.0
    assert metrics["latency_p50_ms"] is not None and metrics["norm_mean"] is not None
    assert "latency_p95_ms" in repr(report) and "digits-v1" in report._repr_html_()
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_failed_search_is_an_error(
    endpoint: SearchEndpoint, workspace: Workspace, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(endpoint.name, rules=[Rule("error_rate", ">", 0.0)], **LONG)
    workspace.vectors.drop_alias(endpoint.alias)
    workspace.vectors.drop_collection(endpoint.deployment("digits-v1").collection)
    with pytest.raises(Exception, match=r"\w"):
        endpoint.search(digits.images[0])
    [alert] = monitors.check_now(endpoint.name)
    assert (alert.metric, alert.value, alert.deployment) == ("error_rate", 1.0, "digits-v1")


def test_recall_is_measured_against_an_exact_search(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(endpoint.name, rules=[], sample_rate=1.0, **LONG)
    ask(endpoint, digits, 30)
    monitors.check_now(endpoint.name)
    [figures] = monitors.report(endpoint.name).figures
    assert figures.recall_reference == "exact"
    assert figures.metrics["recall"] is not None and figures.metrics["recall"] > 0.95
    low, high = figures.recall_interval or (0.0, 0.0)
    assert 0.8 < low < figures.metrics["recall"] <= high <= 1.0


def test_an_alert_opens_is_told_and_is_resolved(endpoint: SearchEndpoint, monitors: Monitors, digits: Digits) -> None:
    told: list[Alert] = []
    with web_receiver() as receiver:
        monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook(receiver.url)], **LONG)
        end = monitors.subscribe(told.append)
        ask(endpoint, digits, 10)
        [opened] = monitors.check_now(endpoint.name)
        assert opened.is_open and opened.value == 10.0 and opened.n_undelivered == 0
        assert monitors.alerts(endpoint.name, open_only=True) == [opened]
        ask(endpoint, digits, 10)
        assert monitors.check_now(endpoint.name) == []
        ask(endpoint, digits, 1)
        [resolved] = monitors.check_now(endpoint.name)
        end()
    assert not resolved.is_open and monitors.alerts(endpoint.name, open_only=True) == []
    assert [json.loads(body)["event"] for body in receiver.bodies] == ["open", "resolved"]
    assert [alert.is_open for alert in told] == [True, False]


def test_an_alert_that_comes_again_soon_is_recorded_and_not_told(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    with web_receiver() as receiver:
        monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook(receiver.url)], cooldown_s=3_600, **LONG)
        for n in (10, 1, 10, 1):
            ask(endpoint, digits, n)
            monitors.check_now(endpoint.name)
    assert [json.loads(body)["event"] for body in receiver.bodies] == ["open", "resolved"]
    assert len(monitors.alerts(endpoint.name)) == 2


def test_a_webhook_that_fails_hurts_nobody_and_is_tried_again(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.lifecycle.monitor.alerts.FIRST_RETRY_S", 0.0)
    with web_receiver(lambda number: 500 if number < 2 else 204) as receiver:
        monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook(receiver.url)], **QUIET)
        ask(endpoint, digits, 10)
        [alert] = monitors.check_now(endpoint.name)
        assert alert.n_undelivered == 1 and alert.failures == ("the webhook answered 500",)
        ask(endpoint, digits, 10)
        monitors.check_now(endpoint.name)
        monitors.check_now(endpoint.name)
    [alert] = monitors.alerts(endpoint.name)
    assert alert.n_undelivered == 0 and alert.failures == () and len(receiver.bodies) == 3


def test_a_webhook_that_speaks_no_http_keeps_no_other_alert_from_being_told(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    with garbage_sender() as bad, web_receiver() as good:
        monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook(f"http://127.0.0.1:{bad}/")], **LONG)
        ask(endpoint, digits, 10)
        [first] = monitors.check_now(endpoint.name)
        assert first.n_undelivered == 1 and "BadStatusLine" in first.failures[0]
        other = replace(BUSY, name="another")
        monitors.watch(endpoint.name, rules=[other], notify=[Webhook(good.url)], **LONG)
        ask(endpoint, digits, 10)
        monitors.check_now(endpoint.name)
    assert len(good.bodies) == 1


def test_an_alert_whose_channel_breaks_is_noted_and_the_next_one_is_told(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(Log, "send", broken)
    with web_receiver() as receiver:
        monitors.watch(endpoint.name, rules=[BUSY], notify=[Log(), Webhook(receiver.url)], **LONG)
        ask(endpoint, digits, 10)
        [alert] = monitors.check_now(endpoint.name)
    assert (alert.n_undelivered, alert.failures, len(receiver.bodies)) == (1, ("RuntimeError",), 1)


def test_what_is_done_to_a_monitor_is_allowed_and_recorded(
    workspace: Workspace, endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    acts: dict[str, Callable[[], Any]] = {
        "monitor.watch": lambda: monitors.watch(endpoint.name, rules=[BUSY], **LONG),
        "monitor.baseline": lambda: monitors.baseline(endpoint.name, "queries", data=digits.images[:50]),
        "monitor.unwatch": lambda: monitors.unwatch(endpoint.name),
        "monitor.retention": lambda: monitors.retention(events_days=30),
        "monitor.clean": monitors.clean,
    }
    workspace.governance.grant("eve", "viewer")
    for action, act in acts.items():
        with acting_as("eve"), pytest.raises(PermissionDenied):
            act()
        act()
        entry = workspace.ledger.entries()[-1]
        assert (entry.action, entry.actor) == (action, "tester")
    assert monitors.retention().events_days == 30
    found = [entry.action for entry in workspace.ledger.entries(endpoint.name)]
    assert [action for action in found if action.startswith("monitor")] == list(acts)[:3]
    workspace.ledger.verify()


def test_an_alert_of_a_champion_of_before_is_resolved(
    workspace: Workspace, contested: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    def standing(n_queries: int) -> list[str]:
        ask(contested, digits, n_queries)
        monitors.check_now(contested.name)
        return [alert.deployment for alert in monitors.alerts(contested.name, open_only=True)]

    monitors.watch(contested.name, rules=[BUSY], **LONG)
    assert standing(10) == ["digits-v1"]
    contested.promote("digits-v2", reason="better")
    assert standing(0) == []
    assert standing(10) == ["digits-v2"]
    contested.rollback(reason="for now")
    assert standing(10) == ["digits-v1"], "what is asked again is judged anew"


def test_the_samples_and_detectors_of_a_retired_deployment_are_freed(
    contested: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    def kept() -> tuple[set[str], set[str]]:
        monitors.check_now(contested.name)
        checks = monitors._worker.checks()[contested.name]
        return set(checks.watched.samples()), {deployment for _, deployment in checks._drift._detectors}

    monitors.watch(contested.name, rules=[], sample_rate=1.0, detectors=["ks"], min_rows=20, **QUIET)
    monitors.baseline(contested.name, "training", data=digits.images)
    ask(contested, digits)
    contested.promote("digits-v2", reason="better")
    ask(contested, digits)
    assert kept() == ({"digits-v1", "digits-v2"}, {"digits-v1"})
    contested.retire("digits-v1", reason="replaced")
    assert kept() == ({"digits-v2"}, set())


def test_a_subscriber_that_raises_keeps_nobody_from_the_alert(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    told: list[Alert] = []

    def broken(_: Alert) -> None:
        raise RuntimeError("broken")

    monitors.subscribe(broken)
    monitors.subscribe(told.append)
    monitors.watch(endpoint.name, rules=[BUSY], **QUIET)
    ask(endpoint, digits, 10)
    monitors.check_now(endpoint.name)
    assert len(told) == 1


def test_query_drift_is_found_and_its_absence_is_not(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(
        endpoint.name,
        rules=[Rule("drift.queries", "<=", 0.001)],
        baseline_rows=600,
        min_rows=100,
        sample_rate=1.0,
        recall_every_s=0,
        drift_alpha=0.001,
        detectors=["ks"],
        **LONG,
    )
    ask(endpoint, digits, 700)
    monitors.check_now(endpoint.name)
    kinds = {baseline.kind for baseline in monitors.status(endpoint.name).baselines}
    assert kinds == {"queries", "distances", "vectors"}
    ask(endpoint, digits, 200, start=750)
    assert monitors.check_now(endpoint.name) == []
    ask(endpoint, digits, 150, start=750, scale=0.5)
    [alert] = monitors.check_now(endpoint.name)
    assert alert.metric == "drift.queries" and alert.value <= 0.001


def test_written_vectors_are_compared_with_the_collection(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(endpoint.name, rules=[], min_rows=40, detectors=["ks"], recall_every_s=0, **LONG)
    monitors.check_now(endpoint.name)
    endpoint.write([{"id": 1_000 + i, "content": digits.images[i] * 3.0} for i in range(60)])
    monitors.check_now(endpoint.name)
    [figures] = monitors.report(endpoint.name).figures
    assert figures.metrics["written"] == 60.0
    assert figures.metrics["drift.data"] is not None and figures.metrics["drift.data"] < 1e-3


def test_training_serving_skew_needs_a_training_baseline(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(endpoint.name, rules=[], baseline_rows=40, min_rows=60, detectors=["ks"], sample_rate=1.0, **LONG)
    baseline = monitors.baseline(endpoint.name, "training", data=digits.images)
    assert (baseline.kind, baseline.origin, baseline.dim) == ("training", "given", 4)
    ask(endpoint, digits, 50)
    monitors.check_now(endpoint.name)
    ask(endpoint, digits, 100, scale=0.2)
    monitors.check_now(endpoint.name)
    [figures] = monitors.report(endpoint.name).figures
    assert figures.metrics["drift.training"] is not None and figures.metrics["drift.training"] < 1e-6


def test_far_answers_are_told_from_near_ones(endpoint: SearchEndpoint, monitors: Monitors, digits: Digits) -> None:
    monitors.watch(endpoint.name, rules=[Rule("low_score_rate", ">", 0.5)], baseline_rows=100, **QUIET)
    ask(endpoint, digits, 120)
    monitors.check_now(endpoint.name)
    ask(endpoint, digits, 20)
    assert monitors.check_now(endpoint.name) == []
    ask(endpoint, digits, 20, scale=5.0)
    [alert] = monitors.check_now(endpoint.name)
    assert alert.value > 0.5


def test_a_baseline_that_cannot_be_is_refused(endpoint: SearchEndpoint, monitors: Monitors, digits: Digits) -> None:
    for options in (
        {},
        {"data": digits.images, "vectors": digits.images},
        {"kind": "colours", "data": digits.images},
        {"vectors": np.zeros(3)},
        {"vectors": np.zeros((0, 4))},
        {"vectors": np.array([[object()]])},
        {"kind": "distances", "vectors": np.zeros((3, 1))},
    ):
        with pytest.raises(InvalidArgument):
            monitors.baseline(endpoint.name, **options)


def test_what_is_watched_goes_on_after_reopening(
    place: Place, workspace: Workspace, endpoint: SearchEndpoint, digits: Digits
) -> None:
    workspace.monitors.watch(endpoint.name, rules=[BUSY], **QUIET)
    ask(endpoint, digits, 7)
    workspace.close()
    with place.open() as again:
        assert again.monitors.watched() == [endpoint.name]
        [point] = again.monitors.history(endpoint.name, "requests")
        assert (point.value, point.deployment) == (7.0, "digits-v1")
        ask(again.endpoints.get(endpoint.name), digits, 8)
        [alert] = again.monitors.check_now(endpoint.name)
        assert alert.rule == "busy"
        assert sum(point.value or 0 for point in again.monitors.history(endpoint.name, "requests")) == 15


def test_alerts_that_were_not_told_are_told_after_reopening(
    place: Place, workspace: Workspace, endpoint: SearchEndpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.lifecycle.monitor.alerts.FIRST_RETRY_S", 0.0)
    with web_receiver(lambda number: 503 if number == 0 else 204) as receiver:
        workspace.monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook(receiver.url)], **QUIET)
        ask(endpoint, digits, 10)
        workspace.monitors.check_now(endpoint.name)
        workspace.close()
        with place.open() as again:
            again.monitors.check_now(endpoint.name)
            [alert] = again.monitors.alerts(endpoint.name)
    assert (alert.n_undelivered, len(receiver.bodies)) == (0, 2)


def test_windows_of_several_processes_are_one(
    place: Place, workspace: Workspace, endpoint: SearchEndpoint, digits: Digits
) -> None:
    if place.uri is None:
        pytest.skip("needs a Milvus server: one process at a time opens an embedded engine for writing")
    workspace.monitors.watch(endpoint.name, rules=[BUSY], **QUIET)
    with place.open() as other:
        ask(other.endpoints.get(endpoint.name), digits, 4)
        ask(endpoint, digits, 4)
    [alert] = workspace.monitors.check_now(endpoint.name)
    assert alert.rule == "busy"


def test_the_threads_end_when_the_workspace_is_closed(workspace: Workspace, endpoint: SearchEndpoint) -> None:
    def running() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("roost-monitor")}

    workspace.monitors.watch(endpoint.name, **LONG)
    assert running() == {"roost-monitor", "roost-monitor-judge", "roost-monitor-measure"}
    workspace.close()
    assert running() == set()


def test_an_endpoint_that_is_watched_no_more_leaves_its_history(
    endpoint: SearchEndpoint, monitors: Monitors, digits: Digits
) -> None:
    monitors.watch(endpoint.name, rules=[BUSY], **LONG)
    ask(endpoint, digits, 3)
    monitors.unwatch(endpoint.name)
    ask(endpoint, digits, 3)
    assert [point.value for point in monitors.history(endpoint.name, "requests")] == [3.0]
    assert monitors.watched() == []
    for call in (monitors.check_now, monitors.unwatch, monitors.status):
        with pytest.raises(MonitorNotFound, match="is not watched"):
            call(endpoint.name)


def test_watching_again_changes_how(endpoint: SearchEndpoint, monitors: Monitors, digits: Digits) -> None:
    monitors.watch(endpoint.name, rules=[BUSY], **LONG)
    status = monitors.watch(endpoint.name, rules=[Rule("rate", "<", 0.001)], window_s=10, notify=[Log()])
    assert [rule.metric for rule in status.configuration.rules] == ["rate"] and status.configuration.window_s == 10
    ask(endpoint, digits, 10)
    assert monitors.check_now(endpoint.name) == [] and "rate < 0.001" in repr(monitors.status(endpoint.name))


def test_what_is_not_given_stays_as_it_is(endpoint: SearchEndpoint, monitors: Monitors) -> None:
    monitors.watch(endpoint.name, rules=[BUSY], notify=[Webhook("https://hooks.example/")], sample_rate=0.5, **QUIET)
    status = monitors.watch(endpoint.name, window_s=30)
    chosen = status.configuration
    assert chosen.rules == (BUSY,) and chosen.notify == (Webhook("https://hooks.example/"),)
    assert (chosen.window_s, chosen.sample_rate, chosen.drift_every_s) == (30, 0.5, 0)
    assert "sample_rate=0.5" in repr(status) and "busy: requests > 5 (warning)" in repr(status)
    again = monitors.watch(endpoint.name, defaults=True, window_s=30).configuration
    assert again == configuration(None, None, {"window_s": 30})


def test_drift_that_takes_long_holds_no_alert_up(
    monitors: Monitors, endpoint: SearchEndpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._DETECTORS, Endless.name, Endless)
    options: dict[str, Any] = {"window_s": 1, "recall_every_s": 0, "min_rows": 10, "sample_rate": 1.0}
    drift: dict[str, Any] = {"detectors": [Endless.name], "drift_every_s": 1, "drift_alpha": 0.01}
    monitors.watch(endpoint.name, rules=[BUSY], **options, **drift)
    monitors.baseline(endpoint.name, "training", data=digits.images)
    told = threading.Event()
    monitors.subscribe(lambda _: told.set())
    try:
        ask(endpoint, digits, 40)
        assert Endless.began.wait(60)
        ask(endpoint, digits, 40)
        assert told.wait(60), "a rule was judged while drift was being tested"
    finally:
        Endless.may_end.set()


def test_what_cannot_be_watched_is_refused(endpoint: SearchEndpoint, monitors: Monitors) -> None:
    with pytest.raises(EndpointNotFound):
        monitors.watch("nothing-there")
    options: list[dict[str, Any]] = [
        {"window_s": 0.1},
        {"sample_rate": 2.0},
        {"colour": 1},
        {"window_s": "long"},
        {"drift_every_s": "never"},
        {"drift_alpha": 2.0},
        {"drift_every_s": 20},
        {"drift_alpha": 1e-6},
        {"notify": ["ann@example.org"]},
        {"detectors": ["horoscope"]},
        {"detectors": []},
        {"drift_rows": 10, "min_rows": 20},
        {"min_rows": 1},
        {"cooldown_s": -1},
        {"rules": [BUSY, BUSY]},
        {"rules": ["recall is low"]},
        {"rules": [5]},
    ]
    for given in options:
        with pytest.raises(InvalidArgument):
            monitors.watch(endpoint.name, **given)
    with pytest.raises(InvalidArgument, match="not a time"):
        monitors.history(endpoint.name, "rate", since="yesterday")
    mistyped = endpoint.name[:-1] + "_"
    for ask in (
        lambda: monitors.report(mistyped),
        lambda: monitors.history(mistyped, "rate"),
        lambda: monitors.alerts(mistyped),
        lambda: monitors.status(mistyped),
        lambda: monitors.unwatch(mistyped),
        lambda: monitors.check_now(mistyped),
    ):
        with pytest.raises(EndpointNotFound, match="did you mean"):
            ask()
    with pytest.raises(InvalidArgument, match="in the past"):
        monitors.report(endpoint.name, since=timedelta(days=-1))


def test_the_threads_store_windows_by_themselves(
    endpoint: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    workspace.monitors.watch(endpoint.name, rules=[], **{**QUIET, "window_s": 1})
    stored = threading.Event()

    def look() -> None:
        for _ in range(200):
            with workspace._store.read() as session:
                if session.scalar(select(func.count()).select_from(MonitorWindowRow)):
                    stored.set()
                    return
            threading.Event().wait(0.05)

    ask(endpoint, digits, 5)
    watcher = threading.Thread(target=look)
    watcher.start()
    watcher.join()
    assert stored.is_set()
