"""What the types that learn share: rows are added block by block, and between two blocks a build can be stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.engine.compaction import build_index
from roost.engine.database import Database
from roost.engine.effort import Pace
from roost.engine.index import narrow
from roost.engine.index.faiss_ivf import FaissIvfFlat
from roost.engine.index.faiss_learned import SAMPLED_ROWS
from roost.engine.index.registry import resolve_index
from roost.engine.segment import IndexSpec
from tests.engine.model import lower_thresholds, make_batch, make_schema, read_all, stop_upkeep

LEARNED = ["DISKANN", "HNSW_PQ", "HNSW_RABITQ", "HNSW_SQ", "IVF_FLAT", "IVF_PQ", "IVF_RABITQ", "IVF_SQ8", "SCANN"]
N_ROWS, BLOCK = 1_000, 256


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of `BLOCK` rows."""
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 1)


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(3).standard_normal((N_ROWS, 16)).astype(np.float32)


@pytest.mark.parametrize("index_type", LEARNED)
def test_a_build_ends_within_a_block_of_being_told_to(vectors: Any, index_type: str) -> None:
    params = {"M": 4, "efConstruction": 8} if index_type.startswith("HNSW") else {}
    spec, asked = IndexSpec("vector", "vector", index_type, "L2", params), 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked == n_asked

    whole = -(-N_ROWS // BLOCK) + 1
    for n_asked in (1, 2, whole):
        asked = 0
        assert build_index(spec, vectors, None, Pace(stopping)) is None
        assert asked == n_asked
    asked, n_asked = 0, whole + 1
    built = build_index(spec, vectors, None, Pace(stopping))
    assert built is not None and (built.n_rows, asked) == (N_ROWS, whole)


def test_rows_in_blocks_are_found_as_rows_at_once(vectors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    in_blocks = FaissIvfFlat.build(vectors, "COSINE", {"nlist": 8})
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 1 << 20)
    at_once = FaissIvfFlat.build(vectors, "COSINE", {"nlist": 8})
    one, other = (index.search(vectors[:50], 10, None, {"nprobe": 3}) for index in (in_blocks, at_once))
    assert np.array_equal(one.ids, other.ids)


@pytest.mark.parametrize("index_type", ["IVF_FLAT", "IVF_RABITQ", "DISKANN", "IVF_SQ8", "IVF_PQ", "HNSW_RABITQ"])
def test_what_is_learned_is_what_faiss_learns_by_itself(vectors: Any, index_type: str) -> None:
    kind: Any = resolve_index(index_type)
    params = {"M": 4} if index_type.startswith("HNSW") else {"nlist": 8} if index_type != "DISKANN" else {}
    built = kind.build(vectors, "L2", params)._index
    plain = kind._make(16, "L2", kind._fitted(params, N_ROWS))
    plain.train(vectors)
    for block in narrow.blocks(*vectors.shape):
        plain.add(vectors[block])
    assert built.is_trained and built.ntotal == N_ROWS
    for one, other in zip(built.search(vectors[:50], 10), plain.search(vectors[:50], 10), strict=True):
        assert np.array_equal(one, other)


def test_too_few_rows_to_learn_from_are_stopped_too(vectors: Any) -> None:
    assert build_index(IndexSpec("v", "v", "IVF_FLAT", "L2"), vectors[:10], None, Pace(lambda: True)) is None
    built = build_index(IndexSpec("v", "v", "IVF_FLAT", "L2"), vectors[:10], None, Pace(lambda: False))
    assert built is not None and built.n_rows == 10


@pytest.mark.parametrize(
    ("index_type", "params", "most"),
    [
        ("IVF_FLAT", {"nlist": 10}, 10 * 256),
        ("IVF_RABITQ", {"nlist": 1_000}, 1_000 * 256),
        ("DISKANN", {}, 2_000 * 64),
        ("IVF_SQ8", {"nlist": 10}, SAMPLED_ROWS),
        ("IVF_SQ8", {"nlist": 1_000}, 1_000 * 256),
        ("HNSW_PQ", {}, SAMPLED_ROWS),
    ],
)
def test_how_many_rows_are_learned_from(index_type: str, params: dict[str, Any], most: int) -> None:
    kind: Any = resolve_index(index_type)
    dim = 1_024
    made = kind._make(dim, "L2", kind._fitted(params, 1_000_000))
    assert kind._n_sampled(made, dim) == most


def test_closing_a_database_waits_for_one_block(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    maintenance = database._host.maintenance
    collection = database.create_collection("default", "c", make_schema())
    collection.insert(make_batch(collection.schema, range(N_ROWS), 1))
    collection.flush()
    added = []
    add = FaissIvfFlat._add_rows

    def slow(made: Any, rows: Any, n_lifted: int) -> None:
        add(made, rows, n_lifted)
        added.append(len(rows))
        while not maintenance.stopping():
            time.sleep(0.001)

    with monkeypatch.context() as patch:
        patch.setattr(FaissIvfFlat, "_add_rows", slow)
        collection.create_index(IndexSpec("vector", "vector", "IVF_FLAT", "L2", {"nlist": 4}))
        while not added:
            time.sleep(0.001)
        database.close()
    assert added == [BLOCK]
    database = Database.open(db_path)
    collection = database.collection("default", "c")
    collection.flush()
    assert collection.n_unindexed("vector") == 0
    assert read_all(collection) == dict.fromkeys(range(N_ROWS), 1)
    database.close()
