"""Two people change one workspace at the same moment, each on connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from roost.errors import AlreadyExists, Conflict, RoostError
from roost.lifecycle.models.registry import ModelVersion
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

WAIT_S = 60.0
N_ROUNDS = 20

T = TypeVar("T")


def both(first: Callable[[], T], second: Callable[[], T]) -> list[T | RoostError]:
    """Call both from one moment on, and return what came of each; errors as values."""
    barrier = threading.Barrier(2)
    outcomes: dict[int, T | RoostError] = {}

    def run(position: int, call: Callable[[], T]) -> None:
        barrier.wait(WAIT_S)
        try:
            outcomes[position] = call()
        except RoostError as error:
            outcomes[position] = error

    threads = [threading.Thread(target=run, args=given) for given in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return [outcomes[position] for position in range(2)]


@pytest.fixture
def ann(place: Place) -> Iterator[Workspace]:
    with place.open(actor="ann") as workspace:
        yield workspace


@pytest.fixture
def bob(place: Place) -> Iterator[Workspace]:
    with place.open(actor="bob") as workspace:
        yield workspace


@pytest.fixture
def model(ann: Workspace, digits: Digits) -> ModelVersion:
    return ann.models.register("digits", digits.embedder(4))


@pytest.mark.slow
def test_of_two_who_promote_at_once_one_wins_every_time(
    place: Place, ann: Workspace, bob: Workspace, model: ModelVersion, digits: Digits
) -> None:
    """Each has looked at the endpoint before, and wants another deployment."""
    hers = ann.endpoints.create(place.endpoint)
    for name in ("one", "two", "three"):
        hers.deploy(model, digits.records(0, 40), name=name)
    hers.promote("one", "the first")
    his = bob.endpoints.get(place.endpoint)
    winners = []
    for number in range(1, N_ROUNDS + 1):
        for endpoint in (hers, his):
            endpoint.refresh()
        assert hers.champion is not None and hers.version == his.version
        seen, n_entries = hers.version, ann.ledger.verify()
        one, other = sorted({"one", "two", "three"} - {hers.champion.name})
        outcomes = both(
            lambda name=one, seen=seen: hers.promote(name, "better", expected_version=seen).champion,  # type: ignore[misc]
            lambda name=other, seen=seen: his.promote(name, "better", expected_version=seen).champion,  # type: ignore[misc]
        )
        (winner,) = (outcome for outcome in outcomes if isinstance(outcome, str))
        (loser,) = (outcome for outcome in outcomes if not isinstance(outcome, str))
        assert isinstance(loser, Conflict) and "another actor" in loser.message, f"round {number}"
        assert bob.ledger.verify() == n_entries + 1
        assert ann.ledger.at(place.endpoint, "9999-01-01T00:00:00+00:00") == winner
        states = {deployment.name: deployment.state.value for deployment in his.deployments()}
        assert states == {name: "serving" if name == winner else "ready" for name in ("one", "two", "three")}
        collection = ann.vectors.describe_collection(hers.alias)["collection_name"]
        assert collection == hers.deployment(winner).collection
        winners.append(ann.ledger.entries(limit=1)[0].actor)
    assert len(winners) == N_ROUNDS and set(winners) <= {"ann", "bob"}


def test_of_two_who_create_an_endpoint_at_once_one_is_told_that_it_is_there(
    place: Place, ann: Workspace, bob: Workspace
) -> None:
    for number in range(10):
        name = f"{place.endpoint}-{number}"
        outcomes = both(lambda name=name: ann.endpoints.create(name), lambda name=name: bob.endpoints.create(name))  # type: ignore[misc]
        (refused,) = (outcome for outcome in outcomes if isinstance(outcome, RoostError))
        assert isinstance(refused, AlreadyExists)
        assert ann.endpoints.get(name).name == bob.endpoints.get(name).name == name
    assert ann.ledger.verify() == len(ann.endpoints.list()) == 10


def test_of_two_who_deploy_under_one_name_at_once_one_is_told_that_it_is_there(
    place: Place, ann: Workspace, bob: Workspace, model: ModelVersion, digits: Digits
) -> None:
    hers = ann.endpoints.create(place.endpoint)
    his = bob.endpoints.get(place.endpoint)
    outcomes = both(
        lambda: hers.deploy(model, digits.records(0, 40), name="same"),
        lambda: his.deploy(model, digits.records(0, 40), name="same"),
    )
    (refused,) = (outcome for outcome in outcomes if isinstance(outcome, RoostError))
    assert isinstance(refused, AlreadyExists)
    assert [(d.name, d.state.value, d.n_records) for d in hers.deployments()] == [("same", "ready", 40)]


def test_two_who_register_versions_of_a_new_model_at_once_get_numbers_of_their_own(
    ann: Workspace, bob: Workspace, digits: Digits
) -> None:
    embedder = digits.embedder(2)
    versions = []
    for _ in range(5):
        versions += both(
            lambda: ann.models.register("digits", embedder).version,
            lambda: bob.models.register("digits", embedder).version,
        )
    assert sorted(versions) == list(range(1, 11))
    assert bob.ledger.verify() == 10


def test_two_who_move_the_same_aliases_at_once_both_succeed(
    ann: Workspace, bob: Workspace, model: ModelVersion, digits: Digits
) -> None:
    """A process that promotes and one that follows it move the aliases to the same version."""
    other = ann.models.register("digits", digits.embedder(2))
    for number in range(10):
        wanted = {"champion": (model, other)[number % 2].version, "challenger": None if number % 2 else other.version}
        outcomes = both(
            lambda wanted=wanted: ann.models.point_aliases("digits", wanted),  # type: ignore[misc]
            lambda wanted=wanted: bob.models.point_aliases("digits", wanted),  # type: ignore[misc]
        )
        assert outcomes == [None, None]
        assert ann.models.get("digits", "champion").version == wanted["champion"]
