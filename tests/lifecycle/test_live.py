from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from roost.errors import InvalidArgument, InvalidTransition
from roost.lifecycle.live import LiveTest, TestStatus
from roost.lifecycle.livetest import SequentialTest
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.recorder import Event, Recorder
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.serving.traffic import Answer
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EndpointRow, LiveTestRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def labels(answer: Answer, wanted: int) -> dict[int | str, float]:
    return {hit.id: float(hit.fields["label"] == wanted) for hit in answer.hits}


def ask(endpoint: Endpoint, digits: Digits, position: int) -> Answer:
    return endpoint.search(digits.images[position], output_fields=["label"])


def contested_answer(endpoint: Endpoint, digits: Digits, side: str = "challenger") -> tuple[Answer, int | str]:
    """Return an answer to which a side contributed, and a hit that it gets the credit for."""
    for position in range(300, 400):
        answer = ask(endpoint, digits, position)
        for hit in answer.hits:
            if hit.origin == side:
                return answer, hit.id
    raise AssertionError("the two models agree on everything")


def replay(endpoint: Endpoint, digits: Digits, test: LiveTest, n_queries: int = 1400) -> None:
    for position in range(300, 300 + n_queries):
        if not test.running:
            return
        answer = ask(endpoint, digits, position)
        endpoint.feedback(answer.query_id, labels(answer, int(digits.labels[position])))


