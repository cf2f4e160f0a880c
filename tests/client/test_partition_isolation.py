"""Partitions that are kept apart: releasing one gives its memory back, and loading it takes it."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roost
from roost.embedded import EmbeddedClient
from roost.engine.partitions import ISOLATION_PROPERTY
from roost.errors import CollectionNotLoaded, Corruption, InvalidArgument, MemoryLimitExceeded, ReadOnly

VECTORS = np.random.default_rng(0).normal(size=(4_000, 32)).astype(np.float32)
NAMES = ("a", "b")
needs_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux, which lists mapped files")


@pytest.fixture
def client(db_path: Path) -> Iterator[EmbeddedClient]:
    """A client of a collection of two partitions with 2,000 rows each."""
    client = EmbeddedClient(db_path, "", None, False)
    client.create_collection("rows", dimension=32, metric_type="L2", properties={ISOLATION_PROPERTY: True})
    for start, name in zip((0, 2_000), NAMES, strict=True):
        client.create_partition("rows", name)
        rows = [{"id": i, "vector": VECTORS[i], "n": i} for i in range(start, start + 2_000)]
        client.insert("rows", rows, partition_name=name)
    client.flush("rows")
    yield client
    client.close()


def segment_ids(client: EmbeddedClient, partition: str) -> list[int]:
    collection = client._database().collection("default", "rows")
    return collection.contents.of_partition(collection.record.partitions[partition])


def mapped(client: EmbeddedClient, partition: str) -> set[str]:
    """Return the files of a partition's segments that this process has mapped."""
    gc.collect()
    lines = Path("/proc/self/maps").read_text().splitlines()
    directories = [f"{client._path}/segments/{segment_id}/" for segment_id in segment_ids(client, partition)]
    assert directories
    return {line.rsplit("/", 1)[1] for line in lines if any(directory in line for directory in directories)}


def answers(client: EmbeddedClient, **options: Any) -> list[list[int]]:
    found = client.search("rows", data=VECTORS[[5, 3_005]], limit=3, **options)
    return [[hit.id for hit in hits] for hits in found]


def held(client: EmbeddedClient) -> int:
    host = client._database()._host
    with host.catalog.lock:
        return host.budget.held()


# The property


def test_it_is_given_shown_altered_and_dropped(client: EmbeddedClient) -> None:
    def shown() -> Any:
        return client.describe_collection("rows")["properties"].get(ISOLATION_PROPERTY)

    assert shown() == "True"
    client.alter_collection_properties("rows", {ISOLATION_PROPERTY: "false"})
    assert shown() == "false"
    client.flush("rows")
    assert segment_ids(client, "a") == []
    client.alter_collection_properties("rows", {ISOLATION_PROPERTY: "true"})
    client.flush("rows")
    assert segment_ids(client, "a") and segment_ids(client, "b")
    client.drop_collection_properties("rows", [ISOLATION_PROPERTY])
    assert shown() is None
    client.flush("rows")
    assert segment_ids(client, "a") == []


@pytest.mark.parametrize("value", [1, "yes", None])
def test_what_is_neither_true_nor_false_is_refused(client: EmbeddedClient, value: Any) -> None:
    for call in (
        lambda: client.create_collection("other", 8, properties={ISOLATION_PROPERTY: value}),
        lambda: client.alter_collection_properties("rows", {ISOLATION_PROPERTY: value}),
    ):
        with pytest.raises(InvalidArgument, match="true or false"):
            call()
    assert not client.has_collection("other")
    assert client.describe_collection("rows")["properties"][ISOLATION_PROPERTY] == "True"


def test_who_only_reads_does_not_switch_it(client: EmbeddedClient, db_path: Path) -> None:
    with EmbeddedClient(db_path, "", None, True) as reader:
        with pytest.raises(ReadOnly):
            reader.alter_collection_properties("rows", {ISOLATION_PROPERTY: False})
        assert answers(reader, partition_names=["a"]) == answers(client, partition_names=["a"])


def test_what_is_not_searched_is_said_to_be_of_other_partitions(client: EmbeddedClient) -> None:
    report = client.explain("rows", data=VECTORS[:1], limit=3, filter="n >= 0", partition_names=["b"])
    shown = {part["part"]: (part["index"], part["candidates"], bool(part["steps"])) for part in report["parts"]}
    (a,), (b,) = segment_ids(client, "a"), segment_ids(client, "b")
    assert shown == {f"segment {a}": ("not needed", 0, False), f"segment {b}": ("used", 2_000, True)}


# Memory


@needs_maps
def test_a_released_partition_holds_no_file(client: EmbeddedClient) -> None:
    before = answers(client, filter="n >= 1")
    within = answers(client, partition_names=["b"])
    assert "fields.arrow" in mapped(client, "a") and "fields.arrow" in mapped(client, "b")
    client.release_partitions("rows", "a")
    assert mapped(client, "a") == set()
    assert mapped(client, "b")
    with pytest.raises(CollectionNotLoaded, match="partition 'a'"):
        answers(client, partition_names=["a"])
    assert answers(client) == within == answers(client, partition_names=["b"])
    assert client.query("rows", filter="n >= 0", output_fields=["count(*)"])[0]["count(*)"] == 2_000
    client.explain("rows", data=VECTORS[:1], limit=3, filter="n > 5")
    assert mapped(client, "a") == set(), "what reads the other partition leaves it alone"
    client.load_partitions("rows", "a")
    assert {"fields.arrow", "vectors-101.arrow"} <= mapped(client, "a")
    assert answers(client, filter="n >= 1") == before


