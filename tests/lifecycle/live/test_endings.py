"""How live tests end: by a guardrail, by time, by a margin, with a promotion; and what counts until then."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from roost.errors import InvalidArgument, InvalidTransition, PermissionDenied, StorageFailure
from roost.lifecycle.actor import acting_as
from roost.lifecycle.live import LiveTest, course
from roost.lifecycle.live.judging import Drawn
from roost.lifecycle.live.records import text_of
from roost.lifecycle.monitor import recall
from roost.lifecycle.serving.recorder import Event
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.serving.traffic import Answer
from roost.lifecycle.store.tables import EventRow, LiveTestRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def ask(endpoint: Endpoint, digits: Digits, position: int, user: str | None = None) -> Answer:
    return endpoint.search(digits.images[position], output_fields=["label"], user=user)


def judge(endpoint: Endpoint, digits: Digits, position: int) -> Answer:
    answer = ask(endpoint, digits, position)
    wanted = digits.labels[position]
    endpoint.feedback(answer.query_id, {hit.id: float(hit.fields["label"] == wanted) for hit in answer.hits})
    return answer


def replay(endpoint: Endpoint, digits: Digits, test: LiveTest) -> None:
    for position in range(300, 1700):
        if not test.running:
            return
        judge(endpoint, digits, position)


def wait_until_over(test: LiveTest) -> None:
    for _ in range(200):
        if not test.running:
            return
        time.sleep(0.05)
    raise AssertionError("the test goes on")


def fail(*_: object) -> Any:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("method", ["interleave", "split", "shadow"])
def test_a_challenger_that_fails_stops_its_test_at_once(
    contested: Endpoint, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    test = contested.start_test("digits-v2", method=method, guardrails=["error_rate <= 0.01"], seed=1)
    monkeypatch.setattr(test.challenger.embedder, "embed", fail)
    answers = [ask(contested, digits, position) for position in range(300, 330)]
    assert test.drain()
    assert {answer.deployment for answer in answers} == {"digits-v1"}
    assert not test.serving
    assert test.status().state == "stopped"
    last = workspace.ledger.entries(contested.name)[-1]
    assert last.action == "test.stop" and last.reason.startswith("digits-v2 broke error_rate <= 0.01: it is 1 over")
    assert contested.test is None and test.standing().reason == last.reason


def test_a_guardrail_without_traffic_or_looks_is_recorded_in_the_background(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = contested.start_test("digits-v2", guardrails=["p95_ms <= 0.000001"])
    for position in range(300, 320):
        ask(contested, digits, position)
    wait_until_over(test)
    assert "p95_ms <= 1e-06" in test.standing().reason


def test_the_recall_of_a_challenger_is_sampled(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.lifecycle.live.test._SAMPLED_SHARE", 1.0)
    test = contested.start_test("digits-v2", guardrails=["recall >= 0.9"])
    for position in range(300, 310):
        ask(contested, digits, position)
    contested._see_recall(test, test.samples())
    assert test.serving
    monkeypatch.setattr(contested._context.vectors, "search", lambda *_, data, **__: [[] for _ in data], raising=True)
    for _ in range(30):
        test._samples.append((test.challenger, test.challenger.embedder.embed(digits.images[:1])))
        contested._see_recall(test, test.samples())
    assert test.guards.breach is not None and "recall >= 0.9" in test.guards.breach


def test_measuring_recall_keeps_nobody_waiting(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exact search reads many rows; whoever tends the test looks after the other endpoints too."""
    go_on, measured = threading.Event(), list[int]()

    def slowly(*_: Any) -> Any:
        assert go_on.wait(30.0)
        measured.append(1)
        raise StorageFailure("no answer")

    monkeypatch.setattr(recall, "measure", slowly)
    test = contested.start_test("digits-v2", guardrails=["recall >= 0.1"])
    for _ in range(2):
        test._samples.append((test.challenger, test.challenger.embedder.embed(digits.images[:1])))
        contested.tend()
    assert measured == [] and len(test._samples) == 1
    go_on.set()
    contested.close()
    assert measured and "the recall of" in caplog.text