def test_the_better_model_wins_and_the_champion_stays_until_promoted(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", seed=3)
    assert contested.test is test and test.result is None
    replay(contested, digits, test)
    result = test.result
    assert result is not None
    assert (result.state, result.decision) == ("decided", "challenger")
    assert result.p_value <= 0.05 and result.challenger_wins > result.champion_wins
    assert result.n_queries == len(result.p_values) == result.champion_wins + result.challenger_wins + result.ties
    assert contested.test is None and ask(contested, digits, 0).test_id is None
    assert contested.champion is not None and contested.champion.name == "digits-v1"
    contested.promote("digits-v2", reason="won", evidence=result)
    started, decided, promoted = workspace.ledger.entries(contested.name)[-3:]
    assert (started.action, decided.action, promoted.action) == ("test.start", "test.decide", "promote")
    assert decided.evidence["decision"] == "challenger"
    assert promoted.evidence["challenger_wins"] == result.challenger_wins


def test_an_answer_of_a_test_names_both_sides_and_who_found_what(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    answers = [ask(contested, digits, position) for position in range(300, 330)]
    for answer in answers:
        assert (answer.deployment, answer.challenger, answer.test_id) == ("digits-v1", "digits-v2", test.id)
        assert len(set(answer.ids)) == len(answer.hits) == 10
        for hit in answer.hits:
            assert (
                hit.deployment == {"champion": "digits-v1", "challenger": "digits-v2", None: hit.deployment}[hit.origin]
            )
            assert hit.fields["label"] == digits.labels[int(hit.id)]
    assert {hit.origin for answer in answers for hit in answer.hits} >= {"champion", "challenger"}


def test_a_query_counts_once_it_was_judged_as_a_whole(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    answer, item = contested_answer(contested, digits)
    contested.feedback(answer.query_id, {item: 1.0})
    status = test.status()
    assert (status.n_queries, status.challenger_wins) == (1, 1)
    contested.feedback(answer.query_id, {item: 1.0})
    assert test.status().n_queries == 1


def test_clicks_are_gathered_until_every_hit_was_judged(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    answer, item = contested_answer(contested, digits, "champion")
    for other in answer.ids[:-1]:
        contested.feedback(answer.query_id, other, 1.0 if other == item else 0.0)
    assert test.status().n_queries == 0
    contested.feedback(answer.query_id, answer.ids[-1], 1.0 if answer.ids[-1] == item else 0.0)
    assert (test.status().n_queries, test.status().champion_wins) == (1, 1)


def wait_for_queries(test: LiveTest, n_queries: int) -> TestStatus:
    for _ in range(200):
        if test.status().n_queries >= n_queries:
            break
        time.sleep(0.05)
    return test.status()


def test_clicks_count_when_their_time_is_over(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", window_s=2.0)
    answer, item = contested_answer(contested, digits)
    contested.feedback(answer.query_id, item)
    assert test.standing().n_queries == 0
    status = wait_for_queries(test, 1)
    assert (status.n_queries, status.challenger_wins) == (1, 1)


def test_feedback_that_cannot_be_is_refused_and_changes_nothing(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    answer = ask(contested, digits, 300)
    with pytest.raises(InvalidArgument, match="not among the results"):
        contested.feedback(answer.query_id, 10**9)
    with pytest.raises(InvalidArgument, match="finite"):
        contested.feedback(answer.query_id, answer.ids[0], float("nan"))
    assert contested.feedback("of-another-day", 1) is False
    assert test.status().n_queries == 0


def test_a_test_ends_undecided_after_its_queries(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    test = contested.start_test("digits-v2", max_queries=2, alpha=1e-9)
    replay(contested, digits, test)
    result = test.result
    assert result is not None and (result.state, result.decision, result.n_queries) == ("decided", "undecided", 2)


def test_a_test_can_be_stopped_once(contested: Endpoint, workspace: Workspace) -> None:
    test = contested.start_test("digits-v2")
    with pytest.raises(InvalidTransition, match="is running"):
        contested.start_test("digits-v2")
    with pytest.raises(InvalidTransition, match="takes part in live test"):
        contested.retire("digits-v2", "not needed")
    assert test.stop(reason="holidays").state == "stopped"
    n_entries = workspace.ledger.verify()
    test.stop()
    assert workspace.ledger.verify() == n_entries
    last = workspace.ledger.entries(contested.name)[-1]
    assert (last.action, last.reason, last.evidence["decision"]) == ("test.stop", "holidays", "undecided")


def test_a_promotion_ends_a_test_that_is_running(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    assert contested.promote("digits-v2", reason="cannot wait").stopped_test == test.id
    assert not test.running and contested.test is None
    assert test.result is not None and test.result.state == "stopped"
    assert ask(contested, digits, 0).challenger is None
    assert [e.action for e in workspace.ledger.entries(contested.name)[-2:]] == ["test.stop", "promote"]


def test_what_cannot_be_tested_is_refused(endpoint: Endpoint, contested: Endpoint) -> None:
    for options in ({"method": "coin"}, {"alpha": 0.0}, {"alpha": 1.0}, {"max_queries": 0}, {"seed": -1}):
        with pytest.raises(InvalidArgument):
            contested.start_test("digits-v2", **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidTransition, match="must be ready; 'digits-v1' is serving"):
        contested.start_test("digits-v1")
    assert contested.test is None


def test_a_challenger_that_breaks_takes_nothing_from_the_champion_s_users(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2")
    workspace.vectors.drop_collection(contested.deployment("digits-v2").collection)
    answer = ask(contested, digits, 300)
    assert (answer.deployment, answer.challenger, answer.test_id) == ("digits-v1", None, None)
    assert test.running
    contested.write(digits.records(300, 301))
    assert not test.running and contested.test is None
    assert contested.deployment("digits-v2").state == "failed"
    assert [e.action for e in workspace.ledger.entries(contested.name)[-2:]] == ["test.stop", "fail"]
    assert ask(contested, digits, 300).deployment == "digits-v1"


def test_a_test_goes_on_after_the_workspace_was_opened_again(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", alpha=1e-6)
    replay(contested, digits, test, 40)
    before = test.status()
    assert before.n_queries == 40
    workspace.close()
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        again = endpoint.test
        assert again is not None and replace(again.status(), arms=()) == replace(before, arms=())
        replay(endpoint, digits, again, 5)
        assert again.status().n_queries == 45


def test_a_model_deployed_twice_is_never_decided_however_often_one_looks(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    """Both sides rank alike, so no result is to anybody's credit, whatever users say about it."""
    flat = {"index_type": "FLAT"}
    empty_endpoint.promote(empty_endpoint.deploy(weak, digits.records(), index=flat), "first")
    test = empty_endpoint.start_test(empty_endpoint.deploy(weak, digits.records(), index=flat, name="same"))
    n_relevant = 0.0
    for position in range(300, 420):
        answer = ask(empty_endpoint, digits, position)
        assert answer.challenger == "same" and {hit.origin for hit in answer.hits} == {None}
        gains = labels(answer, int(digits.labels[position]))
        n_relevant += sum(gains.values())
        empty_endpoint.feedback(answer.query_id, gains)
        status = test.status()
        assert (status.state, status.decision, status.p_value) == ("running", "undecided", 1.0)
    assert n_relevant > 0
    assert (status.n_queries, status.ties) == (120, 120)


def count_elsewhere(place: Place, test: LiveTest, *outcomes: str) -> None:
    """Record outcomes as another process of the same endpoint does."""
    store = Store(place.store)
    recorder = Recorder(store)
    for number, outcome in enumerate(outcomes):
        recorder.put(Event("outcome", place.endpoint, "digits-v1", f"elsewhere-{number}", test.id, value=outcome))
    recorder.close()
    store.close()


def win(endpoint: Endpoint, digits: Digits, n_times: int) -> None:
    for _ in range(n_times):
        if endpoint.test is None:
            return
        answer, item = contested_answer(endpoint, digits)
        endpoint.feedback(answer.query_id, {item: 1.0})


def test_a_decision_counts_what_other_processes_saw(place: Place, contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2")
    count_elsewhere(place, test, *["champion"] * 8)
    n_alone = next(n for n in range(1, 50) if won(n).decision is not None)
    win(contested, digits, n_alone)
    status = test.status()
    assert status.state == "running"
    assert (status.challenger_wins, status.champion_wins) == (n_alone, 8)
    win(contested, digits, 60)
    assert test.result is not None and test.result.decision == "challenger"


def won(n_times: int) -> SequentialTest:
    test = SequentialTest()
    for _ in range(n_times):
        test = test.update("challenger")
    return test


def test_a_test_that_another_process_ended_is_not_ended_again(
    place: Place, contested: Endpoint, workspace: Workspace
) -> None:
    test = contested.start_test("digits-v2")
    store = Store(place.store)
    with store.write() as session:
        session.query(LiveTestRow).one().state = "stopped"
        session.query(EndpointRow).one().version += 1
    store.close()
    n_entries = workspace.ledger.verify()
    assert test.stop().state == "stopped"
    assert contested.test is None and workspace.ledger.verify() == n_entries


def test_a_test_whose_end_cannot_be_recorded_goes_on(
    contested: Endpoint,
) -> None:
    """The ledger's entry cannot be written: the transaction is undone as when the disk is full."""
    test = contested.start_test("digits-v2")
    with pytest.raises(InvalidArgument, match="surrogates"):
        test.stop(reason="\ud800")
    assert test.running and contested.test is test
    assert test.stop().state == "stopped"


def test_a_coin_does_not_fall_the_same_way_again_after_a_restart(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    """Queries without feedback were drawn too; drawing them again alike would tie outcomes to each other."""
    contested.start_test("digits-v2", seed=5)
    before = [[hit.origin for hit in ask(contested, digits, position).hits] for position in range(300, 340)]
    workspace.close()
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        after = [[hit.origin for hit in ask(endpoint, digits, position).hits] for position in range(300, 340)]
    assert before != after


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "x" * 256}, "user must be"),
        ({"user": {"name": "ann"}}, "user must be"),
        ({"user": "a\x00b"}, "user must be"),
    ],
)
def test_what_the_store_could_not_keep_is_refused_before_the_search(
    endpoint: Endpoint, digits: Digits, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        endpoint.search(digits.images[0], **options)
    for query_id, gain in (("q" * 41, 1.0), (7, 1.0), ("q", "good"), ("q", float("inf"))):
        with pytest.raises(InvalidArgument):
            endpoint.feedback(query_id, 1, gain)  # type: ignore[arg-type]


def test_a_challenger_whose_code_fails_takes_nothing_from_the_champion_s_users(
    contested: Endpoint, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = contested.start_test("digits-v2")

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(test.challenger.embedder, "embed", fail)
    assert ask(contested, digits, 300).challenger is None
    assert contested.write(digits.records(300, 301)) == 1
    assert contested.deployment("digits-v2").state == "failed"
    assert "out of memory" in workspace.ledger.entries(contested.name)[-1].reason
