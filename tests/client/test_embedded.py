"""What the embedded client does beyond the contract of every client."""

from __future__ import annotations

import gc
import inspect
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.client.search_result import Hit
from pymilvus.client.types import LoadState

from roost.client import connect
from roost.embedded import EmbeddedClient
from roost.embedded.missing import public_methods
from roost.errors import (
    AliasExists,
    Closed,
    CollectionExists,
    CollectionNotLoaded,
    DatabaseExists,
    DatabaseNotFound,
    DuplicateKey,
    IndexExists,
    IndexNotFound,
    InvalidArgument,
    InvalidDatabaseName,
    InvalidFilter,
    NotFinite,
    NotSupported,
    ReadOnly,
)

SUPPORTED = frozenset(
    [
        "alter_alias",
        "alter_collection_properties",
        "close",
        "compact",
        "create_alias",
        "create_collection",
        "create_database",
        "create_field_schema",
        "create_index",
        "create_partition",
        "create_schema",
        "create_struct_field_schema",
        "delete",
        "describe_alias",
        "describe_collection",
        "describe_database",
        "describe_index",
        "drop_alias",
        "drop_collection",
        "drop_collection_properties",
        "drop_database",
        "drop_index",
        "drop_partition",
        "flush",
        "flush_all",
        "get",
        "get_collection_stats",
        "get_compaction_state",
        "get_load_state",
        "get_partition_stats",
        "get_server_type",
        "get_server_version",
        "has_collection",
        "has_partition",
        "insert",
        "list_aliases",
        "list_collections",
        "list_databases",
        "list_indexes",
        "list_partitions",
        "load_collection",
        "load_partitions",
        "prepare_index_params",
        "query",
        "refresh_load",
        "release_collection",
        "release_partitions",
        "rename_collection",
        "search",
        "truncate_collection",
        "upsert",
        "use_database",
        "using_database",
    ]
)

ROWS = [{"id": i, "vector": [float(i), 0.0], "n": i} for i in range(6)]


@pytest.fixture
def client(db_path: Path) -> Iterator[Any]:
    client = connect(db_path)
    yield client
    client.close()


@pytest.fixture
def filled(client: Any) -> str:
    client.create_collection("rows", 2, metric_type="L2")
    client.insert("rows", ROWS)
    return "rows"


def n_rows(client: Any, name: str) -> int:
    (found,) = client.query(name, output_fields=["count(*)"])
    return int(found["count(*)"])


@pytest.mark.parametrize("name", sorted(public_methods()))
def test_every_method_of_pymilvus_is_there_with_its_signature(name: str) -> None:
    def shape(method: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(method).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.name != "self"]

    expected, given = shape(getattr(MilvusClient, name)), shape(getattr(EmbeddedClient, name))
    options = ("kwargs", inspect.Parameter.VAR_KEYWORD, inspect.Parameter.empty)
    assert given in (expected, [*expected, options])


@pytest.mark.parametrize("name", sorted(set(public_methods()) - SUPPORTED))
def test_other_methods_say_that_they_are_not_there(client: Any, name: str) -> None:
    with pytest.raises(NotSupported, match=f"{name}: the embedded engine"):
        getattr(client, name)()


ASKED: dict[str, Any] = {
    "collection_name": "rows", "old_name": "rows", "new_name": "other", "db_name": "default", "alias": "name",
    "partition_name": "_default", "partition_names": ["_default"],
    "properties": {"mine": "x"}, "property_keys": ["mine"],
    "index_name": "vector", "index_params": MilvusClient.prepare_index_params("vector", index_type="FLAT"),
    "data": ROWS, "ids": [1], "job_id": 0,
}  # fmt: skip
UNTIMED = ["close", "create_field_schema", "create_schema", "create_struct_field_schema", "get_server_type"]
UNTIMED += ["prepare_index_params"]


