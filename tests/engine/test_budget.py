"""What a memory limit refuses, what it puts off, and what it never touches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymilvus import DataType

from roost.engine import budget, maintenance, memory, upkeep
from roost.engine.budget import (
    EXCERPTED_ROW_BYTES,
    KEY_BYTES,
    LIMIT_PROPERTY,
    SCALAR_COPIES,
    SKETCH_COPIES,
    TAIL_COPIES,
    build_need,
    merge_need,
    needed_bytes,
    segment_bytes,
    ways_out,
)
from roost.engine.bulk import load_batch
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.index.registry import resolve_index
from roost.engine.records import DEFAULT_PARTITION, CollectionRecord
from roost.engine.schema import Field, Schema
from roost.engine.segment import IndexSpec, Segment, SegmentRecord
from roost.engine.storage.durable import FileRecord
from roost.errors import InvalidArgument, MemoryLimitExceeded
from tests.engine.model import hnsw, lower_thresholds, make_batch, make_schema, read_all, stop_upkeep

ROWS, DIM = 10_000, 32
VECTORS = 4 * ROWS * DIM
SCHEMA = Schema(
    (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("vector", DataType.FLOAT_VECTOR, 101, dim=DIM),
        Field("n", DataType.INT64, 102),
    )
)


def spec(index_type: str, index_id: int = 7, **params: Any) -> IndexSpec:
    return IndexSpec("vector", "vector", index_type, "L2", params, index_id)


def segment(indexes: dict[int, int] | None = None, sketches: dict[int, int] | None = None) -> SegmentRecord:
    """Return a manifest: index id to bytes of its file, and of its sketch."""

    def files(sizes: dict[int, int] | None) -> dict[int, FileRecord]:
        return {i: FileRecord(f"{i}.bin", size, "") for i, size in (sizes or {}).items()}

    columns = (FileRecord("fields.arrow", 160_000, ""), FileRecord("vectors-101.arrow", VECTORS + 500, ""))
    return SegmentRecord(1, 1, ROWS, columns, files(indexes), 0, files(sketches))


def record(*specs: IndexSpec, loaded: bool = True) -> CollectionRecord:
    return CollectionRecord(1, 1, "c", SCHEMA, 0, indexes=specs, loaded=loaded)


KEYS = ROWS * KEY_BYTES[0]


@pytest.mark.parametrize(
    ("index_type", "needs"),
    [
        ("HNSW", 900 + 2 * 50),
        ("IVF_FLAT", 900 + 2 * 50 + VECTORS),
        ("IVF_PQ", 900 + 2 * 50 + VECTORS + 4 * 128 * 4 * 256),
        ("DISKANN", 900 + 2 * 50),
        ("GONE_WITH_ITS_LIBRARY", 900 + VECTORS),
    ],
)
def test_a_built_index_needs_its_file_and_what_it_compares_again(index_type: str, needs: int) -> None:
    held = segment({7: 900}, {7: 50})
    excerpts = 0 if index_type.startswith("GONE") else (SKETCH_COPIES - 2) * 50 + EXCERPTED_ROW_BYTES * ROWS
    assert segment_bytes(SCHEMA, [spec(index_type)], held) == KEYS + needs + excerpts


def test_what_no_index_covers_is_compared_with_its_vectors() -> None:
    assert segment_bytes(SCHEMA, [], segment()) == KEYS + VECTORS
    expected = resolve_index("HNSW").index_bytes(ROWS, DIM, VECTORS, {})
    assert segment_bytes(SCHEMA, [spec("HNSW")], segment()) == KEYS + expected > KEYS + VECTORS
    sketched = segment_bytes(SCHEMA, [spec("HNSW")], segment({}, {7: 50}))
    assert sketched == KEYS + expected + SKETCH_COPIES * 50 + EXCERPTED_ROW_BYTES * ROWS, "fresh rows may be sketched"
    assert segment_bytes(SCHEMA, [spec("DISKANN")], segment()) == KEYS + VECTORS
    assert segment_bytes(SCHEMA, [spec("GONE_WITH_ITS_LIBRARY")], segment()) == KEYS + VECTORS
    short = replace(segment(), n_rows=20)
    assert segment_bytes(SCHEMA, [spec("HNSW")], short) == 20 * KEY_BYTES[0] + 20 * 4 * DIM
    scalar = IndexSpec("n", "n", "INVERTED", "", {}, 9)
    assert segment_bytes(SCHEMA, [scalar], segment({9: 77})) == KEYS + VECTORS + 77


def test_string_keys_take_more() -> None:
    named = Schema((Field("id", DataType.VARCHAR, 100, is_primary=True, max_length=9), *SCHEMA.fields[1:]))
    assert segment_bytes(named, [], segment()) == ROWS * KEY_BYTES[1] + VECTORS


def test_a_released_collection_holds_its_tail_alone() -> None:
    assert needed_bytes(record(loaded=False), [segment()], 1_000) == TAIL_COPIES * 1_000
    assert needed_bytes(record(), [segment(), segment()], 1_000) == TAIL_COPIES * 1_000 + 2 * (KEYS + VECTORS)


def test_a_build_takes_the_vectors_and_the_peak_of_its_type() -> None:
    assert build_need(SCHEMA, spec("FLAT"), segment()) == VECTORS + 2 * VECTORS
    assert build_need(SCHEMA, IndexSpec("n", "n", "INVERTED", ""), segment()) == SCALAR_COPIES * 160_000
    peak = build_need(SCHEMA, spec("HNSW", M=16), segment()) - VECTORS
    assert merge_need(SCHEMA, [spec("HNSW", M=16)], ROWS, 5_000_000) == 5_000_000 + peak
    assert merge_need(SCHEMA, [], ROWS, 5_000_000) == merge_need(SCHEMA, [spec("HNSW")], 20, 5_000_000) == 5_000_000


# On a database


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have much memory, and say at once when it has less."""
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    monkeypatch.setattr(budget, "MIN_INDEXED_ROWS", 24)
    monkeypatch.setattr(budget, "REREAD_S", 0.0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)


