"""What is put back from elsewhere is refused where it is another model's, also where the dimension is the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sklearn.decomposition import PCA

from roost.errors import FingerprintMismatch, RoostError, WorkspaceError
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Digits, Place


@pytest.fixture
def other(workspace: Workspace, weak: ModelVersion, digits: Digits) -> ModelVersion:
    """Another model of the same dimension as `weak`, made from other images."""
    embedder = SklearnEmbedder(PCA(weak.dim, svd_solver="full").fit(digits.images[N_RECORDS : 2 * N_RECORDS]))
    return workspace.models.register("digits", embedder)


@pytest.fixture
def rivals(endpoint: SearchEndpoint, other: ModelVersion, digits: Digits) -> SearchEndpoint:
    """An endpoint with a champion and a challenger of one dimension and two models."""
    endpoint.deploy(other, digits.records())
    champion, challenger = endpoint.deployment("digits-v1"), endpoint.deployment("digits-v2")
    assert champion.dim == challenger.dim and champion.fingerprint != challenger.fingerprint
    return endpoint


def put_in_place_of(workspace: Workspace, endpoint: SearchEndpoint, name: str, replacement: str) -> None:
    """Give one deployment's collection the name of another's, which is dropped."""
    client, lost, found = workspace.vectors, endpoint.deployment(name).collection, endpoint.deployment(replacement)
    for alias in client.list_aliases(lost)["aliases"]:
        client.drop_alias(alias)
    client.drop_collection(lost)
    client.rename_collection(found.collection, lost)


def test_a_champion_with_another_model_s_collection_is_not_opened(
    place: Place, rivals: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    champion, other = rivals.deployment("digits-v1"), rivals.deployment("digits-v2")
    put_in_place_of(workspace, rivals, champion.name, other.name)
    workspace.close()
    with place.open() as reopened, pytest.raises(FingerprintMismatch) as refused:
        reopened.endpoints.get(place.endpoint).search(digits.images[0])
    for word in (champion.collection, champion.fingerprint, other.fingerprint):
        assert word in refused.value.message


@pytest.fixture
def swapped(rivals: SearchEndpoint, workspace: Workspace, other: ModelVersion, digits: Digits) -> SearchEndpoint:
    """An endpoint whose champion is `digits-v2`; another deployment of its model lies in the place of `digits-v1`."""
    rivals.promote("digits-v2", "better")
    rivals.deploy(other, digits.records(), name="copy")
    put_in_place_of(workspace, rivals, "digits-v1", "copy")
    return rivals


def test_a_standby_with_another_model_s_collection_is_left_out(
    place: Place, swapped: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    workspace.close()
    with place.open() as reopened:
        found = reopened.endpoints.get(place.endpoint)
        for change in (lambda: found.promote("digits-v1", "again"), lambda: found.rollback(reason="worse")):
            with pytest.raises(WorkspaceError, match=r"'digits-v1'.*fingerprint"):
                change()
        assert found.search(digits.images[0]).deployment == "digits-v2"


def test_a_retired_deployment_with_another_model_s_collection_is_not_rolled_back_to(
    swapped: SearchEndpoint, digits: Digits
) -> None:
    swapped.retire("digits-v1", "not needed")
    with pytest.raises(FingerprintMismatch, match="'digits-v1' was made by"):
        swapped.rollback(to="digits-v1", reason="worse")
    assert swapped.search(digits.images[0]).deployment == "digits-v2"


def test_a_directory_of_vectors_from_another_workspace_is_refused(
    place: Place, rivals: SearchEndpoint, workspace: Workspace, digits: Digits, tmp_path: Path
) -> None:
    """The other workspace has the same endpoint and the same names; its model is another one."""
    if place.uri:
        pytest.skip("needs the embedded engine: a server's vectors are not in the workspace's directory")
    with Workspace(tmp_path / "elsewhere") as elsewhere:
        endpoint = elsewhere.endpoints.create(place.endpoint)
        first = SklearnEmbedder(PCA(4, svd_solver="full").fit(digits.images[900:1200]))
        endpoint.promote(endpoint.deploy(elsewhere.models.register("digits", first), digits.records()), "first")
    workspace.close()
    shutil.rmtree(place.home / "vectors.roost")
    shutil.copytree(tmp_path / "elsewhere" / "vectors.roost", place.home / "vectors.roost")
    with place.open() as reopened, pytest.raises(FingerprintMismatch, match="digits-v1"):
        reopened.endpoints.get(place.endpoint).search(digits.images[0])


def test_another_model_s_files_in_the_place_of_a_model_s_are_refused(
    place: Place, rivals: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    folders = [workspace.artifacts / workspace.models.get("digits", number).files.path for number in (1, 2)]
    workspace.close()
    shutil.rmtree(folders[0])
    shutil.copytree(folders[1], folders[0])
    with place.open() as reopened, pytest.raises(RoostError, match=r"checksum|manifest|not what"):
        reopened.endpoints.get(place.endpoint).search(digits.images[0])


def test_what_is_put_back_unchanged_is_taken(
    place: Place, rivals: SearchEndpoint, workspace: Workspace, digits: Digits, tmp_path: Path
) -> None:
    if place.uri:
        pytest.skip("needs the embedded engine: a server's vectors are not in the workspace's directory")
    workspace.close()
    shutil.copytree(place.home / "vectors.roost", tmp_path / "backup")
    with place.open() as reopened:
        reopened.endpoints.get(place.endpoint).delete([0])
    shutil.rmtree(place.home / "vectors.roost")
    shutil.copytree(tmp_path / "backup", place.home / "vectors.roost")
    with place.open() as reopened:
        assert reopened.endpoints.get(place.endpoint).search(digits.images[0], limit=1).ids == [0]
