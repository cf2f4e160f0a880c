from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, select

from roost.errors import InvalidArgument
from roost.lifecycle.monitor import judge, retention, windows
from roost.lifecycle.monitor.alerts import listed
from roost.lifecycle.monitor.configuration import Configuration, configuration
from roost.lifecycle.monitor.histogram import Histogram
from roost.lifecycle.monitor.notify import Log
from roost.lifecycle.monitor.retention import Retention
from roost.lifecycle.monitor.rules import Rule
from roost.lifecycle.monitor.summary import Drift, Moments, Span, Summary
from roost.lifecycle.store import Store
from roost.lifecycle.store.monitoring_tables import MonitorRow
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, EventRow, LiveTestRow

NOON_S = datetime(2024, 6, 5, 12, tzinfo=timezone.utc).timestamp()
DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def span(start_s: float, n_requests: int = 1, seconds: float = 60.0, deployment: str = "v1") -> Span:
    latency = Histogram.of([0.01] * n_requests)
    summary = Summary(n_requests=n_requests, n_queries=n_requests, latency=latency)
    return Span(deployment, start_s, start_s + seconds, summary)


def watch(store: Store, rules: list[Rule], at_s: float = NOON_S) -> Configuration:
    chosen = configuration(rules, [Log()], {})
    with store.write() as session:
        at = windows.to_text(at_s)
        session.add(MonitorRow(endpoint="e", configuration=chosen.to_json(), judged_until=at, created_at=at))
    return chosen


def deploy(store: Store, *names: str) -> None:
    """Store an endpoint whose champion is the first of these deployments; the others are ready."""
    at = windows.to_text(NOON_S)
    with store.write() as session:
        row = EndpointRow(id=1, name="e", identifier="e", metric="L2", fields="[]", description="", created_at=at)
        row.champion_id = 1
        session.add(row)
        session.flush()
        for number, name in enumerate(names, start=1):
            columns = {"model_files": "{}", "fingerprint": "f", "dim": 1, "index_params": "{}", "search_params": "{}"}
            session.add(
                DeploymentRow(
                    id=number,
                    endpoint_id=1,
                    name=name,
                    collection=name,
                    state="serving" if number == 1 else "ready",
                    model_name="m",
                    model_version=number,
                    created_at=at,
                    **columns,
                )
            )


def promote(store: Store, number: int) -> None:
    with store.write() as session:
        session.get_one(EndpointRow, 1).champion_id = number


def n_requests(store: Store) -> list[int]:
    with store.read() as session:
        return [found.summary.n_requests for found in windows.merged(windows.spans(session, "e"))]


def test_windows_of_processes_that_begin_together_are_one(store: Store) -> None:
    windows.append(store, "e", "a", [span(NOON_S, 2), span(NOON_S + 60, 1)])
    windows.append(store, "e", "b", [span(NOON_S, 3), span(NOON_S, 5, deployment="v2")])
    with store.read() as session:
        found = windows.merged(windows.spans(session, "e"))
        assert [(s.started_s - NOON_S, s.deployment, s.summary.n_requests) for s in found] == [
            (0, "v1", 5),
            (0, "v2", 5),
            (60, "v1", 1),
        ]
        assert found[0].summary.latency.n == 5
        hourly = windows.merged(windows.spans(session, "e", deployment="v1"), 3_600)
        assert [(s.seconds, s.summary.n_requests) for s in hourly] == [(120.0, 6)]
        assert windows.spans(session, "e", NOON_S + 60, NOON_S + 61)[0].summary.n_requests == 1
        assert windows.spans(session, "other") == []


def test_old_windows_become_hours_and_nothing_is_lost(store: Store) -> None:
    windows.append(store, "e", "a", [span(NOON_S + 60 * i) for i in range(120)])
    windows.append(store, "e", "b", [span(NOON_S + 60 * i) for i in range(120)])
    assert windows.compact(store, "e", NOON_S + 3_600) == 119
    assert windows.compact(store, "e", NOON_S + 3_600) == 0
    assert n_requests(store) == [120] + [2] * 60
    windows.append(store, "e", "a", [span(NOON_S + 30)])
    assert windows.compact(store, "e", NOON_S + 3_600) == 1
    assert n_requests(store)[0] == 121