@pytest.fixture
def database(db_path: Path) -> Iterator[Database]:
    database = Database.open(db_path, durability="normal", memory_limit=1 << 30)
    yield database
    database.close()


def filled(database: Database, name: str, n_rows: int = 200) -> Collection:
    collection = database.create_collection("default", name, make_schema(), indexes=[hnsw()])
    collection.insert(make_batch(collection.schema, range(n_rows), 1))
    collection.flush()
    return collection


def load(collection: Collection, loaded: bool = True) -> None:
    collection.revise(lambda record: replace(record, loaded=loaded))


def n_built(collection: Collection) -> int:
    held = [part.rows.record for part in collection.contents.sealed.values() if isinstance(part.rows, Segment)]
    return sum(len(manifest.indexes) for manifest in held)


def test_what_is_held_follows_loads_releases_writes_and_drops(database: Database) -> None:
    host = database._host
    first, second = filled(database, "a"), filled(database, "b")
    assert host.budget.held() == 0
    load(first)
    one = host.budget.held()
    load(second)
    assert host.budget.held() == 2 * one > 200 * 16
    assert host.budget.held(first.collection_id) == one
    first.insert(make_batch(first.schema, range(200, 210), 1))
    assert host.budget.held() == 2 * one + TAIL_COPIES * first.contents.tail.size_bytes > 2 * one
    load(first, False)
    database.drop_collection("default", "b")
    host.budget.changed(second)  # as by work that was under way
    assert host.budget.held() == TAIL_COPIES * first.contents.tail.size_bytes


