"""Every method of a live test, from the query to the outcome, on a weak and a strong model of digits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.live import LiveTest
from roost.lifecycle.live import shadow as shadow_module
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.serving.traffic import Answer
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits


def ask(endpoint: Endpoint, digits: Digits, position: int, user: str | None = None) -> Answer:
    return endpoint.search(digits.images[position], output_fields=["label"], user=user)


def labels(answer: Answer, wanted: int) -> dict[int | str, float]:
    return {hit.id: float(hit.fields["label"] == wanted) for hit in answer.hits}


def replay(endpoint: Endpoint, digits: Digits, test: LiveTest, n_queries: int, kind: str = "click") -> None:
    """Ask, and say of every result whether it is right."""
    for position in range(300, 300 + n_queries):
        if not test.running:
            return
        answer = ask(endpoint, digits, position)
        endpoint.feedback(answer.query_id, labels(answer, int(digits.labels[position])), kind=kind)


@pytest.fixture
def twins(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> Endpoint:
    """An endpoint whose challenger `same` is the champion's own model."""
    flat = {"index_type": "FLAT"}
    empty_endpoint.promote(empty_endpoint.deploy(weak, digits.records(), index=flat), "first")
    empty_endpoint.deploy(weak, digits.records(), index=flat, name="same")
    return empty_endpoint


