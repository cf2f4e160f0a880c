"""A database of many collections holds the rows of those that are used, and changes one without touching the others."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.records import CollectionRecord
from roost.engine.segment import SegmentRecord
from roost.engine.storage.durable import FileRecord
from roost.engine.upkeep import MAX_LOG_RECORDS, MIN_INDEXED_ROWS, has_work
from roost.errors import Closed, Corruption, IndexExists, InvalidArgument
from tests.engine.model import check_files, hnsw, lower_thresholds, make_batch, make_schema, read_all, stop_upkeep

N = 12


@pytest.fixture
def path(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of collections c0, c1, ...: rows in a segment, deletes and newer rows in the log."""
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    for i in range(N):
        collection = database.create_collection("default", f"c{i}", make_schema())
        collection.insert(make_batch(collection.schema, range(10), i))
        collection.flush()
        collection.delete([0])
        collection.insert(make_batch(collection.schema, range(5, 15), i + 100))
    database.create_alias("default", "alias", "c3")
    database.close()
    return db_path


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database.open(path)
    yield database
    database.close()


def model_of(i: int) -> dict[int, int]:
    return {**dict.fromkeys(range(1, 5), i), **dict.fromkeys(range(5, 15), i + 100)}


def used(database: Database) -> list[str]:
    collections = [database.collection("default", name) for name in database.list_collections("default")]
    return [collection.name for collection in collections if collection._contents is not None]


def test_rows_are_recovered_when_a_collection_is_used(database: Database) -> None:
    assert used(database) == []
    assert read_all(database.collection("default", "c7")) == model_of(7)
    assert read_all(database.collection("default", "alias")) == model_of(3)
    written = database.collection("default", "c5")
    written.insert(make_batch(written.schema, [1], 7))
    assert used(database) == ["c3", "c5", "c7"]
    database.create_collection("default", "d", make_schema())
    database.rename_collection("default", "c1", "e", "default")
    assert used(database) == ["c3", "c5", "c7"] or used(database) == ["c3", "c5", "c7", "d"]
    assert read_all(written) == {**model_of(5), 1: 7}
    assert read_all(database.collection("default", "e")) == model_of(1)


def test_threads_that_use_a_collection_first_see_the_same_rows(database: Database) -> None:
    found: list[dict[int, int]] = []
    collection = database.collection("default", "c2")
    threads = [threading.Thread(target=lambda: found.append(read_all(collection))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [model_of(2)] * 8


def test_definitions_change_before_the_rows_are_recovered(database: Database) -> None:
    collection = database.collection("default", "c4")
    collection.create_partition("part")
    collection.create_index(hnsw())
    database.drop_collection("default", "c6")
    assert read_all(collection) == model_of(4)
    collection.insert(make_batch(collection.schema, range(100, 140), 1), "part")
    collection.flush()
    assert all(part.indexes for part in collection.snapshot().parts)
    gc.collect()  # files go with the last object that knows them
    check_files(database)


def test_a_change_that_failed_after_its_commit_leaves_what_is_not_used_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = database.collection("default", "c8")

    make = Collection.__init__

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(Collection, "__init__", make)
        raise KeyboardInterrupt

    read_all(collection)
    monkeypatch.setattr(Collection, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        database.create_collection("default", "d", make_schema())
    assert "d" in database.list_collections("default")
    assert [name for name in used(database) if name != "d"] == ["c8"]
    for i in range(N):
        assert read_all(database.collection("default", f"c{i}")) == model_of(i)


def test_a_damaged_log_is_told_of_when_the_database_opens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = sorted((path / "log").iterdir())
    records[0].write_bytes(records[0].read_bytes()[:-3] + b"...")
    damaged = int(records[0].name.partition("-")[0])
    database = Database.open(path)
    try:
        assert caplog.text.count("can only be emptied or dropped") == 1 and records[0].name in caplog.text
        for i in range(N):
            collection = database.collection("default", f"c{i}")
            if collection.collection_id == damaged:
                with pytest.raises(Corruption, match="is damaged"):
                    collection.insert(make_batch(collection.schema, [1], 1))
            else:
                assert read_all(collection) == model_of(i)
    finally:
        database.close()
    assert sorted((path / "log").iterdir()) == records, "what a damaged log may name is not swept"


def test_a_collection_of_a_closed_database_cannot_be_opened(path: Path) -> None:
    database = Database.open(path)
    collection = database.collection("default", "c1")
    database.close()
    with pytest.raises(Closed):
        collection.query()


def test_a_collection_is_made_in_one_transaction_with_its_indexes(database: Database) -> None:
    before = database._host.catalog.n_commits
    made = database.create_collection("default", "d", make_schema(), indexes=[hnsw()], loaded=True)
    assert database._host.catalog.n_commits == before + 1
    assert made.record.loaded and [spec.index_type for spec in made.record.indexes] == ["HNSW"]
    assert made.record.indexes[0].index_id > 0
    with pytest.raises(IndexExists):
        database.create_collection("default", "e", make_schema(), indexes=[hnsw(), hnsw(metric="IP")])
    with pytest.raises(InvalidArgument):
        database.create_collection("default", "e", make_schema(), indexes=[hnsw(metric="NOTHING")])
    assert "e" not in database.list_collections("default")


def test_equal_schemas_are_one_object(database: Database) -> None:
    first, second = (database.collection("default", name) for name in ("c1", "c2"))
    assert first.schema is second.schema
    assert database.create_collection("default", "d", make_schema()).schema is first.schema
    assert database.create_collection("default", "e", make_schema(True)).schema is not first.schema


def test_what_is_due_shows_before_the_rows_are_read() -> None:
    record = CollectionRecord(1, 1, "c", make_schema(), 0, indexes=(hnsw(),))
    file = FileRecord("vectors", 1_000, "")
    small = SegmentRecord(1, 1, 10, (file,), {})
    bare = SegmentRecord(2, 1, MIN_INDEXED_ROWS, (file,), {})
    indexed = SegmentRecord(3, 1, MIN_INDEXED_ROWS, (file,), {0: file})
    assert not has_work(record, [], 0)
    assert not has_work(record, [small], 5)
    assert has_work(record, [bare], 0)
    assert not has_work(record, [indexed], 0)
    assert has_work(record, [indexed, small], 0)
    assert has_work(record, [], MAX_LOG_RECORDS)
