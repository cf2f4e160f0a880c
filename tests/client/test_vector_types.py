"""Vectors of every type behind the client: given, stored, searched, changed, merged, opened again, and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.exceptions import MilvusException

import roost
from roost.demo.images import FASHION_MNIST_FOLDER, load_images
from roost.embedded import EmbeddedClient as Client
from roost.testing.index_contract import asked, brute_force, stored

N_ROWS, DIM = 3_000, 16
HALF, BRAIN, BYTES, BITS = (
    DataType.FLOAT16_VECTOR,
    DataType.BFLOAT16_VECTOR,
    DataType.INT8_VECTOR,
    DataType.BINARY_VECTOR,
)
INDEXES: list[tuple[DataType, str, str, dict[str, Any], dict[str, Any]]] = [
    (HALF, "HNSW", "L2", {"M": 8, "efConstruction": 60}, {"ef": 100}),
    (HALF, "IVF_SQ8", "COSINE", {"nlist": 16}, {"nprobe": 12}),
    (BRAIN, "HNSW", "COSINE", {"M": 8, "efConstruction": 60}, {"ef": 100}),
    (BRAIN, "IVF_FLAT", "IP", {"nlist": 16}, {"nprobe": 12}),
    (BYTES, "HNSW", "L2", {"M": 8, "efConstruction": 60}, {"ef": 100}),
    (BYTES, "FLAT", "COSINE", {}, {}),
    (BITS, "BIN_IVF_FLAT", "HAMMING", {"nlist": 16}, {"nprobe": 12}),
    (BITS, "BIN_FLAT", "JACCARD", {}, {}),
    (BITS, "AUTOINDEX", "HAMMING", {}, {}),
]
METRICS = {HALF: "COSINE", BRAIN: "COSINE", BYTES: "COSINE", BITS: "HAMMING"}


def given(rows: Any) -> list[Any]:
    """Return stored vectors in a form that a user gives them in."""
    return [row.tobytes() for row in rows] if rows.dtype in (np.uint8, np.uint16) else list(rows)


def make(client: Client, vector_type: DataType, dim: int = DIM, **index: Any) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("colour", DataType.INT64)
    schema.add_field("vector", vector_type, dim=dim)
    params = client.prepare_index_params()
    params.add_index("vector", **(index or {"index_type": "AUTOINDEX"}))
    client.create_collection("rows", schema=schema, index_params=params)


def rows_of(vectors: Any, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": first + i, "colour": i % 4, "vector": vector} for i, vector in enumerate(given(vectors))]


@pytest.mark.parametrize(("vector_type", "index_type", "metric", "build", "params"), INDEXES)
def test_a_collection_lives(
    vector_type: DataType, index_type: str, metric: str, build: dict[str, Any], params: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    vectors = stored(rng.normal(size=(N_ROWS, DIM)).astype(np.float32), vector_type)
    queries = stored(rng.normal(size=(20, DIM)).astype(np.float32), vector_type)
    every, alive = brute_force(vectors, asked(queries), metric), np.ones(N_ROWS, bool)
    sign = -1.0 if metric in ("IP", "COSINE") else 1.0

    def hold(client: Client, condition: str, kept: Any) -> None:
        answers = client.search("rows", given(queries), filter=condition, limit=10, search_params={"params": params})
        allowed = np.where(kept & alive, every, np.inf)
        kth, hits = np.sort(allowed, axis=1)[:, 9], 0
        for q, hits_of in enumerate(answers):
            assert len(hits_of) == 10
            for hit in hits_of:
                true = allowed[q, hit["id"]]
                assert sign * hit["distance"] == pytest.approx(true, rel=1e-4, abs=1e-4)
                hits += true <= kth[q] + 1e-4 * abs(kth[q])
        assert hits >= 0.95 * 10 * len(queries)

    colours, path = np.arange(N_ROWS) % 4, str(tmp_path / "db")
    with roost.connect(path) as client:
        make(client, vector_type, index_type=index_type, metric_type=metric, params=build)
        client.insert("rows", rows_of(vectors[:2_000]))
        alive[2_000:] = False
        hold(client, "", alive)
    with roost.connect(path) as client:  # from the log
        hold(client, "colour == 2", colours == 2)
        client.flush("rows")
        hold(client, "", alive)
        hold(client, "colour == 2", colours == 2)
        client.insert("rows", rows_of(vectors[2_000:], 2_000))
        alive[:] = True
        client.flush("rows")  # merges, and the index grows or is built anew
        hold(client, "", alive)
        client.delete("rows", ids=list(range(0, N_ROWS, 3)))
        alive[::3] = False
        client.upsert("rows", [{"id": 1, "colour": 1, "vector": given(vectors[5:6])[0]}])
        every[:, 1] = every[:, 5]
        hold(client, "", alive)
    with roost.connect(path) as client:
        hold(client, "colour != 0", colours != 0)
        client.flush("rows")
        hold(client, "colour == 2", colours == 2)
        described = client.describe_index("rows", "vector")
        assert (described["metric_type"], described["pending_index_rows"]) == (metric, 0)


@pytest.mark.parametrize("vector_type", METRICS)
def test_vectors_are_returned_as_pymilvus_returns_them(vector_type: DataType, tmp_path: Path) -> None:
    vectors = stored(np.random.default_rng(1).normal(size=(4, DIM)).astype(np.float32), vector_type)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, vector_type)
        client.insert("rows", rows_of(vectors))
        assert client.query("rows", ids=[2], output_fields=["vector"]) == [{"id": 2, "vector": [vectors[2].tobytes()]}]
        assert client.get("rows", ids=[3])[0]["vector"] == [vectors[3].tobytes()]
        [[hit, _]] = client.search("rows", given(vectors[1:2]), limit=2, output_fields=["vector"])
        assert hit["entity"]["vector"] == vectors[1].tobytes()
        assert client.query("rows", filter="id > 99", output_fields=["vector"]) == []
        [field] = [f for f in client.describe_collection("rows")["fields"] if f["name"] == "vector"]
        assert (field["type"], field["params"]) == (vector_type, {"dim": DIM})
        assert client.describe_index("rows", "vector")["metric_type"] == METRICS[vector_type]


def test_a_collection_has_vectors_of_several_types(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=(1_500, 8)).astype(np.float32)
    types = {"half": HALF, "brain": BRAIN, "bytes": BYTES, "bits": BITS, "full": DataType.FLOAT_VECTOR}
    with roost.connect(str(tmp_path / "db")) as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        index = client.prepare_index_params()
        for name, vector_type in types.items():
            schema.add_field(name, vector_type, dim=8)
            index.add_index(name, index_type="AUTOINDEX")
        client.create_collection("rows", schema=schema, index_params=index)
        columns = {name: given(stored(numbers, vector_type)) for name, vector_type in types.items()}
        client.insert("rows", [{"id": i, **{n: c[i] for n, c in columns.items()}} for i in range(1_000)])
        client.insert("rows", [{"id": i, **{n: c[i] for n, c in columns.items()}} for i in range(1_000, 1_500)])
        for flush in (False, True):
            if flush:
                client.flush("rows")
            for name, column in columns.items():
                [hits] = client.search("rows", [column[1_234]], anns_field=name, limit=1, output_fields=[name])
                held = hits[0]["entity"][name]
                assert (held if isinstance(held, bytes) else np.float32(held).tobytes()) == bytes(column[1_234])
    with roost.connect(str(tmp_path / "db"), read_only=True) as reader:
        [hits] = reader.search("rows", [columns["bytes"][7]], anns_field="bytes", limit=1)
        assert hits[0]["id"] == 7


def test_a_range_of_bits(tmp_path: Path) -> None:
    vectors = np.packbits(np.tri(17, 16, -1, dtype=np.uint8), axis=1)
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, BITS)
        client.insert("rows", rows_of(vectors))
        bounds = {"params": {"radius": 9, "range_filter": 6}}
        [hits] = client.search("rows", [vectors[0].tobytes()], limit=10, search_params=bounds)
        assert [(hit["id"], hit["distance"]) for hit in hits] == [(6, 6.0), (7, 7.0), (8, 8.0)]
        with pytest.raises(MilvusException, match=r"range_filter=9 must be less than radius=6"):
            client.search("rows", [vectors[0].tobytes()], search_params={"params": {"radius": 6, "range_filter": 9}})


@pytest.mark.parametrize(
    ("vector_type", "index_type", "metric", "message"),
    [
        (
            BITS,
            "HNSW",
            "HAMMING",
            r"HNSW does not take field 'vector' of type BINARY_VECTOR; use one of: BIN_FLAT, BIN_",
        ),
        (BITS, "BIN_FLAT", "L2", "metric 'L2' is not allowed for BIN_FLAT; use one of: HAMMING, JACCARD"),
        (
            BYTES,
            "BIN_FLAT",
            "HAMMING",
            r"BIN_FLAT does not take field 'vector' of type INT8_VECTOR; use one of: DISKANN, FL",
        ),
        (HALF, "HNSW", "JACCARD", "metric 'JACCARD' is not allowed for HNSW; use one of: L2, IP, COSINE"),
        (BRAIN, "HNSW", "L2", r"M=1 is out of range"),
        (BYTES, "FLAT", "L2", "unknown parameter 'M' for FLAT"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    vector_type: DataType, index_type: str, metric: str, message: str, tmp_path: Path
) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        params = {"M": 1} if vector_type in (BRAIN, BYTES) and index_type != "BIN_FLAT" else {}
        with pytest.raises(MilvusException, match=message) as refused:
            make(client, vector_type, index_type=index_type, metric_type=metric, params=params)
        assert refused.value.code == 1100
        assert client.list_collections() == []


def test_a_bad_vector_refuses_the_batch(tmp_path: Path) -> None:
    with roost.connect(str(tmp_path / "db")) as client:
        make(client, BITS)
        for bad, message in ((b"123", "row 1, .*given 3 bytes"), ("ab", "given 'ab'"), ([1, 256], "element 1 is 256")):
            with pytest.raises(MilvusException, match=message):
                client.insert("rows", [{"id": 1, "colour": 0, "vector": b"12"}, {"id": 2, "colour": 0, "vector": bad}])
        with pytest.raises(MilvusException, match="query 0: given 1 bytes"):
            client.search("rows", [b"1"])
        assert client.get_collection_stats("rows") == {"row_count": 0}
        with pytest.raises(MilvusException, match=r"dim=12 is not allowed; .* multiple of 8"):
            client.create_collection("odd", schema=_schema_of_bits(client, 12))


def _schema_of_bits(client: Client, dim: int) -> Any:
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    return schema.add_field("vector", BITS, dim=dim)


@pytest.fixture(scope="module")
def pixels() -> Any:
    images = load_images("fashion-mnist")
    return np.concatenate([images.gallery[:8_000], images.held_out[:100]])


@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
@pytest.mark.parametrize(
    ("vector_type", "index_type", "metric", "params", "most_bytes"),
    [
        (BYTES, "HNSW", "L2", {"ef": 48}, 1.3 * 784),
        (HALF, "HNSW", "COSINE", {"ef": 48}, 2.2 * 784),
        (BITS, "BIN_IVF_FLAT", "HAMMING", {"nprobe": 16}, 1.3 * 98),
        (BITS, "BIN_IVF_FLAT", "JACCARD", {"nprobe": 16}, 1.3 * 98),
    ],
)
def test_images_are_found(
    pixels: Any,
    vector_type: DataType,
    index_type: str,
    metric: str,
    params: dict[str, Any],
    most_bytes: float,
    tmp_path: Path,
) -> None:
    bits = np.packbits(pixels > 0, axis=1)
    vectors = {BYTES: (127 * pixels).astype(np.int8), HALF: pixels.astype(np.float16), BITS: bits}[vector_type]
    rows, queries = vectors[:8_000], vectors[8_000:]
    every = brute_force(rows, asked(queries), metric)
    kth = np.sort(every, axis=1)[:, 9]
    with roost.connect(str(tmp_path / "db")) as client:
        build = {"M": 16, "efConstruction": 100} if index_type == "HNSW" else {"nlist": 64}
        make(client, vector_type, 784, index_type=index_type, metric_type=metric, params=build)
        client.insert("rows", rows_of(rows))
        client.flush("rows")
        answers = client.search("rows", given(queries), limit=10, search_params={"params": params})
    hits = sum(every[q, hit["id"]] <= kth[q] + 1e-5 * abs(kth[q]) for q, found in enumerate(answers) for hit in found)
    assert hits >= 0.95 * 10 * len(queries)
    [index] = (tmp_path / "db").glob("segments/*/index-*.bin")
    assert index.stat().st_size < most_bytes * len(rows)
