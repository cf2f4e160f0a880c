from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sqlalchemy import select

from roost.errors import (
    AlreadyExists,
    Closed,
    DeploymentNotFound,
    DimensionMismatch,
    FingerprintMismatch,
    InvalidArgument,
    InvalidData,
    NotFinite,
)
from roost.lifecycle.deployments.space import FINGERPRINT
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EventRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Digits, Place


def test_an_answer_names_its_deployment_and_its_model(endpoint: Endpoint, digits: Digits) -> None:
    answer = endpoint.search(digits.images[7], limit=5, output_fields=["label"])
    assert (answer.endpoint, answer.deployment, answer.model_version) == (endpoint.name, "digits-v1", "digits/1")
    assert (answer.challenger, answer.test_id) == (None, None)
    assert answer.ids[0] == 7 and len(answer.hits) == 5
    assert answer.hits[0].fields == {"label": int(digits.labels[7])}
    assert {hit.deployment for hit in answer.hits} == {"digits-v1"}
    distances = [hit.distance for hit in answer.hits]
    assert distances == sorted(distances)


def test_a_batch_is_answered_in_its_order_and_filters_hold(endpoint: Endpoint, digits: Digits) -> None:
    answers = endpoint.search_batch(digits.images[:6], limit=4, filter="label == 3", output_fields=["label"])
    assert len({answer.query_id for answer in answers}) == 6
    assert {hit.fields["label"] for answer in answers for hit in answer.hits} == {3}
    plain = endpoint.search_batch(digits.images[:6], limit=1)
    assert [answer.ids for answer in plain] == [[i] for i in range(6)]


def test_it_finds_what_brute_force_finds(
    endpoint: Endpoint, weak: ModelVersion, workspace: Workspace, digits: Digits
) -> None:
    embedder = workspace.models.load(weak)
    stored, queries = embedder.embed(digits.images[:N_RECORDS]), embedder.embed(digits.images[300:320])
    distances = ((queries[:, None] - stored[None]) ** 2).sum(axis=2)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :10]
    found = [answer.ids for answer in endpoint.search_batch(digits.images[300:320], search_params={"ef": 200})]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected.tolist(), strict=True)])
    assert recall >= 0.99


def test_the_collection_carries_the_fingerprint_and_the_alias(
    endpoint: Endpoint, weak: ModelVersion, workspace: Workspace
) -> None:
    champion = endpoint.champion
    assert champion is not None
    described = workspace.vectors.describe_collection(endpoint.alias)
    assert described["collection_name"] == champion.collection
    assert described["properties"][FINGERPRINT] == weak.fingerprint == champion.fingerprint
    assert (champion.state, champion.n_records) == ("serving", N_RECORDS)
    assert champion.seal is not None and champion.seal.startswith("sha256:")


def test_vectors_of_the_champion_s_model_are_taken(
    endpoint: Endpoint, weak: ModelVersion, workspace: Workspace, digits: Digits
) -> None:
    vectors = workspace.models.load(weak).embed(digits.images[:2])
    answers = endpoint.search_vectors(vectors, weak.fingerprint, limit=1)
    assert [answer.ids for answer in answers] == [[0], [1]]
    assert endpoint.write_vectors([{"id": 9000, "vector": vectors[0] + 1000, "label": 1}], weak.fingerprint) == 1
    assert endpoint.write_vectors([], weak.fingerprint) == 0


