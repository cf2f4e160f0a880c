"""Rows that no graph covers yet, while somebody searches: sketched in the tail, sealed with their sketches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

from roost.engine import maintenance, sketching, upkeep
from roost.engine.collection import Collection
from roost.engine.columns import Batch, FloatArray
from roost.engine.database import Database
from roost.engine.filter.compile import compile_filter
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import exact_search, inverse_norms
from roost.engine.index.filtered import search_segment
from roost.engine.index.lone_scan import Known
from roost.engine.index.sketch import Sketch
from roost.engine.maintenance import Maintenance
from roost.engine.room import Room
from roost.engine.schema import Field, Schema
from roost.engine.search import Request, search
from roost.engine.segment import IndexSpec, Segment, SegmentSketch
from roost.engine.snapshot import Part
from roost.engine.trace import Trace
from roost.engine.upkeep import Upkeep
from roost.engine.waiting import waiting_ns
from roost.errors import Corruption, MemoryLimitExceeded
from tests.engine.test_sketches import DIM, HNSW, SCHEMA, VECTORS, insert

K = 5


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Give a database whose upkeep the test runs by itself."""
    monkeypatch.setattr(Maintenance, "touch", lambda *_, **__: None)
    monkeypatch.setattr(upkeep, "SETTLED_S", 1e6)
    database = Database.open(db_path, durability="normal")
    yield database
    database.close()


def made(database: Database, n_rows: int, spec: IndexSpec = HNSW, *, searched: bool = True) -> Collection:
    """Return a collection with rows in its tail, that somebody searches or nobody does."""
    collection = database.create_collection("default", "c", SCHEMA)
    collection.create_index(spec)
    insert(collection, range(n_rows))
    database._host.searched_at = time.monotonic() + (1e6 if searched else -1e6)
    return collection


def tail_of(collection: Collection) -> Part:
    return collection.snapshot().parts[-1]


def covered(collection: Collection) -> int:
    """Return how many rows of the tail are sketched."""
    sketch = tail_of(collection).sketch(collection.record.indexes[0])
    return 0 if sketch is None else sketch.n_rows


