"""Every index type behind the client: built by a flush, searched, filtered, changed, and opened again."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pymilvus import DataType
from pymilvus.exceptions import MilvusException

import roost
from roost.embedded import EmbeddedClient as Client
from roost.errors import CollectionNotLoaded

N_ROWS, DIM = 3_000, 16

TYPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "FLAT": ({}, {}),
    "HNSW": ({"M": 16, "efConstruction": 100}, {"ef": 64}),
    "HNSW_SQ": ({"M": 16, "efConstruction": 100, "sq_type": "SQ8", "refine": True}, {"ef": 64, "refine_k": 2}),
    "HNSW_PQ": ({"M": 16, "efConstruction": 100, "m": 8, "nbits": 8}, {"ef": 100, "refine_k": 8}),
    "HNSW_RABITQ": ({"M": 16, "efConstruction": 100}, {"ef": 300, "refine_k": 30}),
    "IVF_FLAT": ({"nlist": 32}, {"nprobe": 20}),
    "IVF_SQ8": ({"nlist": 32}, {"nprobe": 20}),
    "IVF_PQ": ({"nlist": 32, "m": 8, "nbits": 8}, {"nprobe": 20, "refine_k": 8}),
    "IVF_RABITQ": ({"nlist": 32, "refine": True, "refine_type": "FP32"}, {"nprobe": 20, "refine_k": 30}),
    "DISKANN": ({}, {"search_list": 60}),
    "SCANN": ({"nlist": 32, "with_raw_data": True}, {"nprobe": 20, "reorder_k": 100}),
}
"""The parameters that each is built and searched with."""

Vectors = npt.NDArray[np.float32]


def make(client: Client, index_type: str, metric: str, vectors: Vectors) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("colour", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", index_type=index_type, metric_type=metric, params=TYPES[index_type][0])
    client.create_collection("rows", schema=schema, index_params=index)
    client.insert("rows", [{"id": i, "colour": i % 4, "vector": vector} for i, vector in enumerate(vectors)])
    client.flush("rows")


def found(client: Client, index_type: str, queries: Vectors, **options: Any) -> list[set[int]]:
    answers = client.search("rows", data=queries, limit=10, search_params={"params": TYPES[index_type][1]}, **options)
    return [{hit["id"] for hit in hits} for hits in answers]


def nearest(vectors: Vectors, queries: Vectors, kept: npt.NDArray[np.bool_]) -> list[set[int]]:
    distances = ((queries[:, None] - vectors[None]) ** 2).sum(axis=2)
    distances[:, ~kept] = np.inf
    return [set(row[:10].tolist()) for row in distances.argsort(axis=1)]


def recall(got: list[set[int]], true: list[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(got, true, strict=True)) / sum(map(len, true))


@pytest.mark.parametrize("index_type", TYPES)
def test_a_type_holds_its_recall_through_the_life_of_a_collection(index_type: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors, queries = rng.normal(size=(N_ROWS, DIM)).astype(np.float32), rng.normal(size=(30, DIM)).astype(np.float32)
    every, colours = np.ones(N_ROWS, bool), np.arange(N_ROWS) % 4
    path = str(tmp_path / "db")
    with roost.connect(path) as client:
        make(client, index_type, "L2", vectors)
        described = client.describe_index("rows", "vector")
        assert (described["index_type"], described["pending_index_rows"]) == (index_type, 0)
        assert recall(found(client, index_type, queries), nearest(vectors, queries, every)) >= 0.95
        blue = found(client, index_type, queries, filter="colour == 2")
        assert recall(blue, nearest(vectors, queries, colours == 2)) >= 0.95

        client.delete("rows", ids=list(range(0, N_ROWS, 3)))
        client.upsert("rows", [{"id": 1, "colour": 9, "vector": queries[0]}])
        left = np.arange(N_ROWS) % 3 != 0
        vectors[1] = queries[0]
        for flush in (False, True):
            if flush:
                client.flush("rows")
            assert recall(found(client, index_type, queries), nearest(vectors, queries, left)) >= 0.95
    with roost.connect(path) as client:
        assert recall(found(client, index_type, queries), nearest(vectors, queries, left)) >= 0.95
        near = [{"id": N_ROWS + i, "colour": 0, "vector": query + 0.01} for i, query in enumerate(queries)]
        client.insert("rows", near)
        fresh = found(client, index_type, queries)
        assert all(N_ROWS + i in ids for i, ids in enumerate(fresh)), "a row is found as soon as it is inserted"


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("index_type", TYPES)
def test_distances_are_those_of_the_full_vectors(index_type: str, metric: str, tmp_path: Path) -> None:
    if metric == "IP" and index_type in ("HNSW_PQ", "HNSW_RABITQ"):
        pytest.skip("the type does not take the inner product")
    vectors = np.random.default_rng(2).normal(size=(N_ROWS, DIM)).astype(np.float32)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, index_type, metric, vectors)
        answers = client.search("rows", data=vectors[:3], limit=5, search_params={"params": TYPES[index_type][1]})
    for query, hits in zip(vectors, answers, strict=False):
        for hit in hits:
            row = vectors[hit["id"]].astype(np.float64)
            lengths = float(np.linalg.norm(query) * np.linalg.norm(row))
            true = {"L2": float(((query - row) ** 2).sum()), "IP": float(query @ row), "COSINE": query @ row / lengths}
            assert hit["distance"] == pytest.approx(true[metric], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("index_type", TYPES)
def test_a_range_behind_the_nearest_rows_is_searched_as_surely(index_type: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors, queries = rng.normal(size=(N_ROWS, DIM)).astype(np.float32), rng.normal(size=(10, DIM)).astype(np.float32)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, index_type, "L2", vectors)
        got, true = [], []
        for query in queries:
            ordered = np.sort(((vectors - query) ** 2).sum(axis=1))
            bounds = {"range_filter": float(ordered[300]), "radius": float(ordered[-1]) + 1.0}
            params = {"params": {**TYPES[index_type][1], **bounds}}
            [hits] = client.search("rows", data=query[None], limit=10, search_params=params)
            got.append({hit["id"] for hit in hits})
            order = ((vectors - query) ** 2).sum(axis=1).argsort()
            true.append(set(order[300:310].tolist()))
    assert recall(got, true) >= 0.9


@pytest.mark.parametrize(
    ("index_type", "metric", "params", "message"),
    [
        ("IVF_FLATT", "L2", {}, "unknown index type 'IVF_FLATT'; available: "),
        ("HNSW", "L2", {"M": 0, "efConstruction": 8}, r"M=0 is out of range; it must be in \[2, 2048\]"),
        ("IVF_FLAT", "L2", {"nlist": 70_000}, r"nlist=70000 is out of range; it must be in \[1, 65536\]"),
        ("IVF_PQ", "L2", {"nlist": 8, "m": 5}, "m=5 does not divide the dimension 16; use one of 1, 2, 4, 8, 16"),
        ("IVF_FLAT", "HAMMING", {}, "metric 'HAMMING' is not allowed for IVF_FLAT; use one of: L2, IP, COSINE"),
        ("HNSW_RABITQ", "IP", {}, "metric 'IP' is not allowed for HNSW_RABITQ; use one of: L2, COSINE"),
        ("HNSW_SQ", "L2", {"sq_type": "SQ5"}, "sq_type='SQ5' is not allowed; use one of: SQ4, SQ6, SQ8, BF16, FP16"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_made(
    index_type: str, metric: str, params: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        client.create_collection("rows", dimension=DIM)
        client.release_collection("rows")
        client.drop_index("rows", "vector")
        index = client.prepare_index_params()
        index.add_index("vector", index_type=index_type, metric_type=metric, params=params)
        with pytest.raises(MilvusException, match=message) as refused:
            client.create_index("rows", index)
        assert refused.value.code == 1100
        assert client.list_indexes("rows") == []


def test_search_parameters_of_other_types_are_passed_over_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    vectors = np.random.default_rng(2).normal(size=(2_000, DIM)).astype(np.float32)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, "IVF_FLAT", "L2", vectors)
        client.search("rows", data=vectors[:1], search_params={"params": {"ef": 64, "nprobe": 4}})
        for params, message in (
            ({"nprobe": 0}, "nprobe=0 is out of range"),
            ({"probes": 4}, "unknown search parameter 'probes' .* IVF_FLAT; it takes radius, range_filter, nprobe"),
        ):
            with pytest.raises(MilvusException, match=message):
                client.search("rows", data=vectors[:1], search_params={"params": params})


@pytest.mark.parametrize("index_type", ["AUTOINDEX", "autoindex", "AutoIndex", ""])
def test_an_index_that_is_left_to_the_engine_ignores_parameters(index_type: str, tmp_path: Path) -> None:
    kinds = (
        (DataType.FLOAT_VECTOR, {"dim": 8}, index_type or "AUTOINDEX"),
        (DataType.BINARY_VECTOR, {"dim": 8}, "BIN_FLAT"),
        (DataType.SPARSE_FLOAT_VECTOR, {}, "SPARSE_INVERTED_INDEX"),
    )
    with roost.connect(tmp_path / "db") as client:
        for dtype, options, expected in kinds:
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("number", DataType.INT64)
            schema.add_field("vector", dtype, **options)
            index = client.prepare_index_params()
            index.add_index("vector", index_type=index_type, params={"nlist": 0, "anything": 1})
            index.add_index("number", index_type=index_type, params={"anything": 1})
            client.create_collection(dtype.name, schema=schema, index_params=index)
            found = client.describe_index(dtype.name, "vector")
            assert found["index_type"] == expected and "nlist" not in found and "anything" not in found
            assert "anything" not in client.describe_index(dtype.name, "number")


class Searching:
    """Three threads that search a name for row 0 without a pause, and whether they were answered right."""

    def __init__(self, client: Client, name: str, query: Vectors) -> None:
        self.faults: list[Exception] = []
        self.answers: list[bool] = []
        self._ask = lambda: [hit["id"] for hit in client.search(name, data=query[None], limit=1)[0]] == [0]
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._search) for _ in range(3)]

    def _search(self) -> None:
        while not self._ended.is_set():
            try:
                self.answers.append(self._ask())
            except MilvusException as error:
                self.faults.append(error)

    def __enter__(self) -> Searching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def of_type(client: Client, index_type: str) -> Any:
    index = client.prepare_index_params()
    index.add_index("vector", index_type=index_type, metric_type="L2", params=TYPES[index_type][0])
    return index


def test_the_type_is_changed_by_an_alias_without_a_failed_query(db_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(N_ROWS, DIM)).astype(np.float32)
    with roost.connect(db_path, durability="normal") as client:
        make(client, "FLAT", "L2", vectors)
        client.create_alias("rows", "live")
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("colour", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        with Searching(client, "live", vectors[0]) as searching:
            client.create_collection("rows_2", schema=schema, index_params=of_type(client, "HNSW"))
            last = -1
            while rows := client.query("rows", filter=f"id > {last}", output_fields=["*"], limit=1_000):
                client.insert("rows_2", rows)
                last = rows[-1]["id"]
            client.flush("rows_2")
            client.alter_alias("rows_2", "live")
            n_before = len(searching.answers)
            while len(searching.answers) < n_before + 20 and not searching.faults:
                time.sleep(0.01)
        assert searching.faults == []
        assert all(searching.answers)
        client.drop_collection("rows")
        assert client.get_collection_stats("live") == {"row_count": N_ROWS}
        assert client.describe_index("live", "vector")["index_type"] == "HNSW"
        assert client.describe_index("live", "vector")["indexed_rows"] == N_ROWS


def test_the_type_is_changed_in_its_place_while_searches_wait_for_the_load_alone(db_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(N_ROWS, DIM)).astype(np.float32)
    with roost.connect(db_path, durability="normal") as client:
        make(client, "FLAT", "L2", vectors)
        with Searching(client, "rows", vectors[0]) as searching:
            client.release_collection("rows")
            client.insert("rows", [{"id": N_ROWS, "colour": 0, "vector": vectors[0] + 100}])
            client.drop_index("rows", "vector")
            client.create_index("rows", of_type(client, "HNSW"), sync=False)
            client.load_collection("rows")
            n_faults = len(searching.faults)
            client.flush("rows")
            n_before = len(searching.answers)
            while len(searching.answers) < n_before + 20:
                time.sleep(0.01)
        assert all(isinstance(error, CollectionNotLoaded) for error in searching.faults)
        assert len(searching.faults) <= n_faults + 3, "none that began after the load"
        assert all(searching.answers)
        assert client.describe_index("rows", "vector")["index_type"] == "HNSW"
        assert client.get_collection_stats("rows") == {"row_count": N_ROWS + 1}
