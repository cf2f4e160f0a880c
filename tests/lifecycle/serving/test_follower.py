from __future__ import annotations

import time

import pytest
from pymilvus import MilvusException
from sqlalchemy import select

from roost.errors import CollectionNotLoaded, FingerprintMismatch, WorkspaceError
from roost.lifecycle.deployments.promotion import write_champion
from roost.lifecycle.serving import follower
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EndpointRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def promote_elsewhere(place: Place, name: str) -> None:
    """Change the endpoint's row as another process does."""
    store = Store(place.store)
    with store.write() as session:
        row = session.scalars(select(EndpointRow)).one()
        write_champion(session, row, name, "bob", "promote", "", {})
        row.version += 1
    store.close()


def test_another_process_s_promotion_is_followed(place: Place, contested: Endpoint, digits: Digits) -> None:
    promote_elsewhere(place, "digits-v2")
    for _ in range(100):
        if contested.search(digits.images[0]).deployment == "digits-v2":
            break
        time.sleep(0.05)
    assert contested.search(digits.images[0]).deployment == "digits-v2"
    contested.rollback(reason="worse")


def test_a_process_that_stood_still_answers_by_the_champion_that_took_over(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    """Meanwhile another process has replaced the champion, retired it and released its collection."""
    workspace.endpoints.close()
    promote_elsewhere(place, "digits-v2")
    workspace.vectors.release_collection(contested.deployment("digits-v1").collection)
    assert contested.search(digits.images[5], limit=1).deployment == "digits-v2"
    workspace.vectors.release_collection(contested.deployment("digits-v2").collection)
    for _ in range(2):
        with pytest.raises(MilvusException) as raised:  # nobody has taken over
            contested.search(digits.images[5])
        assert raised.value.code == CollectionNotLoaded.milvus_code


def test_vectors_for_a_champion_that_was_replaced_unnoticed_are_refused(
    place: Place, contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    workspace.endpoints.close()
    weak = workspace.models.get("digits", 1)
    vectors = workspace.models.load(weak).embed(digits.images[:1])
    promote_elsewhere(place, "digits-v2")
    workspace.vectors.drop_alias(contested.alias)
    workspace.vectors.drop_collection(contested.deployment("digits-v1").collection)
    with pytest.raises(FingerprintMismatch, match="digits-v2"):
        contested.search_vectors(vectors, weak.fingerprint)


def test_what_cannot_be_opened_is_reported_and_the_endpoint_answers(
    place: Place, contested: Endpoint, digits: Digits, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process deployed a model whose files this process cannot read."""
    store = Store(place.store)
    with store.write() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO roost_deployments (endpoint_id, name, collection, state, model_name, model_version,"
            " model_files, fingerprint, dim, index_params, search_params, n_records, created_at) SELECT endpoint_id,"
            " 'other', 'other', state, model_name, model_version, replace(model_files, 'models/', 'lost/'),"
            " fingerprint, dim, index_params, search_params, 0, created_at FROM roost_deployments LIMIT 1"
        )
        session.scalars(select(EndpointRow)).one().version += 1
    store.close()
    for _ in range(100):
        if "cannot be opened" in caplog.text:
            break
        time.sleep(0.05)
    assert "manifest.json is missing" in caplog.text
    assert contested.deployment("digits-v2").state == "ready"
    assert contested.search(digits.images[0]).deployment == "digits-v1"


def test_aliases_that_are_behind_are_moved_by_and_by(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    """The alias's name is taken when the champion changes, and free a little later."""
    client = workspace.vectors
    client.drop_alias(contested.alias)
    client.create_collection(contested.alias, dimension=2)
    with pytest.raises(WorkspaceError, match="could not be moved"):
        contested.promote("digits-v2", "better")
    client.drop_collection(contested.alias)
    for _ in range(200):
        if client.has_collection(contested.alias) and workspace.models.get("digits", "champion").version == 2:
            break
        time.sleep(0.05)
    named = client.describe_collection(contested.alias)["collection_name"]
    assert named == contested.deployment("digits-v2").collection
    assert workspace.models.get("digits", "champion").version == 2


def test_a_collection_that_was_swapped_under_an_open_endpoint_is_refused(
    contested: Endpoint, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "VERIFY_EVERY", 1)
    champion = contested.champion
    assert champion is not None
    client = workspace.vectors
    client.drop_alias(contested.alias)
    client.drop_collection(champion.collection)
    client.create_collection(champion.collection, dimension=champion.dim)
    for _ in range(200):
        if contested.champion is None:
            break
        time.sleep(0.05)
    for refused in (
        lambda: contested.search(digits.images[0]),
        lambda: contested.write(digits.records(0, 1)),
    ):
        with pytest.raises(FingerprintMismatch, match="carries the fingerprint None"):
            refused()
    contested.promote("digits-v2", "its collection is its own")
    assert contested.search(digits.images[0]).deployment == "digits-v2"


def test_a_challenger_whose_collection_was_swapped_is_left_out(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    rival = contested.deployment("digits-v2")
    workspace.vectors.drop_collection(rival.collection)
    workspace.vectors.create_collection(rival.collection, dimension=rival.dim)
    contested.verify()
    assert contested.search(digits.images[0]).deployment == "digits-v1"
    with pytest.raises(WorkspaceError, match="'digits-v2' cannot be opened"):
        contested.promote("digits-v2", "better")
