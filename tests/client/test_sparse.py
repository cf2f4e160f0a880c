"""Sparse vectors behind the client: given, searched, changed, merged, opened again; and a dictionary's glosses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.exceptions import MilvusException

import roost
from roost.embedded import EmbeddedClient as Client

GLOSSES = Path("/usr/share/wordnet/data.noun")
N_ROWS, N_INDICES = 3_000, 200


def make(client: Client, **index: Any) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("colour", DataType.INT64)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    params = client.prepare_index_params()
    params.add_index("sparse", **(index or {"index_type": "AUTOINDEX"}))
    client.create_collection("rows", schema=schema, index_params=params)


def draw(n_rows: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    common = 4 / np.arange(2, N_INDICES + 2)
    return np.where(rng.random((n_rows, N_INDICES)) < common, rng.random((n_rows, N_INDICES)), 0.0).astype(np.float32)


def as_dict(row: Any) -> dict[int, float]:
    return {int(i): float(row[i]) for i in np.flatnonzero(row)}


def rows_of(dense: Any, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": first + i, "colour": (first + i) % 4, "sparse": as_dict(row)} for i, row in enumerate(dense)]


@pytest.mark.parametrize(
    ("index_type", "build", "params"),
    [
        ("SPARSE_INVERTED_INDEX", {}, {}),
        ("SPARSE_WAND", {"inverted_index_algo": "DAAT_WAND"}, {}),
        ("SPARSE_INVERTED_INDEX", {"drop_ratio_build": 0.1}, {"drop_ratio_search": 0.05}),
    ],
)
def test_a_collection_lives(index_type: str, build: dict[str, Any], params: dict[str, Any], tmp_path: Path) -> None:
    vectors, queries = draw(N_ROWS, 1), draw(20, 2)
    every, alive = queries.astype(np.float64) @ vectors.T, np.ones(N_ROWS, bool)
    colours, path = np.arange(N_ROWS) % 4, str(tmp_path / "db")

    def hold(client: Client, condition: str, kept: Any) -> None:
        asked = [as_dict(query) for query in queries]
        answers = client.search("rows", asked, filter=condition, limit=10, search_params={"params": params})
        allowed = np.where(kept & alive, every, 0.0)
        kth, n_hits, n_true = np.sort(allowed, axis=1)[:, -10], 0, 0
        for q, hits in enumerate(answers):
            n_true += min(10, np.count_nonzero(allowed[q]))
            for hit in hits:
                assert hit["distance"] == pytest.approx(allowed[q, hit["id"]], rel=1e-4)
                n_hits += allowed[q, hit["id"]] >= kth[q] * (1 - 1e-5)
        assert n_hits >= (0.97 if params else 1.0) * n_true

    with roost.connect(path) as client:
        make(client, index_type=index_type, metric_type="IP", params=build)
        client.insert("rows", rows_of(vectors[:2_000]))
        alive[2_000:] = False
        hold(client, "", alive)
    with roost.connect(path) as client:  # from the log
        hold(client, "colour == 2", colours == 2)
        client.flush("rows")
        hold(client, "", alive)
        client.insert("rows", rows_of(vectors[2_000:], 2_000))
        alive[:] = True
        client.flush("rows")
        hold(client, "colour in [1, 2]", (colours == 1) | (colours == 2))
        client.delete("rows", ids=list(range(0, N_ROWS, 3)))
        alive[::3] = False
        client.upsert("rows", [{"id": 1, "colour": 1, "sparse": as_dict(vectors[5])}])
        every[:, 1] = every[:, 5]
        hold(client, "", alive)
    with roost.connect(path) as client:
        client.flush("rows")
        hold(client, "", alive)
        hold(client, "id < 40", np.arange(N_ROWS) < 40)
        described = client.describe_index("rows", "sparse")
        assert (described["index_type"], described["pending_index_rows"]) == (index_type, 0)
        [read] = client.query("rows", ids=[5], output_fields=["sparse"])
        assert read == {"id": 5, "sparse": as_dict(vectors[5])}


def test_results_and_definitions_are_pymilvus_own(tmp_path: Path) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        make(client)
        rows = [{7: 1.0, 4_000_000_000: 0.5}, {}, [(7, 2.0)], {8: 3.0}]
        client.insert("rows", [{"id": i, "colour": 0, "sparse": row} for i, row in enumerate(rows)])
        [hits] = client.search("rows", [{7: 2.0, 1: 1.0}], limit=10, output_fields=["sparse"])
        assert [(h["id"], h["distance"], h["entity"]["sparse"]) for h in hits] == [
            (2, 4.0, {7: 2.0}),
            (0, 2.0, {7: 1.0, 4_000_000_000: 0.5}),
        ], "a row that has nothing in common with the query is not found"
        assert client.get("rows", ids=[1])[0]["sparse"] == {}
        [bounded] = client.search("rows", [{7: 2.0}], search_params={"params": {"radius": 1.0, "range_filter": 3.0}})
        assert [hit["id"] for hit in bounded] == [0]
        described = client.describe_index("rows", "sparse")
        assert (described["index_type"], described["metric_type"]) == ("SPARSE_INVERTED_INDEX", "IP")
        [field] = [f for f in client.describe_collection("rows")["fields"] if f["name"] == "sparse"]
        assert (field["type"], field["params"]) == (DataType.SPARSE_FLOAT_VECTOR, {})
        with pytest.raises(MilvusException, match="sparse"):
            client.query("rows", filter="sparse == 1")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        for index, message in (
            ({"index_type": "HNSW", "metric_type": "IP"}, "use one of: SPARSE_INVERTED_INDEX, SPARSE_WAND"),
            (
                {"index_type": "SPARSE_WAND", "metric_type": "COSINE"},
                "'COSINE' is not allowed for SPARSE_WAND; use one",
            ),
        ):
            with pytest.raises(MilvusException, match=message) as refused:
                make(client, **index)
            assert refused.value.code == 1100
        make(client)
        with pytest.raises(MilvusException, match=r"row 1, field 'sparse'.*: index -1"):
            client.insert("rows", [{"id": i, "colour": 0, "sparse": {-i: 1.0}} for i in range(2)])
        assert client.get_collection_stats("rows") == {"row_count": 0}
        with pytest.raises(MilvusException, match="a list of sparse vectors"):
            client.search("rows", {1: 1.0})


def test_a_filtered_search_is_explained(tmp_path: Path) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        make(client)
        client.insert("rows", rows_of(draw(2_000, 1)))
        client.flush("rows")
        for condition, method in (("id < 20", "exact"), ("colour != 2", "bitmap")):
            account = client.explain("rows", data=[{1: 1.0, 3: 0.5}], filter=condition, limit=5, quiet=True)
            [part] = account["parts"]
            assert method in str(part)
            assert len(account["hits"][0]) == len(
                client.search("rows", [{1: 1.0, 3: 0.5}], filter=condition, limit=5)[0]
            )


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    vectors = draw(2_000, 1)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client)
        client.insert("rows", rows_of(vectors))
        client.flush("rows")
    [path] = (tmp_path / "db").glob("segments/*/index-*.bin")
    path.write_bytes(path.read_bytes()[:-100])
    query = as_dict(vectors[3])
    with roost.connect(str(tmp_path / "db")) as client:
        [hits] = client.search("rows", [query], limit=1)
        client.flush("rows")
        [again] = client.search("rows", [query], limit=1)
    assert hits[0]["id"] == again[0]["id"]
    assert hits[0]["distance"] == pytest.approx(again[0]["distance"], rel=1e-5)


@pytest.mark.skipif(not GLOSSES.is_file(), reason="needs Debian's package wordnet-base")
def test_glosses_are_found(tmp_path: Path) -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text", reason="needs the extra: roost[lifecycle]")
    lines = [line for line in GLOSSES.read_text(encoding="utf-8").splitlines() if not line.startswith(" ")]
    matrix = text.TfidfVectorizer().fit_transform([line.split("|", 1)[1] for line in lines[:8_100]]).astype(np.float32)
    rows, queries = matrix[:8_000], matrix[8_000:]
    true = -np.sort(-(queries @ rows.T).toarray(), axis=1)[:, :10]
    with roost.connect(str(tmp_path / "db")) as client:
        make(client)
        client.insert("rows", [{"id": i, "colour": i % 2, "sparse": rows[i]} for i in range(8_000)])
        client.flush("rows")
        answers = client.search("rows", queries, limit=10)
    found = np.array([[hit["distance"] for hit in hits] + [0.0] * (10 - len(hits)) for hits in answers])
    np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-5)