@needs_maps
def test_background_work_on_a_released_partition_holds_no_file(client: EmbeddedClient) -> None:
    client.release_partitions("rows", "a")
    rows = [{"id": 9_000 + i, "vector": VECTORS[i] + 1, "n": i} for i in range(1_500)]
    client.insert("rows", rows, partition_name="a")
    (before,) = segment_ids(client, "a")
    client.flush("rows")
    assert segment_ids(client, "a") != [before]
    assert mapped(client, "a") == set()
    client.load_partitions("rows", "a")
    assert client.search("rows", data=VECTORS[7:8] + 1, limit=1, partition_names=["a"])[0][0].id == 9_007


@needs_maps
def test_an_index_that_is_built_for_a_released_partition_holds_no_file(client: EmbeddedClient) -> None:
    client.create_partition("rows", "c")
    client.release_partitions("rows", "c")
    client.insert("rows", [{"id": 9_000 + i, "vector": VECTORS[i], "n": i} for i in range(1_500)], partition_name="c")
    client.flush("rows")
    described = client.describe_index("rows", "vector")
    assert described is not None and described["pending_index_rows"] == 0
    assert mapped(client, "c") == set()


@needs_maps
def test_a_partition_that_shares_its_segments_gives_nothing_back(client: EmbeddedClient) -> None:
    client.alter_collection_properties("rows", {ISOLATION_PROPERTY: False})
    client.flush("rows")
    needed = held(client)
    client.release_partitions("rows", "a")
    assert held(client) == needed
    assert answers(client)[0] == answers(client, partition_names=["b"])[0]
    client.alter_collection_properties("rows", {ISOLATION_PROPERTY: True})
    client.flush("rows")
    assert held(client) < needed and mapped(client, "a") == set()


def test_released_partitions_do_not_count(client: EmbeddedClient) -> None:
    both = held(client)
    client.release_partitions("rows", ["a", "_default"])
    one = held(client)
    assert 0 < one < both and one == pytest.approx(both / 2, rel=0.1)
    client.alter_collection_properties("rows", {"memory.limit": one + 1_000})
    for load in (
        lambda: client.load_partitions("rows", ["a"]),
        lambda: client.load_collection("rows"),
    ):
        with pytest.raises(MemoryLimitExceeded, match=r"its own limit of .*; nothing was changed"):
            load()
    assert held(client) == one
    keys = np.arange(9_000, 10_500)
    # A released partition takes what does not fit.
    roost.bulk_load(client, "rows", {"id": keys, "vector": VECTORS[:1_500]}, partition_name="a")
    with pytest.raises(MemoryLimitExceeded, match="nothing was written"):
        roost.bulk_load(client, "rows", {"id": keys + 5_000, "vector": VECTORS[:1_500]}, partition_name="b")
    client.release_partitions("rows", ["b"])
    assert held(client) == 0
    client.load_partitions("rows", ["b"])
    assert held(client) == one
    client.drop_collection_properties("rows", ["memory.limit"])
    client.load_collection("rows")
    assert held(client) > both


@needs_maps
def test_loading_a_partition_finds_a_damaged_file(client: EmbeddedClient) -> None:
    client.release_partitions("rows", "a")
    (own,) = segment_ids(client, "a")
    (path,) = (client._path / "segments" / str(own)).glob("vectors-*.arrow")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    for load in (lambda: client.load_partitions("rows", "a"), lambda: client.load_collection("rows")):
        with pytest.raises(Corruption, match="is damaged"):
            load()
        assert f"/segments/{own}/" not in Path("/proc/self/maps").read_text()
    assert answers(client) == answers(client, partition_names=["b"])
    client.drop_partition("rows", "a")
    assert client.list_partitions("rows") == ["_default", "b"]


def test_a_search_that_runs_while_it_is_released_ends(client: EmbeddedClient) -> None:
    snapshot = client._database().collection("default", "rows").snapshot()
    client.release_partitions("rows", "a")
    client.drop_partition("rows", "a")
    gc.collect()
    assert sum(part.rows.inverse_norms("vector").shape[0] for part in snapshot.parts) == 4_000


RESIDENT = """
import gc, sys
import numpy as np
import roost

def resident():
    gc.collect()
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

vectors = np.random.default_rng(0).normal(size=(80_000, 128)).astype(np.float32)
client = roost.connect(sys.argv[1])
client.create_collection("rows", dimension=128, metric_type="L2", properties={"partition.isolation": True})
client.release_collection("rows")
client.drop_index("rows", "vector")
params = client.prepare_index_params("vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 16})
client.create_index("rows", params)
for number, name in enumerate("ab"):
    client.create_partition("rows", name)
    keys = np.arange(40_000) + 40_000 * number
    roost.bulk_load(client, "rows", {"id": keys, "vector": vectors[keys]}, partition_name=name)
client.flush("rows")
client.close()
del client
client = roost.connect(sys.argv[1])
client.load_collection("rows")

def search():
    wide = {"params": {"nprobe": 16}}
    client.search("rows", data=vectors[::800], limit=5, search_params=wide, output_fields=["vector"])
    return resident()

print(search())
client.release_partitions("rows", ["a"])
print(search())
client.load_partitions("rows", ["a"])
print(search())
client.close()
"""


@needs_maps
def test_resident_memory_falls_by_a_partition_and_rises_again(tmp_path: Path) -> None:
    """A partition has 20 MB of vectors, and an index that holds them once more."""
    run = [sys.executable, "-c", RESIDENT, str(tmp_path / "r.roost")]
    output = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    both, one, again = map(float, output.split())
    assert both - one > 20
    assert again - one > 20
