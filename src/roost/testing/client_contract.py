"""What every client of the Milvus API must do, as tests: run them over a client by a subclass.

    class TestMyClient(ClientContract):
        @pytest.fixture
        def client(self) -> Iterator[Any]:
            with closing(connect("./my.roost")) as client:
                yield client

Each test makes its own collections; their names carry a prefix and they are dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusException
from pymilvus import exceptions as milvus
from pymilvus.client.types import LoadState, OmitZeroDict

from roost.testing.client_fixtures import ROWS, VECTORS, Make, typed_collection, typed_row
from roost.testing.client_reads import ReadContract


class ClientContract(ReadContract):
    """The contract. A subclass gives the `client` fixture."""

    # Collections

    def test_quick_collection_is_there_loaded_and_indexed(self, client: Any, make: Make) -> None:
        name = make()
        assert client.has_collection(name)
        assert name in client.list_collections()
        assert client.get_load_state(name) == {"state": LoadState.Loaded}
        assert client.list_indexes(name) == ["vector"]
        assert client.get_collection_stats(name) == {"row_count": 0}

    def test_description_shows_the_schema(self, client: Any, make: Make) -> None:
        name = make(8, description="a test", auto_id=True)
        shown = client.describe_collection(name)
        assert (shown["collection_name"], shown["description"], shown["auto_id"]) == (name, "a test", True)
        assert shown["consistency_level_name"] == "Strong"
        assert shown["enable_dynamic_field"] is True
        assert [(f["field_id"], f["name"], f["type"], f["params"]) for f in shown["fields"]] == [
            (100, "id", DataType.INT64, {}),
            (101, "vector", DataType.FLOAT_VECTOR, {"dim": 8}),
        ]
        assert shown["fields"][0]["is_primary"] is True

    def test_creating_again_is_allowed_for_the_same_schema_alone(self, client: Any, make: Make) -> None:
        name = make(4)
        client.create_collection(name, 4, consistency_level="Strong")
        with pytest.raises(MilvusException):
            client.create_collection(name, 5, consistency_level="Strong")

    def test_collection_from_a_schema(self, client: Any, prefix: str) -> None:
        name = typed_collection(client, prefix)
        row = typed_row()
        client.insert(name, [row])
        (found,) = client.query(name, filter="key == 'a'", output_fields=["*"])
        assert found == {**row, "vector": row["vector"].tolist()}
        assert {k: type(v) for k, v in found.items()} == {
            "key": str,
            "flag": bool,
            "tiny": int,
            "small": int,
            "medium": int,
            "large": int,
            "single": float,
            "double": float,
            "text": str,
            "document": dict,
            "vector": list,
        }

    def test_dropping_is_final_and_may_be_repeated(self, client: Any, filled: str) -> None:
        client.drop_collection(filled)
        assert not client.has_collection(filled)
        client.drop_collection(filled)

    def test_renaming_keeps_the_rows(self, client: Any, filled: str) -> None:
        client.rename_collection(filled, f"{filled}_new")
        assert not client.has_collection(filled)
        assert client.query(f"{filled}_new", output_fields=["count(*)"])[0] == {"count(*)": 4}

    @pytest.mark.parametrize("name", ["1abc", "a-b", "a b", "ä", "a.b", "a" * 256])
    def test_bad_collection_names(self, client: Any, name: str) -> None:
        with pytest.raises(MilvusException) as caught:
            client.create_collection(name, 4)
        assert caught.value.code == 1100

    @pytest.mark.parametrize("dimension", [0, -1, 32_769, "4", None, 4.0])
    def test_bad_dimensions(self, client: Any, prefix: str, dimension: Any) -> None:
        with pytest.raises(MilvusException):
            client.create_collection(f"{prefix}bad", dimension)
        assert not client.has_collection(f"{prefix}bad")

    def test_a_missing_collection_has_code_100(self, client: Any, prefix: str) -> None:
        missing = f"{prefix}missing"
        calls: list[Callable[[], Any]] = [
            lambda: client.describe_collection(missing),
            lambda: client.get_collection_stats(missing),
            lambda: client.insert(missing, ROWS),
            lambda: client.upsert(missing, ROWS),
            lambda: client.delete(missing, ids=[1]),
            lambda: client.get(missing, ids=[1]),
            lambda: client.query(missing, filter="id > 0"),
            lambda: client.search(missing, [[1, 2, 3, 4]]),
            lambda: client.load_collection(missing),
            lambda: client.release_collection(missing),
            lambda: client.flush(missing),
            lambda: client.list_indexes(missing),
            lambda: client.list_partitions(missing),
            lambda: client.create_alias(missing, f"{missing}_alias"),
            lambda: client.rename_collection(missing, f"{missing}_2"),
        ]
        for call in calls:
            with pytest.raises(MilvusException) as caught:
                call()
            assert caught.value.code == 100
        assert client.get_load_state(missing) == {"state": LoadState.NotExist}
        assert not client.has_collection(missing)

    # Rows

    def test_writes_tell_how_many_and_which(self, client: Any, make: Make) -> None:
        name = make()
        inserted = client.insert(name, ROWS)
        assert type(inserted) is OmitZeroDict
        assert inserted == {"insert_count": 4, "ids": [0, 1, 2, 3], "cost": 0}
        upserted = client.upsert(name, {**ROWS[0], "colour": "green"})
        assert upserted == {"upsert_count": 1, "ids": [0], "cost": 0}
        assert client.delete(name, ids=[1, 2])["delete_count"] == 2
        assert [r["id"] for r in client.query(name, filter="id >= 0", output_fields=["id"])] == [0, 3]

    def test_empty_writes(self, client: Any, make: Make) -> None:
        name = make()
        assert client.insert(name, []) == {"insert_count": 0, "ids": []}
        assert client.upsert(name, []) == {"upsert_count": 0, "ids": []}

    def test_upsert_replaces_the_whole_row(self, client: Any, filled: str) -> None:
        client.upsert(filled, [{"id": 1, "vector": [9, 9, 9, 9], "note": "new"}])
        assert list(client.get(filled, 1)) == [{"id": 1, "vector": [9.0] * 4, "note": "new"}]
        assert client.query(filled, output_fields=["count(*)"])[0] == {"count(*)": 4}

    def test_deleted_rows_are_gone_from_every_read(self, client: Any, filled: str) -> None:
        client.delete(filled, ids=2)
        assert list(client.get(filled, [2])) == []
        assert 2 not in client.search(filled, [VECTORS[2]], limit=4)[0].ids
        client.delete(filled, filter="id in [3]")
        assert [r["id"] for r in client.query(filled, filter="id >= 0", output_fields=["id"])] == [0, 1]

    def test_generated_keys(self, client: Any, make: Make) -> None:
        name = make(auto_id=True)
        first = list(client.insert(name, [{"vector": v} for v in VECTORS])["ids"])
        second = client.insert(name, [{"vector": v} for v in VECTORS])["ids"]
        assert len({*first, *second}) == 8
        assert all(type(key) is int for key in first)
        assert [r["id"] for r in client.get(name, first, output_fields=["id"])] == sorted(first)
        with pytest.raises(MilvusException):
            client.insert(name, [{"id": 1, "vector": VECTORS[0]}])

    def test_string_keys(self, client: Any, make: Make) -> None:
        name = make(id_type="string", max_length=10)
        assert client.insert(name, [{"id": "a", "vector": VECTORS[0]}])["ids"] == ["a"]
        assert client.get(name, "a", output_fields=["id"])[0] == {"id": "a"}
        assert client.search(name, [VECTORS[0]])[0].ids == ["a"]
        client.delete(name, ids=["a"])
        assert list(client.get(name, ["a"])) == []

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"extra": 1}, milvus.DataNotMatchException),
            ({"tiny": ...}, milvus.DataNotMatchException),
            ({"tiny": None}, MilvusException),
            ({"flag": "yes"}, milvus.DataNotMatchException),
            ({"tiny": 1.0}, milvus.DataNotMatchException),
            ({"tiny": True}, milvus.DataNotMatchException),
            ({"tiny": "1"}, milvus.DataNotMatchException),
            ({"tiny": 128}, MilvusException),
            ({"small": 40_000}, MilvusException),
            ({"medium": 2**31}, milvus.DataNotMatchException),
            ({"large": 2**63}, milvus.DataNotMatchException),
            ({"single": "1.5"}, milvus.DataNotMatchException),
            ({"double": "1.5"}, milvus.DataNotMatchException),
            ({"text": "abcde"}, MilvusException),
            ({"text": "äöü"}, MilvusException),
            ({"text": 1}, milvus.DataNotMatchException),
            ({"text": b"a"}, milvus.ParamError),
            ({"key": "abcdef"}, MilvusException),
            ({"document": {1: 2}}, milvus.DataNotMatchException),
            ({"document": "no json"}, milvus.DataNotMatchException),
            ({"document": {1}}, milvus.DataNotMatchException),
            ({"vector": [1.0]}, MilvusException),
            ({"vector": [1.0, 2.0, 3.0]}, MilvusException),
            ({"vector": [float("nan"), 1.0]}, MilvusException),
            ({"vector": [float("inf"), 1.0]}, MilvusException),
            ({"vector": ["a", "b"]}, milvus.DataNotMatchException),
            ({"vector": 1.0}, milvus.DataNotMatchException),
            ({"vector": np.ones(2, dtype=np.int64)}, milvus.ParamError),
            ({"vector": None}, MilvusException),
        ],
        ids=str,
    )
    def test_a_bad_row_refuses_the_batch(
        self, client: Any, prefix: str, change: dict[str, Any], kind: type[MilvusException]
    ) -> None:
        name = typed_collection(client, prefix)
        bad = {k: v for k, v in {**typed_row(), "key": "b", **change}.items() if v is not ...}
        for write in (client.insert, client.upsert):
            with pytest.raises(kind):
                write(name, [typed_row(), bad])
        assert client.query(name, output_fields=["count(*)"])[0] == {"count(*)": 0}

    @pytest.mark.parametrize("data", ["text", 3, None, ({"id": 1},), np.ones(3)], ids=str)
    def test_data_that_is_no_list_of_rows_is_a_type_error(self, client: Any, make: Make, data: Any) -> None:
        with pytest.raises(TypeError):
            client.insert(make(), data)

    def test_rows_that_are_no_dicts(self, client: Any, make: Make) -> None:
        with pytest.raises(milvus.DataNotMatchException):
            client.insert(make(), [ROWS[0], "row"])

    # Indexes and loading

    def test_index_life(self, client: Any, prefix: str) -> None:
        name = typed_collection(client, prefix, indexed=False)
        with pytest.raises(MilvusException) as caught:
            client.load_collection(name)
        assert caught.value.code == 700
        params = client.prepare_index_params()
        params.add_index("vector", index_type="HNSW", metric_type="L2", M=8, efConstruction=64)
        client.create_index(name, params)
        client.create_index(name, params)
        shown = client.describe_index(name, "vector")
        expected = {"index_type": "HNSW", "metric_type": "L2", "M": "8", "efConstruction": "64", "field_name": "vector"}
        assert {k: shown[k] for k in expected} == expected
        assert (shown["index_name"], shown["state"], shown["pending_index_rows"]) == ("vector", "Finished", 0)
        with pytest.raises(MilvusException):
            client.create_index(name, client.prepare_index_params("vector", index_type="FLAT", metric_type="L2"))
        client.load_collection(name)
        with pytest.raises(MilvusException):
            client.drop_index(name, "vector")
        client.release_collection(name)
        client.drop_index(name, "vector")
        assert client.list_indexes(name) == []
        assert client.describe_index(name, "vector") is None

    def test_scalar_index_life(self, client: Any, prefix: str) -> None:
        name = typed_collection(client, prefix)
        client.insert(name, [typed_row()])
        params = client.prepare_index_params("large", index_type="STL_SORT", index_name="by_size")
        params.add_index("text", index_type="Trie")
        client.create_index(name, params)
        client.create_index(name, params)
        assert sorted(client.list_indexes(name)) == ["by_size", "text", "vector"]
        shown = client.describe_index(name, "by_size")
        expected = {"index_type": "STL_SORT", "field_name": "large", "index_name": "by_size", "state": "Finished"}
        assert {k: shown[k] for k in expected} == expected and "metric_type" not in shown
        row = typed_row()
        wanted = f"large == {row['large']} and text like '{row['text'][:1]}%'"
        assert [found["key"] for found in client.query(name, filter=wanted, output_fields=["key"])] == ["a"]
        with pytest.raises(MilvusException):
            client.drop_index(name, "by_size")
        client.release_collection(name)
        client.drop_index(name, "by_size")
        client.load_collection(name)
        assert sorted(client.list_indexes(name)) == ["text", "vector"]
        bad = [("text", "STL_SORT"), ("large", "Trie"), ("large", "HNSW"), ("document", "STL_SORT")]
        for field, index_type in (*bad, ("vector", "STL_SORT")):
            with pytest.raises(MilvusException) as caught:
                client.create_index(name, client.prepare_index_params(field, index_type=index_type, index_name="new"))
            assert field == "vector" or caught.value.code == 1100

    def test_bad_indexes(self, client: Any, prefix: str) -> None:
        name = typed_collection(client, prefix, indexed=False)
        bad: list[tuple[str, dict[str, Any]]] = [
            ("vector", {"index_type": "NONE", "metric_type": "L2"}),
            ("vector", {"index_type": "FLAT", "metric_type": "NONE"}),
            ("vector", {"index_type": "FLAT", "metric_type": "HAMMING"}),
            ("vector", {"index_type": "FLAT", "metric_type": "l2"}),
            ("vector", {"index_type": "HNSW", "metric_type": "L2", "M": "x", "efConstruction": 8}),
            ("vector", {"index_type": "FLAT", "metric_type": "L2", "index_name": "a b"}),
            ("none", {"index_type": "FLAT", "metric_type": "L2"}),
        ]
        for field, options in bad:
            with pytest.raises(MilvusException):
                client.create_index(name, client.prepare_index_params(field, **options))
        no_indexes: list[Any] = [[], None, client.prepare_index_params()]
        for params in no_indexes:
            with pytest.raises(milvus.ParamError):
                client.create_index(name, params)
        assert client.list_indexes(name) == []

    def test_released_collections_are_not_read(self, client: Any, filled: str) -> None:
        client.release_collection(filled)
        assert client.get_load_state(filled) == {"state": LoadState.NotLoad}
        reads: list[Callable[[], Any]] = [
            lambda: client.search(filled, [VECTORS[0]]),
            lambda: client.query(filled, filter="size > 0"),
            lambda: client.get(filled, [1]),
            lambda: client.refresh_load(filled),
        ]
        for read in reads:
            with pytest.raises(MilvusException) as caught:
                read()
            assert caught.value.code == 101
        client.insert(filled, {"id": 7, "vector": VECTORS[0]})
        client.load_collection(filled)
        client.refresh_load(filled)
        assert client.query(filled, output_fields=["count(*)"])[0] == {"count(*)": 5}

    def test_flush_and_compact_keep_the_rows(self, client: Any, filled: str) -> None:
        client.flush(filled)
        assert client.get_collection_stats(filled) == {"row_count": 4}
        job = client.compact(filled)
        assert client.get_compaction_state(job) in ("Completed", "Executing")
        assert client.search(filled, [VECTORS[3]], limit=1)[0].ids == [3]

    # Aliases

    def test_alias_life(self, client: Any, filled: str, make: Make) -> None:
        alias, other = f"{filled}_alias", make()
        client.create_alias(filled, alias)
        client.create_alias(filled, alias)
        assert client.describe_alias(alias)["collection_name"] == filled
        assert client.list_aliases(filled)["aliases"] == [alias]
        assert client.describe_collection(alias)["collection_name"] == filled
        assert client.get(alias, 1, output_fields=["id"])[0] == {"id": 1}
        with pytest.raises(MilvusException) as caught:
            client.create_alias(other, alias)
        assert caught.value.code == 1602
        with pytest.raises(MilvusException):
            client.drop_collection(alias)
        client.alter_alias(other, alias)
        assert client.describe_alias(alias)["collection_name"] == other
        client.drop_alias(alias)
        client.drop_alias(alias)
        calls: list[Callable[[], Any]] = [
            lambda: client.describe_alias(alias),
            lambda: client.alter_alias(other, alias),
        ]
        for call in calls:
            with pytest.raises(MilvusException) as caught:
                call()
            assert caught.value.code == 1600

    @pytest.mark.parametrize("alias", ["", "a b", "1a"])
    def test_bad_aliases(self, client: Any, make: Make, alias: str) -> None:
        with pytest.raises(MilvusException) as caught:
            client.create_alias(make(), alias)
        assert caught.value.code == 1100

    # Partitions

    def test_partition_life(self, client: Any, filled: str) -> None:
        client.create_partition(filled, "p1")
        client.create_partition(filled, "p1")
        assert client.list_partitions(filled) == ["_default", "p1"]
        assert (client.has_partition(filled, "p1"), client.has_partition(filled, "p2")) == (True, False)
        client.insert(filled, {"id": 9, "vector": VECTORS[0]}, partition_name="p1")
        assert client.search(filled, [VECTORS[0]], partition_names=["p1"])[0].ids == [9]
        assert [r["id"] for r in client.query(filled, filter="id >= 0", partition_names=["p1"])] == [9]
        assert client.search(filled, [VECTORS[0]], partition_names=["_default"])[0].ids == [0, 1, 2, 3]
        with pytest.raises(MilvusException):
            client.drop_partition(filled, "p1")
        client.release_partitions(filled, ["p1"])
        assert client.get_load_state(filled, "p1") == {"state": LoadState.NotLoad}
        assert client.get_load_state(filled) == {"state": LoadState.Loaded}
        assert client.search(filled, [VECTORS[0]])[0].ids == [0, 1, 2, 3]
        with pytest.raises(MilvusException):
            client.search(filled, [VECTORS[0]], partition_names=["p1"])
        client.drop_partition(filled, "p1")
        assert client.list_partitions(filled) == ["_default"]

    def test_missing_partitions_have_code_200(self, client: Any, filled: str) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: client.insert(filled, ROWS, partition_name="none"),
            lambda: client.upsert(filled, ROWS, partition_name="none"),
            lambda: client.get_partition_stats(filled, "none"),
            lambda: client.load_partitions(filled, ["none"]),
            lambda: client.release_partitions(filled, ["none"]),
            lambda: client.get_load_state(filled, "none"),
            lambda: client.delete(filled, ids=[1], partition_name="none"),
        ]
        for call in calls:
            with pytest.raises(MilvusException) as caught:
                call()
            assert caught.value.code == 200
        with pytest.raises(TypeError):
            client.get_partition_stats(filled, 3)
