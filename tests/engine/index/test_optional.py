"""The index types whose library is optional, by their names alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

import roost
from roost.engine.index import registry
from roost.engine.index.registry import index_types, resolve_index
from roost.errors import MissingDependency

LIBRARY = {"ANNOY": "annoy", "NMSLIB_HNSW": "nmslib", "NMSLIB_SW_GRAPH": "nmslib"}
BUILD = {"ANNOY": {"n_trees": 20}, "NMSLIB_HNSW": {"M": 8}, "NMSLIB_SW_GRAPH": {"NN": 8}}
SEARCH = {"ANNOY": {"search_k": 2000}, "NMSLIB_HNSW": {"ef": 100}, "NMSLIB_SW_GRAPH": {"efSearch": 100}}


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.mark.parametrize("name", LIBRARY)
def test_a_missing_library_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry._registered.pop(name, None)
    monkeypatch.delitem(sys.modules, f"roost.engine.index.{LIBRARY[name]}", raising=False)
    monkeypatch.setitem(sys.modules, LIBRARY[name], None)
    assert name in index_types()
    with pytest.raises(MissingDependency, match=rf"{name} .*roost\[{LIBRARY[name]}\]"):
        resolve_index(name)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_collection_is_searched_by_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip(LIBRARY[name], reason=f"needs the extra: pip install 'roost[{LIBRARY[name]}]'")
    assert resolve_index(name.lower()).index_type == name
    vectors = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    rows = [{"id": i, "vector": vector, "even": i % 2 == 0} for i, vector in enumerate(vectors)]

    def near(client: Any, condition: str) -> list[int]:
        [hits] = client.search("c", data=vectors[6:7], limit=5, search_params=SEARCH[name], filter=condition)
        return [hit["id"] for hit in hits]

    with roost.connect(str(tmp_path / "db.roost")) as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("even", DataType.BOOL)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
        index = client.prepare_index_params()
        index.add_index("vector", index_type=name, metric_type="L2", params=BUILD[name])
        client.create_collection("c", schema=schema, index_params=index)
        client.insert("c", rows)
        client.flush("c")
        answers = near(client, ""), near(client, "even == true"), near(client, "id < 40")
    order = np.square(vectors - vectors[6]).sum(axis=1).argsort()
    true = [order[kept[order]][:5].tolist() for kept in (order >= 0, np.arange(3000) % 2 == 0, np.arange(3000) < 40)]
    assert list(answers) == true
    with roost.connect(str(tmp_path / "db.roost")) as client:
        client.load_collection("c")
        assert client.describe_index("c", "vector")["index_type"] == name
        assert near(client, "") == answers[0]
