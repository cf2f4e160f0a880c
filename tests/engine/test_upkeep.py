from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.engine import maintenance, merging, upkeep
from roost.engine.collection import Collection
from roost.engine.contents import Contents
from roost.engine.database import Database
from roost.engine.merging import Merging
from roost.engine.upkeep import Upkeep
from roost.errors import StorageFull
from tests.engine.model import hnsw, lower_thresholds, make_batch, make_schema, read_all, stop_upkeep


@pytest.fixture
def collection(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    monkeypatch.setattr(maintenance._log, "disabled", True)
    database = Database.open(db_path, durability="normal")
    yield database.create_collection("default", "c", make_schema())
    database.close()


def insert(collection: Collection, keys: range, g: int) -> None:
    collection.insert(make_batch(collection.schema, keys, g))


def test_a_short_tail_stays_in_the_log_unless_a_flush_asks(collection: Collection) -> None:
    insert(collection, range(10), 1)
    collection._upkeep.run(False)
    assert not collection.contents.sealed
    collection._upkeep.run(True)
    assert len(collection.contents.sealed) == 1
    insert(collection, range(100, 130), 1)
    collection._upkeep.run(False)
    assert collection.contents.tail.n_rows == 0


def test_a_long_tail_is_overdue(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(collection, range(10), 1)
    assert not collection._upkeep.overdue()
    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "MAX_TAIL_ROWS", 10)
        assert collection._upkeep.overdue()
    monkeypatch.setattr(upkeep, "MAX_TAIL_BYTES", 100)
    assert collection._upkeep.overdue()


def test_a_tail_that_grows_too_long_while_an_index_is_built_is_sealed_meanwhile(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.create_index(hnsw())
    collection.flush()
    insert(collection, range(60), 1)
    grown = iter([range(60, 100)])
    build = upkeep.build_index

    def slow(*arguments: Any) -> Any:
        for keys in grown:
            insert(collection, keys, 2)
            with monkeypatch.context() as patch:
                patch.setattr(upkeep, "MAX_TAIL_ROWS", 40)
                assert not arguments[-1].tend()
            assert collection.contents.tail.n_rows == 0
        return build(*arguments)

    monkeypatch.setattr(upkeep, "build_index", slow)
    collection.flush()
    assert next(grown, None) is None
    assert read_all(collection) == {**dict.fromkeys(range(60), 1), **dict.fromkeys(range(60, 100), 2)}


def test_rows_that_were_being_sealed_when_it_failed_and_those_since_then(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageFull("no space left")

    insert(collection, range(30), 1)
    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "write_segment", refuse)
        with pytest.raises(StorageFull):
            collection.flush()
    assert collection.contents.sealing is not None
    insert(collection, range(20, 40), 2)
    collection.delete([0])
    expected = {**dict.fromkeys(range(1, 20), 1), **dict.fromkeys(range(20, 40), 2)}
    assert read_all(collection) == expected
    collection.flush()
    assert collection.contents.sealing is None and collection.contents.tail.n_rows == 0
    assert read_all(collection) == expected


def test_rows_that_were_all_deleted_leave_no_segment(collection: Collection) -> None:
    insert(collection, range(30), 1)
    collection.delete(range(30))
    collection.flush()
    assert not collection.contents.sealed
    assert collection.host.catalog.log_range(collection.collection_id) == (2, 2)


def test_a_segment_whose_rows_are_all_deleted_goes(collection: Collection) -> None:
    insert(collection, range(30), 1)
    collection.flush()
    collection.delete(range(30))
    collection.flush()
    assert not collection.contents.sealed
    assert not list(collection.host.segments.iterdir())


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Upkeep, "_swap_sealed"), (Merging, "_swap"), (Upkeep, "_swap_indexed")],
    ids=["seal", "merge", "index"],
)
def test_writes_and_a_truncation_before_each_swap(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str
) -> None:
    insert(collection, range(60), 1)
    collection.flush()
    insert(collection, range(40, 100), 2)
    swap, model = getattr(kind, name), {**dict.fromkeys(range(40), 1), **dict.fromkeys(range(40, 100), 2)}
    changes = ["delete", "upsert", "truncate"]

    def changing(self: Any, contents: Contents, *arguments: object) -> object:
        change = changes.pop(0) if changes else ""
        if change == "delete":
            collection.delete(range(30, 50))
            for key in range(30, 50):
                model.pop(key, None)
        elif change == "upsert":
            insert(collection, range(5, 45), 3)
            model.update(dict.fromkeys(range(5, 45), 3))
        elif change == "truncate":
            collection.truncate()
            model.clear()
            insert(collection, range(7), 4)
            model.update(dict.fromkeys(range(7), 4))
        return swap(self, contents, *arguments)

    monkeypatch.setattr(kind, name, changing)
    for g in range(5, 11):
        collection.flush()
        assert read_all(collection) == model
        collection.create_index(hnsw())
        collection.flush()
        assert read_all(collection) == model
        collection.drop_index("vector")
        insert(collection, range(100 * g, 100 * g + 60), g)
        model.update(dict.fromkeys(range(100 * g, 100 * g + 60), g))
    assert not changes
    collection.flush()
    assert read_all(collection) == model
    assert collection.n_rows == len(model)