def test_a_collection_that_does_not_fit_is_not_loaded_until_another_is_released(database: Database) -> None:
    first, second = filled(database, "a"), filled(database, "b")
    load(first)
    database._host.budget.limit = database._host.budget.held() + 100
    before, n_commits = second.record, database._host.catalog.n_commits
    with pytest.raises(MemoryLimitExceeded, match=r"'b' needs about .* KB .*hold .* KB; nothing was changed.*DISKANN"):
        load(second)
    with pytest.raises(MemoryLimitExceeded):
        second.check_memory(replace(second.record, loaded=True))
    assert second.record is before
    assert database._host.catalog.n_commits == n_commits
    load(first, False)
    load(second)
    assert second.record.loaded


def test_to_release_others_is_advised_where_that_makes_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, first, second = database._host, filled(database, "a"), filled(database, "b")
    need = needed_bytes(replace(second.record, loaded=True), *second.footprint)

    def told(work: Callable[[], object]) -> str:
        with pytest.raises(MemoryLimitExceeded) as caught:
            work()
        return caught.value.message

    host.budget.limit = need - 1
    assert "elease" not in told(lambda: load(second)), "nothing is loaded"
    host.budget.limit = 1 << 30
    load(first)
    host.budget.limit = need - 1
    assert "elease" not in told(lambda: load(second)), "it does not fit alone"
    host.budget.limit = need
    assert "Release another collection, choose" in told(lambda: load(second))
    first.insert(make_batch(first.schema, range(200, 210), 1))
    assert "elease" not in told(lambda: load(second)), "the rows in no segment stay"
    host.budget.limit += TAIL_COPIES * first.contents.tail.size_bytes
    assert "Release another collection" in told(lambda: load(second))
    load(first, False)
    load(second)
    load(second, False)

    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    batch = make_batch(second.schema, range(300, 320), 1)
    assert told(lambda: second.insert(batch)).endswith("Insert fewer rows at once, or flush a collection")
    host.budget.limit = 1 << 30
    load(first)
    assert told(lambda: second.insert(batch)).endswith("Insert fewer rows at once, or flush or release a collection")


def test_to_release_others_is_advised_for_a_build_where_that_makes_room(database: Database) -> None:
    host, first = database._host, filled(database, "a")
    second = database.create_collection("default", "b", make_schema(), indexes=[hnsw()])
    second.insert(make_batch(second.schema, range(200), 1))
    load(second)
    host.budget.limit = host.budget.held()
    with pytest.raises(MemoryLimitExceeded, match=r"is not built: .* left of the limit") as alone:
        second.flush(20)
    assert "elease" not in alone.value.message
    host.budget.limit = 1 << 30
    load(first)
    need = build_need(second.schema, hnsw(), second.footprint[0][0])
    host.budget.limit = need
    with pytest.raises(MemoryLimitExceeded, match="Release another collection, choose"):
        second.flush(20)
    host.budget.limit = need - 1
    with pytest.raises(MemoryLimitExceeded, match="is not built") as whole:
        second.flush(20)
    assert "elease" not in whole.value.message
    load(first, False)
    host.budget.limit = need
    second.flush(20)
    assert n_built(second) == 1


def test_an_empty_collection_is_loaded_and_read_whatever_the_limit(database: Database) -> None:
    load(filled(database, "a"))
    database._host.budget.limit = 1
    load(database.create_collection("default", "empty", make_schema(), indexes=[hnsw()]))


def test_a_collection_has_a_limit_of_its_own(database: Database) -> None:
    collection = filled(database, "a")

    def limit(text: str | None) -> None:
        collection.revise(lambda held: replace(held, properties={} if text is None else {LIMIT_PROPERTY: text}))

    limit("2KB")
    with pytest.raises(MemoryLimitExceeded, match=r"own limit of 2\.0 KB; nothing was changed.*'memory\.limit'"):
        load(collection)
    assert not collection.record.loaded
    limit("1MB")
    load(collection)
    with pytest.raises(MemoryLimitExceeded):
        limit("1KB")
    assert collection.record.properties == {LIMIT_PROPERTY: "1MB"}
    limit(None)


