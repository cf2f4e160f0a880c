"""`explain`: the same hits as the search, and an account that is true."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pymilvus import DataType

import roost
from roost.embedded.session import collection_of
from roost.engine.segment import SegmentIndex
from roost.errors import (
    CollectionNotFound,
    CollectionNotLoaded,
    InvalidArgument,
    InvalidConsistencyLevel,
    InvalidFilter,
)

N_ROWS, DIM = 8_000, 8


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with roost.connect(tmp_path_factory.mktemp("explain") / "db") as client:
        for name, index in (("rows", "HNSW"), ("lists", "IVF_SQ8")):
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("year", DataType.INT64)
            schema.add_field("name", DataType.VARCHAR, max_length=20)
            schema.add_field("far", DataType.BOOL)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
            params = client.prepare_index_params("vector", index_type=index, metric_type="L2", params=_PARAMS[index])
            params.add_index("year", index_type="STL_SORT")
            params.add_index("name", index_type="AUTOINDEX")
            client.create_collection(name, schema=schema, index_params=params)
            client.create_partition(name, "other")
            client.insert(name, rows(0, N_ROWS))
            client.insert(name, rows(N_ROWS, N_ROWS + 500), partition_name="other")
            client.flush(name)
            client.delete(name, ids=list(range(0, N_ROWS, 10)))
            client.insert(name, rows(N_ROWS + 500, N_ROWS + 600))
        yield client


_PARAMS = {"HNSW": {"M": 16, "efConstruction": 64}, "IVF_SQ8": {"nlist": 32}}


def rows(first: int, last: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(first)
    vectors = rng.normal(size=(last - first, DIM)).astype(np.float32)
    return [
        {
            "id": first + i,
            "year": int(rng.integers(1900, 2000)),
            "name": f"kind {int(rng.integers(20)):02d}",
            "far": bool((vector**2).sum() > 3.0),
            "vector": vector,
        }
        for i, vector in enumerate(vectors)
    ]


@pytest.fixture(scope="module")
def queries() -> npt.NDArray[np.float32]:
    return np.random.default_rng(9).normal(size=(5, DIM)).astype(np.float32)


@pytest.mark.parametrize("name", ["rows", "lists"])
@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("", {}),
        ("year >= 1950", {}),
        ("year == 1950", {}),
        ("name like 'kind 1%' and year < 1910", {}),
        ("far == true", {}),
        ("year < {most}", {"filter_params": {"most": 1990}}),
        ("", {"partition_names": ["other"]}),
        ("year < 1990", {"partition_names": ["other"]}),
        ("year < 1990", {"search_params": {"params": {"radius": 9.0, "range_filter": 2.0}}}),
        ("year < 1990", {"offset": 3}),
    ],
)
def test_the_hits_are_those_of_the_search(
    client: Any, queries: npt.NDArray[np.float32], name: str, expression: str, options: dict[str, Any]
) -> None:
    explained = client.explain(name, data=queries, filter=expression, limit=7, quiet=True, **options)
    answers = client.search(name, data=queries, filter=expression, limit=7, **options)
    assert [[hit["id"] for hit in one] for one in explained["hits"]] == [hits.ids for hits in answers]
    assert [[hit["distance"] for hit in one] for one in explained["hits"]] == [hits.distances for hits in answers]
    assert all(part["steps"] for part in explained["parts"])
    assert explained["time_ms"] >= sum(part["time_ms"] for part in explained["parts"]) > 0


def test_what_is_said_of_a_segment_and_of_the_tail(client: Any, queries: npt.NDArray[np.float32]) -> None:
    expression = "year < 1950 and name == 'kind 03'"
    report = client.explain("rows", data=queries, filter=expression, quiet=True)
    segment, tail = report["parts"]
    assert (segment["rows"], segment["live_rows"], segment["candidates"]) == (8_500, 7_700, 7_700)
    assert (segment["index"], segment["scalar_indexes"]) == ("used", ["year", "name"])
    assert (tail["part"], tail["rows"], tail["index"], tail["scalar_indexes"]) == ("tail", 100, "not built", [])
    for part in (segment, tail):
        found = part["filter"]
        assert found["selectivity"] == pytest.approx(part["allowed_rows"] / part["candidates"])
        assert abs(found["estimated_selectivity"] - found["selectivity"]) < 0.05
    (by_name, by_year) = segment["filter"]["conditions"]
    assert (by_name["condition"], by_name["index"]) == ("name == 'kind 03'", "bitmaps")
    assert (by_year["condition"], by_year["index"]) == ("year < 1950", None)
    assert by_year["selectivity"] == pytest.approx(0.5, abs=0.05)
    assert {leaf["index"] for leaf in tail["filter"]["conditions"]} == {None}
    n_allowed = client.query("rows", filter=expression, output_fields=["count(*)"])[0]["count(*)"]
    assert sum(part["allowed_rows"] for part in report["parts"]) == n_allowed


def test_what_the_planner_chose(client: Any, queries: npt.NDArray[np.float32]) -> None:
    def steps(name: str, expression: str) -> list[dict[str, Any]]:
        report = client.explain(name, data=queries[:1], filter=expression, quiet=True)
        found: list[dict[str, Any]] = report["parts"][0]["steps"]
        return found

    (scan,) = steps("rows", "year == 1950")
    assert (scan["method"], scan["width"], scan["n_kept"]) == ("exact", 0, 1)
    assert scan["estimated_ms"] > 0 and scan["comparisons"] < 200
    first, *later = steps("rows", "year < 1990")
    assert first["method"] == "traverse" and first["width"] >= 10 and first["comparisons"] > 100
    assert first["n_kept"] + sum(step["n_queries"] for step in later if step["method"] == "exact") >= 1 or later
    methods = [step["method"] for step in steps("lists", "year < 1990")]
    assert methods[0] == "traverse" and "refine" in methods


def test_a_filter_that_depends_on_the_query(client: Any) -> None:
    """Every row near the query is forbidden: the graph's answer is not trusted."""
    origin = np.zeros((1, DIM), dtype=np.float32)
    report = client.explain("rows", data=origin, filter="far == true", quiet=True)
    assert [hit["id"] for hit in report["hits"][0]] == client.search("rows", data=origin, filter="far == true")[0].ids
    first, *later = report["parts"][0]["steps"]
    assert (first["method"], first["n_kept"]) == ("traverse", 0)
    assert later and later[-1]["reason"].startswith("answers not trusted: ")


