"""Scalar indexes behind the client: every type on its fields, against the same filters without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

import roost
from roost.errors import IndexExists, InvalidArgument

N_ROWS = 6_000
FIELDS = {
    "year": (DataType.INT32, "STL_SORT"),
    "price": (DataType.DOUBLE, "INVERTED"),
    "kind": (DataType.VARCHAR, "BITMAP"),
    "name": (DataType.VARCHAR, "Trie"),
    "sold": (DataType.BOOL, "BITMAP"),
    "rank": (DataType.INT8, "AUTOINDEX"),
}
FILTERS = [
    "year == 1999",
    "1990 <= year < 1995",
    "year in [1990, 1991, 2040]",
    "year not in [1990, 1991]",
    "price > 99.5",
    "price < 0.5 or kind == 'red'",
    "kind != 'red' and kind in ['red', 'blue']",
    "name like 'name 00%'",
    "name == 'name 00777'",
    "not (name like '%7') and sold == true",
    "rank >= 9 and year > 2000 and kind == 'green'",
]


def rows(first: int, last: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(first)
    return [
        {
            "id": i,
            "year": 1980 + int(rng.integers(40)),
            "price": float(rng.random() * 100),
            "kind": ["red", "green", "blue"][int(rng.integers(3))],
            "name": f"name {int(rng.integers(1000)):05d}",
            "sold": bool(rng.integers(2)),
            "rank": int(rng.integers(10)),
            "vector": rng.random(4, dtype=np.float32),
        }
        for i in range(first, last)
    ]


def make(client: Any, name: str, indexed: bool) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    for field, (dtype, _) in FIELDS.items():
        schema.add_field(field, dtype, **({"max_length": 20} if dtype == DataType.VARCHAR else {}))
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    params = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    for field, (_, index_type) in FIELDS.items() if indexed else ():
        params.add_index(field_name=field, index_type=index_type)
    client.create_collection(name, schema=schema, index_params=params)
    client.insert(name, rows(0, N_ROWS))
    client.flush(name)
    client.delete(name, ids=list(range(0, N_ROWS, 7)))
    client.upsert(name, rows(N_ROWS - 50, N_ROWS + 50))


def test_filters_answer_as_without_indexes(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with roost.connect(path) as client:
        for name in ("indexed", "plain"):
            make(client, name, indexed=name == "indexed")
        assert sorted(client.list_indexes("indexed")) == sorted([*FIELDS, "vector"])
        assert client.describe_index("indexed", "year")["pending_index_rows"] == 0
        compare(client)
        client.flush("indexed")
        compare(client)
    with roost.connect(path) as client:
        compare(client)


def compare(client: Any) -> None:
    query = [[0.5, 0.5, 0.5, 0.5]]
    for expression in FILTERS:
        found, expected = (
            [row["id"] for row in client.query(name, filter=expression, output_fields=["id"])]
            for name in ("indexed", "plain")
        )
        assert found == expected, expression
        hits, true = (
            client.search(name, data=query, filter=expression, limit=20)[0].ids for name in ("indexed", "plain")
        )
        assert hits == true, expression
    client.delete("indexed", filter="year == 1985 and kind == 'red'")
    client.delete("plain", filter="year == 1985 and kind == 'red'")
    assert client.query("indexed", output_fields=["count(*)"]) == client.query("plain", output_fields=["count(*)"])


def test_what_create_index_refuses(tmp_path: Path) -> None:
    with roost.connect(tmp_path / "db") as client:
        client.create_collection("c", 4)
        bad: list[tuple[dict[str, Any], str]] = [
            ({"field_name": "id", "index_type": "Trie"}, "choose one of INVERTED, STL_SORT"),
            ({"field_name": "id", "index_type": "STL_SORT", "metric_type": "L2"}, "unknown index parameter"),
            ({"field_name": "id", "index_type": "STL_SORT", "params": {"M": 4}}, "unknown index parameter 'M'"),
            ({"field_name": "id", "index_type": "BITMAP"}, "every primary key is different"),
            ({"field_name": "vector", "index_type": "INVERTED", "metric_type": "L2"}, "it is for scalar fields"),
        ]
        for options, message in bad:
            with pytest.raises(InvalidArgument, match=message) as caught:
                client.create_index("c", client.prepare_index_params(**options))
            assert caught.value.code == 1100
        assert client.list_indexes("c") == ["vector"]
        client.create_index("c", client.prepare_index_params("id"))
        assert client.describe_index("c", "id")["index_type"] == "AUTOINDEX"
        with pytest.raises(IndexExists, match=r"has index 'id' \(AUTOINDEX\) on field 'id'"):
            client.create_index("c", client.prepare_index_params("id", index_type="STL_SORT"))


def test_where_the_server_keeps_an_index_says_nothing_here(tmp_path: Path) -> None:
    with roost.connect(tmp_path / "db") as client:
        client.create_collection("c", 4)
        client.create_index(
            "c", client.prepare_index_params("id", index_type="inverted", params={"mmap.enabled": True})
        )
        assert client.describe_index("c", "id")["index_type"] == "inverted"