@pytest.mark.parametrize("name", sorted(SUPPORTED.difference(UNTIMED)))
def test_a_timeout_that_is_no_time_to_wait_is_refused_and_nothing_is_done(client: Any, filled: str, name: str) -> None:
    client.create_database("other")
    before = n_rows(client, filled), client.describe_collection(filled), client.list_databases()
    method = getattr(client, name)
    given = {p: ASKED[p] for p in inspect.signature(method).parameters if p in ASKED}
    if name == "search":
        given = {"collection_name": filled, "data": [[0.0, 0.0]]}
    elif name == "drop_database":
        given = {"db_name": "other"}
    for timeout in (-1, -0.001, float("-inf"), float("nan"), True, "1"):
        with pytest.raises(InvalidArgument, match=r"timeout=.* is not allowed: it is a number of seconds from 0 on"):
            method(**given, timeout=timeout)
    assert before == (n_rows(client, filled), client.describe_collection(filled), client.list_databases())


@pytest.mark.parametrize("timeout", [None, 60, 1e30, float("inf")])
def test_a_flush_is_waited_for_as_long_as_is_said(client: Any, filled: str, timeout: float | None) -> None:
    client.flush(filled, timeout=timeout)
    client.flush_all(timeout=timeout)
    assert client._database().collection("default", filled).contents.tail.n_rows == 0


def test_what_is_supported_is_what_the_docs_say() -> None:
    assert set(public_methods()) >= SUPPORTED
    assert "Not in the embedded engine" in (EmbeddedClient.hybrid_search.__doc__ or "")  # type: ignore[attr-defined]


def test_everything_is_there_after_a_reopen(db_path: Path) -> None:
    with connect(db_path) as client:
        client.create_database("other")
        client.create_collection("rows", 2, consistency_level="Strong", num_shards=2, properties={"a": 1})
        client.insert("rows", ROWS)
        client.create_alias("rows", "alias")
        client.create_partition("rows", "p1")
        client.release_partitions("rows", ["p1"])
        before = client.describe_collection("alias")
    with connect(db_path) as client:
        assert client.describe_collection("alias") == before
        assert before["properties"] == {"a": "1"}
        assert (before["num_shards"], before["consistency_level_name"]) == (2, "Strong")
        assert n_rows(client, "rows") == 6
        with pytest.raises(CollectionNotLoaded, match="'p1'"):
            client.query("rows", filter="id > 0", partition_names=["p1"])
        client.load_partitions("rows", "p1")
        assert list(client.query("rows", filter="id > 0", partition_names=["p1"])) == []


def test_clients_of_one_directory_share_it(client: Any, filled: str, db_path: Path) -> None:
    with connect(db_path) as second:
        second.delete(filled, ids=[0])
        assert n_rows(client, filled) == 5
    assert n_rows(client, filled) == 5


def test_a_forgotten_client_lets_go(db_path: Path) -> None:
    connect(db_path, durability="normal")
    gc.collect()
    connect(db_path, durability="full").close()


def test_a_closed_client_refuses(client: Any, filled: str) -> None:
    client.close()
    client.close()
    for call in (client.list_collections, lambda: client.search(filled, [[1, 2]]), client.get_server_version):
        with pytest.raises(Closed, match="connect again"):
            call()
    assert "closed" in repr(client)


@pytest.mark.parametrize("is_beside_a_writer", [False, True])
def test_a_reader_does_not_write(client: Any, filled: str, db_path: Path, is_beside_a_writer: bool) -> None:
    if not is_beside_a_writer:
        client.close()
    with connect(db_path, read_only=True) as reader:
        assert n_rows(reader, filled) == 6
        for write in (
            lambda: reader.insert(filled, ROWS),
            lambda: reader.delete(filled, ids=[1]),
            lambda: reader.create_collection("new", 2),
            lambda: reader.drop_collection(filled),
            lambda: reader.create_alias(filled, "alias"),
        ):
            with pytest.raises(ReadOnly):
                write()


