from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.engine.storage.catalog import Catalog
from roost.engine.storage.witness import Witness
from roost.errors import Corruption, StorageFailure, StorageFull


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path, durability="normal")
    yield catalog
    catalog.close()


def bodies(catalog: Catalog, collection: int, after: int | None = None) -> list[bytes]:
    return [record.body for record in catalog.read_log(collection, after)]


def reopened(catalog: Catalog) -> Catalog:
    catalog.close()
    return Catalog(catalog.path.parent)


def test_what_a_transaction_stores_is_there_after_a_reopen(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.put("collection", 7, {"name": "é"})
        change.put("segment", 8, {"n": 1})
        change.set_deletes(8, b"\x01")
        assert change.append(7, 1, b"first") == 1
        assert change.append(7, 2, b"second") == 2
    again = reopened(catalog)
    state = again.load()
    assert state.objects == {"collection": {7: {"name": "é"}}, "segment": {8: {"n": 1}}}
    assert state.deletes == {8: b"\x01"}
    assert bodies(again, 7) == [b"first", b"second"]
    assert again.n_commits == 1
    assert again.segment(8) == {"n": 1}
    assert again.segment(9) is None
    again.close()


def test_the_segments_of_a_collection(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        for segment_id, collection in ((20, 1), (21, 11), (22, 1), (23, 111)):
            change.put("segment", segment_id, {"collection": collection, "log_seq": 1, "a": [{"collection": 5}]})
        change.put("collection", 1, {"collection": 1})
    assert [catalog.segments_of(collection) for collection in (1, 11, 111, 5)] == [[20, 22], [21], [23], []]


def test_another_program_that_looks_in_leaves_the_log_in_place(catalog: Catalog) -> None:
    reader = Catalog(catalog.path.parent, read_only=True)
    with catalog.transaction() as change:
        change.append(7, 1, b"first")
    look = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); print(*db.execute('SELECT body FROM log')); db.close()"
    )
    seen = subprocess.run([sys.executable, "-c", look, catalog.path], capture_output=True, text=True, check=True)
    assert "first" in seen.stdout
    assert catalog.path.with_name("roost.db-wal").stat().st_size
    with catalog.transaction() as change:
        change.append(7, 1, b"second")
    assert bodies(catalog, 7) == [b"first", b"second"]
    reader.close()


