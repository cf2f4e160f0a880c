"""A memory limit as a user meets it: `memory_limit=` of `connect`, and the property of a collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusException
from pymilvus.client.types import LoadState

from roost import bulk_load, connect
from roost.embedded import EmbeddedClient
from roost.engine import budget, memory
from roost.errors import InvalidArgument, MemoryLimitExceeded, NotSupported, ReadOnly

VECTORS = np.random.default_rng(0).normal(size=(1_100, 8)).astype(np.float32)
ROWS = [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS)]


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    monkeypatch.setattr(budget, "REREAD_S", 0.0)


@pytest.fixture
def client(db_path: Path) -> Iterator[Any]:
    with connect(db_path, memory_limit="1GB", durability="normal") as client:
        yield client


def fill(client: Any, name: str) -> None:
    client.create_collection(name, dimension=8, metric_type="L2")
    client.insert(name, ROWS)
    client.flush(name)


def limit_of(client: EmbeddedClient) -> int:
    return client._database()._host.budget.limit


def state(client: Any, name: str) -> LoadState:
    return client.get_load_state(name)["state"]


@pytest.mark.parametrize(("given", "limit"), [("1.5 GB", 3 << 29), (1 << 20, 1 << 20), ("64kb", 1 << 16)])
def test_sizes(given: str | int, limit: int, db_path: Path) -> None:
    with connect(db_path, memory_limit=given) as client, connect(db_path) as again:
        assert limit_of(client) == limit_of(again) == limit
        with pytest.raises(InvalidArgument, match=r"is open with .* a memory limit of .*; close it"):
            connect(db_path, memory_limit="3GB")


def test_the_limit_is_most_of_the_machine_unless_it_is_given(db_path: Path) -> None:
    with connect(db_path) as client:
        assert limit_of(client) == int(0.8 * memory.physical_bytes())


@pytest.mark.parametrize("given", ["much", 0, -5, "0GB", 2.5, True])
def test_what_is_no_size_makes_no_database(given: Any, db_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=f"memory_limit={given!r} is not allowed"):
        connect(db_path, memory_limit=given)
    assert not db_path.exists()


@pytest.mark.parametrize("given", ["1", 1, "1KB", (1 << 16) - 1])
def test_a_limit_that_nothing_fits_into_is_refused(client: Any, given: int | str, db_path: Path) -> None:
    fault = r"=.* is not allowed: the least limit is 64\.0 KB; a number without a unit is bytes"
    with pytest.raises(InvalidArgument, match=f"memory_limit{fault}"):
        connect(db_path.with_name("other"), memory_limit=given)
    assert not db_path.with_name("other").exists()
    with pytest.raises(InvalidArgument, match=rf"memory\.limit{fault}"):
        client.create_collection("rows", 8, properties={"memory.limit": given})
    assert not client.has_collection("rows")
    client.create_collection("rows", 8)
    with pytest.raises(InvalidArgument, match=rf"memory\.limit{fault}"):
        client.alter_collection_properties("rows", {"memory.limit": given})
    assert "memory.limit" not in client.describe_collection("rows").get("properties", {})


def test_a_limit_is_for_embedded_databases() -> None:
    with pytest.raises(InvalidArgument, match="memory_limit= is for embedded databases"):
        connect("http://localhost:19530", memory_limit="1GB")


def test_a_collection_is_loaded_once_another_is_released(client: Any, db_path: Path) -> None:
    for name in ("a", "b"):
        fill(client, name)
    client.release_collection("b")
    one = client._database()._host.budget.held()
    client.close()
    with connect(db_path, memory_limit=int(1.5 * one)) as client:
        with pytest.raises(MemoryLimitExceeded, match="nothing was changed") as caught:
            client.load_collection("b")
        assert isinstance(caught.value, MilvusException)
        assert (caught.value.code, caught.value.name) == (3, "memory_limit_exceeded")
        with pytest.raises(MemoryLimitExceeded):
            client.load_partitions("b", ["_default"])
        assert (state(client, "a"), state(client, "b")) == (LoadState.Loaded, LoadState.NotLoad)
        client.release_collection("a")
        client.load_collection("b")
        assert client.search("b", VECTORS[:1], limit=1)[0][0].id == 0
        with pytest.raises(MemoryLimitExceeded):
            client.load_collection("a")


def test_the_property_of_a_collection(client: Any, db_path: Path) -> None:
    for wrong in ("much", "0"):
        with pytest.raises(InvalidArgument, match=rf"memory\.limit='{wrong}' is not allowed"):
            client.create_collection("rows", 8, properties={"memory.limit": wrong})
    assert not client.has_collection("rows")
    client.create_collection("rows", 8, properties={"memory.limit": 1 << 16, "mine": "x"})
    with pytest.raises(MemoryLimitExceeded, match=r"own limit of 64\.0 KB; nothing was written"):
        client.insert("rows", ROWS)
    with pytest.raises(MemoryLimitExceeded, match=r"own limit of 64\.0 KB; nothing was written"):
        bulk_load(client, "rows", {"id": np.arange(1_100), "vector": VECTORS})
    client.insert("rows", ROWS[:1])
    client.release_collection("rows")
    client.insert("rows", ROWS[1:])
    client.flush("rows")
    with pytest.raises(MemoryLimitExceeded, match=r"own limit of 64\.0 KB"):
        client.load_collection("rows")
    client.alter_collection_properties("rows", {"memory.limit": "1MB"})
    client.load_collection("rows")
    assert client.describe_collection("rows")["properties"] == {"memory.limit": "1MB", "mine": "x"}
    with pytest.raises(MemoryLimitExceeded):
        client.alter_collection_properties("rows", {"memory.limit": "64KB"})
    client.drop_collection_properties("rows", ["memory.limit", "never there"])
    assert client.describe_collection("rows")["properties"] == {"mine": "x"}


@pytest.mark.parametrize("name", ["roost.num_shards", "roost.released_partitions"])
def test_properties_that_the_engine_keeps_for_itself(client: Any, name: str) -> None:
    client.create_collection("rows", 8)
    for call in (
        lambda: client.create_collection("other", 8, properties={name: "3"}),
        lambda: client.alter_collection_properties("rows", {name: "3"}),
        lambda: client.drop_collection_properties("rows", [name]),
    ):
        with pytest.raises(InvalidArgument, match="reserved"):
            call()
    assert not client.has_collection("other")


def test_what_cannot_be_altered(client: Any, db_path: Path) -> None:
    client.create_collection("rows", 8)
    with pytest.raises(NotSupported, match=r"collection\.ttl\.seconds"):
        client.alter_collection_properties("rows", {"collection.ttl.seconds": 9})
    with pytest.raises(InvalidArgument, match="must be a dict"):
        client.alter_collection_properties("rows", "memory.limit")
    with pytest.raises(InvalidArgument, match="property_keys"):
        client.drop_collection_properties("rows", "memory.limit")
    with connect(db_path, read_only=True) as reader, pytest.raises(ReadOnly):
        reader.alter_collection_properties("rows", {"memory.limit": "1GB"})


def test_an_index_that_cannot_be_built_is_said_to_whoever_waits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = client.create_schema()
    schema.add_field("id", 5, is_primary=True)
    schema.add_field("vector", 101, dim=8)
    client.create_collection("rows", schema=schema)
    client.insert("rows", ROWS)
    client.flush("rows")
    params = client.prepare_index_params("vector", index_type="HNSW", metric_type="L2")
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    with pytest.raises(MemoryLimitExceeded, match="index 'vector' of collection 'rows' is not built"):
        client.create_index("rows", params)
    assert client.describe_index("rows", "vector")["state"] == "InProgress"
    client.load_collection("rows")
    assert client.search("rows", VECTORS[7:8], limit=1)[0][0].id == 7
    with pytest.raises(MemoryLimitExceeded, match="nothing was written"):
        client.insert("rows", [{"id": -1, "vector": VECTORS[0]}])
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    client.create_index("rows", params)
    assert client.describe_index("rows", "vector")["state"] == "Finished"
    assert client.get_collection_stats("rows") == {"row_count": len(ROWS)}
