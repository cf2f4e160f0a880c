"""One collection: writes, their effect, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.engine import maintenance
from roost.engine.collection import Collection
from roost.engine.contents import Contents
from roost.engine.database import Database
from roost.engine.segment import IndexSpec
from roost.engine.storage.witness import Witness
from roost.engine.tail import Tail
from roost.errors import (
    Closed,
    CollectionNotFound,
    IndexExists,
    IndexNotFound,
    InvalidArgument,
    PartitionNotFound,
    StorageFull,
    Timeout,
)
from tests.engine.model import (
    check_files,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    named,
    read_all,
    stop_upkeep,
)


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    monkeypatch.setattr(maintenance._log, "disabled", True)
    database = Database.open(db_path, durability="normal")
    yield database
    database.close()


@pytest.fixture(params=[False, True], ids=["numbers", "texts"])
def collection(database: Database, request: pytest.FixtureRequest) -> Collection:
    return database.create_collection("default", "c", make_schema(string_keys=request.param))


def keys_of(collection: Collection, *numbers: int) -> list[Any]:
    return [f"k{n}" for n in numbers] if collection.schema.primary.max_length else list(numbers)


def write(collection: Collection, numbers: range, g: int, partition: str = "_default") -> None:
    collection.insert(make_batch(collection.schema, keys_of(collection, *numbers), g), partition)


def expect(collection: Collection, *pieces: tuple[range, int]) -> dict[Any, int]:
    return {key: g for numbers, g in pieces for key in keys_of(collection, *numbers)}


def check_reopened(database: Database, expected: dict[Any, int]) -> None:
    path = database.path
    database.close()
    again = Database.open(path)
    try:
        check_files(again)
        assert read_all(again.collection("default", "c")) == expected
    finally:
        again.close()


def test_an_empty_collection(collection: Collection) -> None:
    assert read_all(collection) == {}
    assert collection.n_rows == collection.count() == 0
    assert collection.delete(keys_of(collection, 1)) == 0
    collection.flush()
    assert collection.snapshot().parts == ()
    collection.truncate()
    assert len(collection.query(keys=keys_of(collection, 1))) == 0
    write(collection, range(0), 1)
    assert collection.host.catalog.log_range(collection.collection_id) == (0, 0)


def test_a_key_given_twice_is_deleted_once(collection: Collection) -> None:
    write(collection, range(3), 1)
    assert collection.delete(keys_of(collection, 1, 1, 7)) == 1
    collection.flush()
    assert collection.delete(keys_of(collection, 2, 2)) == 1
    assert collection.n_rows == 1


def test_an_upsert_across_segments_and_partitions(collection: Collection) -> None:
    collection.create_partition("p")
    write(collection, range(10), 1)
    collection.flush()
    write(collection, range(5), 2, "p")
    assert read_all(collection) == expect(collection, (range(10), 1), (range(5), 2))
    assert collection.query(partitions=collection.partition_ids(["p"])).keys.tolist() == keys_of(collection, *range(5))
    assert collection.delete(keys_of(collection, *range(10)), collection.partition_ids(["p"])) == 5
    collection.drop_partition("p")
    collection.drop_partition("p")
    assert collection.n_rows == 5
    with pytest.raises(PartitionNotFound, match="'p'"):
        collection.partition_ids(["p"])
    with pytest.raises(PartitionNotFound):
        write(collection, range(1), 1, "p")
    with pytest.raises(InvalidArgument, match="default"):
        collection.drop_partition("_default")


def test_a_flush_folds_deletes_of_sealed_rows_into_the_manifest(collection: Collection) -> None:
    write(collection, range(40), 1)
    collection.flush()
    collection.delete(keys_of(collection, *range(5)))
    catalog = collection.host.catalog
    assert catalog.log_range(collection.collection_id) == (1, 2)
    collection.flush()
    assert catalog.log_range(collection.collection_id) == (2, 2)
    assert collection.n_rows == 35


def test_indexes_are_made_once(collection: Collection) -> None:
    collection.create_index(hnsw())
    collection.create_index(hnsw())
    assert len(collection.record.indexes) == 1
    for other in (hnsw(metric="IP"), named(hnsw(), "other")):
        with pytest.raises(IndexExists, match="drop it first"):
            collection.create_index(other)
    with pytest.raises(InvalidArgument):
        collection.create_index(IndexSpec("vector", "x", "HNSW", "L2", {"M": "many"}))
    with pytest.raises(IndexNotFound, match="'none'"):
        collection.drop_index("none")


def test_a_dropped_index_leaves_no_file(collection: Collection) -> None:
    collection.create_index(hnsw())
    write(collection, range(40), 1)
    collection.flush()
    assert collection.n_unindexed("vector") == 0
    collection.drop_index("vector")
    assert collection.n_unindexed("vector") == 40
    assert not list(collection.host.segments.rglob("index-*"))


def test_a_flush_in_the_background(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    write(collection, range(40), 1)
    with collection.host.catalog.lock, pytest.raises(Timeout, match="in the background"):
        collection.flush(timeout_s=0.01)
    collection.flush()
    assert collection.contents.tail.n_rows == 0


def test_after_the_end(database: Database, collection: Collection) -> None:
    write(collection, range(3), 1)
    batch = make_batch(collection.schema, keys_of(collection, 1), 2)
    database.drop_collection("default", "c")
    with pytest.raises(CollectionNotFound, match="dropped"):
        collection.insert(batch)
    with pytest.raises(CollectionNotFound, match="dropped"):
        collection.flush()
    database.close()
    with pytest.raises(Closed):
        collection.delete([1])


def once(error: type[BaseException], function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    """Return the function with an interruption in its first call, before or after its work."""
    left = [error]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if left and before:
            raise left.pop()
        result = function(*arguments, **options)
        if left:
            raise left.pop()
        return result

    return interrupted


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"), [(Tail, "append"), (Tail, "_push"), (Contents, "delete"), (Contents, "snapshot")]
)
def test_a_write_cut_short_after_its_commit(
    database: Database,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    before: bool,
    error: type[BaseException],
) -> None:
    write(collection, range(30), 1)
    collection.flush()
    write(collection, range(20, 40), 2)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, once(error, getattr(owner, name), before=before))
        with pytest.raises(error):
            write(collection, range(25, 50), 3)
    assert read_all(collection) == expect(collection, (range(30), 1), (range(20, 40), 2))
    write(collection, range(1), 4)
    expected = expect(collection, (range(30), 1), (range(20, 40), 2), (range(25, 50), 3), (range(1), 4))
    assert read_all(collection) == expected
    collection.flush()
    assert read_all(collection) == expected
    check_reopened(database, expected)


@pytest.mark.parametrize("nth", range(1, 7))
def test_upkeep_cut_short_after_a_commit(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """A flush that seals, merges and builds fails at the nth publishing of a snapshot."""
    write(collection, range(60), 1)
    collection.flush()
    collection.create_index(hnsw())
    write(collection, range(50, 90), 2)
    expected = expect(collection, (range(60), 1), (range(50, 90), 2))
    publish, calls = collection.publish, [0]

    def failing() -> None:
        calls[0] += 1
        if calls[0] == nth:
            raise MemoryError
        publish()

    with monkeypatch.context() as patch:
        patch.setattr(collection, "publish", failing)
        try:
            collection.flush()
        except MemoryError:
            assert calls[0] == nth
    assert read_all(collection) == expected
    write(collection, range(3), 3)
    expected.update(expect(collection, (range(3), 3)))
    collection.flush()
    assert read_all(collection) == expected
    check_reopened(database, expected)


def test_a_witness_that_cannot_be_written(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit stands, so the write does."""

    def refuse(self: Witness, commits: int) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Witness, "record", refuse)
        write(collection, range(3), 1)
    write(collection, range(3, 5), 2)
    assert read_all(collection) == expect(collection, (range(3), 1), (range(3, 5), 2))