def test_a_split_that_does_not_share_as_it_should_is_stopped(contested: Endpoint, digits: Digits) -> None:
    """Half of the users should go to the challenger; here their answers get lost."""
    test = contested.start_test("digits-v2", method="split", guardrails=["sample_ratio"], seed=1)
    weights = {"digits-v1": 0.5, "digits-v2": 0.5}
    for _ in range(200):
        test.guards.assigned(weights, "digits-v1")
    assert test.status().state == "stopped"
    assert "sample_ratio" in test.standing().reason


def test_a_deadline_ends_a_test_without_any_traffic(contested: Endpoint, workspace: Workspace) -> None:
    test = contested.start_test("digits-v2", deadline=timedelta(seconds=0.3))
    wait_until_over(test)
    result = test.result
    assert result is not None and (result.state, result.decision) == ("decided", "undecided")
    assert workspace.ledger.entries(contested.name)[-1].action == "test.decide"


def test_no_difference_within_a_margin_is_an_outcome(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", margin=0.4)
    for position in range(300, 1400):
        if not test.running:
            break
        answer = ask(contested, digits, position)
        sides = {hit.origin: hit.id for hit in answer.hits if hit.origin is not None}
        side = ("champion", "challenger")[position % 2]
        if side in sides:
            contested.feedback(answer.query_id, {sides[side]: 1.0})  # type: ignore[index]
    assert test.result is not None and test.result.decision == "no difference"
    with pytest.raises(InvalidArgument):
        contested.start_test("digits-v2", margin=0.5)


def test_production_promotes_no_winner_by_itself_unless_it_is_told_so(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    with pytest.raises(InvalidTransition, match="may not promote by themselves"):
        contested.start_test("digits-v2", on_win="promote")
    contested.promote_winners(True)
    test = contested.start_test("digits-v2", on_win="promote", seed=3)
    replay(contested, digits, test)
    assert test.result is not None and test.result.decision == "challenger"
    assert contested.champion is not None and contested.champion.name == "digits-v2"
    decided, promoted = workspace.ledger.entries(contested.name)[-2:]
    assert (decided.action, promoted.action) == ("test.decide", "promote")
    assert promoted.evidence["test_id"] == test.id and str(test.id) in promoted.reason


def test_a_winner_whose_promotion_a_crash_prevented_is_promoted_later(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    contested.promote_winners(True)
    test = contested.start_test("digits-v2", on_win="promote", seed=3)
    with monkeypatch.context() as patched:
        patched.setattr(contested, "_promote_winner", lambda: None)
        replay(contested, digits, test)
        assert contested.champion is not None and contested.champion.name == "digits-v1"
    contested._tended = -1
    contested.tend()
    assert contested.champion is not None and contested.champion.name == "digits-v2"


def test_a_winner_that_may_not_be_promoted_any_more_is_not(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    contested.promote_winners(True)
    test = contested.start_test("digits-v2", on_win="promote", seed=3)
    contested.promote_winners(False)
    replay(contested, digits, test)
    assert contested.champion is not None and contested.champion.name == "digits-v1"
    assert workspace.ledger.entries(contested.name)[-1].action == "promote.refuse"
    assert course.winner_to_promote(contested._context, contested._router.endpoint_id) is None


def test_a_winner_is_promoted_after_a_failure_of_the_store_and_not_again_after_a_rollback(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageFailure("the store cannot be read")

    contested.promote_winners(True)
    test = contested.start_test("digits-v2", on_win="promote", seed=3)
    with monkeypatch.context() as patched:
        patched.setattr(course, "winner_to_promote", refuse)
        replay(contested, digits, test)
        contested._tended = -1
        with pytest.raises(StorageFailure):
            contested.tend()
        assert contested.champion is not None and contested.champion.name == "digits-v1"
    contested.tend()
    assert contested.champion.name == "digits-v2"
    contested.rollback(reason="it is bad in production")
    for _ in range(3):
        contested._tended = -1
        contested.tend()
        assert contested.champion.name == "digits-v1"


def test_a_winner_is_promoted_in_the_name_of_who_started_the_test_and_may_promote(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    contested.promote_winners(True)
    workspace.governance.grant("ann", "operator")
    workspace.governance.grant("dev", "developer")
    with acting_as("dev"), pytest.raises(PermissionDenied, match="may not promote"):
        contested.start_test("digits-v2", on_win="promote")
    assert contested.test is None
    with acting_as("ann"):
        test = contested.start_test("digits-v2", on_win="promote", seed=3)
    with acting_as("dev"):
        replay(contested, digits, test)
    wait_until_champion(contested, "digits-v2")
    promoted = workspace.ledger.entries(contested.name)[-1]
    assert (promoted.action, promoted.actor) == ("promote", "ann")


def wait_until_champion(endpoint: Endpoint, name: str) -> None:
    for _ in range(100):
        if endpoint.champion is not None and endpoint.champion.name == name:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} is not champion")


def test_a_user_is_one_draw_of_a_split_however_often_nobody_labels_the_answers(
    contested: Endpoint, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", method="split", metric="rating", guardrails=["sample_ratio"], seed=1)
    for n_window in range(3):
        for user in range(10):
            ask(contested, digits, 300 + user, f"u{user}")
        test.tend(time.time() + 60.0 * (n_window + 1))
    assert test.guards._ratio is not None
    assert sum(test.guards._ratio.counted.values()) == 10
    assert test.standing().n_queries == 0


def test_a_unit_that_another_process_left_is_judged_by_its_whole_window(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", method="split", window_s=5.0)
    began = time.time() + 1.0
    drawn = Drawn(arm="digits-v1", shares={"digits-v2": 0.5}, ids=("1",))
    about: dict[str, Any] = {"endpoint": contested.name, "deployment": "digits-v1", "test_id": test.id}
    for query_id, at in (("q1", began), ("q2", began + 3.0), ("q3", began + 20.0)):
        workspace._recorder.put(Event("search", query_id=query_id, actor="ann", value=drawn, at=text_of(at), **about))
    click: dict[str, Any] = {"metric": "click", "item": "1", "value": '{"1":1.0}', "at": text_of(began + 4.0)}
    workspace._recorder.put(Event("feedback", query_id="q2", **click, **about))
    workspace.flush_events()
    test.tend(began + 17.0)  # units that began in the first second and a half
    assert test.standing().n_queries == 1
    assert test.standing().arms[0].mean == 0.5


def test_a_test_that_was_left_out_for_a_while_draws_anew(contested: Endpoint, digits: Digits) -> None:
    contested.start_test("digits-v2", seed=3)
    router, drawn = contested._router, []
    for _ in range(2):
        drawn.append([[hit.origin for hit in ask(contested, digits, position).hits] for position in range(300, 340)])
        with router.changing:
            router.routing = replace(router.routing, test=None)
            router.refresh()
    assert drawn[0] != drawn[1]


def test_feedback_that_cannot_be_written_down_is_refused_before_it_counts(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", window_s=60.0)
    answer = ask(contested, digits, 300)
    for at in (1e20, -1e20, "0001-01-01T00:00:00", "9999-12-31T23:59:59-10:00"):
        with pytest.raises(InvalidArgument, match="time"):
            contested.feedback(answer.query_id, {key: 1.0 for key in answer.ids}, at=at)
    for item in ("a\x00b", "a\ud800", "a" * 100_000):
        with pytest.raises(InvalidArgument):
            contested.feedback("of-another-process", item)
    test.tend(time.time() + 100.0)
    assert test.standing().n_queries == 0 and rows(workspace, "feedback") == []


def rows(workspace: Workspace, kind: str) -> list[EventRow]:
    workspace.flush_events()
    with workspace._store.read() as session:
        return list(session.scalars(select(EventRow).where(EventRow.kind == kind).order_by(EventRow.id)))


def test_late_feedback_is_recorded_and_does_not_count(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", window_s=60.0)
    answer = ask(contested, digits, 300)
    contested.feedback(answer.query_id, answer.ids[0], at=time.time() + 61.0)
    test.tend(time.time() + 100.0)
    contested.feedback(answer.query_id, answer.ids[1], at=time.time() + 200.0)
    assert (test.status().n_queries, test.status().n_late) == (0, 2)
    assert [row.error for row in rows(workspace, "feedback")] == ["late", "late"]


def test_feedback_counts_once_however_often_it_is_sent(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    contested.start_test("digits-v2")
    answer, other = ask(contested, digits, 300), ask(contested, digits, 301)
    for _ in range(3):
        contested.feedback(answer.query_id, answer.ids[0])
        contested.feedback(other.query_id, other.ids[0], kind="rating", value=4.0, event_id="n1")
    contested.feedback(answer.query_id, answer.ids[1], event_id="n2")
    stored = rows(workspace, "feedback")
    assert [(row.query_id, row.metric, row.item) for row in stored] == [
        (answer.query_id, "click", str(answer.ids[0])),
        (other.query_id, "rating", str(other.ids[0])),
        (answer.query_id, "click", str(answer.ids[1])),
    ]


def test_feedback_of_another_kind_does_not_count(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    answer = ask(contested, digits, 300)
    contested.feedback(answer.query_id, {key: 5.0 for key in answer.ids}, kind="rating")
    test.tend(time.time() + 60.0)
    assert test.standing().n_queries == 0


def test_another_process_takes_feedback_and_closes_what_the_first_one_left(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", window_s=5.0)
    clicked = [answer for answer in (ask(contested, digits, p) for p in range(300, 340)) if answer.hits[0].origin]
    workspace.flush_events()
    sides = [answer.hits[0].origin for answer in clicked]
    assert len(clicked) > 2
    workspace.close()
    with place.open() as other:
        endpoint = other.endpoints.get(place.endpoint)
        for answer in clicked:
            assert endpoint.feedback(answer.query_id, answer.hits[0].id)
        with pytest.raises(InvalidArgument, match="not among the results"):
            endpoint.feedback(clicked[0].query_id, 10**9)
        assert endpoint.feedback("0" * 32, 1) is False
        taken_up = endpoint.test
        assert taken_up is not None and taken_up.id == test.id
        other.flush_events()
        taken_up.tend(time.time() + 60.0)
        status = taken_up.standing()
        assert status.n_queries == len(clicked)
        assert status.challenger_wins == sides.count("challenger")
        assert status.champion_wins == sides.count("champion")
        taken_up.tend(time.time() + 120.0)
        assert taken_up.standing().n_queries == len(clicked)


def test_feedback_that_comes_before_its_answer_is_counted_with_it(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    """Another process got the click before the answer was in the store: it could not be checked."""
    test = contested.start_test("digits-v2", window_s=5.0)
    answer = next(a for a in (ask(contested, digits, p) for p in range(300, 340)) if a.hits[0].origin)
    contested._answered._answers.clear()
    workspace._recorder._searches.clear()
    assert contested.feedback(answer.query_id, answer.hits[0].id) is False
    workspace.flush_events()
    test.tend(time.time() + 60.0)
    status = test.standing()
    assert status.n_queries == 1 and status.challenger_wins + status.champion_wins == 1


def test_the_store_keeps_what_was_asked_and_who_won(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    test = contested.start_test("digits-v2", seed=3, metric="click", margin=0.01)
    replay(contested, digits, test)
    with workspace._store.read() as session:
        [row] = session.scalars(select(LiveTestRow))
    assert row.decision == "challenger" and row.winner_id == contested.deployment("digits-v2").id
    started = next(e for e in workspace.ledger.entries(contested.name) if e.action == "test.start")
    assert started.evidence["margin"] == 0.01 and started.evidence["metric"] == "click"


def test_a_status_is_shown_as_text_table_and_plot(contested: Endpoint, digits: Digits) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra demo")
    test = contested.start_test("digits-v2")
    for position in range(300, 340):
        judge(contested, digits, position)
    status = test.status()
    n_more = status.n_more()
    assert n_more is not None and 0 < n_more < 5_000
    assert "digits-v2" in repr(status) and "digits-v2" in repr(test)
    assert "<table>" in status._repr_html_() and "digits-v2" in test._repr_html_()
    figure = status.plot()
    assert figure.axes[0].get_ylabel() == "evidence, 1 / p"
    assert status.to_dict()["arms"][1]["deployment"] == "digits-v2"
