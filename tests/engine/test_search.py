from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.search import Request
from tests.engine.model import brute_force, hnsw, lower_thresholds, make_batch, make_schema, nearest, vectors_of

MODEL = {**dict.fromkeys(range(60), 1), **dict.fromkeys(range(50, 70), 2)}


@pytest.fixture(params=["L2", "IP", "COSINE"])
def collection(request: pytest.FixtureRequest, db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    """A sealed and indexed part, and a tail."""
    lower_thresholds(monkeypatch.setattr)
    database = Database.open(db_path, durability="normal")
    collection = database.create_collection("default", "c", make_schema())
    collection.create_index(hnsw(metric=request.param))
    collection.insert(make_batch(collection.schema, range(60), 1))
    collection.flush()
    collection.insert(make_batch(collection.schema, range(50, 70), 2))
    yield collection
    database.close()


def metric_of(collection: Collection) -> str:
    return collection.record.indexes[0].metric


def test_several_queries_over_several_parts(collection: Collection) -> None:
    metric = metric_of(collection)
    queries = vectors_of([3, 55, 69], [1, 2, 2])
    hits = nearest(collection, queries, 12, metric=metric)
    assert hits.counts == [12, 12, 12]
    for i, distances in enumerate(np.split(hits.distances, 3)):
        np.testing.assert_allclose(distances, brute_force(MODEL, queries[i : i + 1], 12, metric=metric), atol=1e-5)
    keys, gs = hits.keys.tolist(), hits.take("g").to_pylist()
    assert all(MODEL[key] == g for key, g in zip(keys, gs, strict=True))
    np.testing.assert_array_equal(hits.take("vector"), vectors_of(keys, gs))


def test_more_hits_asked_for_than_there_are_rows(collection: Collection) -> None:
    hits = nearest(collection, vectors_of([3, 4], [1, 1]), 100, metric=metric_of(collection))
    assert hits.counts == [70, 70]
    assert sorted(hits.keys[:70].tolist()) == sorted(MODEL)


@pytest.mark.parametrize("n_queries", [1, 9])
@pytest.mark.parametrize("is_string", [False, True])
def test_keys_are_listed_as_they_are_in_the_column(db_path: Path, n_queries: int, is_string: bool) -> None:
    database = Database.open(db_path)
    try:
        schema = make_schema(string_keys=is_string)
        collection = database.create_collection("default", "c", schema)
        for start in (0, 40):
            collection.flush()
            numbers = range(start, start + 40)
            collection.insert(make_batch(schema, [f"k{i}" for i in numbers] if is_string else numbers, 1))
        hits = nearest(collection, vectors_of(range(36, 36 + n_queries), [1] * n_queries), 12)
        assert hits.part is not None and len(set(hits.part.tolist())) > 1
        assert hits.listed_keys == hits.keys.tolist()
        assert {type(key) for key in hits.listed_keys} == {str if is_string else int}
    finally:
        database.close()


@pytest.mark.parametrize(("low", "high"), [(None, 0.5), (0.2, None), (0.2, 0.5), (0.5, 0.2), (-1e9, 1e9)])
def test_a_ring_of_distances(collection: Collection, low: float | None, high: float | None) -> None:
    metric = metric_of(collection)
    queries = vectors_of([3, 55], [1, 2])
    hits = nearest(collection, queries, 5, metric=metric, beyond=low, within=high)
    start = 0
    for i, count in enumerate(hits.counts):
        every = brute_force(MODEL, queries[i : i + 1], 70, metric=metric)
        every = every[(every >= (-np.inf if low is None else low)) & (every < (np.inf if high is None else high))]
        np.testing.assert_allclose(hits.distances[start : start + count], every[:5], atol=1e-5)
        start += count


def test_a_ring_that_is_deeper_than_the_width(collection: Collection) -> None:
    metric = metric_of(collection)
    query = vectors_of([3], [1])
    every = brute_force(MODEL, query, 70, metric=metric)
    between = float(every[39] + every[40]) / 2
    hits = collection.search(
        Request(query, "vector", 5, metric, collection.record.indexes[0], {"ef": 6}, beyond=between)
    )
    np.testing.assert_allclose(hits.distances, every[40:45], atol=1e-5)


def test_an_empty_collection(db_path: Path) -> None:
    database = Database.open(db_path)
    try:
        collection = database.create_collection("default", "c", make_schema())
        for options in ({}, {"beyond": 0.0}):
            request = Request(vectors_of([1, 2], [1, 1]), "vector", 5, "L2", None, {}, **options)
            hits = collection.search(request)
            assert hits.counts == [0, 0]
            assert hits.keys.tolist() == [] and hits.take("vector").shape == (0, 4)
    finally:
        database.close()
