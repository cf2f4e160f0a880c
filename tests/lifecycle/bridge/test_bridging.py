from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from roost.errors import GateFailed, InvalidArgument, InvalidData, InvalidTransition
from roost.lifecycle.bridge.measure import MIN_QUERIES, BridgeReport
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.serving.traffic import Hit, Query
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits

N_STORED, N_SAMPLE = 900, 500
QUERIES = slice(1500, 1700)


class Measured:
    """An endpoint over digits whose champion is an old model, and what a bridge from a new one needs."""

    def __init__(self, workspace: Workspace, endpoint: SearchEndpoint, digits: Digits, old: SklearnEmbedder) -> None:
        version = workspace.models.register("old", old)
        endpoint.promote(endpoint.deploy(version, digits.records(0, N_STORED)), reason="first")
        self.workspace, self.endpoint, self.digits = workspace, endpoint, digits
        self.n_fetched = 0

    def fetch(self, keys: Sequence[Any]) -> list[Any]:
        self.n_fetched += len(keys)
        return [self.digits.images[key] for key in keys]

    def relevance(self, number: int, hits: Sequence[Hit]) -> list[float]:
        label = self.digits.labels[QUERIES][number]
        return [float(hit.fields["label"] == label) for hit in hits]

    def against(self, new: SklearnEmbedder, **options: Any) -> tuple[ModelVersion, BridgeReport]:
        version = self.workspace.models.register("new", new)
        images = self.digits.images
        report = self.endpoint.bridge.measure(
            version,
            images[N_STORED : N_STORED + N_SAMPLE],
            self.fetch,
            images[QUERIES],
            self.relevance,
            **{"output_fields": ["label"], "n_candidates": 50, **options},
        )
        return version, report


def pca(digits: Digits, dim: int) -> SklearnEmbedder:
    return SklearnEmbedder(PCA(dim, svd_solver="full").fit(digits.images[:N_STORED]))


def lda(digits: Digits) -> SklearnEmbedder:
    model = LinearDiscriminantAnalysis().fit(digits.images[:N_STORED], digits.labels[:N_STORED])
    return SklearnEmbedder(model)


@pytest.fixture
def weak_champion(workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits) -> Measured:
    return Measured(workspace, empty_endpoint, digits, pca(digits, 4))


def test_a_bridge_that_wins_is_reported_with_its_interval_and_answers(weak_champion: Measured, digits: Digits) -> None:
    version, report = weak_champion.against(pca(digits, 32))
    low, high = report.interval
    assert report.accepted
    assert 0.0 < low < report.difference < high
    assert report.bridge_quality > report.old_quality + 0.05
    assert str(report.n_queries) in str(report)

    endpoint = weak_champion.endpoint
    endpoint.bridge.open(report, reason="better than what answers now")
    answer = endpoint.search(digits.images[1600], output_fields=["label"])
    assert (answer.deployment, answer.bridged_to) == ("old-v1", str(version))
    vectors = weak_champion.workspace.models.load(version).embed(digits.images[[1600, answer.ids[0]]])
    assert answer.hits[0].distance == pytest.approx(float(np.square(vectors[0] - vectors[1]).sum()), rel=1e-4)
    assert [hit.distance for hit in answer.hits] == sorted(hit.distance for hit in answer.hits)
    endpoint.bridge.close("enough seen")
    assert endpoint.search(digits.images[1600]).bridged_to is None
    actions = [entry.action for entry in weak_champion.workspace.ledger.entries(endpoint.name)]
    assert actions[-3:] == ["bridge.accept", "bridge.open", "bridge.close"]


def test_a_bridge_that_does_not_beat_the_old_model_is_refused(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    strong_champion = Measured(workspace, empty_endpoint, digits, lda(digits))
    _, report = strong_champion.against(pca(digits, 4))
    assert not report.accepted
    assert report.bridge is None
    with pytest.raises(GateFailed, match="not shown to be better"):
        empty_endpoint.bridge.open(report, reason="let me")
    assert workspace.ledger.entries(empty_endpoint.name)[-1].action == "bridge.refuse"
    assert empty_endpoint.bridge.present is None


def test_the_same_model_again_is_refused(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 4))
    assert not report.accepted, "it finds the same"