def test_a_query_is_explained_without_a_search(client: Any) -> None:
    report = client.explain("rows", filter="year >= 1990 or far == true", partition_names=["other"], quiet=True)
    assert "hits" not in report and report["filter"] == "year >= 1990 or far == true"
    segment, tail = report["parts"]
    assert segment["candidates"] == 500 and segment["index"] is None and segment["steps"] == []
    assert tail["candidates"] == tail["allowed_rows"] == 0
    rows = client.query("rows", filter="year >= 1990 or far == true", partition_names=["other"])
    assert segment["allowed_rows"] == len(rows)


def test_a_filter_that_came_before_is_remembered(client: Any) -> None:
    assert not client.explain("rows", filter="year > 1901", quiet=True)["parts"][0]["filter"]["was_remembered"]
    found = client.explain("rows", filter="year > 1901", quiet=True)["parts"][0]["filter"]
    assert found["was_remembered"] and found["conditions"][0]["condition"] == "year > 1901"


def test_the_text(client: Any, queries: npt.NDArray[np.float32], capsys: pytest.CaptureFixture[str]) -> None:
    client.explain("rows", data=queries[:1], filter="name like 'kind 0%'", partition_names=["_default"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["search of rows by vector (HNSW, L2): 1 query, the nearest 10", "filter: name like 'kind 0%'"]
    assert "8,500 rows, 7,700 live, 7,200 in the partitions; vector index used" in lines[2]
    assert "expected from an index" in lines[3]
    assert "name like 'kind 0%': " in lines[4] and "from the index (bitmaps)" in lines[4]
    assert lines[5].startswith("  traverse at width ") or lines[5].startswith("  exact, the cheapest plan: 1 query")
    client.explain("rows", filter="id == 1")
    assert capsys.readouterr().out.startswith("query of rows\nfilter: id == 1\nsegment ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 3),
        ("search_params", {"params": {"ef": 64}}),
        ("anns_field", "vector"),
        ("offset", 3),
        ("round_decimal", 2),
        ("group_by_field", "year"),
        ("filters", "id == 1"),
        ("ids", np.arange(3)),
    ],
)
def test_a_query_takes_no_argument_of_a_search(client: Any, name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=rf"explain\({name}=.* is not allowed without data="):
        client.explain("rows", filter="id == 1", quiet=True, **{name: value})


def test_what_changes_nothing_is_taken_of_a_query(client: Any) -> None:
    unset: dict[str, Any] = {"limit": 10, "search_params": {}, "anns_field": "", "ignore_growing": False}
    report = client.explain("rows", filter="id == 1", quiet=True, consistency_level="Strong", offset=None, **unset)
    assert report["filter"] == "id == 1"
    with pytest.raises(InvalidConsistencyLevel, match="'Sometimes' is not allowed"):
        client.explain("rows", filter="id == 1", quiet=True, consistency_level="Sometimes")


def test_what_is_refused(client: Any) -> None:
    with pytest.raises(InvalidArgument, match="explain needs data="):
        client.explain("rows")
    with pytest.raises(InvalidFilter):
        client.explain("rows", filter="none of it")
    with pytest.raises(CollectionNotFound):
        client.explain("missing", filter="id > 1")
    client.create_collection("released", 4)
    client.release_collection("released")
    with pytest.raises(CollectionNotLoaded):
        client.explain("released", filter="id > 1")


def test_the_time_of_a_search_is_without_that_of_opening_its_index(
    client: Any, queries: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, load = [], SegmentIndex._load

    def slow(index: SegmentIndex) -> Any:
        time.sleep(1)
        opened.append(index)
        return load(index)

    monkeypatch.setattr(SegmentIndex, "_load", slow)
    for part in collection_of(client, "rows").snapshot().parts:
        part.closed()
    explained = client.explain("rows", data=queries, limit=7, quiet=True)
    assert opened
    assert max(part["time_ms"] for part in explained["parts"]) < 1_000
