"""Sketches as parts of a database: built by upkeep, verified, built again, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

from roost.engine.collection import Collection
from roost.engine.columns import Batch, FloatArray
from roost.engine.database import Database
from roost.engine.filter.compile import compile_filter
from roost.engine.index.exact import exact_search
from roost.engine.index.sketch import Sketch
from roost.engine.schema import Field, Schema
from roost.engine.search import Request, search
from roost.engine.segment import IndexSpec, Segment, SegmentRecord, SegmentSketch
from tests.engine.model import stop_upkeep

DIM, N_ROWS = 48, 3_000
SCHEMA = Schema(
    (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("v", DataType.FLOAT_VECTOR, 101, dim=DIM),
    )
)
HNSW = IndexSpec("v", "v", "HNSW", "L2", {"M": 8, "efConstruction": 40})
SPREAD = 1 / np.sqrt(np.arange(1, DIM + 1))
VECTORS: FloatArray = (np.random.default_rng(0).normal(size=(2 * N_ROWS, DIM)) * SPREAD).astype(np.float32)


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path, durability="normal")
    yield database
    database.close()


def made(database: Database, spec: IndexSpec = HNSW, n_rows: int = N_ROWS) -> Collection:
    collection = database.create_collection("default", "c", SCHEMA)
    collection.create_index(spec)
    insert(collection, range(n_rows))
    collection._upkeep.run(True)
    return collection


def insert(collection: Collection, keys: range) -> None:
    scalars = pa.RecordBatch.from_arrays([pa.array(list(keys), pa.int64())], schema=SCHEMA.arrow_schema)
    collection.insert(Batch(scalars, {"v": VECTORS[keys.start : keys.stop].copy()}))


def sketch_of(collection: Collection) -> SegmentSketch | None:
    (part,) = collection.contents.sealed.values()
    held = part.sketches.get(collection.record.indexes[0].index_id)
    assert held is None or isinstance(held, SegmentSketch)
    return held


def check_search(collection: Collection, n_rows: int = N_ROWS) -> None:
    """Search under a filter for which the graph is of little use."""
    (part,) = collection.snapshot().parts
    spec = collection.record.indexes[0]
    predicate = compile_filter(f"id >= {n_rows // 2}", SCHEMA)
    queries = VECTORS[:20]
    request = Request(queries, "v", 5, "L2", spec, {"ef": 64}, predicate)
    found = search(collection.snapshot(), request)
    true = exact_search(part.rows.vectors("v"), queries, 5, "L2", np.arange(n_rows // 2, n_rows))
    wanted = set(true.ids.ravel().tolist())
    assert len(wanted & set(found.keys.tolist())) >= 0.9 * len(wanted)


def files(path: Path) -> list[Path]:
    return sorted(path.rglob("sketch-*.bin"))


def test_upkeep_builds_one_beside_a_graph(database: Database, db_path: Path) -> None:
    collection = made(database)
    held = sketch_of(collection)
    assert held is not None
    opened = held.usable()
    assert opened is not None and opened.n_rows == N_ROWS
    assert files(db_path) == [held.path]
    check_search(collection)


@pytest.mark.parametrize(
    ("spec", "n_rows"), [(IndexSpec("v", "v", "FLAT", "L2"), N_ROWS), (HNSW, 1_000)], ids=["no graph", "few rows"]
)
def test_where_none_is_needed(database: Database, db_path: Path, spec: IndexSpec, n_rows: int) -> None:
    made(database, spec, n_rows)
    assert files(db_path) == []


def test_merged_rows_have_one_sketch(database: Database, db_path: Path) -> None:
    collection = made(database)
    insert(collection, range(N_ROWS, 2 * N_ROWS))
    collection._upkeep.run(True)
    held = sketch_of(collection)
    assert held is not None
    opened = held.usable()
    assert opened is not None and opened.n_rows == 2 * N_ROWS
    assert len(files(db_path)) == 1
    check_search(collection, 2 * N_ROWS)


def test_one_of_a_dropped_index_is_removed(database: Database, db_path: Path) -> None:
    collection = made(database)
    collection.drop_index("v")
    assert files(db_path) == []
    assert [record.sketches for record in records(collection)] == [{}]


def records(collection: Collection) -> list[SegmentRecord]:
    return [part.rows.record for part in collection.contents.sealed.values() if isinstance(part.rows, Segment)]


def damage(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


@pytest.mark.parametrize("spoil", [damage, Path.unlink], ids=["damaged", "missing"])
def test_a_damaged_one_is_done_without_and_built_again(
    database: Database, db_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    made(database)
    database.close()
    (path,) = files(db_path)
    spoil(path)
    again = Database.open(db_path)
    try:
        collection = again.collection("default", "c")
        check_search(collection)
        check_search(collection)
        assert caplog.text.count("searches are slower until it is built again") == 1
        collection._upkeep.run(False)
        held = sketch_of(collection)
        assert held is not None and held.usable() is not None
        check_search(collection)
    finally:
        again.close()


def test_a_database_from_before_there_were_sketches(database: Database, db_path: Path) -> None:
    (record,) = records(made(database))
    catalog = database._host.catalog
    document = {name: value for name, value in record.to_document().items() if name != "sketches"}
    with catalog.lock, catalog.transaction() as change:
        change.put("segment", record.segment_id, document)
    database.close()
    again = Database.open(db_path)
    try:
        collection = again.collection("default", "c")
        assert sketch_of(collection) is None
        assert files(db_path) == [], "a file that nothing names is swept"
        collection._upkeep.run(False)
        assert sketch_of(collection) is not None
        check_search(collection)
    finally:
        again.close()


def test_a_reader_takes_it_up(database: Database, db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("roost.engine.sketching.takes_sketch", lambda *_: False)
        writing = made(database)
    reader = Database.open(db_path, read_only=True)
    try:
        collection = reader.collection("default", "c")
        check_search(collection)
        assert sketch_of(collection) is None
        writing._upkeep.run(False)
        check_search(collection)
        assert sketch_of(collection) is not None
    finally:
        reader.close()


def test_an_index_that_was_dropped_while_its_sketch_was_built(
    database: Database, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Sketch.build

    def interrupted(vectors: FloatArray, metric: str) -> Sketch:
        collection.drop_index("v")
        return build(vectors, metric)

    collection = database.create_collection("default", "c", SCHEMA)
    collection.create_index(HNSW)
    insert(collection, range(N_ROWS))
    monkeypatch.setattr(Sketch, "build", interrupted)
    collection.flush()
    assert files(db_path) == []


def test_rows_that_went_while_it_was_built(database: Database, db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Sketch.build

    def interrupted(vectors: FloatArray, metric: str) -> Sketch:
        monkeypatch.setattr(Sketch, "build", build)
        collection.truncate()
        return build(vectors, metric)

    collection = database.create_collection("default", "c", SCHEMA)
    collection.create_index(HNSW)
    insert(collection, range(N_ROWS))
    monkeypatch.setattr(Sketch, "build", interrupted)
    collection.flush()
    assert collection.n_rows == 0
    insert(collection, range(N_ROWS))
    collection._upkeep.run(True)
    check_search(collection)


def test_two_fields_under_one_filter_have_an_excerpt_each(database: Database) -> None:
    """What is copied of one field's sketch says nothing of another field's rows."""
    schema = Schema((*SCHEMA.fields, Field("w", DataType.FLOAT_VECTOR, 102, dim=DIM)))
    collection = database.create_collection("default", "two", schema)
    for name in ("v", "w"):
        collection.create_index(IndexSpec(name, name, "HNSW", "L2", {"M": 8, "efConstruction": 40}))
    scalars = pa.RecordBatch.from_arrays([pa.array(range(N_ROWS), pa.int64())], schema=schema.arrow_schema)
    of_field = {"v": VECTORS[:N_ROWS].copy(), "w": VECTORS[N_ROWS:].copy()}
    collection.insert(Batch(scalars, of_field))
    collection._upkeep.run(True)
    predicate = compile_filter(f"id >= {N_ROWS // 2}", schema)
    (part,) = collection.snapshot().parts
    allowed = part.select(predicate, None)
    assert allowed is not None
    for spec in collection.record.indexes:
        sketch = part.sketch(spec)
        assert sketch is not None
        allowed.use(sketch).miss(allowed, 1e12)
        assert allowed.use(sketch).excerpt is not None
    for spec in collection.record.indexes:
        rows, queries = of_field[spec.field], of_field[spec.field][:20]
        request = Request(queries, spec.field, 5, "L2", spec, {"ef": 200}, predicate)
        found = search(collection.snapshot(), request).keys.reshape(20, 5)
        true = exact_search(rows, queries, 5, "L2", np.arange(N_ROWS // 2, N_ROWS)).ids
        assert np.mean([len(set(f) & set(t)) / 5 for f, t in zip(found.tolist(), true.tolist(), strict=True)]) > 0.95


def test_an_index_that_is_built_again_leaves_no_excerpt_behind(database: Database) -> None:
    collection = made(database)
    predicate = compile_filter("id >= 10", SCHEMA)
    (part,) = collection.snapshot().parts
    assert part.select(predicate, None) is not None
    held = sketch_of(collection)
    assert held is not None
    held._opened = None
    damage(held.path)
    assert held.usable() is None
    collection._upkeep.run(False)
    (again,) = collection.snapshot().parts
    assert sketch_of(collection) is not held and not again._selections