def test_an_index_dropped_while_it_is_built(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    build = upkeep.save_index

    def dropping(*arguments: object) -> object:
        file = build(*arguments)
        if collection.record.indexes:
            collection.drop_index("vector")
        return file

    insert(collection, range(60), 1)
    collection.flush()
    monkeypatch.setattr(upkeep, "save_index", dropping)
    collection.create_index(hnsw())
    collection.flush()
    assert not list(collection.host.segments.rglob("index-*"))


def test_an_index_dropped_while_a_merge_builds_it(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    write = merging.write_segment

    def dropping(*arguments: object) -> object:
        written = write(*arguments)
        if collection.record.indexes and collection.contents.sealing is None:
            collection.drop_index("vector")
        return written

    insert(collection, range(60), 1)
    collection.create_index(hnsw())
    collection.flush()
    monkeypatch.setattr(merging, "write_segment", dropping)
    insert(collection, range(100, 160), 1)
    collection.flush()
    assert len(collection.contents.sealed) == 1
    assert not list(collection.host.segments.rglob("index-*"))
    assert len(read_all(collection)) == 120


def n_logged(collection: Collection) -> int:
    first, last = collection.host.catalog.log_range(collection.collection_id)
    return last - first


@pytest.mark.parametrize("bound", ["MAX_LOG_RECORDS", "MAX_LOG_DELETES"])
def test_deletes_alone_are_folded_when_the_log_is_long(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, db_path: Path, bound: str
) -> None:
    monkeypatch.setattr(upkeep, bound, 5)
    insert(collection, range(60), 1)
    collection.flush()
    assert n_logged(collection) == 0
    for key in range(4):
        collection.delete([key])
    collection._upkeep.run(False)
    assert n_logged(collection) == 4
    collection.delete([4])
    collection._upkeep.run(False)
    assert n_logged(collection) == 0
    assert read_all(collection) == dict.fromkeys(range(5, 60), 1)
    collection.delete([5])
    collection._upkeep.run(False)
    assert n_logged(collection) == 1
    with_reader = Database.open(db_path, read_only=True)
    assert read_all(with_reader.collection("default", "c")) == dict.fromkeys(range(6, 60), 1)
    with_reader.close()


def test_a_log_of_records_without_effect_is_emptied(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MAX_LOG_RECORDS", 2)
    for name in ("a", "b"):
        collection.create_partition(name)
        collection.drop_partition(name)
    assert n_logged(collection) == 2
    collection._upkeep.run(False)
    assert n_logged(collection) == 0
