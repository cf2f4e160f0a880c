from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from roost.errors import InvalidArgument, InvalidTransition
from roost.lifecycle.deployments import promotion, retirement
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


@pytest.fixture
def replaced(contested: Endpoint) -> Endpoint:
    """An endpoint whose champion is `digits-v2`, with the former champion `digits-v1` retired."""
    contested.promote("digits-v2", "better")
    contested.retire("digits-v1", "replaced")
    return contested


def holds(workspace: Workspace, endpoint: Endpoint, name: str, key: int) -> bool:
    collection = endpoint.deployment(name).collection
    found = workspace.vectors.query(collection, filter=f"id == {key}", output_fields=["id"], consistency_level="Strong")
    return bool(found)


def test_an_endpoint_rolls_back_to_a_retired_deployment(replaced: Endpoint, digits: Digits) -> None:
    switch = replaced.rollback("digits-v1", reason="complaints")
    assert (switch.previous, switch.champion) == ("digits-v2", "digits-v1")
    answer = replaced.search(digits.images[5], limit=1)
    assert (answer.deployment, answer.ids) == ("digits-v1", [5])
    assert replaced.deployment("digits-v1").state is State.SERVING
    assert replaced.deployment("digits-v2").state is State.READY


def test_a_retired_deployment_is_found_again_after_a_restart(
    place: Place, replaced: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    workspace.close()
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        endpoint.rollback("digits-v1", reason="complaints")
        assert endpoint.search(digits.images[5], limit=1).ids == [5]


def test_a_rollback_to_a_deployment_that_missed_records_is_refused_with_their_number(
    replaced: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    assert replaced.missed("digits-v1") == []
    replaced.write([{"id": 1502, "content": digits.images[1502]}, {"id": 3, "content": digits.images[3]}])
    replaced.write([{"id": 1502, "content": digits.images[1502]}])
    replaced.delete([7])
    assert replaced.missed("digits-v1") == ["1502", "3", "7"]
    n_entries = workspace.ledger.verify()
    with pytest.raises(InvalidTransition, match=r"missed 3 records.*accept_missing=True"):
        replaced.rollback("digits-v1", reason="complaints")
    with pytest.raises(InvalidTransition, match="missed 3 records"):
        replaced.promote("digits-v1", reason="better after all")
    assert workspace.ledger.verify() == n_entries
    assert replaced.search(digits.images[0]).deployment == "digits-v2"
    replaced.rollback("digits-v1", reason="complaints", accept_missing=True)
    assert workspace.ledger.entries(replaced.name)[-1].evidence["n_missed"] == 3
    assert replaced.missed("digits-v1") == ["1502", "3", "7"]
    assert not holds(workspace, replaced, "digits-v1", 1502)
    replaced.write([{"id": 1502, "content": digits.images[1502]}])
    assert holds(workspace, replaced, "digits-v1", 1502)


def test_what_was_never_complete_is_dropped_when_it_is_retired(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(strong, digits.records(), progress=stop)
    half = endpoint.deployment("digits-v2")
    endpoint.retire(half, "not needed")
    assert endpoint.deployment("digits-v2").purged
    assert not workspace.vectors.has_collection(half.collection)
    with pytest.raises(InvalidTransition, match="purged"):
        endpoint.promote("digits-v2", "better")


def test_an_endpoint_keeps_as_many_retired_deployments_as_it_is_told(
    replaced: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    assert replaced.policy.keep_retired is None
    replaced.keep_retired(1)
    assert replaced.policy.keep_retired == 1
    replaced.deploy(weak, digits.records(0, 50), name="third")
    replaced.retire("third", "not needed")
    purged = {deployment.name for deployment in replaced.deployments() if deployment.purged}
    assert purged == {"digits-v1"}
    last = workspace.ledger.entries(replaced.name)[-1]
    assert (last.action, last.subject) == ("purge", "digits-v1")
    with pytest.raises(InvalidArgument, match="keep_retired"):
        replaced.keep_retired(-1)


def test_a_search_that_has_begun_is_answered_when_the_policy_gives_its_deployment_up(
    contested: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors are dropped a while after the retirement: by a process that has the endpoint open, or at opening."""
    contested.keep_retired(0)
    embed, has_begun, go_on, answers = traffic.embed, threading.Event(), threading.Event(), list[str]()

    def slowly(target: traffic.Target, contents: Any) -> Any:
        has_begun.set()
        assert go_on.wait(30.0)
        return embed(target, contents)

    monkeypatch.setattr(traffic, "embed", slowly)
    searcher = threading.Thread(target=lambda: answers.append(contested.search(digits.images[5]).deployment))
    searcher.start()
    assert has_begun.wait(30.0)
    contested.promote("digits-v2", "better")
    contested.retire("digits-v1", "replaced")
    go_on.set()
    searcher.join()
    assert answers == ["digits-v1"]


def test_what_the_policy_gives_up_is_dropped_when_nobody_uses_it(
    contested: Endpoint, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.endpoints.close()
    contested.keep_retired(0)
    collection, context = contested.deployment("digits-v2").collection, contested._context
    monkeypatch.setattr(retirement, "RELEASE_AFTER_S", 1.0)
    begun_at = time.monotonic()
    contested.retire("digits-v2", "weak")
    assert contested.deployment("digits-v2").purged
    released = set[tuple[int, str]]()
    for look in (lambda: retirement.release_due(context, released), lambda: promotion.reconcile(context)):
        look()
        is_there = workspace.vectors.has_collection(collection)
        assert is_there or time.monotonic() - begun_at > 1.0
    time.sleep(1.0)
    retirement.release_due(context, released)
    assert not workspace.vectors.has_collection(collection) and len(released) == 1
    retirement.release_due(context, released)


def test_what_was_retired_long_ago_is_dropped_as_soon_as_the_policy_gives_it_up(
    replaced: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "RELEASE_AFTER_S", 0.0)
    collection = replaced.deployment("digits-v1").collection
    replaced.keep_retired(1)
    replaced.deploy(weak, digits.records(0, 50), name="third")
    replaced.retire("third", "not needed")
    assert not workspace.vectors.has_collection(collection)


def test_a_collection_leaves_the_memory_without_holding_the_store(
    replaced: Endpoint, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vector engine takes its time; meanwhile the endpoint is changed, and no rollback to the collection is."""
    releasing, go_on, after = threading.Event(), threading.Event(), list[str]()
    monkeypatch.setattr(retirement, "RELEASE_AFTER_S", -1.0)
    engine = replaced._context.vectors
    release = engine.release_collection

    def slowly(collection: str) -> None:
        releasing.set()
        assert go_on.wait(30.0)
        release(collection)
        after.append("released")

    def roll_back() -> None:
        replaced.rollback("digits-v1", reason="complaints")
        after.append("champion")

    monkeypatch.setattr(engine, "release_collection", slowly)
    released = set[tuple[int, str]]()
    releaser = threading.Thread(target=retirement.release_due, args=(replaced._context, released))
    releaser.start()
    assert releasing.wait(30.0)
    replaced.keep_retired(3)
    operator = threading.Thread(target=roll_back)
    operator.start()
    time.sleep(0.1)
    assert after == []
    go_on.set()
    releaser.join()
    operator.join()
    assert after[0] == "released" and after[-1] == "champion"
    assert replaced.search(digits.images[5], limit=1).ids == [5]


def test_who_knows_of_a_retirement_elsewhere_can_take_it_back(
    place: Place, replaced: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    replaced.rollback("digits-v1", reason="complaints")
    with place.open() as elsewhere:
        other = elsewhere.endpoints.get(replaced.name)
        other.retire("digits-v2", "worse")
        switch = replaced.promote("digits-v2", "better after all", expected_version=other.version)
    assert switch.champion == "digits-v2"
    assert replaced.search(digits.images[5], limit=1).deployment == "digits-v2"


def test_a_retired_collection_leaves_the_memory_after_a_while(
    replaced: Endpoint, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, released = replaced.deployment("digits-v1").collection, set[tuple[int, str]]()
    context = replaced._context
    retirement.release_due(context, released)
    assert released == set()
    monkeypatch.setattr(retirement, "RELEASE_AFTER_S", 0.0)
    time.sleep(0.01)
    retirement.release_due(context, released)
    assert len(released) == 1
    state = str(workspace.vectors.get_load_state(collection)["state"])
    assert "NotLoad" in state
    retirement.release_due(context, released)
    replaced.write([])
    replaced.rollback("digits-v1", reason="complaints")
    assert replaced.search(digits.images[5], limit=1).ids == [5]
    retirement.release_due(context, set())
    assert replaced.search(digits.images[6], limit=1).ids == [6]