def test_vectors_of_another_model_are_refused_also_of_the_same_length(
    endpoint: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    other = SklearnEmbedder(PCA(4, svd_solver="full").fit(digits.images[300:600]))
    vectors = other.embed(digits.images[:2])
    with pytest.raises(FingerprintMismatch, match=r"digits-v1.*digits/1"):
        endpoint.search_vectors(vectors, other.fingerprint)
    with pytest.raises(FingerprintMismatch):
        endpoint.write_vectors([{"id": 9000, "vector": vectors[0]}], other.fingerprint)
    assert n_rows(workspace, endpoint) == N_RECORDS


def test_bad_vectors_are_refused_and_nothing_is_written(
    endpoint: Endpoint, weak: ModelVersion, workspace: Workspace
) -> None:
    fingerprint = weak.fingerprint
    bad = [
        ([[0.0] * 5], DimensionMismatch),
        ([[0.0, 0.0, 0.0, np.nan]], NotFinite),
        ([0.0] * 4, InvalidArgument),
        ([["a", "b", "c", "d"]], InvalidArgument),
        ([[0.0], [0.0, 1.0]], InvalidArgument),
    ]
    for vectors, error in bad:
        with pytest.raises(error):
            endpoint.search_vectors(vectors, fingerprint)
    good = {"id": 9000, "vector": [0.0] * 4}
    for row, error in [
        ({"id": 9001, "vector": [0.0] * 5}, InvalidArgument),
        ({"id": 9001, "vector": [0.0, 0.0, 0.0, np.inf]}, NotFinite),
        ({"id": 9001}, InvalidData),
        ({"vector": [0.0] * 4}, InvalidData),
    ]:
        with pytest.raises(error):
            endpoint.write_vectors([good, row], fingerprint)
    assert n_rows(workspace, endpoint) == N_RECORDS


def test_vectors_cannot_be_written_beside_a_deployment_of_another_model(
    contested: Endpoint, weak: ModelVersion, workspace: Workspace
) -> None:
    with pytest.raises(FingerprintMismatch, match="digits-v2"):
        contested.write_vectors([{"id": 9000, "vector": [0.0] * 4}], weak.fingerprint)
    assert n_rows(workspace, contested) == N_RECORDS


def test_deployments_are_listed_and_named(contested: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    assert [(d.name, d.model, d.state.value) for d in contested.deployments()] == [
        ("digits-v1", "digits/1", "serving"),
        ("digits-v2", "digits/2", "ready"),
    ]
    assert contested.deployment("digits-v2").dim == 16
    with pytest.raises(DeploymentNotFound, match=r"did you mean 'digits-v2'\? there are: digits-v1, digits-v2"):
        contested.deployment("digits-v3")
    with pytest.raises(AlreadyExists, match="'digits-v2'"):
        contested.deploy(weak, digits.records(), name="digits-v2")
    with pytest.raises(AlreadyExists):
        contested.deploy(weak, digits.records(), name="digits_v2")
    with pytest.raises(InvalidArgument, match="needs a type"):
        contested.deploy(weak, digits.records(), index={"M": 16})
    assert contested.deploy(weak, digits.records(0, 20)).name == "digits-v1-2"


def test_searches_and_feedback_are_recorded(
    place: Place, endpoint: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    answer = endpoint.search(digits.images[0], user="u1")
    endpoint.feedback(answer.query_id, answer.ids[0])
    workspace.flush_events()
    store = Store(place.store)
    with store.read() as session:
        feedback, search = session.scalars(select(EventRow).order_by(EventRow.kind))
    store.close()
    assert (search.kind, search.query_id, search.deployment, search.actor) == (
        "search",
        answer.query_id,
        "digits-v1",
        "u1",
    )
    assert search.latency_ms is not None and search.latency_ms > 0
    assert (feedback.kind, feedback.query_id, feedback.value) == ("feedback", answer.query_id, '{"0":1.0}')


def test_feedback_says_whether_it_could_be_checked(endpoint: Endpoint, workspace: Workspace, digits: Digits) -> None:
    answer = endpoint.search(digits.images[0], limit=3)
    assert endpoint.feedback(answer.query_id, answer.ids[0]) is True
    assert endpoint.feedback(answer.query_id, {answer.ids[1]: 0.0, answer.ids[2]: 1.0}) is True
    with pytest.raises(InvalidArgument, match="not among the results shown"):
        endpoint.feedback(answer.query_id, 10**9)
    assert endpoint.feedback("of-another-process", 10**9) is False


def test_a_closed_workspace_speaks_of_itself(endpoint: Endpoint, workspace: Workspace, digits: Digits) -> None:
    workspace.close()
    for use in (
        lambda: endpoint.search(digits.images[0]),
        lambda: endpoint.write(digits.records(0, 1)),
        lambda: endpoint.deployments(),
        lambda: endpoint.promote("digits-v1", "again"),
    ):
        with pytest.raises(Closed, match=r"the workspace .* is closed"):
            use()


def n_rows(workspace: Workspace, endpoint: Endpoint) -> int:
    champion = endpoint.champion
    assert champion is not None
    rows = workspace.vectors.query(
        champion.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(rows[0]["count(*)"])