def test_databases(client: Any, filled: str) -> None:
    client.create_database("other", properties={"owner": "me"})
    assert client.list_databases() == ["default", "other"]
    assert client.describe_database("other") == {"name": "other", "owner": "me"}
    with pytest.raises(DatabaseExists):
        client.create_database("other")
    with pytest.raises(InvalidDatabaseName):
        client.create_database("a b")
    client.rename_collection(filled, "moved", "other")
    assert client.list_collections() == []
    client.use_database("other")
    assert n_rows(client, "moved") == 6
    client.using_database("other")
    with pytest.raises(InvalidArgument, match="moved"):
        client.drop_database("other")
    with pytest.raises(InvalidArgument, match="default"):
        client.drop_database("default")
    client.drop_collection("moved")
    client.drop_database("other")
    client.drop_database("other")
    for call in (
        lambda: client.use_database("other"),
        lambda: client.describe_database("other"),
        client.list_collections,
    ):
        with pytest.raises(DatabaseNotFound):
            call()


def test_equal_keys_in_a_batch(client: Any, filled: str) -> None:
    for write in (client.insert, client.upsert):
        with pytest.raises(DuplicateKey, match="rows 0 and 1"):
            write(filled, [ROWS[0], ROWS[0]])


def test_an_insert_of_a_key_that_exists_replaces_the_row(client: Any, filled: str) -> None:
    client.insert(filled, {"id": 2, "vector": [9.0, 9.0], "n": 99})
    assert client.get(filled, 2, output_fields=["n"])[0]["n"] == 99
    assert n_rows(client, filled) == 6


def test_delete_counts_the_rows_that_were_there(client: Any, filled: str) -> None:
    assert client.delete(filled, ids=[1, 2, 99]) == {"delete_count": 2, "cost": 0}
    assert client.delete(filled, filter="n > {least}", filter_params={"least": 4})["delete_count"] == 1
    assert client.delete(filled, pks=[3])["delete_count"] == 1
    client.create_partition(filled, "p1")
    assert client.delete(filled, ids=[0], partition_name="p1")["delete_count"] == 0
    assert client.delete(filled, filter="n >= 0", partition_name="p1")["delete_count"] == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, InvalidFilter),
        ({"ids": []}, InvalidFilter),
        ({"filter": ""}, InvalidFilter),
        ({"filter": 3}, InvalidFilter),
        ({"ids": [1], "filter": "id > 0"}, InvalidArgument),
        ({"ids": [1.5]}, TypeError),
        ({"ids": (1,)}, TypeError),
        ({"ids": ["a"]}, InvalidArgument),
        ({"ids": [True]}, InvalidArgument),
        ({"ids": [2**63]}, InvalidArgument),
    ],
)
def test_bad_deletes(client: Any, filled: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        client.delete(filled, **options)
    assert n_rows(client, filled) == 6


def test_keys_in_the_other_type(client: Any, filled: str) -> None:
    assert client.get(filled, ["3", np.int64(4)], output_fields=["id"])[0] == {"id": 3}
    client.create_collection("texts", 2, id_type="string", max_length=5)
    client.insert("texts", {"id": "7", "vector": [1, 2]})
    assert client.get("texts", 7, output_fields=["id"])[0] == {"id": "7"}
    for name, key in ((filled, 1.5), (filled, None), ("texts", 1.5), ("texts", True)):
        with pytest.raises(InvalidArgument, match="primary key"):
            client.get(name, key)


@pytest.mark.parametrize(
    "call",
    [
        lambda c, n: c.search(n, [[1, 2]], group_by_field="n"),
        lambda c, n: c.search(n, [[1, 2]], search_params={"group_by_field": "n"}),
        lambda c, n: c.search(n, [[1, 2]], ranker=object()),
        lambda c, n: c.search(n, [[1, 2]], highlighter=object()),
        lambda c, n: c.search(n, ids=[1]),
        lambda c, n: c.search(n, [[1, 2]], _async=True),
        lambda c, n: c.query(n, filter="n > 0", order_by_fields=["n"]),
        lambda c, n: c.query(n, filter="n > 0", group_by_fields=["n"]),
        lambda c, n: c.upsert(n, ROWS, partial_update=True),
        lambda c, n: c.create_collection("ttl", 2, properties={"collection.ttl.seconds": 9}),
        lambda c, n: c.compact(n, is_clustering=True),
        lambda c, n: c.create_index(n, c.prepare_index_params("vector", index_type="GPU_CAGRA", metric_type="L2")),
    ],
)
def test_options_that_would_change_the_answer_are_refused(
    client: Any, filled: str, call: Callable[[Any, str], Any]
) -> None:
    with pytest.raises(NotSupported):
        call(client, filled)
    assert not client.has_collection("ttl")


def test_options_that_change_nothing_are_taken(client: Any, filled: str) -> None:
    params = {"params": {"nprobe": 8, "level": 2, "hints": ""}}
    options: dict[str, Any] = {"consistency_level": "Eventually", "timeout": 3, "guarantee_timestamp": 1}
    assert client.search(filled, [[5, 0]], limit=1, search_params=params, **options)[0].ids == [5]
    client.load_collection(filled, replica_number=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"efs": 3}, "unknown search parameter 'efs'"),
        ({"radius": "x"}, "radius='x'"),
        ({"radius": 1.0, "range_filter": 2.0}, "range_filter=2.0 must be less than radius"),
        ({"range_filter": 2.0}, "needs radius"),
        ([1], "must be a dict"),
        ({"metric_type": "COSINE"}, "does not fit index"),
        ({"radius": np.nan}, "radius=nan"),
        ({"ef": "abc"}, "ef must be an integer, not 'abc'"),
        ({"ef": 9}, "ef=9 is less than k=10"),
        ({"params": {"ef": 0}}, "ef=0 is out of range"),
    ],
)
@pytest.mark.parametrize("is_empty", [False, True])
def test_bad_search_parameters(client: Any, filled: str, params: Any, message: str, is_empty: bool) -> None:
    if is_empty:
        client.truncate_collection(filled)
    with pytest.raises(InvalidArgument, match=message):
        client.search(filled, [[1, 2]], search_params=params)