def test_history_is_forgotten_when_it_is_too_old(store: Store) -> None:
    windows.append(store, "e", "a", [span(NOON_S), span(NOON_S + DAY_S)])
    assert windows.forget(store, "e", NOON_S + 1) == 1
    assert n_requests(store) == [1]


def test_events_are_kept_as_long_as_was_asked_for_and_those_of_a_running_test_longer(store: Store) -> None:
    deploy(store, "v1")
    at = windows.to_text(NOON_S)
    with store.write() as session:
        for number, state in ((1, "running"), (2, "decided")):
            session.add(
                LiveTestRow(
                    id=number,
                    endpoint_id=1,
                    champion_id=1,
                    method="interleave",
                    seed=0,
                    alpha=0.05,
                    state=state,
                    started_at=at,
                )
            )
        for days in (0, 40):
            for test_id in (None, 1, 2):
                event_at = windows.to_text(NOON_S - days * DAY_S)
                session.add(
                    EventRow(kind="search", at=event_at, endpoint="e", deployment="v1", query_id="q", test_id=test_id)
                )
    assert retention.carry_out(store, Retention(), NOON_S) == 0
    with store.write() as session:
        retention.save(session, Retention(events_days=30))
    assert retention.load(store) == Retention(events_days=30)
    assert retention.carry_out(store, retention.load(store), NOON_S) == 2
    with store.read() as session:
        kept = session.execute(select(EventRow.test_id, func.count()).group_by(EventRow.test_id)).all()
    assert sorted((test_id or 0, n) for test_id, n in kept) == [(0, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize("days", [0, -1, 1.5])
def test_a_retention_that_makes_no_sense_is_refused(days: int) -> None:
    with pytest.raises(InvalidArgument, match="number of days"):
        Retention(events_days=days)


def test_each_window_is_judged_once_and_by_one_process(store: Store) -> None:
    deploy(store, "v1")
    chosen = watch(store, [Rule("requests", ">", 1)])

    def judged(process: str, now_s: float) -> tuple[bool, int]:
        verdict = judge.judge(store, "e", process, chosen, None, now_s, NOON_S)
        return verdict.is_holder, len(verdict.changed)

    windows.append(store, "e", "a", [span(NOON_S, 1)])
    windows.append(store, "e", "b", [span(NOON_S, 1)])
    assert judged("a", NOON_S + 61) == (True, 0)
    assert judged("a", NOON_S + 60 + judge.GRACE_S) == (True, 1)
    assert judged("a", NOON_S + 67) == (True, 0)
    assert judged("b", NOON_S + 68) == (False, 0)
    windows.append(store, "e", "b", [span(NOON_S + 60, 0)])
    assert judged("b", NOON_S + 600) == (True, 1)
    judge.release(store, "e", "b")
    assert judged("c", NOON_S + 601) == (True, 0)
    [alert] = listed(store, "e", open_only=False)
    assert (alert.is_open, alert.value, alert.metric) == (False, 2.0, "requests")


@pytest.mark.parametrize("part_s", [0.0, 1e-7, 4e-7, 6e-7, 9e-7])
def test_a_window_that_ends_now_is_judged_at_once_whatever_the_clock_s_digits(store: Store, part_s: float) -> None:
    deploy(store, "v1")
    chosen = watch(store, [Rule("requests", ">", 1)])
    now_s = NOON_S + 60.000123 + part_s
    windows.append(store, "e", "a", [span(NOON_S, 2, now_s - NOON_S)])
    assert len(judge.judge(store, "e", "a", chosen, None, now_s, NOON_S, at_once=True).changed) == 1


def test_first_windows_of_processes_that_began_apart_are_one(store: Store) -> None:
    deploy(store, "v1")
    chosen = watch(store, [Rule("requests", ">", 3)])
    windows.append(store, "e", "a", [span(NOON_S + 10, 2, 50)])
    windows.append(store, "e", "b", [span(NOON_S + 20, 2, 40)])
    [alert] = judge.judge(store, "e", "a", chosen, None, NOON_S + 66, NOON_S).changed
    assert alert.value == 4.0


def test_a_window_without_any_traffic_is_judged_too(store: Store) -> None:
    deploy(store, "v1")
    chosen = watch(store, [Rule("rate", "<", 0.5)])
    now_s = NOON_S + 60 + judge.GRACE_S
    assert judge.judge(store, "e", "a", chosen, "v1", now_s, watching_since_s=now_s).changed == ()
    [alert] = judge.judge(store, "e", "a", chosen, "v1", now_s + 60, watching_since_s=now_s - 60).changed
    assert (alert.value, alert.deployment) == (0.0, "v1")


def labelled(start_s: float, deployment: str, n_wrong: int = 5) -> Span:
    return Span(deployment, start_s, start_s + 60, Summary(right=Moments(5, 5.0 - n_wrong, 5.0 - n_wrong)))


def test_late_labels_of_a_deployment_that_was_replaced_alert_nobody(store: Store) -> None:
    deploy(store, "v1", "v2")
    chosen = watch(store, [Rule("accuracy", "<", 0.5, for_windows=2)])

    def judged(minute: int, *spans: Span) -> list[tuple[str, bool]]:
        windows.append(store, "e", "a", list(spans))
        found = judge.judge(store, "e", "a", chosen, None, NOON_S + 60 * minute + 66, NOON_S).changed
        return [(alert.deployment, alert.is_open) for alert in found]

    assert judged(0, labelled(NOON_S, "v1")) == []
    promote(store, 2)
    for minute in (1, 2, 3):
        assert judged(minute, labelled(NOON_S + 60 * minute, "v1"), span(NOON_S + 60 * minute, deployment="v2")) == []
    assert judged(4, labelled(NOON_S + 240, "v2")) == []
    assert judged(5, labelled(NOON_S + 300, "v2")) == [("v2", True)]
    promote(store, 1)
    assert judged(6, labelled(NOON_S + 360, "v1")) == [("v2", False)], "one window, and those of before count no more"
    assert judged(7, labelled(NOON_S + 420, "v1")) == [("v1", True)]


def test_late_labels_do_not_hide_that_nobody_asks(store: Store) -> None:
    deploy(store, "v2", "v1")
    chosen = watch(store, [Rule("rate", "<", 0.5)])
    windows.append(store, "e", "a", [labelled(NOON_S, "v1")])
    [alert] = judge.judge(store, "e", "a", chosen, "v2", NOON_S + 66, NOON_S).changed
    assert (alert.deployment, alert.value) == ("v2", 0.0)


def test_written_vectors_are_judged_of_every_deployment_that_takes_them(store: Store) -> None:
    deploy(store, "v1", "v2")
    chosen = watch(store, [Rule("drift.data", "<=", 0.01), Rule("drift.queries", "<=", 0.01)])
    drift = {kind: Drift(0.001, 1, 100, "ks") for kind in ("data", "queries")}
    windows.append(store, "e", "a", [Span("v2", NOON_S, NOON_S + 60, Summary(drift=drift))])
    [alert] = judge.judge(store, "e", "a", chosen, None, NOON_S + 66, NOON_S).changed
    assert (alert.deployment, alert.metric) == ("v2", "drift.data")


def test_nothing_is_judged_of_an_endpoint_that_is_gone(store: Store) -> None:
    chosen = watch(store, [Rule("requests", ">", 0)])
    windows.append(store, "e", "a", [span(NOON_S)])
    assert judge.judge(store, "e", "a", chosen, None, NOON_S + 66, NOON_S).changed == ()


def test_an_endpoint_that_nobody_watches_is_not_judged(store: Store) -> None:
    chosen = configuration([], [], {})
    assert not judge.judge(store, "e", "a", chosen, None, NOON_S, NOON_S).is_holder


def test_a_figure_is_compared_with_its_season_and_not_with_the_hour_before(store: Store) -> None:
    """Traffic ten times higher at noon is no surprise at noon."""
    rule = Rule("rate", ">", 2.0, relative_to="hour")
    for day in range(1, 5):
        at_s = NOON_S - day * DAY_S
        windows.append(store, "e", "a", [span(at_s + 60 * i, 100) for i in range(60)])
        windows.append(store, "e", "a", [span(at_s - 3_600 + 60 * i, 10) for i in range(60)])
    with store.read() as session:
        assert judge.figure(session, "e", rule, span(NOON_S, 100)) == pytest.approx(1.0)
        assert judge.figure(session, "e", rule, span(NOON_S - 3_600, 100)) == pytest.approx(10.0)
        assert judge.figure(session, "e", rule, span(NOON_S + 3_600, 100)) is None
