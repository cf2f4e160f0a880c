from __future__ import annotations

import numpy as np
import pytest

from roost.errors import Closed
from roost.lifecycle.monitor import exact, recall
from roost.lifecycle.monitor.recall import Asked, interval
from roost.lifecycle.monitor.summary import Moments
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.serving.traffic import Query
from roost.workspace import Workspace

from ..conftest import N_RECORDS, Digits


def asked(endpoint: SearchEndpoint, digits: Digits, filter: str = "", n: int = 10) -> list[Asked]:
    target = endpoint._router.routing.live[0]
    vectors = target.embedder.embed(digits.images[:n])
    return [Asked(vector, Query(limit=5, filter=filter)) for vector in vectors]


def measured(
    endpoint: SearchEndpoint, workspace: Workspace, queries: list[Asked], max_rows: int = 10_000
) -> recall.Recall:
    target = endpoint._router.routing.live[0]
    return recall.measure(workspace.vectors, target, "L2", "id", queries, N_RECORDS, max_rows)


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_exact_neighbours_are_those_of_brute_force(metric: str, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(500, 8)).astype(np.float32)
    queries = rng.normal(size=(7, 8)).astype(np.float32)
    nearest = exact.Nearest(queries, [10] * 7, metric)
    for start in range(0, 500, 130):
        part = vectors[start : start + 130]
        nearest.add(list(range(start, start + len(part))), part)
    for place, query in enumerate(queries.astype(np.float64)):
        if metric == "L2":
            away = ((vectors - query) ** 2).sum(axis=1)
        else:
            away = -(vectors @ query)
            away = away / np.linalg.norm(vectors, axis=1) if metric == "COSINE" else away
        assert nearest.keys(place) == np.argsort(away)[:10].tolist()


def test_the_pages_hold_every_row_once(
    endpoint: SearchEndpoint, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "_MAX_PAGE_ROWS", 64)
    collection = endpoint.deployment("digits-v1").collection
    found = list(exact.pages(workspace.vectors, collection, "id", 4))
    assert [key for keys, _ in found for key in keys] == list(range(N_RECORDS))
    assert all(vectors.shape == (len(keys), 4) for keys, vectors in found) and len(found) == 5
    some = list(exact.pages(workspace.vectors, collection, "id", 4, "id >= 100", max_rows=70))
    assert [key for keys, _ in some for key in keys] == list(range(100, 170))
    with pytest.raises(Closed):
        list(exact.pages(workspace.vectors, collection, "id", 4, should_stop=lambda: True))


def test_a_complete_answer_has_recall_one(endpoint: SearchEndpoint, workspace: Workspace, digits: Digits) -> None:
    found = measured(endpoint, workspace, asked(endpoint, digits) + asked(endpoint, digits, "label < 3"))
    assert found.reference == "exact" and found.shares.n == 20
    assert found.shares.mean is not None and found.shares.mean > 0.95


def test_a_large_collection_is_compared_with_a_wide_search(
    endpoint: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    found = measured(endpoint, workspace, asked(endpoint, digits), max_rows=100)
    assert found.reference == "wide" and found.shares.n == 10


def test_the_interval_is_wilson_s() -> None:
    low, high = interval(Moments.of([1.0] * 8 + [0.0] * 2))
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert interval(Moments.of([1.0] * 20))[1] == 1.0 and interval(Moments()) == (0.0, 1.0)


def test_the_interval_holds_the_truth_as_often_as_it_says(rng: np.random.Generator) -> None:
    n_missed = 0
    for _ in range(1_000):
        shares = rng.binomial(10, 0.9, size=50) / 10
        low, high = interval(Moments.of(shares))
        n_missed += not low <= 0.9 <= high
    assert n_missed <= 50
