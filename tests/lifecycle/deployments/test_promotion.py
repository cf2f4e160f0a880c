from __future__ import annotations

import signal
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from roost.client import connect
from roost.errors import (
    AlreadyExists,
    CollectionNotFound,
    Conflict,
    FingerprintMismatch,
    InvalidArgument,
    InvalidTransition,
    ModelNotFound,
    PermissionDenied,
    WorkspaceError,
)
from roost.lifecycle.actor import acting_as
from roost.lifecycle.deployments import promotion, space
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.names import collection_name
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.serving.traffic import Answer
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Child, Digits, Place


def states(endpoint: Endpoint) -> dict[str, str]:
    return {deployment.name: deployment.state.value for deployment in endpoint.deployments()}


def aliased(workspace: Workspace, endpoint: Endpoint) -> str:
    return str(workspace.vectors.describe_collection(endpoint.alias)["collection_name"])


def assert_champion(workspace: Workspace, endpoint: Endpoint, name: str, model_version: int) -> None:
    """The row, the routing, the engine's alias and MLflow's say the same."""
    champion = endpoint.champion
    assert champion is not None and champion.name == name
    assert endpoint.deployment(name).state is State.SERVING
    assert aliased(workspace, endpoint) == champion.collection
    assert workspace.models.get("digits", "champion").version == model_version
    assert workspace.ledger.at(endpoint.name, "9999-01-01T00:00:00+00:00") == name
    workspace.ledger.verify()