def check(collection: Collection, n_rows: int, text: str | None = None, n_at_once: int = 1) -> None:
    """Search for rows one by one or together, and compare with all of them."""
    spec = collection.record.indexes[0]
    predicate = None if text is None else compile_filter(text, SCHEMA)
    live = collection.query(predicate=predicate).keys
    queries: FloatArray = VECTORS[:n_rows][:: max(1, n_rows // 40)] + np.float32(0.01)
    norms = inverse_norms(VECTORS)
    true = exact_search(VECTORS, queries, K, spec.metric, live.astype(np.int64), norms)
    hits = []
    for start in range(0, len(queries), n_at_once):
        request = Request(queries[start : start + n_at_once], "v", K, spec.metric, spec, {"ef": 200}, predicate)
        hits.extend(search(collection.snapshot(), request).keys.reshape(-1, K).tolist())
    shared = [len(set(here) & set(there)) / K for here, there in zip(hits, true.ids.tolist(), strict=True)]
    assert np.mean(shared) >= 0.97


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("n_at_once", [1, 3, 20])
def test_a_sketched_tail_is_searched_as_well_as_all_its_rows(database: Database, metric: str, n_at_once: int) -> None:
    collection = made(database, 3_000, IndexSpec("v", "v", "HNSW", metric, {"M": 8, "efConstruction": 40}))
    collection._upkeep.run(False)
    assert covered(collection) == 3_000
    check(collection, 3_000, n_at_once=n_at_once)
    check(collection, 3_000, "id % 3 == 0", n_at_once)
    insert(collection, range(3_000, 3_400))
    assert covered(collection) == 3_000, "few rows are compared one by one"
    check(collection, 3_400, n_at_once=n_at_once)
    check(collection, 3_400, "id >= 3000", n_at_once)
    check(collection, 3_400, "id > 2900", n_at_once)


def test_a_sketch_grows_with_the_tail(database: Database) -> None:
    collection = made(database, 1_500)
    collection._upkeep.run(False)
    before = tail_of(collection).sketch(collection.record.indexes[0])
    insert(collection, range(1_500, 1_500 + sketching.GROWN_BY))
    collection._upkeep.run(False)
    after = tail_of(collection).sketch(collection.record.indexes[0])
    assert before is not None and after is not None
    assert (before.n_rows, after.n_rows) == (1_500, 1_500 + sketching.GROWN_BY)
    assert after.agrees_with(before)
    check(collection, 1_500 + sketching.GROWN_BY)


def test_a_tail_takes_the_axes_of_the_largest_segment(database: Database) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(True)
    (part,) = collection.snapshot().parts
    insert(collection, range(3_000, 4_500))
    collection._upkeep.run(False)
    spec = collection.record.indexes[0]
    sealed, fresh = part.sketch(spec), tail_of(collection).sketch(spec)
    assert sealed is not None and fresh is not None and fresh.agrees_with(sealed)
    assert fresh.n_rows == 1_500
    check(collection, 4_500)


def test_deleted_and_replaced_rows_are_not_found(database: Database) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(False)
    collection.delete(list(range(0, 3_000, 2)))
    check(collection, 3_000)
    insert(collection, range(0, 100))
    assert collection.n_rows == 1_550
    check(collection, 3_000)


def test_where_nobody_searches_nothing_waits_for_a_sketch(database: Database) -> None:
    collection = made(database, 3_000, searched=False)
    assert not collection._upkeep._sketching.is_behind()
    database._host.searched_at = time.monotonic()
    assert collection._upkeep._sketching.is_behind()


def test_the_tail_of_an_exact_index_is_not_sketched(database: Database) -> None:
    collection = database.create_collection("default", "d", SCHEMA)
    collection.create_index(IndexSpec("v", "v", "FLAT", "L2"))
    insert(collection, range(3_000))
    database._host.searched_at = time.monotonic() + 1e6
    collection._upkeep.run(False)
    assert covered(collection) == 0


def test_a_search_counts_as_one(database: Database) -> None:
    collection = made(database, 2_000, searched=False)
    assert not database._host.is_searched()
    check(collection, 2_000)
    database._host.searched_at = float("-inf")
    collection.search(Request(VECTORS[:1], "v", 1, "L2", collection.record.indexes[0], {}))
    assert database._host.is_searched()


def test_sealed_rows_come_with_their_sketch(database: Database, db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(False)
    insert(collection, range(3_000, 3_100))
    monkeypatch.setattr(Sketch, "build", refuse)
    monkeypatch.setattr(upkeep, "build_index", refuse)
    monkeypatch.setattr(upkeep, "SEARCHED_TAIL_ROWS", 3_000)
    with pytest.raises(AssertionError):
        collection._upkeep.run(False)
    (part,) = collection.snapshot().parts
    (held,) = part.sketches.values()
    assert isinstance(held, SegmentSketch) and not part.indexes
    sketch = held.usable()
    assert sketch is not None and sketch.n_rows == 3_100
    assert [path.name for path in db_path.rglob("sketch-*.bin")] == [held.path.name]
    check(collection, 3_100)
    check(collection, 3_100, "id > 2900")
    held.close()
    check(collection, 3_100)


def refuse(*_: object) -> None:
    raise AssertionError("not needed")


def test_a_graph_follows_and_takes_over(database: Database) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(False)
    collection._upkeep._seal()
    insert(collection, range(3_000, 4_000))
    collection._upkeep.run(False)
    assert [part.n_indexed for part in collection.snapshot().parts] == [3_000, 0]
    check(collection, 4_000)
    collection._upkeep.run(True)
    (part,) = collection.snapshot().parts
    sketch = part.sketch(collection.record.indexes[0])
    assert part.n_indexed == 4_000 and sketch is not None and sketch.n_rows == 4_000
    check(collection, 4_000, "id % 2 == 0")


def test_merged_rows_without_a_graph_keep_their_sketch(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of them has none, or one by other axes."""
    collection = made(database, 2_000)
    monkeypatch.setattr(upkeep, "build_index", lambda *_: None)
    collection._upkeep._sketching.grow()
    collection._upkeep._seal()
    for start in (2_000, 3_500):
        insert(collection, range(start, start + 1_500))
        if start == 2_000:
            collection._upkeep._sketching.grow()
        collection._upkeep._seal()
    spec = collection.record.indexes[0]
    assert [spec.index_id in part.sketches for part in collection.snapshot().parts] == [True, True, False]
    assert collection._upkeep._merging.merge(list(collection.contents.sealed))
    (part,) = collection.snapshot().parts
    sketch = part.sketch(spec)
    assert sketch is not None and sketch.n_rows == 5_000
    check(collection, 5_000)


def test_an_index_that_is_dropped_takes_its_sketches_along(database: Database, db_path: Path) -> None:
    collection = made(database, 3_000)
    collection._upkeep._sketching.grow()
    collection._upkeep._seal()
    insert(collection, range(3_000, 5_000))
    collection._upkeep._sketching.grow()
    collection.drop_index("v")
    collection._upkeep._sketching.grow()
    collection._upkeep._seal()
    assert list(db_path.rglob("sketch-*.bin")) == []
    assert all(not record.sketches for record in collection.contents.manifests())


def test_a_tail_that_searches_meet_waits_until_it_is_long_or_writes_pause(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(False)
    assert collection.contents.tail.n_rows == 3_000
    monkeypatch.setattr(upkeep, "SETTLED_S", 0.0)
    collection._upkeep.run(False)
    assert collection.contents.tail.n_rows == 0


def test_an_unsketched_part_is_compared_exactly_and_explained(database: Database) -> None:
    collection = made(database, 3_000)
    collection._upkeep.run(False)
    insert(collection, range(3_000, 3_400))
    traces: list[Trace] = []
    spec = collection.record.indexes[0]
    request = Request(VECTORS[:1], "v", K, "L2", spec, {}, traces=traces)
    search(collection.snapshot(), request)
    (trace,) = traces
    assert {step.reason for step in trace.steps} == {"no index covers the rows"}
    assert trace.steps[-1].method == "exact" and trace.steps[-1].comparisons == 400
    assert len(VECTORS[0]) == DIM


@pytest.mark.parametrize("k", [30, 50, 100])
@pytest.mark.parametrize("bound", [math.inf, 1e9])
def test_many_neighbours_are_found_whatever_was_searched_before(k: int, bound: float) -> None:
    """Rows of another kind than the old ones hold all of the nearest, however few they are."""
    rows = VECTORS[:6_000]
    sketch, queries = Sketch.build(rows, "L2"), rows[:30] + np.float32(0.01)
    true = exact_search(rows, queries, k, "L2").ids
    shared = []
    for query, nearest in zip(queries, true, strict=True):
        allowed, known = Allowed(np.ones(len(rows), bool)), Known(bound, 1_000_000)
        found = search_segment(None, rows, query[None], k, "L2", allowed, {}, None, sketch, None, known)
        shared.append(len(set(found.ids[0].tolist()) & set(nearest.tolist())) / k)
    assert np.mean(shared) >= 0.97


def test_rows_that_a_sketch_cannot_order_are_found_behind_others() -> None:
    """Rows near each other in both parts: that none was found within the bound does not say that there is none."""
    random = np.random.default_rng(5)
    spread = random.normal(size=(16_000, 128)).astype(np.float32) / np.sqrt(np.arange(1, 129, dtype=np.float32))
    spread[::10] = spread[0] + 0.02 * random.normal(size=(1_600, 128)).astype(np.float32)
    old, new = spread[:8_000], spread[8_000:]
    sketch, queries, k = Sketch.build(new, "L2"), spread[::10][:40] + np.float32(1e-4), 10
    shared = []
    for query in queries:
        before, all_of_them = (exact_search(rows, query[None], k, "L2") for rows in (old, spread))
        known = Known(float(before.distances[0, -1]), len(old))
        allowed = Allowed(np.ones(len(new), bool))
        found = search_segment(None, new, query[None], k, "L2", allowed, {}, None, sketch, None, known)
        wanted = {i - 8_000 for i in all_of_them.ids[0].tolist() if i >= 8_000}
        shared.append(len(wanted & set(found.ids[0].tolist())) / max(len(wanted), 1) if wanted else 1.0)
    assert np.mean(shared) >= 0.95


def test_two_fields_partitions_and_ranges(database: Database) -> None:
    schema = Schema((*SCHEMA.fields, Field("w", DataType.FLOAT_VECTOR, 102, dim=DIM)))
    collection = database.create_collection("default", "two", schema)
    collection.create_partition("p")
    for name in ("v", "w"):
        collection.create_index(IndexSpec(name, name, "HNSW", "L2", {"M": 8, "efConstruction": 40}))
    half = {"v": VECTORS[:3_000], "w": VECTORS[3_000:6_000]}
    for start, partition in ((0, "_default"), (1_500, "p")):
        keys = pa.array(range(start, start + 1_500), pa.int64())
        scalars = pa.RecordBatch.from_arrays([keys], schema=schema.arrow_schema)
        collection.insert(Batch(scalars, {n: v[start : start + 1_500].copy() for n, v in half.items()}), partition)
    collection._upkeep._sketching.grow()
    for spec in collection.record.indexes:
        rows = half[spec.field]
        base = Request(rows[2_000:2_001], spec.field, K, "L2", spec, {"ef": 100})
        true = exact_search(rows, base.queries, 40, "L2")
        snapshot = collection.snapshot()
        assert search(snapshot, base).keys.tolist() == true.ids[0, :K].tolist()
        within = base._replace(partitions=collection.partition_ids(["_default"]))
        assert (search(snapshot, within).keys < 1_500).all()
        ring = base._replace(beyond=float(true.distances[0, 20]), within=float(true.distances[0, 30]))
        assert search(snapshot, ring).keys.tolist() == true.ids[0, 20 : 20 + K].tolist()


def test_while_a_graph_grows_searched_rows_are_sketched_and_others_left(database: Database) -> None:
    collection = made(database, 2_000)
    collection._upkeep.run(False)
    insert(collection, range(2_000, 3_000))
    assert not collection._upkeep._tend() and covered(collection) == 3_000
    database._host.searched_at = float("-inf")
    insert(collection, range(3_000, 5_000))
    assert not collection._upkeep._tend()
    assert collection.contents.tail.n_rows == 5_000 and not collection.contents.sealed, "no segment for each block"
    database._host.maintenance.stop()
    assert collection._upkeep._tend()


def test_a_log_of_many_records_is_emptied_though_it_is_searched(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = made(database, 2_000)
    collection._upkeep._seal()
    monkeypatch.setattr(upkeep, "MAX_LOG_RECORDS", 3)
    for key in range(3):
        collection.delete([key])
    collection._upkeep.run(False)
    first, last = database._host.catalog.log_range(collection.collection_id)
    assert first == last


def test_after_a_failure_rows_are_sketched_all_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = made(database, 2_000)

    def fail(*_: object, **__: object) -> None:
        raise MemoryLimitExceeded("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(Room, "end", fail)
        with pytest.raises(MemoryLimitExceeded):
            collection._upkeep.run(False)
    insert(collection, range(2_000, 3_000))
    monkeypatch.setattr(Upkeep, "_run", refuse)
    collection._upkeep.run(False)
    assert covered(collection) == 3_000
    monkeypatch.setattr(maintenance, "RETRY_S", 0.0)
    with pytest.raises(AssertionError):
        collection._upkeep.run(False)


def test_a_segment_that_cannot_be_sketched_stops_nothing_else(database: Database, db_path: Path) -> None:
    collection = made(database, 2_000, searched=False)
    collection._upkeep._seal()
    (part,) = collection.contents.sealed.values()
    (path,) = db_path.rglob("vectors-*.arrow")
    body = bytearray(path.read_bytes())
    body[-500] ^= 1
    path.write_bytes(bytes(body))
    assert isinstance(part.rows, Segment)
    part.rows.close()
    sketches = collection._upkeep._sketching
    missing = sketches.missing()
    assert missing is not None
    with pytest.raises(Corruption):
        sketches.build(*missing)
    assert sketches.missing() is None


def test_what_a_truncation_overtakes_is_thrown_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = made(database, 2_000)
    build = Sketch.build

    def overtaken(vectors: FloatArray, metric: str) -> Sketch:
        collection.truncate()
        return build(vectors, metric)

    monkeypatch.setattr(Sketch, "build", overtaken)
    collection._upkeep._sketching.grow()
    assert collection.contents.tail.sketches == {} and collection.n_rows == 0


def test_how_long_waiting_rows_keep_a_search(database: Database) -> None:
    collection = made(database, 3_000)
    specs = collection.record.indexes
    tail = waiting_ns(collection.contents, specs)
    assert tail > 0 and waiting_ns(collection.contents, ()) == 0
    collection._upkeep._seal()
    insert(collection, range(3_000, 6_000))
    assert waiting_ns(collection.contents, specs) == 2 * tail
    collection._upkeep.run(True)
    assert waiting_ns(collection.contents, specs) == 0


def test_a_row_is_found_by_its_own_vector_wherever_it_lies() -> None:
    """Also a row that lies far from all axes, of which a sketch keeps little."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(6_000, 200)).astype(np.float32) / np.arange(1, 201, dtype=np.float32) ** 0.5
    rows[::20, 100:] *= 4
    sketch = Sketch.build(rows, "L2")
    for n_at_once in (1, 50):
        found = []
        for start in range(0, len(rows), 20 * n_at_once):
            queries = rows[start : start + 20 * n_at_once : 20]
            allowed = Allowed(np.ones(len(rows), bool))
            found.extend(search_segment(None, rows, queries, 3, "L2", allowed, {}, None, sketch).ids[:, 0].tolist())
        assert np.mean(np.array(found) == np.arange(0, len(rows), 20)) >= 0.995
