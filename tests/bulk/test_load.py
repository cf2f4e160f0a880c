"""`roost.bulk_load` from every source, and what it leaves when it is stopped."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import DataType

import roost
from roost.bulk import load as bulk
from roost.bulk import targets
from roost.embedded import EmbeddedClient
from roost.engine.rows import batch_from_rows
from roost.engine.schema import Field, Schema
from roost.errors import (
    CollectionNotFound,
    DuplicateKey,
    InvalidArgument,
    InvalidArgumentType,
    InvalidData,
    LoadConflict,
    NotFinite,
    PartitionNotFound,
    ReadOnly,
    StorageFailure,
)
from tests.bulk.conftest import DIM, N_ROWS

SMALL = 1 << 16
"""The smallest chunk: some hundred rows here."""


def table_of(vectors: npt.NDArray[np.float32], first: int = 0) -> pa.Table:
    listed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    ids = np.arange(first, first + len(vectors))
    return pa.table({"id": ids, "vector": listed, "label": pa.array([f"l{i % 7}" for i in ids])})


def rows_of(client: Any, name: str = "c") -> dict[Any, tuple[Any, ...]]:
    fields = ["id", "vector", "label"]
    rows = client.query(name, filter="id >= 0", output_fields=fields)
    return {row["id"]: (*np.float32(row["vector"]).tolist(), row.get("label")) for row in rows}


def expected(vectors: npt.NDArray[np.float32]) -> dict[int, tuple[Any, ...]]:
    return {i: (*row.tolist(), f"l{i % 7}") for i, row in enumerate(vectors)}


class FrameLikePolars:
    """What a polars DataFrame shows of itself."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def sources(folder: Path, vectors: npt.NDArray[np.float32]) -> Iterator[tuple[str, Any]]:
    table = table_of(vectors)
    yield "table", table
    yield "batch", table.to_batches()[0]
    yield "reader", pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=90))
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    yield "pandas", frame.set_index(frame.index + 5)
    yield "polars", FrameLikePolars(table)
    labels = table.column("label").to_pylist()
    yield "arrays", {"id": np.arange(N_ROWS), "vector": vectors, "label": np.array(labels)}
    yield "lists", {"id": list(range(N_ROWS)), "vector": vectors.tolist(), "label": labels}
    np.save(folder / "vector.npy", vectors)
    np.save(folder / "id.npy", np.arange(N_ROWS))
    np.save(folder / "label.npy", np.array(labels))
    yield "npy", [folder / "vector.npy", folder / "id.npy", folder / "label.npy"]
    yield "npy and arrays", {"id": pa.array(range(N_ROWS)), "vector": folder / "vector.npy", "label": labels}
    pq.write_table(table, folder / "rows.parquet", row_group_size=300)
    yield "parquet", folder / "rows.parquet"
    parts = folder / "parts"
    parts.mkdir()
    for i, start in enumerate(range(0, N_ROWS, 170)):
        pq.write_table(table.slice(start, 170), parts / f"part-{i:02}.parquet")
    (parts / "_SUCCESS").touch()
    yield "folder", str(parts)
    yield "pattern", str(parts / "part-*.parquet")
    with pa.ipc.new_file(folder / "rows.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=333)
    yield "arrow", folder / "rows.arrow"


def test_every_source_gives_the_rows_that_insert_gives(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    client.insert("c", table_of(vectors).to_pylist())
    inserted = rows_of(client)
    assert inserted == expected(vectors)
    hits = client.search("c", data=vectors[:5], limit=7, filter="label == 'l3'", output_fields=["label"])
    for kind, data in sources(tmp_path, vectors):
        client.drop_collection("c")
        client.create_collection("c", dimension=DIM, metric_type="L2")
        found = roost.bulk_load(client, "c", data, chunk_bytes=SMALL)
        assert (found.n_rows, found.n_resumed) == (N_ROWS, 0) and found.n_chunks > 2, kind
        assert rows_of(client) == inserted, kind
        again = client.search("c", data=vectors[:5], limit=7, filter="label == 'l3'", output_fields=["label"])
        assert [list(map(dict, h)) for h in again] == [list(map(dict, h)) for h in hits], kind
    client.flush("c")
    assert rows_of(client) == inserted


def test_an_array_alone_is_the_vector_field(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    client.create_collection("numbered", dimension=DIM, auto_id=True)
    np.save(tmp_path / "embeddings.npy", vectors)
    assert roost.bulk_load(client, "numbered", vectors, chunk_bytes=SMALL).n_rows == N_ROWS
    assert roost.bulk_load(client, "numbered", tmp_path / "embeddings.npy", chunk_bytes=SMALL).n_rows == N_ROWS
    assert roost.bulk_load(client, "numbered", tmp_path / "embeddings.npy", chunk_bytes=SMALL).n_rows == 0
    rows = client.query("numbered", limit=10_000, output_fields=["vector"])
    assert len({row["id"] for row in rows}) == 2 * N_ROWS
    assert sorted(row["vector"][0] for row in rows) == sorted([*vectors[:, 0].tolist()] * 2)


def test_keys_that_exist_are_replaced(client: EmbeddedClient, vectors: npt.NDArray[np.float32]) -> None:
    client.insert("c", [{"id": i, "vector": [9.0] * DIM, "label": "old"} for i in range(0, 3 * N_ROWS, 2)])
    roost.bulk_load(client, "c", table_of(vectors))
    found = rows_of(client)
    assert {i: found[i] for i in range(N_ROWS)} == expected(vectors)
    assert len(found) == 2 * N_ROWS and found[2 * N_ROWS][-1] == "old"


def test_partitions_and_chosen_columns(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    client.create_partition("c", "part")
    table = table_of(vectors).append_column("spare", pa.array(range(N_ROWS)))
    pq.write_table(table.rename_columns(["key", "embedding", "label", "spare"]), tmp_path / "rows.parquet")
    columns = {"id": "key", "vector": "embedding", "label": "label"}
    roost.bulk_load(client, "c", tmp_path / "rows.parquet", columns=columns, partition_name="part")
    assert rows_of(client) == expected(vectors)
    assert client.get_partition_stats("c", "part") == {"row_count": N_ROWS}
    assert roost.bulk_load(client, "c", table, columns=["id", "vector"]).n_rows == N_ROWS
    assert all(row[-1] is None for row in rows_of(client).values())
    assert client.get_partition_stats("c", "part") == {"row_count": 0}


def test_nothing_is_stored_when_a_key_comes_twice(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    ids = np.arange(N_ROWS)
    ids[-1] = 3
    table = table_of(vectors).set_column(0, "id", pa.array(ids))
    pq.write_table(table, tmp_path / "rows.parquet")
    for data in (table, tmp_path / "rows.parquet", {"id": ids, "vector": vectors}):
        with pytest.raises(DuplicateKey, match="id=3;"):
            roost.bulk_load(client, "c", data, chunk_bytes=SMALL)
        assert client.get_collection_stats("c") == {"row_count": 0}
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    with pytest.raises(DuplicateKey, match="id=3;"):
        roost.bulk_load(client, "c", reader, chunk_bytes=SMALL)
    assert 0 < client.get_collection_stats("c")["row_count"] < N_ROWS


def test_a_bad_row_is_named_by_its_place_in_the_whole(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    bad = vectors.copy()
    bad[N_ROWS - 2, 3] = np.nan
    with pytest.raises(NotFinite, match=f"row {N_ROWS - 2}, field 'vector': element 3"):
        roost.bulk_load(client, "c", table_of(bad), chunk_bytes=SMALL, name="rows")
    n_stored = client.get_collection_stats("c")["row_count"]
    assert 0 < n_stored < N_ROWS
    with pytest.raises(LoadConflict, match="its source has changed"):
        roost.bulk_load(client, "c", table_of(vectors), chunk_bytes=SMALL, name="rows")
    found = roost.bulk_load(client, "c", table_of(vectors), chunk_bytes=SMALL, name="rows", restart=True)
    assert (found.n_resumed, found.n_rows) == (0, N_ROWS)
    assert rows_of(client) == expected(vectors)


def test_a_name_that_comes_again_with_other_rows_loads_them(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32]
) -> None:
    for day in range(2):
        table = table_of(vectors, first=day * N_ROWS)
        for data in (table, {name: table.column(name).to_pylist() for name in table.column_names}):
            found = roost.bulk_load(client, "c", data, name=f"daily {type(data).__name__}")
            assert (found.n_resumed, found.n_rows) == (0, N_ROWS)
    assert client.get_collection_stats("c")["row_count"] == 2 * N_ROWS


def test_a_reader_has_no_name(client: EmbeddedClient, vectors: npt.NDArray[np.float32]) -> None:
    with pytest.raises(InvalidArgument, match="a reader gives its rows once"):
        roost.bulk_load(client, "c", table_of(vectors).to_reader(), name="rows")
    assert client.get_collection_stats("c")["row_count"] == 0


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("nowhere.parquet", InvalidArgument, "there is no file"),
        ("bad.parquet", StorageFailure, "cannot be read as Parquet"),
        ("bad.npy", StorageFailure, "cannot be read as .npy"),
        ("bad.arrow", StorageFailure, "cannot be read as an Arrow IPC file"),
        (["bad.arrow", "bad.npy"], InvalidArgument, "of one kind"),
        ("rows.csv", InvalidArgument, r"none of the files .*\.parquet"),
        (5, InvalidArgumentType, "data= is a int"),
        ([], InvalidArgumentType, "data= is a list"),
        ({}, InvalidData, "one field at least"),
        ({"id": np.arange(3), "vector": np.ones((4, DIM))}, InvalidData, "all the same number"),
        ({"id": np.arange(3), "vector": [[1.0], [2.0, 3.0], []]}, InvalidData, "is not an array"),
        (np.ones((3, DIM)), InvalidData, "field 'id' .* is missing"),
        (pa.table([[1], [2]], names=["id", "id"]), InvalidData, "two columns are called 'id'"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    client: EmbeddedClient, work_folder: Path, data: Any, error: type[Exception], message: str
) -> None:
    for name in ("bad.parquet", "bad.npy", "bad.arrow", "rows.csv"):
        (work_folder / name).write_bytes(b"nothing of the kind")
    with pytest.raises(error, match=message):
        roost.bulk_load(client, "c", data)
    assert client.get_collection_stats("c") == {"row_count": 0}


def test_arguments_are_checked(client: EmbeddedClient, vectors: npt.NDArray[np.float32], db_path: Path) -> None:
    table = table_of(vectors)
    with pytest.raises(CollectionNotFound):
        roost.bulk_load(client, "nothing", table)
    with pytest.raises(PartitionNotFound):
        roost.bulk_load(client, "c", table, partition_name="nothing")
    with pytest.raises(InvalidArgumentType, match="partition_name"):
        roost.bulk_load(client, "c", table, partition_name=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentType, match=r"what roost\.connect\(\) returns"):
        roost.bulk_load("./db", "c", table)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="there is no column 'key'"):
        roost.bulk_load(client, "c", table, columns={"id": "key"})
    with pytest.raises(InvalidArgument, match="chunk_bytes=5"):
        roost.bulk_load(client, "c", table, chunk_bytes=5)
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    for name in ("a", "b"):
        schema.add_field(name, DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection("two", schema=schema)
    with pytest.raises(InvalidArgument, match="several vector fields"):
        roost.bulk_load(client, "two", vectors)
    with roost.connect(db_path, read_only=True) as reader, pytest.raises(ReadOnly):
        roost.bulk_load(reader, "c", table)


def test_files_whose_columns_differ_are_refused(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    table = table_of(vectors)
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table_of(vectors, N_ROWS).drop_columns(["label"]), tmp_path / "b.parquet")
    with pytest.raises(InvalidData, match="the columns differ from one file to another"):
        roost.bulk_load(client, "c", tmp_path)
    changed = table.set_column(2, "label", pa.array(range(N_ROWS))).set_column(
        0, "id", pa.array(range(N_ROWS, 2 * N_ROWS))
    )
    pq.write_table(changed, tmp_path / "b.parquet")
    with pytest.raises(InvalidData, match="do not fit each other"):
        roost.bulk_load(client, "c", tmp_path, restart=True)


def test_a_source_that_changed_is_refused_until_the_load_begins_anew(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table_of(vectors), path)
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        roost.bulk_load(client, "c", path, chunk_bytes=SMALL)
    monkeypatch.undo()
    n_stored = client.get_collection_stats("c")["row_count"]
    assert 0 < n_stored < N_ROWS
    pq.write_table(table_of(-vectors), path)
    with pytest.raises(LoadConflict, match=f"after {n_stored} rows.*restart=True"):
        roost.bulk_load(client, "c", path, chunk_bytes=SMALL)
    found = roost.bulk_load(client, "c", path, chunk_bytes=SMALL, restart=True)
    assert (found.n_rows, found.n_resumed) == (N_ROWS, 0)
    assert rows_of(client) == expected(-vectors)
    assert roost.bulk_load(client, "c", path).n_rows == 0
    pq.write_table(table_of(vectors), path)
    assert roost.bulk_load(client, "c", path).n_rows == N_ROWS
    assert rows_of(client) == expected(vectors)


def interrupt_after(n_chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come in the middle of a chunk."""
    make, left = bulk.batch_from_columns, [n_chunks]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return make(*arguments, **options)

    monkeypatch.setattr(bulk, "batch_from_columns", interrupted)


@pytest.mark.parametrize("kind", ["parquet", "folder", "npy", "arrow", "table"])
def test_an_interrupted_load_goes_on(
    client: EmbeddedClient,
    vectors: npt.NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = dict(sources(tmp_path, vectors))[kind]
    name = "given" if kind == "table" else None
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        roost.bulk_load(client, "c", data, chunk_bytes=SMALL, name=name)
    monkeypatch.undo()
    n_stored = client.get_collection_stats("c")["row_count"]
    with caplog.at_level("INFO", "roost.bulk"):
        # Chunks of another size begin where the last one ended.
        found = roost.bulk_load(client, "c", data, chunk_bytes=2 * SMALL, name=name)
    assert f"going on after row {n_stored}" in caplog.text
    assert (found.n_resumed, found.n_rows) == (n_stored, N_ROWS - n_stored)
    assert rows_of(client) == expected(vectors)
    with caplog.at_level("INFO", "roost.bulk"):
        assert roost.bulk_load(client, "c", data, name=name).n_rows == 0
    assert "was loaded before" in caplog.text


def test_what_has_no_name_is_loaded_each_time(client: EmbeddedClient, vectors: npt.NDArray[np.float32]) -> None:
    for _ in range(2):
        assert roost.bulk_load(client, "c", table_of(vectors)).n_rows == N_ROWS
    assert rows_of(client) == expected(vectors)


def test_the_bar_is_shown_where_it_is_asked_for(
    client: EmbeddedClient, vectors: npt.NDArray[np.float32], capfd: pytest.CaptureFixture[str]
) -> None:
    roost.bulk_load(client, "c", table_of(vectors), progress=True)
    shown = capfd.readouterr()
    assert "Loading c" in shown.err and not shown.out
    for progress in (None, False):  # no terminal here
        roost.bulk_load(client, "c", table_of(vectors), progress=progress)
        assert capfd.readouterr().err == ""


WRITER = """
import sys
import roost
client = roost.connect(sys.argv[1])
print("begun", flush=True)
roost.bulk_load(client, "c", sys.argv[2], chunk_bytes=1 << 16)
client.close()
"""


def wait_for_segments(db_path: Path, process: subprocess.Popen[bytes], n_more: int) -> None:
    """Return when the process has begun so many segments, or has ended."""
    before = {entry.name for entry in (db_path / "segments").iterdir()}
    while process.poll() is None and len({e.name for e in (db_path / "segments").iterdir()} - before) < n_more:
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("auto_id", [False, True])
def test_a_killed_load_goes_on_and_loses_and_doubles_nothing(
    db_path: Path, tmp_path: Path, rng: np.random.Generator, auto_id: bool
) -> None:
    vectors = rng.random((20_000, DIM), dtype=np.float32)
    table = table_of(vectors)
    path = tmp_path / "rows.parquet"
    pq.write_table(table.drop_columns(["id"]) if auto_id else table, path, row_group_size=1_700)
    with roost.connect(db_path) as client:
        client.create_collection("c", dimension=DIM, auto_id=auto_id)
    pauses = random.Random(5)
    n_stored = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, db_path, path], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        wait_for_segments(db_path, process, pauses.randint(1, 6))
        time.sleep(pauses.uniform(0.0, 0.005))
        process.kill()
        process.communicate()
        with roost.connect(db_path) as client:
            found = client.query("c", filter="id >= 0", output_fields=["vector"])
            assert sorted(row["vector"][0] for row in found) == sorted(vectors[: len(found), 0].tolist())
        assert len(found) >= n_stored
        n_stored = len(found)
    assert n_stored > 0
    with roost.connect(db_path) as client:
        last = roost.bulk_load(client, "c", path)
        assert last.n_resumed == len(found)
        rows = client.query("c", filter="id >= 0", output_fields=["vector", "label"])
    assert sorted((row["vector"][0], row["label"]) for row in rows) == sorted(
        zip(vectors[:, 0].tolist(), table.column("label").to_pylist(), strict=True)
    )


@pytest.mark.milvus
def test_a_server_gets_the_same_rows(
    milvus_uri: str, milvus_prefix: str, vectors: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    client: Any = roost.connect(milvus_uri)
    try:
        pq.write_table(table_of(vectors), tmp_path / "rows.parquet", row_group_size=300)
        name, numbered = f"{milvus_prefix}_c", f"{milvus_prefix}_numbered"
        client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
        client.create_collection(numbered, dimension=DIM, auto_id=True, consistency_level="Strong")
        for _ in range(2):
            assert roost.bulk_load(client, name, tmp_path / "rows.parquet", chunk_bytes=SMALL).n_rows == N_ROWS
            assert rows_of(client, name) == expected(vectors)
        assert roost.bulk_load(client, numbered, vectors).n_rows == N_ROWS
        assert client.query(numbered, output_fields=["count(*)"]) == [{"count(*)": N_ROWS}]
        with pytest.raises(InvalidData, match=r"field 'vector' .* is missing"):
            roost.bulk_load(client, name, {"id": np.arange(3)})
        with pytest.raises(DuplicateKey):
            roost.bulk_load(client, name, {"id": np.array([1, 1]), "vector": vectors[:2]})
    finally:
        client.close()


def test_vectors_of_every_type_are_loaded_from_parquet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    half, bits = rng.normal(size=(2_000, 8)).astype(np.float16), rng.integers(0, 256, (2_000, 2), np.uint8)
    sparse = [{int(i): 1.0 + i for i in rng.choice(500, 4, replace=False)} for _ in range(2_000)]
    table = pa.table(
        {
            "id": range(2_000),
            "half": pa.FixedSizeListArray.from_arrays(pa.array(half.ravel()), 8),
            "bits": pa.array([row.tobytes() for row in bits]),
            "sparse": pa.array([list(row.items()) for row in sparse], pa.map_(pa.uint32(), pa.float32())),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    with roost.connect(str(tmp_path / "db")) as client:
        schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("half", DataType.FLOAT16_VECTOR, dim=8)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        index = client.prepare_index_params()
        for name in ("half", "bits", "sparse"):
            index.add_index(name, index_type="AUTOINDEX")
        client.create_collection("rows", schema=schema, index_params=index)
        assert roost.bulk_load(client, "rows", tmp_path / "rows.parquet").n_rows == 2_000
        client.flush("rows")
        for name, query in (("half", half[77]), ("bits", bits[77]), ("sparse", sparse[77])):
            [hits] = client.search("rows", [query], anns_field=name, limit=1, output_fields=["*"])
            held = hits[0]["entity"]
            assert held[name] == (query if name == "sparse" else query.tobytes())
    with roost.connect(str(tmp_path / "db"), read_only=True) as client:
        assert client.query("rows", ids=[5], output_fields=["sparse"])[0]["sparse"] == sparse[5]


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "coo_array", "csc_matrix"])
def test_a_sparse_matrix_is_loaded_as_insert_takes_its_rows(tmp_path: Path, form: str) -> None:
    kind = getattr(pytest.importorskip("scipy.sparse", reason="needs the extra: pip install 'roost[lifecycle]'"), form)
    dense = np.where(np.arange(600).reshape(20, 30) % 7 == 0, np.arange(600).reshape(20, 30) / 8, 0)
    matrix = kind(dense.astype(np.float32))
    with roost.connect(str(tmp_path / "db")) as client:
        for name in ("one", "two", "three"):
            schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True, auto_id=name == "three")
            schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
            index = client.prepare_index_params("v", index_type="AUTOINDEX")
            client.create_collection(name, schema=schema, index_params=index)
        client.insert("one", [{"id": i, "v": row} for i, row in enumerate(kind(dense).tocsr())])
        assert roost.bulk_load(client, "two", {"id": np.arange(20), "v": matrix}, name="a load").n_rows == 20
        assert roost.bulk_load(client, "two", {"id": np.arange(20), "v": matrix.copy()}, name="a load").n_rows == 0
        assert roost.bulk_load(client, "two", {"id": np.arange(20), "v": 2 * matrix}, name="a load").n_rows == 20
        assert roost.bulk_load(client, "two", {"id": np.arange(5, 20), "v": matrix.tocsr()[5:]}).n_rows == 15
        roost.bulk_load(client, "two", {"id": np.arange(20), "v": matrix})
        assert roost.bulk_load(client, "three", matrix).n_rows == 20
        held = [
            [row["v"] for row in client.query(name, filter="id >= 0", output_fields=["v"])] for name in ("one", "two")
        ]
        assert held[0] == held[1] == [{i: float(x) for i, x in enumerate(row) if x} for row in dense]


def test_a_sparse_matrix_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="needs the extra: pip install 'roost[lifecycle]'")
    matrix = sparse.csr_matrix(np.eye(4))
    with roost.connect(str(tmp_path / "db")) as client:
        client.create_collection("dense", dimension=4)
        with pytest.raises(InvalidData, match="sparse vectors go into a SPARSE_FLOAT_VECTOR field"):
            roost.bulk_load(client, "dense", {"id": np.arange(4), "vector": matrix})
        schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
        client.create_collection("rows", schema=schema)
        with pytest.raises(InvalidData, match=r"v: \(4,\)"):
            roost.bulk_load(client, "rows", {"id": np.arange(3), "v": matrix})
        with pytest.raises(InvalidData, match=r"shape \(5,\) .* a row for each record"):
            roost.bulk_load(client, "rows", {"id": np.arange(5), "v": sparse.coo_array(np.ones(5))})
        matrix.data[2] = np.nan
        with pytest.raises(NotFinite, match="row 2, field 'v'"):
            roost.bulk_load(client, "rows", {"id": np.arange(4), "v": matrix})


def test_rows_go_to_a_server_as_its_client_takes_them() -> None:
    fields = (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("brain", DataType.BFLOAT16_VECTOR, 101, dim=1),
        Field("full", DataType.FLOAT_VECTOR, 102, dim=1),
        Field("sparse", DataType.SPARSE_FLOAT_VECTOR, 103),
    )
    rows = [{"id": 1, "brain": [1.0], "full": [2.0], "sparse": {3: 0.5}}]
    [sent] = targets._rows(Schema(fields), batch_from_rows(Schema(fields), rows), 0, 1)
    assert sent == {"id": 1, "brain": b"\x80\x3f", "full": np.float32([2.0]), "sparse": {3: 0.5}}
