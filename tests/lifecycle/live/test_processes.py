"""Two processes serve one endpoint and count its live test together; here they are two workspaces of one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from roost.lifecycle.live import LiveTest, TestStatus
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.serving.traffic import Answer, Query
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


@pytest.fixture
def other(place: Place, contested: Endpoint) -> Iterator[Workspace]:
    with place.open(actor="other") as opened:
        yield opened


@pytest.fixture
def theirs(contested: Endpoint, other: Workspace) -> Endpoint:
    """The same endpoint as `contested`, in the other workspace."""
    found: Endpoint = other.endpoints.get(contested.name)
    return found


def taken_up(endpoint: Endpoint, test: LiveTest) -> LiveTest:
    endpoint.refresh()
    twin = endpoint.test
    assert twin is not None and twin is not test and twin.id == test.id
    return twin


def ask(endpoint: Endpoint, digits: Digits, position: int, user: str | None = None) -> Answer:
    return endpoint.search(digits.images[position], output_fields=["label"], user=user)


def gains(answer: Answer, wanted: int) -> dict[int | str, float]:
    return {hit.id: float(hit.fields["label"] == wanted) for hit in answer.hits}


def counted(workspaces: tuple[Workspace, Workspace], tests: tuple[LiveTest, LiveTest]) -> list[TestStatus]:
    """Let both close what is due a minute from now, and count what the other one closed."""
    for later_s in (60.0, 120.0):
        for workspace in workspaces:
            workspace.flush_events()
        for test in tests:
            test.tend(time.time() + later_s)
    return [test.standing() for test in tests]


def test_a_split_gives_a_user_one_side_everywhere_and_counts_every_user_once(
    contested: Endpoint, theirs: Endpoint, workspace: Workspace, other: Workspace, digits: Digits
) -> None:
    test = contested.start_test("digits-v2", method="split", seed=5, alpha=1e-9, window_s=30.0)
    twin = taken_up(theirs, test)
    answers: list[tuple[Endpoint, Answer]] = []
    for n in range(40):
        endpoint = (contested, theirs)[n % 2]
        answers += [(endpoint, ask(endpoint, digits, 300 + again, f"u{n}")) for again in range(2)]
    for n in range(40):
        elsewhere = (theirs, contested)[n % 2]._router.routing.test
        assert elsewhere is not None
        [part] = elsewhere.serve(
            digits.images[300:301], f"u{n}", lambda target, some: theirs._batch(target, some, Query())
        )
        assert part.target.deployment.name == answers[2 * n][1].deployment == answers[2 * n + 1][1].deployment
    workspace.flush_events()
    other.flush_events()
    for n, (endpoint, answer) in enumerate(answers):
        told = endpoint if n % 3 else (theirs if endpoint is contested else contested)
        if answer.deployment == "digits-v2" and n % 2 == 0:
            assert told.feedback(answer.query_id, answer.ids[0])
            assert contested.feedback(answer.query_id, answer.ids[0])
    ours, same = counted((workspace, other), (test, twin))
    n_challenger = sum(answer.deployment == "digits-v2" for _, answer in answers[::2])
    for status in (ours, same):
        assert status.n_queries == 40
        assert [arm.n for arm in status.arms] == [40 - n_challenger, n_challenger]
        assert [arm.mean for arm in status.arms] == [0.0, 0.5]
    # Each counted its own units first; what decides is counted from the store, in one order.
    assert twin.recount() is test.recount() is False
    assert test.standing().p_value == twin.standing().p_value and test.standing().n_queries == 40


@pytest.mark.parametrize("method", ["interleave", "balanced"])
def test_what_either_one_mixed_decides_the_test_for_both(
    contested: Endpoint, theirs: Endpoint, workspace: Workspace, other: Workspace, digits: Digits, method: Any
) -> None:
    test = contested.start_test("digits-v2", method=method, seed=3)
    twin = taken_up(theirs, test)
    n_asked = 0
    for position in range(300, 1700):
        endpoint = (contested, theirs)[position % 2]
        answer = ask(endpoint, digits, position)
        if answer.test_id is None:
            break
        n_asked += 1
        endpoint.feedback(answer.query_id, gains(answer, int(digits.labels[position])))
        if position % 40 == 0:
            test.tend()
            twin.tend()
    for endpoint in (contested, theirs):
        endpoint.refresh()
        assert endpoint.test is None and endpoint.champion is not None and endpoint.champion.name == "digits-v1"
    assert not test.running and not twin.running
    decided = [entry for entry in workspace.ledger.entries(contested.name) if entry.action == "test.decide"]
    [entry] = decided
    assert entry.evidence["decision"] == "challenger" and entry.evidence["n_queries"] <= n_asked
    for one in (test, twin):
        status = one.standing()
        assert (status.state, status.decision, status.challenger) == ("decided", "challenger", "digits-v2")
        assert status.n_queries == entry.evidence["n_queries"]
    assert entry.actor in ("tester", "other")
    workspace.ledger.verify()


def test_a_promotion_elsewhere_stops_the_test_everywhere_and_says_why(contested: Endpoint, theirs: Endpoint) -> None:
    test = contested.start_test("digits-v2")
    twin = taken_up(theirs, test)
    assert theirs.promote("digits-v2", "urgent").stopped_test == test.id
    contested.refresh()
    for one in (test, twin):
        status = one.standing()
        assert (status.state, status.decision, status.reason) == ("stopped", "undecided", "promote of digits-v2")