def test_a_property_of_old_that_is_no_size_is_no_limit_and_can_be_mended(database: Database) -> None:
    collection = filled(database, "a")
    collection.record = replace(collection.record, properties={LIMIT_PROPERTY: "lots"})
    load(collection)
    collection.revise(lambda held: replace(held, name="renamed"))
    with pytest.raises(InvalidArgument):
        collection.revise(lambda held: replace(held, properties={LIMIT_PROPERTY: "more"}))
    collection.revise(lambda held: replace(held, properties={LIMIT_PROPERTY: "1MB"}))
    assert collection.record.properties == {LIMIT_PROPERTY: "1MB"}


def test_an_index_on_a_loaded_collection_is_refused_where_it_does_not_fit(database: Database) -> None:
    schema = make_schema(n_vectors=2)
    collection = database.create_collection("default", "c", schema, indexes=[hnsw()])
    collection.insert(make_batch(schema, range(200), 1))
    collection.flush()
    load(collection)
    need = needed_bytes(collection.record, *collection.footprint)
    collection.revise(lambda held: replace(held, properties={LIMIT_PROPERTY: str(need + 500)}))
    with pytest.raises(MemoryLimitExceeded, match="own limit"):
        collection.create_index(hnsw("vector2"))
    assert collection.record.index_of("vector2") is None
    load(collection, False)
    collection.create_index(hnsw("vector2"))


def test_rows_that_outgrow_a_collections_own_limit_are_not_written(database: Database) -> None:
    collection = filled(database, "c")
    load(collection)
    other = filled(database, "other")
    need = needed_bytes(collection.record, *collection.footprint)
    row = make_batch(collection.schema, [0], 1)
    size = row.scalars.nbytes + row.vectors["vector"].nbytes
    collection.revise(lambda held: replace(held, properties={LIMIT_PROPERTY: str(need + 12 * TAIL_COPIES * size)}))
    for key in range(200, 210):
        collection.insert(make_batch(collection.schema, [key], 1))
    n_commits = database._host.catalog.n_commits
    with pytest.raises(
        MemoryLimitExceeded, match=r"'c' would need .* with these rows, .*own limit.*nothing was written"
    ):
        collection.insert(make_batch(collection.schema, range(300, 320), 1))
    assert database._host.catalog.n_commits == n_commits
    other.insert(make_batch(other.schema, range(300, 320), 1))
    assert read_all(collection) == dict.fromkeys(range(210), 1)
    assert collection.delete([0]) == 1
    load(collection, False)
    collection.insert(make_batch(collection.schema, range(300, 320), 1))
    with pytest.raises(MemoryLimitExceeded):
        load(collection)
    collection.revise(lambda held: replace(held, properties={}))
    load(collection)
    collection.insert(make_batch(collection.schema, range(400, 600), 1))


def test_a_bulk_load_that_outgrows_the_limit_stores_whole_chunks_before_it(database: Database) -> None:
    collection = filled(database, "c")
    load(collection)
    need = needed_bytes(collection.record, *collection.footprint)
    collection.revise(lambda held: replace(held, properties={LIMIT_PROPERTY: str(2 * need)}))
    load_batch(collection, make_batch(collection.schema, range(200, 300), 1), DEFAULT_PARTITION)
    directories = sorted((database.path / "segments").iterdir())
    with pytest.raises(MemoryLimitExceeded, match="nothing was written"):
        load_batch(collection, make_batch(collection.schema, range(300, 800), 1), DEFAULT_PARTITION)
    assert sorted((database.path / "segments").iterdir()) == directories
    assert read_all(collection) == dict.fromkeys(range(300), 1)