def test_promotion_and_rollback_move_row_aliases_and_answers(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    assert_champion(workspace, contested, "digits-v1", 1)
    assert workspace.models.get("digits", "challenger").version == 2
    switch = contested.promote("digits-v2", reason="better", evidence={"precision": 0.94})
    assert (switch.previous, switch.champion) == ("digits-v1", "digits-v2")
    assert switch.stopped_test is None
    assert 0 < switch.seconds <= switch.total_seconds
    assert_champion(workspace, contested, "digits-v2", 2)
    with pytest.raises(ModelNotFound):
        workspace.models.get("digits", "challenger")
    assert contested.search(digits.images[0]).deployment == "digits-v2"
    assert states(contested) == {"digits-v1": "ready", "digits-v2": "serving"}
    back = contested.rollback(reason="complaints")
    assert (back.previous, back.champion) == ("digits-v2", "digits-v1")
    assert_champion(workspace, contested, "digits-v1", 1)
    assert contested.search(digits.images[0]).deployment == "digits-v1"


def test_the_ledger_says_why(contested: Endpoint, workspace: Workspace) -> None:
    contested.promote("digits-v2", reason="better", evidence={"precision": 0.94})
    contested.rollback(to="digits-v1", reason="complaints")
    promotion, rollback = workspace.ledger.entries(contested.name)[-2:]
    assert (promotion.action, promotion.actor, promotion.reason) == ("promote", "tester", "better")
    assert promotion.evidence == {"precision": 0.94, "previous": "digits-v1", "model": "digits/2"}
    assert (rollback.action, rollback.subject, rollback.reason) == ("rollback", "digits-v1", "complaints")
    assert workspace.ledger.at(contested.name, promotion.at) == "digits-v2"


def test_what_cannot_be_promoted_is_refused(endpoint: Endpoint, strong: ModelVersion, digits: Digits) -> None:
    with pytest.raises(InvalidTransition, match="champion already"):
        endpoint.promote("digits-v1", "better")
    with pytest.raises(InvalidTransition, match="no earlier champion"):
        endpoint.rollback(reason="worse")
    seen: list[str] = []

    def promote_too_early(_: object) -> None:
        if not seen:
            with pytest.raises(InvalidTransition, match="'digits-v2' is building"):
                endpoint.promote("digits-v2", "better")
            seen.append("refused")

    endpoint.deploy(strong, digits.records(), progress=promote_too_early)
    assert seen and states(endpoint)["digits-v1"] == "serving"


def test_a_purged_deployment_is_gone_for_good(contested: Endpoint, workspace: Workspace) -> None:
    with pytest.raises(InvalidTransition, match="serving and cannot become retired"):
        contested.retire("digits-v1", "not needed")
    with pytest.raises(InvalidTransition, match="is ready: retire it before"):
        contested.purge("digits-v2", "not needed")
    collection = contested.deployment("digits-v2").collection
    contested.retire("digits-v2", reason="weak")
    assert workspace.vectors.has_collection(collection)
    assert not contested.deployment("digits-v2").purged
    contested.purge("digits-v2", reason="no space")
    assert not workspace.vectors.has_collection(collection)
    assert contested.deployment("digits-v2").purged
    with pytest.raises(InvalidTransition, match="was purged"):
        contested.promote("digits-v2", "better")
    with pytest.raises(InvalidTransition, match="was purged already"):
        contested.purge("digits-v2", reason="again")
    assert [(e.action, e.reason) for e in workspace.ledger.entries(contested.name)[-2:]] == [
        ("retire", "weak"),
        ("purge", "no space"),
    ]


def test_a_rollback_passes_over_the_retired_and_names_them(contested: Endpoint) -> None:
    contested.promote("digits-v2", "better")
    contested.retire("digits-v1", "not needed")
    with pytest.raises(InvalidTransition, match=r"no earlier champion.*retired, and reached by `to`: digits-v1"):
        contested.rollback(reason="worse")


def test_rolling_back_again_goes_further_back_and_never_forward(
    contested: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    contested.deploy(weak, digits.records(0, 50), name="third")
    contested.promote("digits-v2", "better")
    contested.promote("third", "better still")
    assert contested.rollback(reason="worse").champion == "digits-v2"
    assert contested.rollback(reason="worse").champion == "digits-v1"
    assert_champion(workspace, contested, "digits-v1", 1)
    with pytest.raises(InvalidTransition, match="no earlier champion"):
        contested.rollback(reason="worse")
    contested.promote("digits-v2", "again")
    contested.promote("third", "again")
    assert contested.rollback(to="digits-v1", reason="far back").champion == "digits-v1"
    with pytest.raises(InvalidTransition, match="no earlier champion"):
        contested.rollback(reason="worse")
    assert_champion(workspace, contested, "digits-v1", 1)


def test_only_what_was_champion_once_is_rolled_back_to(contested: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    """A promotion may need an approval; a rollback goes back to what had it."""
    contested.deploy(weak, digits.records(0, 50), name="third")
    with pytest.raises(InvalidTransition, match="'third' was never champion: promote it instead"):
        contested.rollback(to="third", reason="forward")
    with pytest.raises(InvalidTransition, match="is the champion already"):
        contested.rollback(to="digits-v1", reason="forward")
    contested.promote("third", "better")
    contested.rollback(reason="worse")
    assert contested.rollback(to="third", reason="it was the other one's fault").champion == "third"


def test_a_retired_champion_is_passed_over_by_a_rollback(
    contested: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    contested.deploy(weak, digits.records(0, 50), name="third")
    contested.promote("digits-v2", "better")
    contested.promote("third", "better still")
    contested.retire("digits-v2", "not needed")
    assert contested.rollback(reason="worse").champion == "digits-v1"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([], []),
        ([("promote", "a"), ("promote", "b"), ("rollback", "a")], ["a"]),
        ([("promote", "a"), ("promote", "b"), ("rollback", "a"), ("promote", "b")], ["a", "b"]),
        ([("promote", "a"), ("promote", "b"), ("promote", "a"), ("rollback", "b")], ["a", "b"]),
        ([("promote", "a"), ("rollback", "c")], ["c"]),
        ([("promote", "a"), ("promote", "b"), ("promote", "c"), ("rollback", "x")], ["a", "b", "x"]),
    ],
)
def test_the_line_of_champions_ends_with_the_present_one(changes: list[tuple[str, str]], line: list[str]) -> None:
    assert promotion.champion_line(changes) == line


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_a_change_without_a_reason_is_refused(contested: Endpoint, workspace: Workspace, reason: Any) -> None:
    n_entries = workspace.ledger.verify()
    for change in (
        lambda: contested.promote("digits-v2", reason),
        lambda: contested.rollback(reason=reason),
        lambda: contested.retire("digits-v2", reason),
    ):
        with pytest.raises(InvalidArgument, match="say why"):
            change()
    assert workspace.ledger.verify() == n_entries
    assert states(contested) == {"digits-v1": "serving", "digits-v2": "ready"}


def test_another_actor_s_change_is_a_conflict_and_then_seen(
    place: Place, contested: Endpoint, workspace: Workspace
) -> None:
    store = Store(place.store)
    with store.write() as session:
        session.query(EndpointRow).one().version += 1
    store.close()
    n_entries = workspace.ledger.verify()
    with pytest.raises(Conflict, match=r"another actor .* refresh\(\)"):
        contested.promote("digits-v2", "better")
    assert_champion(workspace, contested, "digits-v1", 1)
    assert workspace.ledger.verify() == n_entries
    seen = contested.version
    contested.promote("digits-v2", "better", expected_version=seen)
    with pytest.raises(Conflict):
        contested.rollback(reason="worse", expected_version=seen)


def test_of_two_who_promote_at_once_on_the_same_grounds_one_wins(
    contested: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    contested.deploy(weak, digits.records(0, 50), name="third")
    seen, outcomes = contested.version, []
    barrier = threading.Barrier(2)

    def promote(name: str) -> None:
        barrier.wait()
        try:
            outcomes.append(contested.promote(name, "better", expected_version=seen).champion)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=promote, args=(name,)) for name in ("digits-v2", "third")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("conflict") == 1
    assert contested.champion is not None and contested.champion.name in outcomes


def test_four_searching_threads_see_every_switch_and_no_failure(contested: Endpoint, digits: Digits) -> None:
    """Every answer is one deployment's alone, the champion's of some moment between call and return."""
    stop, failures, answers = threading.Event(), [], [[] for _ in range(4)]  # type: ignore[var-annotated]

    def search(number: int) -> None:
        position = number
        while not stop.is_set():
            position = (position + 4) % 1700
            try:
                answers[number].append(contested.search(digits.images[position], limit=3))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    switches = []
    for _ in range(3):
        time.sleep(0.1)
        switches.append(contested.promote("digits-v2", "better"))
        time.sleep(0.1)
        switches.append(contested.rollback(reason="worse"))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(switches) == 6
    for own in answers:
        assert {answer.deployment for answer in own} == {"digits-v1", "digits-v2"}
        assert all(whole(answer) for answer in own)


def whole(answer: Answer) -> bool:
    model = {"digits-v1": "digits/1", "digits-v2": "digits/2"}[answer.deployment]
    return answer.model_version == model and {hit.deployment for hit in answer.hits} == {answer.deployment}


def test_a_new_search_goes_to_the_new_champion_once_promote_returns(contested: Endpoint, digits: Digits) -> None:
    for name in ("digits-v2", "digits-v1") * 3:
        contested.promote(name, "better")
        assert contested.search(digits.images[3]).deployment == name


def test_aliases_that_cannot_move_leave_a_champion_that_answers(
    contested: Endpoint, workspace: Workspace, digits: Digits, place: Place
) -> None:
    """The engine loses the old champion's collection under the alias, so the alias cannot be moved."""
    client = workspace.vectors
    client.drop_alias(contested.alias)
    client.create_collection(contested.alias, dimension=2)
    try:
        with pytest.raises(WorkspaceError, match="aliases could not be moved"):
            contested.promote("digits-v2", "better")
        assert contested.search(digits.images[0]).deployment == "digits-v2"
        assert workspace.ledger.at(contested.name, "9999-01-01T00:00:00+00:00") == "digits-v2"
    finally:
        client.drop_collection(contested.alias)
    workspace.close()
    with place.open() as reopened:
        assert_champion(reopened, reopened.endpoints.get(contested.name), "digits-v2", 2)


@pytest.mark.crash
@pytest.mark.parametrize(
    ("step", "champion"),
    [
        ("die_in_transaction", 1),
        ("die_before_engine_alias", 2),
        ("die_before_mlflow_alias", 2),
    ],
)
def test_a_promotion_that_was_killed_is_whole_or_not_at_all(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits, child: Child, step: str, champion: int
) -> None:
    workspace.close()
    assert child(step) == -signal.SIGKILL
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        assert_champion(reopened, endpoint, f"digits-v{champion}", champion)
        assert endpoint.search(digits.images[0]).deployment == f"digits-v{champion}"
        other = 3 - champion
        assert states(endpoint)[f"digits-v{other}"] == "ready"
        endpoint.promote(f"digits-v{other}", "better")
        assert_champion(reopened, endpoint, f"digits-v{other}", other)


@pytest.mark.crash
def test_the_vectors_of_a_purge_that_was_killed_are_dropped_at_open(
    place: Place, contested: Endpoint, workspace: Workspace, child: Child
) -> None:
    collection = contested.deployment("digits-v2").collection
    workspace.close()
    assert child("die_before_drop") == -signal.SIGKILL
    with place.open() as reopened:
        assert not reopened.vectors.has_collection(collection)
        assert states(reopened.endpoints.get(place.endpoint))["digits-v2"] == "retired"
        assert reopened.endpoints.get(place.endpoint).deployment("digits-v2").purged


def test_opening_checks_that_collections_are_of_their_models(
    place: Place, contested: Endpoint, workspace: Workspace
) -> None:
    champion = contested.champion
    assert champion is not None
    client = workspace.vectors
    client.drop_alias(contested.alias)
    client.drop_collection(champion.collection)
    client.create_collection(champion.collection, dimension=champion.dim)
    workspace.close()
    with place.open() as reopened, pytest.raises(FingerprintMismatch, match="the fingerprint None"):
        reopened.endpoints.get(place.endpoint)


def test_two_endpoints_of_one_model_keep_their_own_aliases(
    place: Place, contested: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    second = workspace.endpoints.create(f"{place.endpoint}-b")
    second.deploy(strong, digits.records(0, 50))
    assert workspace.models.get("digits", "champion").version == 1
    second.promote("digits-v2", "better")
    assert workspace.models.get("digits", f"champion--{contested.alias}").version == 1
    assert workspace.models.get("digits", f"champion--{second.alias}").version == 2
    with pytest.raises(ModelNotFound):
        workspace.models.get("digits", "champion")
    assert aliased(workspace, contested) != aliased(workspace, second)
    contested.promote("digits-v2", "better")
    assert workspace.models.get("digits", "champion").version == 2


@pytest.mark.parametrize("damage", ["collection", "model", "row"])
def test_a_challenger_that_is_damaged_does_not_keep_its_champion_from_answering(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits, damage: str
) -> None:
    test = contested.start_test("digits-v2")
    if damage == "collection":
        workspace.vectors.drop_collection(contested.deployment("digits-v2").collection)
    elif damage == "model":
        (workspace.artifacts / workspace.models.get("digits", 2).files.path / "model.skops").write_bytes(b"zeros")
    workspace.close()
    assert test.running
    if damage == "row":
        place.execute("UPDATE roost_deployments SET search_params = '{}', index_params = '{}' WHERE name = 'digits-v2'")
    with place.open() as reopened:
        endpoint = reopened.endpoints.get(place.endpoint)
        assert endpoint.search(digits.images[0]).deployment == "digits-v1"
        assert endpoint.test is None
        with pytest.raises(WorkspaceError, match="cannot be opened"):
            endpoint.promote("digits-v2", "better")
        with pytest.raises(InvalidTransition, match="is running"):
            endpoint.start_test("digits-v2")
        assert states(endpoint) == {"digits-v1": "serving", "digits-v2": "ready"}
        if damage == "model":
            assert endpoint.write(digits.records(0, 1)) == 1
            assert states(endpoint) == {"digits-v1": "serving", "digits-v2": "failed"}
        endpoint.retire("digits-v2", "not needed")
        actions = [entry.action for entry in reopened.ledger.entries(endpoint.name)]
        assert actions[-2:] == (["fail", "retire"] if damage == "model" else ["test.stop", "retire"])
        assert actions.count("test.stop") == 1


def test_who_follows_late_does_not_move_the_aliases_back(
    contested: Endpoint, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread promotes after this one has read who is champion, and before it moves the aliases."""
    point_alias = space.point_alias
    promoting = threading.Thread(target=contested.promote, args=("digits-v2", "better"))

    def late(*arguments: Any) -> None:
        if promoting.ident is None:
            promoting.start()  # it waits for the aliases with its row committed
            while store_s_champion(contested) != "digits-v2":
                time.sleep(0.01)
        point_alias(*arguments)

    monkeypatch.setattr(space, "point_alias", late)
    promotion.follow(contested._context, contested._router.endpoint_id)
    promoting.join()
    assert_champion(workspace, contested, "digits-v2", 2)


def store_s_champion(endpoint: Endpoint) -> str:
    with endpoint._context.store.read() as session:
        row = session.get_one(EndpointRow, endpoint._router.endpoint_id)
        return session.get_one(DeploymentRow, row.champion_id).name


def test_a_collection_with_rows_is_not_taken_over(
    place: Place, empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    """On a server that two workspaces share, the other one may have the same model under the same names."""
    deployment = empty_endpoint.deploy(weak, digits.records(0, 50))
    place.execute("UPDATE roost_deployments SET name = 'old', collection = 'old'")
    with pytest.raises(AlreadyExists, match="of another origin"):
        empty_endpoint.deploy(weak, digits.records(50, 100))
    assert workspace.vectors.get_collection_stats(deployment.collection)["row_count"] == 50
    assert [d.name for d in empty_endpoint.deployments()] == ["old"]


def test_who_may_not_change_the_champion_changes_nothing(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    """A viewer is refused within the transaction of each change."""
    workspace.governance.grant("tester", "admin")
    workspace.governance.grant("victor", "viewer")
    n_entries = workspace.ledger.verify()
    for change in (
        lambda: contested.promote("digits-v2", "better"),
        lambda: contested.retire("digits-v2", "not needed"),
        lambda: contested.purge("digits-v2", "not needed"),
        lambda: contested.keep_retired(1),
        lambda: contested.draft(workspace.models.get("digits", 1), name="third"),
        lambda: contested.deploy(workspace.models.get("digits", 1), digits.records(0, 5), name="third"),
        lambda: workspace.endpoints.create(f"{place.endpoint}-b"),
    ):
        with acting_as("victor"), pytest.raises(PermissionDenied, match="victor"):
            change()
    assert workspace.ledger.verify() == n_entries
    assert states(contested) == {"digits-v1": "serving", "digits-v2": "ready"}
    assert workspace.endpoints.list() == [place.endpoint]


@pytest.mark.parametrize("gone", ["digits-v1", "digits-v2"])
def test_a_workspace_opens_where_a_collection_is_gone(
    place: Place, contested: Endpoint, workspace: Workspace, child: Child, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    """The alias is behind, and the collection that it names, or the one that it has to name, is not there."""
    workspace.close()
    assert child("die_before_engine_alias") == -signal.SIGKILL
    with closing(connect(place.uri or place.home / "vectors.roost")) as vectors:
        collection = collection_name(place.endpoint, gone)
        for alias in vectors.list_aliases(collection)["aliases"]:
            vectors.drop_alias(alias)
        vectors.drop_collection(collection)
    with place.open() as opened:
        assert ("no collection" in caplog.text) == (gone == "digits-v2")
        assert opened.endpoints.list() == [place.endpoint]
        if gone == "digits-v2":
            with pytest.raises(CollectionNotFound, match="digits_v2"):
                opened.endpoints.get(place.endpoint)
            return
        endpoint = opened.endpoints.get(place.endpoint)
        assert endpoint.champion is not None and endpoint.champion.name == "digits-v2"
        assert opened.vectors.describe_collection(endpoint.alias)["collection_name"].endswith("digits_v2")


def test_a_switch_is_shown_in_words_and_in_a_notebook() -> None:
    switch = promotion.Switch("search", "<old>", "new", None, 0.004, 0.05)
    assert repr(switch) == "Switch('search': '<old>' -> 'new' in 4.0 ms, aliases after 50.0 ms)"
    assert "&lt;old&gt;" in switch._repr_html_()