def test_a_block_that_raises_leaves_nothing(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.transaction() as change:
        change.put("collection", 1, {})
        change.append(1, 1, b"x")
        raise ZeroDivisionError
    assert catalog.load().objects == {}
    assert bodies(catalog, 1) == []
    with catalog.transaction() as change:
        assert change.append(1, 1, b"y") == 1


def test_a_transaction_that_was_left_open_is_undone(catalog: Catalog) -> None:
    catalog._db.execute("BEGIN IMMEDIATE")
    catalog._db.execute("DELETE FROM head")
    with catalog.transaction() as change:
        change.append(1, 1, b"x")
    assert bodies(reopened(catalog), 1) == [b"x"]


def test_an_interrupt_after_the_commit_is_no_loss(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        in_transaction = False

        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            cursor = self._db.execute(statement, *values)
            if statement == "COMMIT":
                raise KeyboardInterrupt
            return cursor

        def executemany(self, *arguments: object) -> sqlite3.Cursor:
            return self._db.executemany(*arguments)

    db = catalog._db
    monkeypatch.setattr(catalog, "_db", Interrupting(db))
    with pytest.raises(KeyboardInterrupt), catalog.transaction() as change:
        change.append(1, 1, b"x")
    monkeypatch.setattr(catalog, "_db", db)
    assert catalog.n_commits == 1
    with catalog.transaction() as change:
        assert change.append(1, 1, b"y") == 2
    assert bodies(reopened(catalog), 1) == [b"x", b"y"]


def test_logs_are_truncated_and_dropped(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        for body in (b"a", b"b", b"c"):
            change.append(1, 1, body)
            change.append(2, 1, body)
    with catalog.transaction() as change:
        change.truncate_log(1, 2)
        change.drop_log(2)
    assert bodies(catalog, 1) == [b"c"]
    assert catalog.log_range(1) == (2, 3)
    assert catalog.log_range(2) == (0, 0)
    with catalog.transaction() as change:
        assert change.append(1, 1, b"d") == 4
        assert change.append(2, 1, b"again") == 1
    again = reopened(catalog)
    again.load()
    assert bodies(again, 1) == [b"c", b"d"]
    assert bodies(again, 1, after=3) == [b"d"]
    assert bodies(again, 2) == [b"again"]
    again.close()


def test_removing_a_segment_removes_its_deletes(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.put("segment", 1, {})
        change.set_deletes(1, b"\x01")
        change.set_deletes(1, b"\x03")
    with catalog.transaction() as change:
        change.remove("segment", 1)
    state = catalog.load()
    assert state.deletes == {} and not state.objects.get("segment")


def test_a_reader_that_could_not_look_looks_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Catalog(catalog.path.parent, read_only=True)
    assert reader.changed()
    with catalog.transaction() as change:
        change.append(1, 1, b"x")

    class Locked:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_db", Locked())
        with pytest.raises(StorageFailure):
            reader.changed()
    assert reader.changed()
    reader.close()


def test_a_reader_sees_a_commit_that_the_witness_misses(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Catalog(catalog.path.parent, read_only=True)
    assert reader.changed()
    monkeypatch.setattr(Witness, "record", lambda *_: None)
    with catalog.transaction() as change:
        change.append(1, 1, b"x")
    assert not reader.changed()
    monkeypatch.setattr("roost.engine.storage.catalog.ASK_EVERY_S", 0.0)
    assert reader.changed()
    reader.close()


def test_another_connection_sees_that_something_changed(catalog: Catalog) -> None:
    reader = Catalog(catalog.path.parent, read_only=True)
    assert reader.changed()
    assert not reader.changed()
    with catalog.transaction() as change:
        change.append(1, 1, b"x")
    assert reader.changed()
    with reader.reading():
        assert bodies(reader, 1) == [b"x"]
        with catalog.transaction() as change:
            change.append(1, 1, b"y")
        assert bodies(reader, 1) == [b"x"]
        reader.load()
    reader.forget_changes()
    assert reader.changed()
    with reader.reading():
        assert bodies(reader, 1) == [b"x", b"y"]
    reader.close()


def test_a_database_that_is_missing_is_not_made_anew(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.append(1, 1, b"x")
    catalog.close()
    catalog.path.unlink()
    with pytest.raises(Corruption, match=r"roost\.db is missing"):
        Catalog(catalog.path.parent)
    assert not catalog.path.exists()


def test_segments_without_a_database_are_not_taken_for_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "segments" / "3").mkdir(parents=True)
    with pytest.raises(Corruption, match=r"roost\.db is missing"):
        Catalog(tmp_path)


def test_a_draft_of_an_interrupted_creation_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "roost.new").write_bytes(b"half of it")
    Catalog(tmp_path).close()
    assert {p.name for p in tmp_path.iterdir()} == {"roost.db", "roost.commits"}


def test_another_format_is_refused(catalog: Catalog) -> None:
    catalog._db.execute("PRAGMA user_version=99")
    with pytest.raises(Corruption, match="version 99"):
        reopened(catalog)


def test_the_format_before_is_read_and_marked_by_a_writer(catalog: Catalog) -> None:
    catalog._db.execute("PRAGMA user_version=1")
    assert reopened(catalog)._version() == 2


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "roost.db").write_bytes(b"not what it seems" * 1000)
    with pytest.raises(Corruption, match=r"roost\.db is damaged"):
        Catalog(tmp_path)


def test_an_older_database_under_a_newer_count_of_commits(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.append(1, 1, b"x")
    catalog.close()
    old = catalog.path.read_bytes()
    newer = Catalog(catalog.path.parent)
    with newer.transaction() as change:
        change.append(1, 1, b"y")
    newer.close()
    catalog.path.write_bytes(old)
    with pytest.raises(Corruption, match="1 acknowledged commits of 2"):
        Catalog(catalog.path.parent)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("database or disk is full", StorageFull),
        ("database disk image is malformed", Corruption),
        ("database is locked", StorageFailure),
    ],
)
def test_errors_of_sqlite_become_roosts(catalog: Catalog, text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=text), catalog.transaction():
        raise sqlite3.OperationalError(text)