def test_what_was_checked_once_is_checked_again_where_it_differs(client: Any, filled: str) -> None:
    """Numbers that are equal are not all allowed: a search that passed lets no other one pass."""
    query = [[0.0, 0.0]]
    for _ in range(2):
        client.search(filled, query, limit=1, search_params={"params": {"ef": 1}})
    for limit, ef in ((1, True), (1, 1.0), (True, 1), (1.0, 1)):
        with pytest.raises(InvalidArgument):
            client.search(filled, query, limit=limit, search_params={"params": {"ef": ef}})
    client.release_collection(filled)
    client.drop_index(filled, "vector")
    with pytest.raises(CollectionNotLoaded):
        client.search(filled, query, limit=1, search_params={"params": {"ef": 1}})


@pytest.mark.parametrize("radius", [1e39, 10**400, float("inf")])
def test_a_radius_that_no_distance_reaches(client: Any, filled: str, radius: float) -> None:
    assert len(client.search(filled, [[1, 2]], search_params={"radius": radius, "range_filter": -radius})[0]) == 6


def test_queries_are_finite(client: Any, filled: str) -> None:
    with pytest.raises(NotFinite, match="query 1"):
        client.search(filled, [[1, 2], [float("nan"), 1]])


def test_several_vector_fields(client: Any) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("near", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("far", DataType.FLOAT_VECTOR, dim=3)
    params = client.prepare_index_params("near", index_type="FLAT", metric_type="L2")
    client.create_collection("two", schema=schema)
    client.create_index("two", params)
    with pytest.raises(Exception, match="no index on field 'far'"):
        client.load_collection("two")
    client.create_index("two", client.prepare_index_params("far", metric_type="IP", index_name="named"))
    client.load_collection("two")
    client.insert("two", {"id": 1, "near": [1, 2], "far": [1, 2, 3]})
    assert client.list_indexes("two", "far") == ["named"]
    assert client.search("two", [[1, 1, 1]], anns_field="far")[0].distances == [6.0]
    with pytest.raises(InvalidArgument, match="near, far in anns_field="):
        client.search("two", [[1, 1, 1]])
    with pytest.raises(InvalidArgument, match="vector fields are: near, far"):
        client.search("two", [[1, 1, 1]], anns_field="id")


def test_bad_indexes_leave_nothing_behind(client: Any, filled: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    with pytest.raises(InvalidArgument):
        client.create_collection(
            "new", schema=schema, index_params=client.prepare_index_params("vector", index_type="?")
        )
    with pytest.raises(InvalidArgument):
        client.create_collection("new", 2, metric_type="?")
    two = client.prepare_index_params("vector", index_type="FLAT")
    two.add_index("vector", index_name="other", index_type="HNSW")
    with pytest.raises(IndexExists, match="'vector' and 'other'"):
        client.create_collection("new", schema=schema, index_params=two)
    schema.add_field("far", DataType.FLOAT_VECTOR, dim=3)
    with pytest.raises(IndexNotFound, match="'far'"):
        client.create_collection("new", schema=schema, index_params=client.prepare_index_params("vector"))
    assert not client.has_collection("new")
    with pytest.raises(IndexExists):
        client.create_index(filled, client.prepare_index_params("vector", index_type="FLAT", metric_type="L2"))


def test_names_that_are_taken(client: Any, filled: str) -> None:
    client.create_collection("other", 2)
    client.create_alias(filled, "alias")
    for call, error in (
        (lambda: client.create_alias("other", "alias"), AliasExists),
        (lambda: client.create_alias(filled, "other"), AliasExists),
        (lambda: client.create_collection("alias", 2), CollectionExists),
        (lambda: client.rename_collection("other", filled), CollectionExists),
        (lambda: client.drop_collection(filled), InvalidArgument),
    ):
        with pytest.raises(error):
            call()
    assert sorted(client.list_aliases()["aliases"]) == ["alias"]


def test_truncating_keeps_the_collection(client: Any, filled: str) -> None:
    client.flush(filled)
    client.truncate_collection(filled)
    assert n_rows(client, filled) == 0
    client.insert(filled, ROWS)
    client.flush_all()
    assert client.get_collection_stats(filled) == {"row_count": 6}


def test_the_whole_collection_is_released_with_its_partitions(client: Any, filled: str) -> None:
    client.create_partition(filled, "p1")
    client.release_partitions(filled, ["_default", "p1"])
    with pytest.raises(CollectionNotLoaded):
        client.query(filled, filter="id > 0")
    client.release_partitions(filled, ["p1"])
    client.insert(filled, {"id": 9, "vector": [9, 9], "n": 9}, partition_name="p1")
    client.load_partitions(filled, ["p1"])
    assert [r["id"] for r in client.query(filled, filter="id >= 0", output_fields=["id"])] == [9]
    assert client.get_partition_stats(filled, "p1") == {"row_count": 1}
    client.load_collection(filled)
    assert n_rows(client, filled) == 7


def test_a_partition_that_is_made_again_is_loaded(client: Any, filled: str) -> None:
    client.create_partition(filled, "p1")
    client.create_partition(filled, "p2")
    client.release_partitions(filled, ["p1", "p2"])
    client.drop_partition(filled, "p1")
    client.create_partition(filled, "p1")
    for name, key in (("p1", 8), ("p2", 9)):
        client.insert(filled, {"id": key, "vector": [9, 9], "n": 9}, partition_name=name)
    assert [r["id"] for r in client.query(filled, filter="id > 5", output_fields=["id"])] == [8]


def test_threads_that_release_partitions_lose_nothing(client: Any, filled: str) -> None:
    names = [f"p{i}" for i in range(8)]
    for name in names:
        client.create_partition(filled, name)

    def together(call: Callable[[str], None]) -> None:
        barrier = threading.Barrier(len(names))

        def run(name: str) -> None:
            barrier.wait()
            call(name)

        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def states() -> set[LoadState]:
        return {client.get_load_state(filled, name)["state"] for name in client.list_partitions(filled)[1:]}

    for _ in range(10):
        together(lambda name: client.release_partitions(filled, [name]))
        assert states() == {LoadState.NotLoad}
        together(lambda name: client.load_partitions(filled, [name]))
        assert states() == {LoadState.Loaded}
    together(lambda name: client.release_partitions(filled, [name]))
    together(lambda name: client.drop_partition(filled, name))
    assert client.list_partitions(filled) == ["_default"]
    client.create_partition(filled, "p1")
    assert states() == {LoadState.Loaded}


def test_a_reader_may_load_what_is_loaded(client: Any, filled: str, db_path: Path) -> None:
    for name in ("p1", "p2"):
        client.create_partition(filled, name)
    client.release_partitions(filled, ["p1"])
    with connect(db_path, read_only=True) as reader:
        reader.load_partitions(filled, ["p2"])
        reader.release_partitions(filled, ["p1"])
        reader.drop_partition(filled, "none")
        with pytest.raises(InvalidArgument, match="is loaded"):
            reader.drop_partition(filled, "p2")
        for change in (
            lambda: reader.load_collection(filled),
            lambda: reader.release_collection(filled),
            lambda: reader.load_partitions(filled, ["p1"]),
            lambda: reader.release_partitions(filled, ["p2"]),
            lambda: reader.drop_partition(filled, "p1"),
        ):
            with pytest.raises(ReadOnly):
                change()
        client.load_collection(filled)
        reader.load_collection(filled)


def test_a_collection_is_described_while_it_is_renamed(client: Any, filled: str) -> None:
    client.create_alias(filled, "alias")
    done = threading.Event()

    def rename() -> None:
        for _ in range(50):
            client.rename_collection("rows", "moved")
            client.rename_collection("moved", "rows")
        done.set()

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        while not done.is_set():
            assert client.describe_collection("alias")["aliases"] == ["alias"]
            assert client.list_aliases("alias")["aliases"] == ["alias"]
    finally:
        thread.join()


def test_loading_and_releasing_name_a_partition(client: Any, filled: str) -> None:
    client.release_collection(filled)
    for call in (client.load_partitions, client.release_partitions):
        for names in ([], None):
            with pytest.raises(InvalidArgument, match="at least one partition"):
                call(filled, names)
    with pytest.raises(CollectionNotLoaded):
        client.query(filled, filter="id > 0")


@pytest.mark.parametrize(
    "call",
    [
        lambda c, n: c.insert(n, ROWS, partition_name=["p"]),
        lambda c, n: c.upsert(n, ROWS, partition_name=["p"]),
        lambda c, n: c.delete(n, ids=[1], partition_name=["p"]),
        lambda c, n: c.drop_partition(n, ["p"]),
        lambda c, n: c.has_partition(n, ["p"]),
        lambda c, n: c.get_load_state(n, ["p"]),
        lambda c, n: c.get(n, [1], output_fields=[1]),
        lambda c, n: c.query(n, filter="n in {p}", filter_params=["p"]),
        lambda c, n: c.delete(n, filter="n in {p}", filter_params=["p"]),
        lambda c, n: c.search(n, np.array(1.0)),
        lambda c, n: c.rename_collection(n, "new", target_db=["p"]),
        lambda c, n: c.list_aliases([n]),
        lambda c, n: c.describe_database([n]),
        lambda c, n: c.use_database([n]),
        lambda c, n: c.create_database("new", properties=["p"]),
        lambda c, n: c.create_collection("new", 2, properties=["p"]),
    ],
)
def test_arguments_of_the_wrong_type(client: Any, filled: str, call: Callable[[Any, str], Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"not allowed|must be"):
        call(client, filled)
    assert n_rows(client, filled) == 6 and client.list_databases() == ["default"]


@pytest.mark.parametrize("is_indexed", [True, False])
def test_many_vectors_of_zeros_hide_none_that_is_near_by_its_cosine(client: Any, is_indexed: bool) -> None:
    """Their cosine to everything is 0; to a sketch they would lie nearer than what is unlike a query."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(4_000, 64)).astype(np.float32)
    vectors[::2] = 0
    client.create_collection("zeros", 64, metric_type="COSINE")
    client.insert("zeros", [{"id": i, "vector": vector, "group": i % 8} for i, vector in enumerate(vectors)])
    client.search("zeros", vectors[1:3], limit=3)
    if is_indexed:
        client.flush("zeros")
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = (vectors @ vectors[[1, 3, 5]].T).T / np.where(lengths > 0, lengths, 1)
    for expression, is_allowed in (("group != 1", np.arange(4_000) % 8 != 1), ("", np.full(4_000, True))):
        for number, query in enumerate(vectors[[1, 3, 5]]):
            for _ in range(30):  # as a filter comes again, it may be searched in another way
                [found] = client.search("zeros", [query], limit=5, filter=expression, search_params={"ef": 400})
            best = np.argsort(-np.where(is_allowed, cosines[number], -2))[:5]
            assert found.ids == best.tolist()


def test_results_can_be_pickled(client: Any, filled: str) -> None:
    found = client.search(filled, [[1, 0]], limit=2, output_fields=["n"])
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert type(again[0][0]) is Hit
    assert (again[0].ids, again[0][0].id, again[0][0]["n"]) == (found[0].ids, 1, 1)
    assert str(again) == str(found)
    rows = client.query(filled, filter="n < 2")
    assert pickle.loads(pickle.dumps(rows)) == rows


def test_a_hit_is_read_as_pymilvus_reads_it(client: Any, filled: str) -> None:
    """By key, by attribute, and through its entity; what is in neither is missing."""
    [[found]] = client.search(filled, [[1, 0]], limit=1, output_fields=["n"])
    own, plain = found, Hit(dict(found), pk_name="id")
    reads: list[Callable[[Any], Any]] = [
        lambda hit: (hit["id"], hit["distance"], hit["entity"], hit["n"]),
        lambda hit: (hit.id, hit.distance, hit.n, hit.entity["n"], hit.pk, hit.score, hit.fields),
        lambda hit: (hit.get("n"), hit.get("none"), hit.get("none", 7), "n" in hit, dict(hit), str(hit)),
    ]
    for read in reads:
        assert read(own) == read(plain)
    for hit in (own, plain):
        with pytest.raises(KeyError, match="none"):
            hit["none"]
        with pytest.raises(AttributeError):
            hit.none  # noqa: B018 an attribute that is looked up
        hit.pop("entity")
        assert hit.get("n", 7) == 7 and hit.fields is None and getattr(hit, "n", 7) == 7


def test_threads_share_a_client(client: Any, filled: str) -> None:
    stop, faults = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            try:
                ids = client.search(filled, [[0.0, 0.0]], limit=3)[0].ids
                assert ids[:3] == [0, 1, 2]
            except Exception as fault:
                faults.append(fault)
                return

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for key in range(100, 150):
        client.insert(filled, {"id": key, "vector": [float(key), 0.0], "n": key})
    client.flush(filled)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []


def test_server_names(client: Any) -> None:
    assert client.get_server_type() == "milvus"
    assert client.get_server_version().startswith("roost-")
    assert client.get_server_version(detail=True)["deploy_mode"] == "EMBEDDED"
    assert "'default'" in repr(client)


def test_the_docs_name_methods_that_are_not_there() -> None:
    page = (Path(__file__).parents[2] / "docs" / "differences-from-milvus.md").read_text(encoding="utf-8")
    section = page.partition("## Methods that only the server has\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section)) & set(public_methods())
    assert {"hybrid_search", "search_iterator", "query_iterator"} <= named
    assert not named & SUPPORTED
