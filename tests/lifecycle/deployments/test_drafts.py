from __future__ import annotations

import signal
from contextlib import closing

import pytest
from pymilvus.exceptions import ConnectionNotExistException

from roost.client import connect
from roost.errors import (
    AlreadyExists,
    DeploymentNotFound,
    InvalidArgument,
    InvalidTransition,
    ModelNotFound,
    WorkspaceError,
)
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.names import collection_name
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Child, Digits, Place


def test_a_draft_holds_nothing_until_it_is_deployed(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    draft = endpoint.draft(strong, index={"index_type": "FLAT"}, owner="ann")
    assert (draft.state, draft.name, draft.owner, draft.seal) == (State.DRAFT, "digits-v2", "ann", None)
    assert not workspace.vectors.has_collection(draft.collection)
    endpoint.write(digits.records(0, 1))
    for refused in (
        lambda: endpoint.promote(draft, "better"),
        lambda: endpoint.resume(draft, digits.records()),
        lambda: endpoint.start_test(draft),
    ):
        with pytest.raises(InvalidTransition, match="draft"):
            refused()
    changed = endpoint.configure(draft, index={"index_type": "HNSW", "M": 8, "efConstruction": 50})
    changed = endpoint.configure(draft, search_params={"ef": 32})
    assert (changed.index["M"], changed.search_params) == (8, {"ef": 32})
    built = endpoint.deploy(draft, digits.records())
    assert (built.state, built.n_records, built.index, built.owner) == (State.READY, N_RECORDS, changed.index, "ann")
    endpoint.promote(built, "better")
    assert endpoint.search(digits.images[3], limit=1).ids == [3]
    actions = [entry.action for entry in workspace.ledger.entries(endpoint.name) if entry.subject == "digits-v2"]
    assert actions == ["draft", "draft.change", "draft.change", "deploy", "ready", "promote"]


def test_a_configuration_is_fixed_once_building_began(contested: Endpoint, digits: Digits) -> None:
    with pytest.raises(InvalidTransition, match="is ready; only a draft's configuration may change"):
        contested.configure("digits-v2", search_params={"ef": 8})
    with pytest.raises(InvalidTransition, match="is ready; only a draft can be begun"):
        contested.deploy("digits-v2", digits.records())


def test_what_cannot_be_drafted_is_refused(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    with pytest.raises(InvalidArgument, match="needs a type"):
        endpoint.draft(strong, index={"M": 8})
    draft = endpoint.draft(strong)
    with pytest.raises(AlreadyExists, match="'digits-v2'"):
        endpoint.draft(strong, name="digits-v2")
    with pytest.raises(InvalidArgument, match="configured already"):
        endpoint.deploy(draft, digits.records(), search_params={"ef": 8})
    endpoint.configure(draft, index={"index_type": "NO_SUCH_INDEX"})
    with pytest.raises(Exception, match=r"(?i)index"):
        endpoint.deploy(draft, digits.records())
    assert endpoint.deployment("digits-v2").state is State.DRAFT
    endpoint.retire(draft, "not needed")
    assert endpoint.deployment("digits-v2").purged


def test_search_parameters_that_the_engine_refuses_do_not_become_ready(
    place: Place, empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    if place.uri:
        pytest.skip("a Milvus server does not look at the parameters where a collection is so small")
    draft = empty_endpoint.draft(weak, search_params={"ef": "many"})
    with pytest.raises(WorkspaceError, match=r"refuses to search with the parameters \{'ef': 'many'\}"):
        empty_endpoint.deploy(draft, digits.records(0, 40))
    assert empty_endpoint.deployment(draft.name).state is State.FAILED
    assert workspace.ledger.entries(empty_endpoint.name)[-1].reason.startswith("it could not be built: the vector")
    assert workspace.jobs.list()[0].state == "failed"
    built = empty_endpoint.deploy("digits/1", digits.records(0, 40), search_params={"ef": 32})
    assert (built.name, built.state, built.search_params) == ("digits-v1", State.READY, {"ef": 32})
    with pytest.raises(ModelNotFound, match="has no version 7"):
        empty_endpoint.deploy("digits/7", digits.records(0, 40))


def test_a_version_is_delivered_from_staging_to_production(
    place: Place, endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, weak: ModelVersion, digits: Digits
) -> None:
    staging = workspace.endpoints.create(place.endpoint, environment="staging")
    assert staging.name == f"{place.endpoint}@staging"
    tried = staging.deploy(strong, digits.records(0, 50))
    staging.promote(tried, "try it")
    assert workspace.models.get("digits", "champion").version == 1
    assert workspace.models.get("digits", "champion-staging").version == 2
    delivered = endpoint.deploy(strong, digits.records(), delivered_from=tried)
    assert delivered.configuration["delivered_from"] == f"{staging.name}/digits-v2"
    entry = [entry for entry in workspace.ledger.entries(endpoint.name) if entry.action == "deploy"][-1]
    assert entry.evidence["delivered_from"] == f"{staging.name}/digits-v2"
    endpoint.promote(delivered, "it did well in staging")
    assert staging.search(digits.images[3], limit=1).endpoint == staging.name
    with pytest.raises(InvalidArgument, match="is of digits/2, not of digits/1"):
        endpoint.deploy(weak, digits.records(), name="third", delivered_from=tried)
    with pytest.raises(DeploymentNotFound, match="to deliver from"):
        endpoint.deploy(strong, digits.records(), name="third", delivered_from="nowhere/digits-v2")


@pytest.mark.crash
def test_a_collection_whose_deployment_never_came_is_dropped_when_the_workspace_opens(
    place: Place, endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, child: Child, digits: Digits
) -> None:
    workspace.close()
    assert child("die_before_row") == -signal.SIGKILL
    with place.open() as opened:
        draft = opened.endpoints.get(place.endpoint).deployment("digits-v2")
        assert draft.state is State.DRAFT
        assert not opened.vectors.has_collection(draft.collection)
        assert opened.endpoints.get(place.endpoint).deploy(draft, digits.records()).n_records == N_RECORDS


@pytest.mark.crash
def test_somebody_elses_collection_is_not_dropped_for_one_that_never_came(
    place: Place, endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, child: Child
) -> None:
    """A process dies before its collection is made, and another workspace on the server makes one of the name."""
    workspace.close()
    assert child("die_before_collection") == -signal.SIGKILL
    with closing(connect(place.uri or place.home / "vectors.roost")) as vectors:
        collection = collection_name(place.endpoint, "digits-v2")
        vectors.create_collection(collection, dimension=8)
    with place.open() as opened:
        assert opened.vectors.has_collection(collection)


def test_what_was_left_behind_gives_way_to_the_next_deployment_of_the_name(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another model, as the vector engine could not drop it when its deployment failed."""

    def fail(*_: object) -> None:
        raise ConnectionNotExistException(message="gone")

    with monkeypatch.context() as patch, pytest.raises(ConnectionNotExistException):
        patch.setattr(workspace.vectors, "drop_index", fail)
        patch.setattr(workspace.vectors, "drop_collection", fail)
        endpoint.deploy(workspace.models.get("digits", 1), digits.records(), name="other")
    assert workspace.vectors.has_collection(collection_name(endpoint.name, "other"))
    assert endpoint.deploy(strong, digits.records(), name="other").n_records == N_RECORDS


def test_somebody_elses_collection_of_the_name_is_left_alone(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    draft = endpoint.draft(strong)
    workspace.vectors.create_collection(draft.collection, dimension=8)
    with pytest.raises(AlreadyExists, match="of another origin"):
        endpoint.deploy(draft, digits.records())
    assert workspace.vectors.has_collection(draft.collection)
    assert endpoint.deployment(draft.name).state is State.DRAFT
    workspace.vectors.drop_collection(draft.collection)
    assert endpoint.deploy(draft, digits.records()).n_records == N_RECORDS