def test_an_index_that_the_whole_limit_is_too_little_to_build_is_told_of_at_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    collection = database.create_collection("default", "c", make_schema())
    collection.insert(make_batch(collection.schema, range(200), 1))
    collection.flush()
    manifests, _ = collection.footprint
    need = build_need(collection.schema, hnsw(), manifests[0])
    database._host.budget.limit = need - 1
    with pytest.raises(
        MemoryLimitExceeded, match=r"cannot be built: .*the whole limit of .*nothing was changed"
    ) as told:
        collection.create_index(hnsw())
    assert "DISKANN" in told.value.message
    assert collection.record.indexes == ()
    database._host.budget.limit = need
    collection.create_index(hnsw())
    assert collection.record.index_of("vector") is not None
    database._host.budget.limit = need - 1
    load(collection)
    assert caplog.text.count("index 'vector' of collection 'c' cannot be built") == 1
    assert "it is loaded, and its rows are compared one by one" in caplog.text
    assert read_all(collection) == dict.fromkeys(range(200), 1)
    database._host.budget.limit = need
    collection.flush(20)
    load(collection, False)
    database._host.budget.limit = need - 1
    load(collection)
    assert caplog.text.count("cannot be built") == 1, "it is built by now"


def test_another_index_type_is_advised_where_there_is_one_that_needs_less() -> None:
    scalar = IndexSpec("n", "n", "INVERTED", "", {}, 9)
    for specs in ((), (spec("HNSW"),), (spec("DISKANN", 8), spec("IVF_PQ")), (scalar,)):
        assert ways_out(record(*specs), "release it", "raise it") == (
            "Release it, choose an index type that needs less (DISKANN leaves the vectors on disk), or raise it"
        )
    assert ways_out(record(spec("DISKANN"), scalar), "release it", "raise it") == "Release it, or raise it"
    assert ways_out(record(spec("DISKANN")), "raise it") == "Raise it"


