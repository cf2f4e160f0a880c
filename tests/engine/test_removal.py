"""Collections whose files are damaged or missing can be emptied and dropped, from the catalogue alone."""

from __future__ import annotations

import gc
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from roost.engine import host
from roost.engine.contents import Contents
from roost.engine.database import Database
from roost.engine.storage.transaction import Transaction
from roost.errors import CollectionNotFound, Corruption, StorageFull
from tests.engine.model import (
    check_files,
    check_search,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    read_all,
    stop_upkeep,
    vectors_of,
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Upkeep only when a flush asks for it, over a few dozen rows."""
    with pytest.MonkeyPatch.context() as patch:
        lower_thresholds(patch.setattr)
        stop_upkeep(patch.setattr)
        yield


@pytest.fixture
def beside(db_path: Path) -> Path:
    """A database of collection `c` (a segment with an index, deletes, a log that replaces rows) and of `other`."""
    database = Database.open(db_path)
    collection = database.create_collection("default", "c", make_schema(), indexes=[hnsw()])
    collection.insert(make_batch(collection.schema, range(80), 1))
    collection.flush()
    collection.delete(range(5))
    collection.insert(make_batch(collection.schema, range(70, 95), 2))
    other = database.create_collection("default", "other", make_schema())
    other.insert(make_batch(other.schema, range(30), 1))
    other.flush()
    other.insert(make_batch(other.schema, range(20, 40), 2))
    database.close()
    return db_path


OTHER = {**dict.fromkeys(range(20), 1), **dict.fromkeys(range(20, 40), 2)}


def damage_collection(path: Path, what: str) -> None:
    """Damage the files of collection `c`: those of its segments, or its log."""
    with closing(sqlite3.connect(path / "roost.db", isolation_level=None)) as db:
        bodies = dict(db.execute("SELECT id, body FROM objects WHERE kind = 'segment'"))
        collection_id = db.execute(
            "SELECT id FROM objects WHERE kind = 'collection' AND body LIKE '%\"c\"%'"
        ).fetchone()[0]
        if what == "log":
            db.execute("DELETE FROM log WHERE key = (SELECT min(key) FROM log WHERE key >> 40 = ?)", (collection_id,))
    segments = [path / "segments" / str(i) for i, body in bodies.items() if f'"collection":{collection_id},' in body]
    records = [p for p in (path / "log").glob(f"{collection_id}-*.rows")]
    assert segments and records
    for directory in segments:
        if what == "directories":
            shutil.rmtree(directory)
        elif what == "columns":
            for file in directory.glob("*.arrow"):
                file.write_bytes(file.read_bytes()[:-1] + b"!")
    if what == "records":
        for file in records:
            file.unlink()


DAMAGES = pytest.mark.parametrize("what", ["directories", "columns", "records", "log"])


@DAMAGES
def test_a_damaged_collection_can_be_dropped(beside: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    damage_collection(beside, what)
    database = Database.open(beside)
    try:
        if what in ("records", "log"):
            assert "collection 'c' can only be emptied or dropped" in caplog.text
        with pytest.raises(Corruption):
            read_all(database.collection("default", "c"))
        dropped = database.collection("default", "c")
        database.drop_collection("default", "c")
        with pytest.raises(CollectionNotFound, match="was dropped"):
            dropped.query()
        check_files(database)
        made = database.create_collection("default", "c", make_schema(string_keys=True))
        assert read_all(made) == {}
        assert read_all(database.collection("default", "other")) == OTHER
    finally:
        database.close()
    database = Database.open(beside)
    assert read_all(database.collection("default", "other")) == OTHER
    check_files(database)
    database.close()


@DAMAGES
def test_who_only_reads_does_without_a_damaged_collection(
    beside: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage_collection(beside, what)
    database = Database.open(beside, read_only=True)
    try:
        assert caplog.text.count("collection 'c' cannot be used") == 1
        assert database.list_collections("default") == ["c", "other"]
        for _ in range(2):
            with pytest.raises(Corruption, match="restore it from a copy"):
                database.collection("default", "c").query()
        assert read_all(database.collection("default", "other")) == OTHER
    finally:
        database.close()


@DAMAGES
def test_a_damaged_collection_can_be_emptied(beside: Path, what: str) -> None:
    damage_collection(beside, what)
    database = Database.open(beside)
    try:
        collection = database.collection("default", "c")
        collection.truncate()
        check_files(database)
        assert read_all(collection) == {}
        collection.insert(make_batch(collection.schema, range(60), 5))
        collection.delete([3])
        collection.flush()
        collection.insert(make_batch(collection.schema, range(60, 70), 6))
    finally:
        database.close()
    model = {**dict.fromkeys(range(60), 5), **dict.fromkeys(range(60, 70), 6)}
    del model[3]
    database = Database.open(beside)
    try:
        collection = database.collection("default", "c")
        assert read_all(collection) == model
        assert collection.record.index_of("vector") is not None
        check_search(collection, model, vectors_of([3], [3]))
        assert read_all(database.collection("default", "other")) == OTHER
        check_files(database)
    finally:
        database.close()


@pytest.mark.parametrize("method", ["truncate", "drop"])
def test_a_damaged_collection_is_emptied_or_dropped_whole_or_not_at_all(
    beside: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage_collection(beside, "columns")
    before = {path: path.read_bytes() for path in (beside / "segments").rglob("*") if path.is_file()}
    database = Database.open(beside)
    collection = database.collection("default", "c")

    def refuse(self: Transaction) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "finish", refuse)
        with pytest.raises(StorageFull):
            getattr(collection, method)()
    database.close()
    assert {path: path.read_bytes() for path in (beside / "segments").rglob("*") if path.is_file()} == before
    database = Database.open(beside)
    with pytest.raises(Corruption):
        read_all(database.collection("default", "c"))
    database.close()


@pytest.mark.parametrize("method", ["truncate", "drop"])
def test_a_collection_whose_last_change_was_interrupted_is_emptied_or_dropped_unread(
    beside: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(beside)
    collection = database.collection("default", "c")
    read_all(collection)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Contents, "insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collection.insert(make_batch(collection.schema, range(300, 310), 9))
    for file in (beside / "log").glob(f"{collection.collection_id}-*.rows"):
        file.unlink()
    with pytest.raises(Corruption):
        collection.delete([1])
    getattr(collection, method)()
    if method == "truncate":
        assert read_all(collection) == {}
        collection.insert(make_batch(collection.schema, range(5), 1))
    database.close()
    database = Database.open(beside)
    if method == "truncate":
        assert read_all(database.collection("default", "c")) == dict.fromkeys(range(5), 1)
    else:
        assert database.list_collections("default") == ["other"]
    check_files(database)
    database.close()


@pytest.mark.parametrize("method", ["truncate", "drop"])
def test_files_that_a_crash_kept_from_being_removed_are_swept(
    beside: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage_collection(beside, "columns")
    database = Database.open(beside)
    with monkeypatch.context() as patch:
        patch.setattr(host, "_remove", lambda path, process_id: None)
        getattr(database.collection("default", "c"), method)()
    assert len(list((beside / "segments").iterdir())) == 2
    database.close()
    database = Database.open(beside)
    check_files(database)
    assert read_all(database.collection("default", "other")) == OTHER
    database.close()


def test_who_follows_a_writer_learns_that_a_damaged_collection_is_gone(beside: Path) -> None:
    writer = Database.open(beside)
    reader = Database.open(beside, read_only=True)
    try:
        read = reader.collection("default", "c")
        for directory in (beside / "segments").iterdir():
            if directory.name in {str(i) for i in read.contents.sealed}:
                shutil.rmtree(directory)
        writer.drop_collection("default", "c")
        with pytest.raises(CollectionNotFound):
            read.query()
        assert reader.list_collections("default") == ["other"]
    finally:
        reader.close()
        writer.close()


def segment_files(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def test_what_was_dropped_is_removed_by_the_close_and_never_after_it(beside: Path, tmp_path: Path) -> None:
    """A reader still holds a segment when its collection is dropped; the directory is then restored from a copy."""
    copy = tmp_path / "copy"
    shutil.copytree(beside, copy)
    database = Database.open(beside)
    held = database.collection("default", "c").snapshot()
    database.drop_collection("default", "c")
    assert len(segment_files(beside)) == 2
    database.close()
    assert len(segment_files(beside)) == 1
    shutil.rmtree(beside)
    shutil.copytree(copy, beside)
    del held, database
    gc.collect()
    assert len(segment_files(beside)) == 2


def test_what_no_reader_holds_goes_with_the_drop(beside: Path) -> None:
    with closing(Database.open(beside)) as database:
        collection = database.collection("default", "c")
        assert collection.n_rows
        database.drop_collection("default", "c")
        assert len(segment_files(beside)) == 1
        with pytest.raises(CollectionNotFound):
            collection.snapshot()


def test_a_fork_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    host._remove(tmp_path / "file", -1)
    assert (tmp_path / "file").exists()
