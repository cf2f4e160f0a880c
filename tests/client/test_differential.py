"""The same calls on the embedded engine and on a Milvus server: the same values, types, exceptions and codes.

The server is the reference. `DIFFERENCES` are the calls where the two part on purpose; each has a line in
docs/differences-from-milvus.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import DataType, MilvusException

from roost.client import connect
from roost.errors import RoostError

pytestmark = pytest.mark.milvus

DOCS = Path(__file__).resolve().parents[2] / "docs" / "differences-from-milvus.md"
GENERIC_CODES = frozenset({1, 65535})
"""Codes that say nothing: of pymilvus's own checks, and of errors that the server did not number."""

VARIES = frozenset({"collection_id", "created_timestamp", "db_name", "total_rows", "indexed_rows"})
"""Keys whose values are each installation's own, or that one of the two leaves out."""

ROWS = [{"id": i, "vector": [i / 2, 1.0, 0.0], "n": i, "name": f"name {i}", "nested": {"a": [i]}} for i in range(8)]

Call = Callable[[Any, str], Any]


class Pair(NamedTuple):
    embedded: Any
    milvus: Any
    name: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, milvus_uri: str) -> Iterator[Pair]:
    name = f"differ_{uuid4().hex[:10]}"
    embedded = connect(tmp_path_factory.mktemp("differ") / "db")
    milvus = connect(milvus_uri)
    for client in (embedded, milvus):
        client.create_collection(name, 3, metric_type="L2", consistency_level="Strong")
        client.insert(name, ROWS)
        client.create_alias(name, f"{name}_alias")
        client.create_collection(f"{name}_fixed", schema=fixed_schema(client), consistency_level="Strong")
        client.create_index(f"{name}_fixed", client.prepare_index_params("vector", index_type="FLAT", metric_type="IP"))
        client.load_collection(f"{name}_fixed")
        client.create_collection(f"{name}_bare", schema=fixed_schema(client))
        for metric in ("HAMMING", "JACCARD"):
            bits = f"{name}_{metric}"
            client.create_collection(bits, schema=bits_schema(client), consistency_level="Strong")
            client.create_index(bits, client.prepare_index_params("bits", index_type="BIN_FLAT", metric_type=metric))
            client.load_collection(bits)
            client.insert(bits, [{"id": i, "bits": row} for i, row in enumerate(BITS)])
    yield Pair(embedded, milvus, name)
    embedded.close()
    milvus.drop_alias(f"{name}_alias")
    for suffix in ("", "_fixed", "_bare", "_HAMMING", "_JACCARD"):
        milvus.drop_collection(f"{name}{suffix}")
    milvus.close()


BITS = [bytes([(1 << i) - 1, i]) for i in range(8)]


def bits_schema(client: Any, dim: int = 16) -> Any:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=dim)
    return schema