def test_a_build_that_does_not_fit_is_put_off_said_once_and_done_later(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = database.create_collection("default", "c", make_schema(), indexes=[hnsw()])
    collection.insert(make_batch(collection.schema, range(200), 1))
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    with caplog.at_level(logging.WARNING, "roost"):
        for _ in range(2):
            with pytest.raises(MemoryLimitExceeded, match=r"index 'vector' of collection 'c' is not built: .*stored"):
                collection.flush(20)
    assert [r.message for r in caplog.records if "is not built" in r.message] == [caplog.records[0].message]
    assert len(caplog.records) == 1
    assert n_built(collection) == 0
    assert collection.contents.tail.n_rows == 0
    assert read_all(collection) == dict.fromkeys(range(200), 1)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    collection.flush(20)
    assert n_built(collection) == 1


def test_a_build_is_tried_again_by_itself(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "RETRY_S", 0.01)
    collection = filled(database, "c")
    load(collection)
    collection.create_index(replace(hnsw(), name="n", field="g", index_type="INVERTED", metric="", params={}))
    database._host.budget.limit = 1
    with pytest.raises(MemoryLimitExceeded):
        collection.flush(20)
    asked = collection._upkeep._room.takes_index
    done = maintenance.threading.Event()

    def takes(*arguments: Any) -> bool:
        if asked(*arguments):
            done.set()
            return True
        return False

    monkeypatch.setattr(collection._upkeep._room, "takes_index", takes)
    database._host.budget.limit = 1 << 30
    assert done.wait(20)
    collection.flush(20)
    assert n_built(collection) == 2


def test_a_limit_that_loaded_collections_fill_leaves_no_room_for_builds(database: Database) -> None:
    full = filled(database, "full")
    load(full)
    other = database.create_collection("default", "other", make_schema(), indexes=[hnsw()])
    other.insert(make_batch(other.schema, range(200), 1))
    database._host.budget.limit = database._host.budget.held() + 1_000
    with pytest.raises(MemoryLimitExceeded):
        other.flush(20)
    load(full, False)
    database._host.budget.limit = 100_000
    other.flush(20)
    assert n_built(other) == 1


def test_what_fits_later_in_the_same_run_is_no_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = database.create_collection("default", "c", make_schema(), indexes=[hnsw()])
    collection.insert(make_batch(collection.schema, range(200), 1))
    collection.create_index(replace(hnsw(), name="n", field="g", index_type="INVERTED", metric="", params={}))
    room = collection._upkeep._room
    takes, refused = room.takes_index, []

    def first_refuses(segment: Any, spec: Any) -> bool:
        if not refused and not spec.is_scalar:
            refused.append(spec)
            with monkeypatch.context() as patch:
                patch.setattr(memory, "available_bytes", lambda: 0)
                database._host.budget._read_at = -1e9
                assert not takes(segment, spec)
            database._host.budget._read_at = -1e9
            return False
        return takes(segment, spec)

    monkeypatch.setattr(room, "takes_index", first_refuses)
    collection.flush(20)
    assert refused and n_built(collection) == 2


def test_segments_are_merged_when_there_is_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = filled(database, "c", 60)
    room = collection._upkeep._room
    monkeypatch.setattr(room, "takes_merge", lambda merged: False)
    collection.insert(make_batch(collection.schema, range(60, 120), 1))
    collection.flush(20)
    assert (len(collection.contents.sealed), n_built(collection)) == (2, 2)
    monkeypatch.undo()
    monkeypatch.setattr(upkeep, "MIN_INDEXED_ROWS", 24)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    collection.flush(20)
    assert (len(collection.contents.sealed), n_built(collection)) == (1, 1)
    assert read_all(collection) == dict.fromkeys(range(120), 1)


def test_whether_a_merge_fits(database: Database) -> None:
    collection = filled(database, "c")
    stats = [upkeep.SegmentStats(i, 200, 0, 10_000) for i in collection.contents.sealed]
    need = merge_need(collection.schema, collection.record.indexes, 200, 10_000)
    for is_loaded in (False, True):
        load(collection, is_loaded)
        database._host.budget.limit = need
        assert collection._upkeep._room.takes_merge(stats)
        database._host.budget.limit = need - 1
        assert not collection._upkeep._room.takes_merge(stats)
        database._host.budget.limit = 1 << 30


def test_rows_that_the_machine_has_no_memory_for_are_not_written(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(db_path)
    collection = database.create_collection("default", "c", make_schema())
    collection.insert(make_batch(collection.schema, range(5), 1))
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000)
    with pytest.raises(MemoryLimitExceeded, match=r"'c' cannot take 20 rows: .*nothing was written"):
        collection.insert(make_batch(collection.schema, range(20), 2))
    assert read_all(collection) == dict.fromkeys(range(5), 1)
    assert collection.delete([0]) == 1
    database.close()
    database = Database.open(db_path)
    assert read_all(database.collection("default", "c")) == dict.fromkeys(range(1, 5), 1)
    database.close()


def test_what_is_free_is_not_asked_of_the_system_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(memory, "available_bytes", lambda: asked.append(1) or 1 << 40)
    monkeypatch.setattr(budget, "REREAD_S", 1e6)
    held = budget.Budget()
    assert held.free() == held.free() < 1 << 40
    assert asked == [1]
    assert held.limit == int(budget.DEFAULT_SHARE * memory.physical_bytes())


def test_a_database_whose_collections_need_more_than_the_limit_opens_and_says_so(
    database: Database, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        load(filled(database, name))
    database.close()
    for read_only in (False, True):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "roost"):
            again = Database.open(db_path, memory_limit=100, read_only=read_only)
        try:
            assert [r.message.partition(":")[2][:35] for r in caplog.records] == [" the loaded collections need about "]
            assert read_all(again.collection("default", "a")) == dict.fromkeys(range(200), 1)
        finally:
            again.close()
    again = Database.open(db_path, memory_limit=100)
    again.collection("default", "a").insert(make_batch(make_schema(), range(3), 2))
    load(again.collection("default", "b"), False)
    with pytest.raises(MemoryLimitExceeded):
        load(again.collection("default", "b"))
    again.close()
