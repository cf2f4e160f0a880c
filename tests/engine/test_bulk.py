"""Rows that go straight into a segment, beside a log that holds older and newer ones."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.engine import bulk, maintenance
from roost.engine import database as database_module
from roost.engine.bulk import MAX_FINISHED_LOADS, finish_load, load_batch, start_load
from roost.engine.collection import Collection
from roost.engine.compaction import FULL_SEGMENT_BYTES, MAX_SEGMENT_BYTES, SegmentStats, plan_merge
from roost.engine.database import Database
from roost.engine.records import DEFAULT_PARTITION
from roost.engine.search import Request, search
from roost.errors import CollectionNotFound, LoadConflict, PartitionNotFound, StorageFull
from tests.engine.model import (
    check_files,
    check_search,
    copy_database,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    read_all,
    stop_upkeep,
    vectors_of,
)


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    database.create_collection("default", "c", make_schema())
    yield database
    database.close()


@pytest.fixture
def collection(database: Database) -> Collection:
    return database.collection("default", "c")


def insert(collection: Collection, keys: range, g: int) -> None:
    collection.insert(make_batch(collection.schema, keys, g))


def load(collection: Collection, keys: range, g: int, partition: str = DEFAULT_PARTITION) -> None:
    load_batch(collection, make_batch(collection.schema, keys, g), partition)


def check_after_crash(database: Database, copy: Path, model: dict[int, int]) -> None:
    """Compare the collection, and a copy as a power cut would leave it, with a model."""
    assert read_all(database.collection("default", "c")) == model
    reopened = Database.open(copy_database(database.path, copy))
    try:
        assert read_all(reopened.collection("default", "c")) == model
        check_files(reopened)
    finally:
        reopened.close()


def test_a_load_replaces_rows_in_the_log_in_segments_and_on_their_way(database: Database, tmp_path: Path) -> None:
    collection = database.collection("default", "c")
    insert(collection, range(0, 10), 1)
    collection.flush()
    insert(collection, range(10, 20), 2)
    collection.contents.freeze()
    insert(collection, range(20, 30), 3)
    load(collection, range(5, 25), 4)
    model = {**dict.fromkeys(range(0, 5), 1), **dict.fromkeys(range(5, 25), 4), **dict.fromkeys(range(25, 30), 3)}
    assert read_all(collection) == model
    check_search(collection, model, vectors_of([7], [3]))
    check_after_crash(database, tmp_path / "copy", model)
    collection.flush()
    check_after_crash(database, tmp_path / "later", model)


def test_records_of_the_log_that_are_older_do_not_take_loaded_rows_away(database: Database, tmp_path: Path) -> None:
    collection = database.collection("default", "c")
    insert(collection, range(0, 10), 1)
    collection.delete(list(range(0, 5)))
    load(collection, range(0, 8), 2)
    model = {**dict.fromkeys(range(0, 8), 2), 8: 1, 9: 1}
    check_after_crash(database, tmp_path / "copy", model)
    insert(collection, range(6, 7), 3)
    collection.delete([7])
    del model[7]
    check_after_crash(database, tmp_path / "newer", {**model, 6: 3})


def test_older_records_do_not_take_rows_away_after_a_merge(database: Database, tmp_path: Path) -> None:
    collection = database.collection("default", "c")
    load(collection, range(100, 130), 1)
    insert(collection, range(0, 10), 2)
    load(collection, range(0, 30), 3)
    collection._upkeep.run(False)
    assert len(collection.contents.sealed) == 1 and database._host.catalog.log_range(collection.collection_id)[1]
    model = {**dict.fromkeys(range(100, 130), 1), **dict.fromkeys(range(0, 30), 3)}
    check_after_crash(database, tmp_path / "copy", model)


def test_loads_are_merged_and_indexed_once_when_they_end(collection: Collection) -> None:
    collection.create_index(hnsw())
    with collection.loading():
        for i in range(4):
            load(collection, range(30 * i, 30 * i + 30), 1)
        collection._upkeep.run(False)
        parts = collection.snapshot().parts
        assert [part.n_rows for part in parts] == [30] * 4 and not any(part.indexes for part in parts)
    collection._upkeep.run(False)
    (part,) = collection.snapshot().parts
    assert part.n_rows == 120 and len(part.indexes) == 1


def test_a_flush_during_a_load_keeps_its_promise(collection: Collection) -> None:
    collection.create_index(hnsw())
    with collection.loading():
        load(collection, range(30), 1)
        load(collection, range(30, 60), 1)
        collection.flush()
        (part,) = collection.snapshot().parts
        assert len(part.indexes) == 1


def test_what_is_merged_during_a_load_is_full() -> None:
    chunk = MAX_SEGMENT_BYTES // 8
    stats = [SegmentStats(i, 1_000, 0, chunk) for i in range(12)]
    assert plan_merge(stats[:5], FULL_SEGMENT_BYTES) == []
    assert plan_merge(stats[:7], FULL_SEGMENT_BYTES) == [0, 1, 2, 3, 4, 5, 6]
    merged = plan_merge(stats)
    assert sum(chunk for _ in merged) <= MAX_SEGMENT_BYTES and len(merged) == 8
    rest = [SegmentStats(20, 8_000, 0, 8 * chunk), *(s for s in stats if s.segment_id not in merged)]
    assert len(plan_merge(rest)) == 4
    assert plan_merge([SegmentStats(20, 8_000, 0, 8 * chunk), SegmentStats(21, 4_000, 0, 4 * chunk)]) == []
    assert plan_merge([SegmentStats(0, 10, 9, 100)], 1_000) == []


def test_a_load_goes_on_where_it_was(database: Database, tmp_path: Path) -> None:
    collection = database.collection("default", "c")
    so_far = start_load(collection, "rows", {"bytes": 10})
    after = load_batch(collection, make_batch(collection.schema, range(10), 1), DEFAULT_PARTITION, "rows", so_far)
    assert after is not None and after.n_rows == 10
    reopened = Database.open(copy_database(database.path, tmp_path / "copy"))
    try:
        again = reopened.collection("default", "c")
        assert start_load(again, "rows", {"bytes": 10}) == after
        with pytest.raises(LoadConflict, match=r"after 10 rows.*it was bytes 10, it is bytes 11.*restart=True"):
            start_load(again, "rows", {"bytes": 11})
        assert start_load(again, "rows", {"bytes": 11}, restart=True).n_rows == 0
    finally:
        reopened.close()
    finish_load(collection, "rows", after)
    assert start_load(collection, "rows", {"bytes": 10}).finished_at is not None
    assert start_load(collection, "rows", {"bytes": 11}).n_rows == 0


def test_two_calls_do_not_carry_on_the_same_load(collection: Collection) -> None:
    so_far = start_load(collection, "rows", {})
    batch = make_batch(collection.schema, range(10), 1)
    load_batch(collection, batch, DEFAULT_PARTITION, "rows", so_far)
    with pytest.raises(LoadConflict, match="another call"):
        load_batch(collection, batch, DEFAULT_PARTITION, "rows", so_far)
    with pytest.raises(LoadConflict):
        finish_load(collection, "rows", so_far)
    assert collection.n_rows == 10


def test_a_load_into_a_collection_that_was_emptied_is_refused(collection: Collection) -> None:
    so_far = start_load(collection, "rows", {})
    batch = make_batch(collection.schema, range(10), 1)
    so_far = load_batch(collection, batch, DEFAULT_PARTITION, "rows", so_far) or so_far
    collection.truncate()
    with pytest.raises(LoadConflict, match="emptied"):
        load_batch(collection, batch, DEFAULT_PARTITION, "rows", so_far)
    assert collection.n_rows == 0 and start_load(collection, "rows", {}).n_rows == 0


def test_nothing_is_left_of_a_load_that_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = database.collection("default", "c")
    insert(collection, range(5), 1)
    with pytest.raises(PartitionNotFound):
        load(collection, range(10), 2, "nowhere")

    def refuse(*_: object) -> None:
        raise StorageFull("no space left")

    for step in ("write_vectors", "_swap_in"):
        with monkeypatch.context() as patch:
            patch.setattr(bulk, step, refuse)
            with pytest.raises(StorageFull):
                load(collection, range(10), 2)
        check_files(database)
        assert read_all(collection) == dict.fromkeys(range(5), 1)


def test_what_the_load_is_for_may_be_gone_when_it_comes_to_be_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = database.collection("default", "c")
    collection.create_partition("part")
    write = bulk.write_vectors

    def remade(*arguments: object) -> object:
        collection.drop_partition("part")
        collection.create_partition("other")
        collection.create_partition("part")
        return write(*arguments)  # type: ignore[arg-type]

    def dropped(*arguments: object) -> object:
        database.drop_collection("default", "c")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bulk, "write_vectors", remade)
    with pytest.raises(PartitionNotFound, match="meanwhile"):
        load(collection, range(10), 1, "part")
    monkeypatch.setattr(bulk, "write_vectors", dropped)
    with pytest.raises(CollectionNotFound):
        load(collection, range(10), 1)
    check_files(database)


def test_no_rows_are_no_segment(collection: Collection) -> None:
    load(collection, range(0), 1)
    assert not collection.contents.sealed


def test_few_finished_loads_are_remembered(collection: Collection) -> None:
    unfinished = start_load(collection, "unfinished", {})
    for i in range(MAX_FINISHED_LOADS + 5):
        finish_load(collection, f"load-{i}", start_load(collection, f"load-{i}", {}))
    assert len(collection.record.loads) == MAX_FINISHED_LOADS + 1
    assert collection.record.loads["unfinished"] == unfinished
    assert "load-4" not in collection.record.loads and "load-5" in collection.record.loads


def test_searches_see_whole_chunks_while_a_load_goes_on(collection: Collection) -> None:
    counts: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            model = read_all(collection)
            counts.append(len(model))
            check_keys = sorted(model)
            assert check_keys == list(range(len(check_keys)))

    reader = threading.Thread(target=read)
    reader.start()
    with collection.loading():
        for i in range(20):
            load(collection, range(10 * i, 10 * i + 10), i)
    stop.set()
    reader.join()
    assert all(count % 10 == 0 for count in counts) and counts == sorted(counts)
    assert len(read_all(collection)) == 200


def test_upkeep_that_is_due_when_a_database_opens_waits_for_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a merge writes is not named where the sweep looks: it must come after."""
    lower_thresholds(monkeypatch.setattr)
    with monkeypatch.context() as patch:
        stop_upkeep(patch.setattr)
        opened = Database.open(tmp_path / "d")
        collection = opened.create_collection("default", "c", make_schema())
        for start in (0, 100):
            load_batch(collection, make_batch(collection.schema, range(start, start + 100), 1), DEFAULT_PARTITION)
        opened.close()
    sweep = database_module.sweep

    def slow(*arguments: Any) -> Any:
        time.sleep(3 * maintenance.IDLE_S)
        return sweep(*arguments)

    monkeypatch.setattr(maintenance, "IDLE_S", 0.1)
    monkeypatch.setattr(database_module, "sweep", slow)
    opened = Database.open(tmp_path / "d")
    try:
        collection = opened.collection("default", "c")
        collection.flush()
        assert len(collection.contents.sealed) == 1
        assert len(read_all(collection)) == 200
        check_files(opened)
    finally:
        opened.close()


def test_a_database_that_cannot_be_opened_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_upkeep(monkeypatch.setattr)
    opened = Database.open(tmp_path / "d")
    collection = opened.create_collection("default", "c", make_schema())
    for start in (0, 100):
        load_batch(collection, make_batch(collection.schema, range(start, start + 100), 1), DEFAULT_PARTITION)
    opened.close()

    def refuse(*_: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(database_module, "sweep", refuse)
    with pytest.raises(StorageFull):
        Database.open(tmp_path / "d")
    assert "roost-maintenance-d" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_a_snapshot_of_a_reader_outlives_a_merge(database: Database, metric: str) -> None:
    collection = database.collection("default", "c")
    for start in (0, 100):
        load_batch(collection, make_batch(collection.schema, range(start, start + 100), 1), DEFAULT_PARTITION)
    reader = Database.open(database.path, read_only=True)
    try:
        held = reader.collection("default", "c").snapshot()
        collection._upkeep.run(True)
        gc.collect()
        found = search(held, Request(vectors_of([3], [1]), "vector", 5, metric, None, {}))
        assert 3 in found.keys.tolist()
    finally:
        reader.close()