def test_a_promotion_ends_the_bridge(weak_champion: Measured, digits: Digits) -> None:
    version, report = weak_champion.against(pca(digits, 32))
    endpoint = weak_champion.endpoint
    endpoint.bridge.open(report, reason="meanwhile")
    endpoint.promote(endpoint.deploy(version, digits.records(0, N_STORED)), reason="its own vectors are there")
    answer = endpoint.search(digits.images[1600])
    assert (answer.deployment, answer.bridged_to) == ("new-v1", None)
    assert endpoint.bridge.present is None
    with pytest.raises(InvalidTransition, match="not the champion"):
        endpoint.bridge.open(report, reason="again")


def test_vectors_of_candidates_are_kept_until_their_records_change(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 32))
    endpoint = weak_champion.endpoint
    endpoint.bridge.open(report, reason="meanwhile")
    first = endpoint.search(digits.images[1600])
    n_fetched = weak_champion.n_fetched
    assert endpoint.search(digits.images[1600]).ids == first.ids
    assert weak_champion.n_fetched == n_fetched
    endpoint.write([{"id": first.ids[0], "content": digits.images[first.ids[0]]}])
    endpoint.search(digits.images[1600])
    assert weak_champion.n_fetched == n_fetched + 1


def test_a_record_that_is_written_with_its_vector_is_fetched_again(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 32))
    endpoint, champion = weak_champion.endpoint, weak_champion.endpoint.champion
    assert champion is not None
    endpoint.bridge.open(report, reason="meanwhile")
    found = endpoint.search(digits.images[1600]).ids[0]
    n_fetched = weak_champion.n_fetched
    vector = endpoint._router.routing.live[0].embedder.embed(digits.images[found : found + 1])[0]
    endpoint.write_vectors([{"id": found, "vector": vector}], champion.fingerprint)
    endpoint.search(digits.images[1600])
    assert weak_champion.n_fetched == n_fetched + 1


def test_a_record_that_changes_while_it_is_fetched_is_not_kept(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 32))
    bridge = report.bridge
    assert bridge is not None
    fetched: list[Any] = []

    def fetch(keys: Sequence[Any]) -> list[Any]:
        contents = weak_champion.fetch(keys)
        bridge.forget(keys[:1])
        fetched.extend(keys)
        return contents

    bridge._kept.clear()
    bridge._fetch = fetch
    bridge.search(digits.images[1600:1601], Query(10))
    assert set(bridge._kept) == set(fetched[1:])
    assert bridge._underway == []


def test_records_whose_content_is_gone_are_left_out(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 32))
    assert report.bridge is not None
    endpoint = weak_champion.endpoint
    endpoint.bridge.open(report, reason="meanwhile")
    gone = endpoint.search(digits.images[1650]).ids[0]
    report.bridge.forget([gone])
    report.bridge._fetch = lambda keys: [None] * len(keys)
    assert gone not in endpoint.search(digits.images[1650]).ids


def test_a_fetch_that_gives_too_little_is_an_error(weak_champion: Measured, digits: Digits) -> None:
    _, report = weak_champion.against(pca(digits, 32))
    assert report.bridge is not None
    report.bridge._fetch = lambda keys: []
    report.bridge._kept.clear()
    weak_champion.endpoint.bridge.open(report, reason="meanwhile")
    with pytest.raises(InvalidData, match="contents for"):
        weak_champion.endpoint.search(digits.images[1600])


def test_bad_arguments_are_refused(weak_champion: Measured, digits: Digits) -> None:
    version, report = weak_champion.against(pca(digits, 32))
    bridge = weak_champion.endpoint.bridge
    images = digits.images

    def measure(**changes: Any) -> None:
        chosen: dict[str, Any] = {"queries": images[QUERIES], "relevance": weak_champion.relevance, "limit": 10}
        chosen |= {"output_fields": ["label"], "n_candidates": 50, **changes}
        bridge.measure(version, images[900:1200], weak_champion.fetch, chosen.pop("queries"), **chosen)

    for changes in (
        {"queries": images[: MIN_QUERIES - 1]},
        {"alpha": 0.0},
        {"n_candidates": 0},
        {"limit": 51},
        {"relevance": lambda number, hits: [2.0] * len(hits)},
        {"relevance": lambda number, hits: []},
    ):
        with pytest.raises(InvalidArgument):
            measure(**changes)
    for act in (lambda: bridge.open(report, reason=" "), lambda: bridge.close("")):
        with pytest.raises(InvalidArgument, match="reason"):
            act()


def test_an_endpoint_without_a_champion_has_no_bridge(empty_endpoint: SearchEndpoint, weak: ModelVersion) -> None:
    assert empty_endpoint.bridge.present is None
    with pytest.raises(InvalidTransition, match="no champion"):
        empty_endpoint.bridge.measure(weak, [], lambda keys: [], [], lambda number, hits: [])