def fixed_schema(client: Any) -> Any:
    schema = client.create_schema(description="fixed")
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=8)
    schema.add_field("flag", DataType.BOOL)
    schema.add_field("score", DataType.FLOAT)
    schema.add_field("document", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    return schema


def fixed_row(**changes: Any) -> dict[str, Any]:
    return {"key": "k", "flag": True, "score": 0.1, "document": {"x": 1}, "vector": [1.0, 0.1], **changes}


def outcome(client: Any, call: Call, name: str) -> Any:
    """Return what a call returns, or the exception that it raises."""
    try:
        return call(client, name)
    except Exception as error:
        return error


def plain(value: Any) -> Any:
    """Return a result in comparable form: builtin containers, floats to six digits."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, dict):
        return {k: plain(v) for k, v in dict(value).items() if k not in VARIES}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "RepeatedScalarContainer":
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value


def assert_same(given: Any, expected: Any) -> None:
    """Check an outcome of the embedded engine against the server's."""
    if not isinstance(expected, Exception):
        assert not isinstance(given, Exception), f"raised {given!s}, the server returned {expected!r}"
        assert isinstance(given, type(expected))
        assert plain(given) == plain(expected)
        return
    assert isinstance(given, Exception), f"returned {given!r}, the server raised {expected!s}"
    assert isinstance(given, type(expected))
    if isinstance(expected, MilvusException):
        assert expected.code in GENERIC_CODES or given.code == expected.code  # type: ignore[attr-defined]
    if isinstance(given, RoostError):
        assert given.message.strip()


ONE = [[0.0, 1.0, 0.0]]

SAME: dict[str, Call] = {
    # Definitions
    "describe": lambda c, n: c.describe_collection(n),
    "describe fixed": lambda c, n: c.describe_collection(f"{n}_fixed"),
    "describe by alias": lambda c, n: c.describe_collection(f"{n}_alias"),
    "describe missing": lambda c, n: c.describe_collection("missing"),
    "describe no str": lambda c, n: c.describe_collection(3),
    "describe bad timeout": lambda c, n: c.describe_collection(n, timeout="x"),
    "has": lambda c, n: c.has_collection(n),
    "has alias": lambda c, n: c.has_collection(f"{n}_alias"),
    "has not": lambda c, n: c.has_collection("missing"),
    "create again": lambda c, n: c.create_collection(n, 3, metric_type="L2", consistency_level="Strong"),
    "create otherwise": lambda c, n: c.create_collection(n, 4),
    "create no dimension": lambda c, n: c.create_collection(f"{n}_x"),
    "create bad id type": lambda c, n: c.create_collection(f"{n}_x", 4, id_type="float"),
    "create bad name": lambda c, n: c.create_collection("a-b", 4),
    "create empty name": lambda c, n: c.create_collection("", 4),
    "create bad field name": lambda c, n: c.create_collection(f"{n}_x", 4, primary_field_name="a b"),
    "create bad level": lambda c, n: c.create_collection(f"{n}_x", 4, consistency_level="x"),
    "create bad shards": lambda c, n: c.create_collection(f"{n}_x", 4, num_shards="2"),
    "create text key without length": lambda c, n: c.create_collection(f"{n}_x", 4, id_type="string"),
    "create too many partitions": lambda c, n: c.create_collection(f"{n}_x", 4, num_partitions=2),
    "drop missing": lambda c, n: c.drop_collection("missing"),
    "drop alias name": lambda c, n: c.drop_collection(f"{n}_alias"),
    "rename missing": lambda c, n: c.rename_collection("missing", "new"),
    "rename onto itself": lambda c, n: c.rename_collection(n, n),
    "rename badly": lambda c, n: c.rename_collection(n, "a b"),
    "stats missing": lambda c, n: c.get_collection_stats("missing"),
    "alias": lambda c, n: c.describe_alias(f"{n}_alias"),
    "alias missing": lambda c, n: c.describe_alias("missing"),
    "alias again": lambda c, n: c.create_alias(n, f"{n}_alias"),
    "alias taken": lambda c, n: c.create_alias(f"{n}_fixed", f"{n}_alias"),
    "alias bad": lambda c, n: c.create_alias(n, "a b"),
    "alias to missing": lambda c, n: c.alter_alias("missing", f"{n}_alias"),
    "aliases of missing": lambda c, n: c.list_aliases("missing"),
    "partitions": lambda c, n: c.list_partitions(n),
    "partition bad": lambda c, n: c.create_partition(n, "a b"),
    "partition stats missing": lambda c, n: c.get_partition_stats(n, "missing"),
    "partition stats no str": lambda c, n: c.get_partition_stats(n, 3),
    "partition loaded": lambda c, n: c.drop_partition(n, "_default"),
    "partition drop missing": lambda c, n: c.drop_partition(n, "missing"),
    "databases bad": lambda c, n: c.create_database("a b"),
    "databases empty": lambda c, n: c.create_database(""),
    "databases drop missing": lambda c, n: c.drop_database("missing"),
    "databases drop default": lambda c, n: c.drop_database("default"),
    # Indexes and loading
    "indexes": lambda c, n: c.list_indexes(n),
    "indexes of a field": lambda c, n: c.list_indexes(n, "id"),
    "index": lambda c, n: c.describe_index(n, "vector"),
    "index fixed": lambda c, n: c.describe_index(f"{n}_fixed", "vector"),
    "index missing": lambda c, n: c.describe_index(n, "missing"),
    "index of missing": lambda c, n: c.describe_index("missing", "vector"),
    "index drop missing": lambda c, n: c.drop_index(n, "missing"),
    "index drop loaded": lambda c, n: c.drop_index(n, "vector"),
    "index empty": lambda c, n: c.create_index(n, c.prepare_index_params()),
    "index list": lambda c, n: c.create_index(n, []),
    "index none": lambda c, n: c.create_index(n, None),
    "index other": lambda c, n: c.create_index(
        n, c.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    ),
    "index unknown field": lambda c, n: c.create_index(
        n, c.prepare_index_params("none", index_type="FLAT", metric_type="L2")
    ),
    "load": lambda c, n: c.load_collection(n),
    "load state": lambda c, n: c.get_load_state(n),
    "load state of a partition": lambda c, n: c.get_load_state(n, "_default"),
    "load state missing": lambda c, n: c.get_load_state("missing"),
    "load state bare": lambda c, n: c.get_load_state(f"{n}_bare"),
    "load bare": lambda c, n: c.load_collection(f"{n}_bare"),
    "search bare": lambda c, n: c.search(f"{n}_bare", [[1, 2]]),
    "query bare": lambda c, n: c.query(f"{n}_bare", filter="flag"),
    "release bare": lambda c, n: c.release_collection(f"{n}_bare"),
    "refresh": lambda c, n: c.refresh_load(n),
    "flush no str": lambda c, n: c.flush(3),
    "compact bad": lambda c, n: c.compact(n, target_size="x"),
    # Queries
    "query": lambda c, n: c.query(n, filter="n > 5"),
    "query fields": lambda c, n: c.query(n, filter="n > 5", output_fields=["n", "nested"]),
    "query vector": lambda c, n: c.query(n, filter="id == 1", output_fields=["vector"]),
    "query star and more": lambda c, n: c.query(n, filter="id == 1", output_fields=["*", "n"]),
    "query meta": lambda c, n: c.query(n, filter="id == 1", output_fields=["$meta"]),
    "query absent": lambda c, n: c.query(n, filter="id == 1", output_fields=["absent"]),
    "query ids": lambda c, n: c.query(n, ids=[3, 1], output_fields=["n"]),
    "query one id": lambda c, n: c.query(n, ids=3, output_fields=["n"]),
    "query page": lambda c, n: c.query(n, filter="id >= 0", limit=2, offset=3, output_fields=["n"]),
    "query beyond": lambda c, n: c.query(n, filter="id >= 0", limit=2, offset=30),
    "query limit alone": lambda c, n: c.query(n, limit=2, output_fields=["n"]),
    "query nothing": lambda c, n: c.query(n, filter="n > 99"),
    "query count": lambda c, n: c.query(n, output_fields=["count(*)"]),
    "query count filter": lambda c, n: c.query(n, filter="n > 5", output_fields=["COUNT(*)"]),
    "query count limit": lambda c, n: c.query(n, output_fields=["count(*)"], limit=1),
    "query count and more": lambda c, n: c.query(n, output_fields=["count(*)", "n"]),
    "query empty": lambda c, n: c.query(n),
    "query no ids": lambda c, n: c.query(n, ids=[]),
    "query both": lambda c, n: c.query(n, filter="n > 1", ids=[1]),
    "query no str": lambda c, n: c.query(n, filter=3),
    "query none filter": lambda c, n: c.query(n, filter=None, limit=1, output_fields=["n"]),
    "query bad": lambda c, n: c.query(n, filter="n >"),
    "query unknown": lambda c, n: c.query(f"{n}_fixed", filter="absent > 1"),
    "query unknown output": lambda c, n: c.query(f"{n}_fixed", filter="flag", output_fields=["absent"]),
    "query fields str": lambda c, n: c.query(n, filter="n > 1", output_fields="n"),
    "query limit 0": lambda c, n: c.query(n, filter="n > 1", limit=0),
    "query limit large": lambda c, n: c.query(n, filter="n > 1", limit=16_385),
    "query limit float": lambda c, n: c.query(n, filter="n > 1", limit=1.5),
    "query offset -1": lambda c, n: c.query(n, filter="n > 1", limit=1, offset=-1),
    "query partition": lambda c, n: c.query(n, filter="n > 5", partition_names=["_default"], output_fields=["n"]),
    "query partition missing": lambda c, n: c.query(n, filter="n > 5", partition_names=["missing"]),
    "query missing": lambda c, n: c.query("missing", filter="n > 5"),
    "query level": lambda c, n: c.query(n, filter="n > 5", consistency_level="x"),
    "get": lambda c, n: c.get(n, [3, 1]),
    "get one": lambda c, n: c.get(n, 3, output_fields=["name"]),
    "get numpy": lambda c, n: c.get(n, [np.int64(3)], output_fields=["name"]),
    "get twice": lambda c, n: c.get(n, [3, 3], output_fields=["name"]),
    "get absent": lambda c, n: c.get(n, [99]),
    "get none": lambda c, n: c.get(n, []),
    "get str": lambda c, n: c.get(n, ["a"]),
    "get float": lambda c, n: c.get(n, [1.5]),
    "get null": lambda c, n: c.get(n, None),
    "get missing": lambda c, n: c.get("missing", [1]),
    # Searches
    "search": lambda c, n: c.search(n, ONE, limit=3),
    "search two": lambda c, n: c.search(n, [*ONE, [3.0, 1.0, 0.0]], limit=2),
    "search fields": lambda c, n: c.search(n, ONE, limit=2, output_fields=["n", "id"]),
    "search star": lambda c, n: c.search(n, ONE, limit=2, output_fields=["*"]),
    "search meta": lambda c, n: c.search(n, ONE, limit=2, output_fields=["$meta"]),
    "search vector": lambda c, n: c.search(n, ONE, limit=2, output_fields=["vector"]),
    "search filter": lambda c, n: c.search(n, ONE, filter="n > 5"),
    "search filter none": lambda c, n: c.search(n, ONE, filter=None, limit=1),
    "search nothing": lambda c, n: c.search(n, ONE, filter="n > 99"),
    "search offset": lambda c, n: c.search(n, ONE, limit=2, offset=2),
    "search beyond": lambda c, n: c.search(n, ONE, limit=2, offset=20),
    "search metric": lambda c, n: c.search(n, ONE, limit=2, search_params={"metric_type": "L2"}),
    "search other metric": lambda c, n: c.search(n, ONE, search_params={"metric_type": "IP"}),
    "search ef": lambda c, n: c.search(n, ONE, limit=2, search_params={"params": {"ef": 20}}),
    "search nprobe": lambda c, n: c.search(n, ONE, limit=2, search_params={"params": {"nprobe": 20}}),
    "search radius": lambda c, n: c.search(n, ONE, search_params={"params": {"radius": 4.0}}),
    "search ring": lambda c, n: c.search(n, ONE, search_params={"params": {"radius": 4.0, "range_filter": 1.0}}),
    "search bad ring": lambda c, n: c.search(n, ONE, search_params={"params": {"radius": 1.0, "range_filter": 4.0}}),
    "search rounded": lambda c, n: c.search(n, [[0.123, 1, 0]], limit=2, round_decimal=2),
    "search bad rounding": lambda c, n: c.search(n, ONE, round_decimal=7),
    "search bytes": lambda c, n: c.search(n, [np.array(ONE[0], np.float32).tobytes()], limit=2, anns_field="vector"),
    "search array": lambda c, n: c.search(n, np.array(ONE, np.float32), limit=2),
    "search doubles": lambda c, n: c.search(n, np.array(ONE), limit=2),
    "search arrays": lambda c, n: c.search(n, [np.array(ONE[0])], limit=2),
    "search bools": lambda c, n: c.search(n, [[False, True, False]], limit=2),
    "search whole numbers": lambda c, n: c.search(n, np.array([[0, 1, 0]]), limit=2),
    "search one vector": lambda c, n: c.search(n, ONE[0]),
    "search one array": lambda c, n: c.search(n, np.array(ONE[0])),
    "search tuple": lambda c, n: c.search(n, (ONE[0],)),
    "search nested tuple": lambda c, n: c.search(n, [tuple(ONE[0])]),
    "search cube": lambda c, n: c.search(n, np.ones((1, 1, 3))),
    "search empty": lambda c, n: c.search(n, []),
    "search no rows": lambda c, n: c.search(n, np.empty((0, 3), np.float32)),
    "search short": lambda c, n: c.search(n, [[1, 2]]),
    "search ragged": lambda c, n: c.search(n, [[1, 2, 3], [1]]),
    "search text": lambda c, n: c.search(n, ["abc"]),
    "search words": lambda c, n: c.search(n, [["a", "b", "c"]]),
    "search holes": lambda c, n: c.search(n, [[1, 2, None]]),
    "search none": lambda c, n: c.search(n),
    "search dict": lambda c, n: c.search(n, {"a": 1}),
    "search data and ids": lambda c, n: c.search(n, ONE, ids=[1]),
    "search limit 0": lambda c, n: c.search(n, ONE, limit=0),
    "search limit str": lambda c, n: c.search(n, ONE, limit="3"),
    "search limit bool": lambda c, n: c.search(n, ONE, limit=True),
    "search limit large": lambda c, n: c.search(n, ONE, limit=16_385),
    "search window": lambda c, n: c.search(n, ONE, limit=16_000, offset=1_000),
    "search offset -1": lambda c, n: c.search(n, ONE, offset=-1),
    "search offset twice": lambda c, n: c.search(n, ONE, offset=1, search_params={"offset": 1}),
    "search ef twice": lambda c, n: c.search(n, ONE, search_params={"ef": 1, "params": {"ef": 2}}),
    "search params str": lambda c, n: c.search(n, ONE, search_params={"params": "x"}),
    "search unknown anns": lambda c, n: c.search(n, ONE, anns_field="absent"),
    "search scalar anns": lambda c, n: c.search(n, ONE, anns_field="id"),
    "search count": lambda c, n: c.search(n, ONE, output_fields=["count(*)"]),
    "search fields str": lambda c, n: c.search(n, ONE, output_fields="n"),
    "search field empty": lambda c, n: c.search(n, ONE, output_fields=[""]),
    "search unknown output": lambda c, n: c.search(f"{n}_fixed", [[1, 2]], output_fields=["absent"]),
    "search bad filter": lambda c, n: c.search(n, ONE, filter="n =="),
    "search partition str": lambda c, n: c.search(n, ONE, partition_names="_default"),
    "search partition missing": lambda c, n: c.search(n, ONE, partition_names=["missing"]),
    "search no partitions": lambda c, n: c.search(n, ONE, partition_names=[], limit=2),
    "search timeout": lambda c, n: c.search(n, ONE, timeout="x"),
    "search level": lambda c, n: c.search(n, ONE, consistency_level="x"),
    "search missing": lambda c, n: c.search("missing", ONE),
    "search no name": lambda c, n: c.search(None, ONE),
    # Binary vectors
    "bits describe": lambda c, n: c.describe_collection(f"{n}_HAMMING"),
    "bits index": lambda c, n: c.describe_index(f"{n}_HAMMING", "bits"),
    "bits query": lambda c, n: c.query(f"{n}_HAMMING", ids=[3, 5], output_fields=["*"]),
    "bits hamming": lambda c, n: c.search(f"{n}_HAMMING", [b"\x0d\xf0"], limit=1, output_fields=["bits"]),
    "bits jaccard": lambda c, n: c.search(f"{n}_JACCARD", [b"\x0f\x04"], limit=3),
    "bits of none": lambda c, n: c.search(f"{n}_JACCARD", [b"\x00\x00"], filter="id == 0"),
    "bits without a one": lambda c, n: c.search(f"{n}_JACCARD", [b"\x00\x00"], filter="id == 7"),
    "bits arrays": lambda c, n: c.search(f"{n}_HAMMING", [np.array([15, 4], np.uint8)], limit=1),
    "bits array": lambda c, n: c.search(f"{n}_HAMMING", np.array([[15, 4], [0, 0]], np.uint8), limit=1),
    "bits filter": lambda c, n: c.search(f"{n}_HAMMING", [BITS[4]], filter="id > 5", limit=1),
    "bits radius": lambda c, n: c.search(f"{n}_HAMMING", [BITS[0]], search_params={"params": {"radius": 2}}),
    "bits ring": lambda c, n: c.search(
        f"{n}_HAMMING", [BITS[0]], search_params={"params": {"radius": 4, "range_filter": 2}}
    ),
    "bits short": lambda c, n: c.search(f"{n}_HAMMING", [b"\x00"]),
    "bits long": lambda c, n: c.search(f"{n}_HAMMING", [b"\x00\x00\x00"]),
    "bits floats": lambda c, n: c.search(f"{n}_HAMMING", [[0.0] * 16]),
    "bits other metric": lambda c, n: c.search(f"{n}_HAMMING", [BITS[0]], search_params={"metric_type": "JACCARD"}),
    "bits insert short": lambda c, n: c.insert(f"{n}_HAMMING", [{"id": 9, "bits": b"\x00"}]),
    "bits insert number": lambda c, n: c.insert(f"{n}_HAMMING", [{"id": 9, "bits": 3}]),
    "bits insert str": lambda c, n: c.insert(f"{n}_HAMMING", [{"id": 9, "bits": "ab"}]),
    "bits insert large": lambda c, n: c.insert(f"{n}_HAMMING", [{"id": 9, "bits": [256, 0]}]),
    "bits insert arrays": lambda c, n: (
        c.upsert(f"{n}_JACCARD", [{"id": 8, "bits": np.array([255, 1], np.uint8)}, {"id": 9, "bits": [255, 2]}]),
        c.query(f"{n}_JACCARD", ids=[8, 9]),
        c.delete(f"{n}_JACCARD", ids=[8, 9]),
    ),
    "bits odd": lambda c, n: c.create_collection(f"{n}_x", schema=bits_schema(c, 12)),
    "bits large": lambda c, n: c.create_collection(f"{n}_x", schema=bits_schema(c, 262_152)),
    "bits by L2": lambda c, n: c.create_collection(
        f"{n}_y",
        schema=bits_schema(c),
        index_params=c.prepare_index_params("bits", index_type="BIN_FLAT", metric_type="L2"),
    ),
    "floats among bits": lambda c, n: c.create_index(
        f"{n}_bare", c.prepare_index_params("vector", index_type="BIN_FLAT", metric_type="HAMMING")
    ),
    # Writes
    "insert none": lambda c, n: c.insert(n, []),
    "insert missing": lambda c, n: c.insert("missing", ROWS),
    "insert no name": lambda c, n: c.insert("", ROWS),
    "insert partition missing": lambda c, n: c.insert(n, ROWS, partition_name="missing"),
    "insert str": lambda c, n: c.insert(n, "x"),
    "insert tuple": lambda c, n: c.insert(n, (ROWS[0],)),
    "insert no dict": lambda c, n: c.insert(n, [ROWS[0], 3]),
    "insert no vector": lambda c, n: c.insert(n, [{"id": 1}]),
    "insert reserved key": lambda c, n: c.insert(n, [{**ROWS[0], "$meta": {}}]),
    "insert number as key": lambda c, n: c.insert(n, [{**ROWS[0], 3: 1}]),
    "insert large key": lambda c, n: c.insert(n, [{**ROWS[0], "x": "y" * 70_000}]),
    "insert and read": lambda c, n: (
        c.insert(f"{n}_fixed", fixed_row(flag=1, score=True)),
        c.query(f"{n}_fixed", filter="key == 'k'"),
    ),
    "insert json text": lambda c, n: (
        c.upsert(f"{n}_fixed", fixed_row(document='{"y": [1, 2]}', vector=np.ones(2))),
        c.search(f"{n}_fixed", [[1.0, 1.0]], limit=1, output_fields=["*"])[0][0]["entity"],
    ),
    "upsert none": lambda c, n: c.upsert(n, []),
    "upsert extra": lambda c, n: c.upsert(f"{n}_fixed", fixed_row(extra=1)),
    "upsert holes": lambda c, n: c.upsert(f"{n}_fixed", {"key": "a"}),
    "delete both": lambda c, n: c.delete(n, ids=[1], filter="n > 1"),
    "delete nothing": lambda c, n: c.delete(n),
    "delete no ids": lambda c, n: c.delete(n, ids=[]),
    "delete empty": lambda c, n: c.delete(n, filter=""),
    "delete float": lambda c, n: c.delete(n, ids=[1.5]),
    "delete tuple": lambda c, n: c.delete(n, ids=(1,)),
    "delete str": lambda c, n: c.delete(n, ids=["a"]),
    "delete numpy": lambda c, n: c.delete(n, ids=[np.int64(1)]),
    "delete bad": lambda c, n: c.delete(n, filter="n >"),
    "delete missing": lambda c, n: c.delete("missing", ids=[1]),
    "delete partition missing": lambda c, n: c.delete(n, ids=[1], partition_name="missing"),
    "delete one": lambda c, n: c.delete(f"{n}_fixed", ids="k"),
}

DIFFERENCES: dict[str, Call] = {
    "NaN in a query": lambda c, n: c.search(n, [[float("nan"), 1, 0]]),
    "unknown search parameter": lambda c, n: c.search(n, ONE, search_params={"params": {"efs": 3}}),
    "group_by_field": lambda c, n: c.search(n, ONE, group_by_field="n"),
    "name of the key in a hit": lambda c, n: (
        c.upsert(f"{n}_fixed", fixed_row()),
        c.search(f"{n}_fixed", [[1.0, 1.0]], limit=1),
    ),
    "filter templates": lambda c, n: c.query(n, filter="n > {least}", filter_params={"least": 5}),
    "range_filter alone": lambda c, n: c.search(n, ONE, search_params={"params": {"range_filter": 1.0}}),
    "equal keys in a batch": lambda c, n: c.insert(f"{n}_fixed", [fixed_row(), fixed_row()]),
    "NaN in a number": lambda c, n: c.insert(f"{n}_fixed", fixed_row(score=float("nan"))),
    "bool beside 0 and 1": lambda c, n: c.insert(f"{n}_fixed", fixed_row(flag=2)),
    "JSON beside objects": lambda c, n: c.insert(f"{n}_fixed", fixed_row(document=[1, 2])),
    "vectors longer than 4.6e18": lambda c, n: c.insert(f"{n}_fixed", fixed_row(vector=[1e20, 0.0])),
    "arrays of float16": lambda c, n: c.search(n, np.array(ONE, np.float16)),
    "delete_count": lambda c, n: c.delete(n, ids=[999]),
    "describe_database": lambda c, n: c.describe_database("default"),
    "binary vectors in a graph": lambda c, n: c.create_collection(
        f"{n}_x",
        schema=bits_schema(c),
        index_params=c.prepare_index_params("bits", index_type="HNSW", metric_type="HAMMING", M=8, efConstruction=8),
    ),
    "several vector fields": lambda c, n: c.create_collection(f"{n}_two", schema=two_vectors(c)),
    "no vector field": lambda c, n: c.create_collection(f"{n}_none", schema=no_vector(c)),
    "sparse vectors": lambda c, n: c.create_collection(
        f"{n}_sparse",
        schema=sparse(c),
        index_params=c.prepare_index_params("v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP"),
    ),
    "compact of a missing collection": lambda c, n: c.compact("missing"),
    "rows before flush": lambda c, n: c.get_collection_stats(n),
}


def two_vectors(client: Any) -> Any:
    return fixed_schema(client).add_field("second", DataType.FLOAT_VECTOR, dim=2)


def no_vector(client: Any) -> Any:
    return client.create_schema().add_field("id", DataType.INT64, is_primary=True)


def sparse(client: Any) -> Any:
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    return schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)


@pytest.mark.parametrize("title", SAME)
def test_the_two_agree(pair: Pair, title: str) -> None:
    call = SAME[title]
    assert_same(outcome(pair.embedded, call, pair.name), outcome(pair.milvus, call, pair.name))


@pytest.mark.parametrize("title", DIFFERENCES)
def test_the_two_differ_as_documented(pair: Pair, title: str) -> None:
    assert f"**{title}**" in DOCS.read_text()
    call = DIFFERENCES[title]
    try:
        with pytest.raises(AssertionError):
            assert_same(outcome(pair.embedded, call, pair.name), outcome(pair.milvus, call, pair.name))
    finally:
        for suffix in ("_two", "_none", "_sparse", "_x", "_y"):
            pair.milvus.drop_collection(f"{pair.name}{suffix}")