def test_a_drop_after_a_flush_cut_short_leaves_no_segment(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(collection, range(40), 1)
    with monkeypatch.context() as patch:
        patch.setattr(Witness, "record", once(MemoryError, Witness.record, before=True))
        with pytest.raises(MemoryError):
            collection.flush()
    database.drop_collection("default", "c")
    assert "segment" not in database._host.catalog.load().objects


def test_a_drop_cut_short_after_its_commit(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(collection, range(40), 1)
    collection.flush()
    with monkeypatch.context() as patch:
        patch.setattr(Collection, "close_down", once(KeyboardInterrupt, Collection.close_down, before=True))
        with pytest.raises(KeyboardInterrupt):
            database.drop_collection("default", "c")
    assert database.list_collections("default") == []
    with pytest.raises(CollectionNotFound):
        write(collection, range(3), 1)
    assert database.create_collection("default", "c", collection.schema) is not collection


def test_records_in_files_come_back(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.engine.storage.transaction.MIN_FILE_BYTES", 1000)
    write(collection, range(0, 50), 1)
    write(collection, range(50, 51), 1)
    write(collection, range(25, 75), 2)
    assert len(list((database.path / "log").iterdir())) == 2
    check_reopened(database, expect(collection, (range(0, 25), 1), (range(25, 75), 2)))