def test_balanced_interleaving_finds_the_better_model(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", method="balanced", seed=1)
    replay(contested, digits, test, 1400)
    assert test.result is not None and test.result.decision == "challenger"


def test_of_several_challengers_the_better_one_wins(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    weaker = workspace.models.register("digits", digits.embedder(2))
    contested.deploy(weaker, digits.records())
    test = contested.start_test(["digits-v3", "digits-v2"], seed=1)
    assert ask(contested, digits, 300).challengers == ("digits-v3", "digits-v2")
    replay(contested, digits, test, 1400)
    result = test.result
    assert result is not None and (result.decision, result.challenger) == ("challenger", "digits-v2")
    standing = {arm.deployment: arm.standing for arm in result.arms}
    assert standing["digits-v2"] == "better" and standing["digits-v3"] != "better"
    [arm] = [arm for arm in result.arms if arm.deployment == "digits-v3"]
    assert arm.effect is not None and arm.effect < 0.0


def test_slow_searches_run_at_the_same_time_and_quick_ones_do_not(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = contested.start_test("digits-v2")
    search, threads = contested._hits, []

    def slow(target: Any, *arguments: Any) -> Any:
        if target.deployment.name == "digits-v2":
            threads.append(threading.current_thread().name.split("_")[0])
        time.sleep(0.1)
        return search(target, *arguments)

    monkeypatch.setattr(contested, "_hits", slow)
    for position in range(300, 320):
        assert ask(contested, digits, position).challenger == "digits-v2"
    assert threads[2:].count("roost-challenger") > 15
    held = contested._router.routing
    test.stop("enough")
    monkeypatch.setattr(contested._router, "routing", held)
    monkeypatch.setattr(test, "_state", "running")
    assert ask(contested, digits, 330).challenger == "digits-v2"


def test_a_split_gives_every_user_one_deployment(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", method="split", weights=0.3, seed=5)
    by_user = {f"u{n}": ask(contested, digits, 300 + n, f"u{n}").deployment for n in range(200)}
    share = sum(name == "digits-v2" for name in by_user.values()) / 200
    assert 0.2 < share < 0.4
    for n in range(0, 200, 10):
        answer = ask(contested, digits, 301, f"u{n}")
        assert answer.deployment == by_user[f"u{n}"] and answer.test_id == test.id
        assert answer.challengers == () and {hit.deployment for hit in answer.hits} == {answer.deployment}


def test_a_split_counts_users_and_the_silent_ones_too(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", method="split", seed=5)
    for n in range(40):
        for again in range(2):
            answer = ask(contested, digits, 300 + n, f"u{n % 20}")
            if again == 0 and answer.deployment == "digits-v2":
                contested.feedback(answer.query_id, answer.ids[0])
    assert test.status().n_queries == 0
    test.tend(time.time() + 60.0)
    status = test.standing()
    assert status.n_queries == 20 == sum(arm.n for arm in status.arms)
    assert [arm.mean for arm in status.arms] == [0.0, 0.5]
    ask(contested, digits, 300, "u1")
    test.tend(time.time() + 120.0)
    assert test.standing().n_queries == 20


def test_a_seeded_split_without_users_can_be_run_again(contested: Endpoint, digits: Digits) -> None:
    sides = []
    for _ in range(2):
        test = contested.start_test("digits-v2", method="split", seed=2)
        sides.append([ask(contested, digits, 300 + n).deployment for n in range(60)])
        test.stop("again")
    assert sides[0] == sides[1]
    assert 15 < sides[0].count("digits-v2") < 45


def test_a_split_finds_the_better_model(contested: Endpoint, digits: Digits) -> None:
    """A user buys where the first result is right, which the weak model of 2 dimensions less often shows."""
    test = contested.start_test("digits-v2", method="split", metric="conversion", seed=2)
    for position in range(300, 1700):
        answers = contested.search_batch(digits.images[position : position + 1], limit=4, output_fields=["label"])
        [answer] = answers
        wanted = digits.labels[position]
        is_bought = all(hit.fields["label"] == wanted for hit in answer.hits)
        contested.feedback(answer.query_id, {answer.ids[0]: float(is_bought)}, kind="conversion")
        if not test.running:
            break
    assert test.result is not None and test.result.decision == "challenger"


def test_a_ramp_moves_users_to_the_challenger_and_never_back(contested: Endpoint, digits: Digits) -> None:
    contested.start_test("digits-v2", method="split", ramp=[(0, 0.05), (1.0, 0.6)], seed=4)
    users = [f"u{n}" for n in range(60)]
    before = {user: ask(contested, digits, 300, user).deployment for user in users}
    time.sleep(1.1)
    after = {user: ask(contested, digits, 300, user).deployment for user in users}
    n_before, n_after = (sum(name == "digits-v2" for name in d.values()) for d in (before, after))
    assert n_before < n_after
    assert all(after[user] == "digits-v2" for user in users if before[user] == "digits-v2")


def test_a_batch_without_a_user_is_split_by_query(contested: Endpoint, digits: Digits) -> None:
    contested.start_test("digits-v2", method="split", seed=4)
    answers = contested.search_batch(digits.images[300:340], output_fields=["label"])
    assert {answer.deployment for answer in answers} == {"digits-v1", "digits-v2"}
    alone = contested.search_vectors(
        contested._router.routing.champion.embedder.embed(digits.images[300:301]),  # type: ignore[union-attr]
        contested.deployment("digits-v1").fingerprint,
    )
    first = answers[0]
    if first.deployment == "digits-v1":
        assert first.ids == alone[0].ids


def test_a_shadow_shows_the_champion_alone_and_finds_the_better_model(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", method="shadow", metric="label")
    for position in range(300, 1700):
        answer = ask(contested, digits, position)
        assert {hit.deployment for hit in answer.hits} == {"digits-v1"} and answer.challengers == ()
        contested.feedback(answer.query_id, labels(answer, int(digits.labels[position])), kind="label")
        if position % 20 == 0:
            test.drain()
        if not test.running or test.complete:
            break
    test.drain()
    test.tend()
    result = test.result
    assert result is not None and result.decision == "challenger"
    challenger = result.arms[1]
    assert challenger.agreement is not None and 0.1 < challenger.agreement < 0.9
    assert challenger.n_answers > 0 and challenger.latency_ms is not None and challenger.n_errors == 0


def test_a_shadow_takes_labels_of_what_challengers_found(contested: Endpoint, digits: Digits) -> None:
    test = contested.start_test("digits-v2", method="shadow", metric="label")
    answer = ask(contested, digits, 300)
    everything: Mapping[int | str, float] = {n: float(digits.labels[n] == digits.labels[300]) for n in range(300)}
    contested.feedback(answer.query_id, everything, kind="label")
    with pytest.raises(InvalidArgument, match="not among the results"):
        contested.feedback(answer.query_id, 10**9, kind="click")
    assert test.drain()
    assert test.status().n_queries == 1


def test_a_challenger_that_cannot_keep_up_is_left_out_and_slows_nobody(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "MAX_WAITING", 2)
    test = contested.start_test("digits-v2", method="shadow")
    gate, search = threading.Event(), contested._hits

    def slow(target: Any, *arguments: Any) -> Any:
        if target.deployment.name == "digits-v2":
            gate.wait(30.0)
        return search(target, *arguments)

    monkeypatch.setattr(contested, "_hits", slow)
    for position in range(300, 320):
        assert ask(contested, digits, position).deployment == "digits-v1"
    assert test.standing().n_left_out >= 16
    gate.set()
    assert test.drain()


@pytest.mark.parametrize("method", ["interleave", "balanced", "shadow", "split"])
def test_a_model_against_itself_is_never_decided(twins: Endpoint, digits: Digits, method: Any) -> None:
    test = twins.start_test("same", method=method, metric="label", seed=9)
    rng = np.random.default_rng(0)
    for position in range(300, 550):
        answer = ask(twins, digits, position)
        gains = {hit.id: float(rng.random() < 0.5) for hit in answer.hits}
        twins.feedback(answer.query_id, gains, kind="label")
        if position % 25 == 0:
            assert test.drain() and test.status().decision == "undecided"
    assert test.drain()
    status = test.status()
    assert (status.state, status.n_queries) == ("running", 250)
    assert method == "split" or status.p_value == 1.0
