"""Releasing gives memory back, and loading opens and verifies what was released."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.embedded import EmbeddedClient
from roost.engine import compaction, upkeep
from roost.errors import Closed, CollectionNotLoaded, Corruption

VECTORS = np.random.default_rng(0).normal(size=(3_000, 32)).astype(np.float32)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[EmbeddedClient]:
    client = EmbeddedClient(tmp_path / "v.roost", "", None, False)
    client.create_collection("rows", dimension=32, metric_type="L2")
    client.insert("rows", [{"id": i, "vector": vector, "n": i} for i, vector in enumerate(VECTORS)])
    client.flush("rows")
    yield client
    client.close()


def mapped(path: Path) -> set[str]:
    """Return the files below a path that this process has mapped."""
    gc.collect()
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.rsplit("/", 1)[1] for line in lines if str(path) in line and "/segments/" in line}


def answers(client: EmbeddedClient) -> list[list[int]]:
    found = client.search("rows", data=VECTORS[:4], limit=3, filter="n >= 1")
    return [[hit.id for hit in hits] for hits in found]


needs_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux, which lists mapped files")


@needs_maps
def test_a_released_collection_holds_no_file(client: EmbeddedClient, tmp_path: Path) -> None:
    before = answers(client)
    assert {"fields.arrow"} < mapped(tmp_path)
    client.release_collection("rows")
    assert mapped(tmp_path) == set()
    with pytest.raises(CollectionNotLoaded):
        answers(client)
    client.load_collection("rows")
    assert {"fields.arrow", "vectors-101.arrow"} <= mapped(tmp_path)
    assert answers(client) == before


def test_rows_that_are_written_meanwhile_are_there_afterwards(client: EmbeddedClient) -> None:
    client.insert("rows", [{"id": 5_000, "vector": VECTORS[0] + 9, "n": 1}])
    client.release_collection("rows")
    client.upsert("rows", [{"id": 7, "vector": VECTORS[0] + 7, "n": 7}])
    client.delete("rows", ids=[8])
    client.load_collection("rows")
    assert [hit.id for hit in client.search("rows", data=[VECTORS[0] + 9], limit=1)[0]] == [5_000]
    assert [hit.id for hit in client.search("rows", data=[VECTORS[0] + 7], limit=1)[0]] == [7]
    assert client.get("rows", ids=[8]) == []
    client.flush("rows")
    client.release_collection("rows")
    client.load_collection("rows")
    assert [hit.id for hit in client.search("rows", data=[VECTORS[0] + 7], limit=1)[0]] == [7]
    assert client.query("rows", output_fields=["count(*)"])[0]["count(*)"] == 3_000


def test_loading_finds_a_damaged_file(client: EmbeddedClient, tmp_path: Path) -> None:
    client.release_collection("rows")
    (path,) = tmp_path.rglob("vectors-*.arrow")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))
    for _ in range(2):
        with pytest.raises(Corruption, match="is damaged"):
            client.load_collection("rows")


def test_a_cosine_leaves_no_file_open(tmp_path: Path) -> None:
    """The lengths of vectors are read once, and a segment needs no descriptor for them."""
    with EmbeddedClient(tmp_path / "c.roost", "", None, False) as client:
        for name in ("a", "b", "c"):
            client.create_collection(name, dimension=32, metric_type="COSINE")
            client.insert(name, [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS[:50])])
            client.flush(name)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for name in ("a", "b", "c"):
            assert [hit.id for hit in client.search(name, data=VECTORS[7:8].tolist(), limit=1)[0]] == [7]
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_search_that_runs_while_it_is_released_ends(client: EmbeddedClient) -> None:
    collection = client._database().collection(client._db_name, "rows")
    held = collection.snapshot()
    client.release_collection("rows")
    assert held.parts[0].rows.vectors("vector").shape == (3_000, 32)
    client.drop_collection("rows")
    gc.collect()
    assert held.parts[0].rows.inverse_norms("vector").shape == (3_000,), "files go with their last reader"


def test_an_index_that_is_built_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = compaction.build_index
    client = EmbeddedClient(tmp_path / "w.roost", "", None, False)
    n_built = 0

    def released_meanwhile(*arguments: object) -> object:
        nonlocal n_built
        n_built += 1
        client.release_collection("rows")
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "build_index", released_meanwhile)
    client.create_collection("rows", dimension=32, metric_type="L2")
    client.insert("rows", [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS)])
    client.flush("rows")
    client.load_collection("rows")
    assert n_built == 1
    described = client.describe_index("rows", "vector")
    assert described is not None and described["pending_index_rows"] == 0
    assert [hit["id"] for hit in client.search("rows", data=VECTORS[:1], limit=1)[0]] == [0]
    client.close()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave reference cycles where they are."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watch(client: EmbeddedClient) -> dict[str, weakref.ref[object]]:
    """Search in every way, and return references to what searches have opened."""
    answers(client)
    client.search("rows", data=VECTORS[:1], limit=3, filter="n > 2990", output_fields=["vector"])
    client.query("rows", filter="n < 5")
    database = client._database()
    held: dict[str, object] = {"database": database}
    for number, part in enumerate(database.collection("default", "rows").snapshot().parts):
        held[f"rows {number}"] = part.rows
        for derived in part.derived:
            held.update({type(derived).__name__: derived, f"opened {type(derived).__name__}": derived.usable()})
    assert {"SegmentIndex", "SegmentSketch"} < held.keys()
    return {what: weakref.ref(one) for what, one in held.items()}


@pytest.mark.parametrize("read_only", [False, True])
def test_closing_gives_memory_back_without_the_garbage_collector(
    client: EmbeddedClient, no_collector: None, tmp_path: Path, read_only: bool
) -> None:
    client.insert("rows", [{"id": 5_000, "vector": VECTORS[0] + 9, "n": 1}])
    if read_only:
        reader = EmbeddedClient(tmp_path / "v.roost", "", None, True)
        seen = watch(reader)
        reader.close()
        del reader
    else:
        seen = watch(client)
        client.close()
        del client
        # The fixture keeps the client, and the client must not keep the database.
    assert len(seen) == 7
    assert [what for what, reference in seen.items() if reference() is not None] == []


def test_who_holds_a_collection_of_a_closed_database_is_told(client: EmbeddedClient) -> None:
    collection = client._database().collection("default", "rows")
    snapshot = collection.snapshot()
    client.close()
    assert snapshot.n_rows == 3_000, "what a reader holds stays"
    with pytest.raises(Closed):
        collection.count()
