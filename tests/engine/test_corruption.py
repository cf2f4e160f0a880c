"""Damaged files: the right rows or an error that names a file, never a wrong answer."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.engine.database import Database
from roost.engine.storage.catalog import Catalog
from roost.errors import Corruption
from tests.engine.model import (
    Model,
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

N_FLIPS = 60


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Upkeep only when a flush asks for it, over a few dozen rows."""
    with pytest.MonkeyPatch.context() as patch:
        lower_thresholds(patch.setattr)
        stop_upkeep(patch.setattr)
        yield


def fill(database: Database) -> Model:
    """Write a segment with an index and deletes, and then a log of inserts and deletes."""
    collection = database.create_collection("default", "c", make_schema())
    collection.create_index(hnsw())
    collection.insert(make_batch(collection.schema, range(80), 1))
    collection.flush()
    collection.delete(range(5))
    collection.insert(make_batch(collection.schema, range(90, 95), 2))
    collection.flush()
    for g in range(3, 9):
        collection.insert(make_batch(collection.schema, range(10 * g, 10 * g + (10 if g == 8 else 4)), g))
        collection.delete([10 * g + 1])
    return read_all(collection)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Model]:
    """A database that was copied while it was open, one that was closed, and the rows that both hold."""
    home = tmp_path_factory.mktemp("filled")
    database = Database.open(home / "closed")
    model = fill(database)
    copy_database(home / "closed", home / "killed")
    database.close()
    assert answers_or_refuses(copy_database(home / "killed", home / "proof"), model) is None
    return home / "killed", home / "closed", model


def answers_or_refuses(path: Path, model: Model) -> str | None:
    """Read everything, write, flush and reopen; return the error's message, or None where all went well."""
    try:
        database = Database.open(path)
        try:
            collection = database.collection("default", "c")
            assert read_all(collection) == model
            check_search(collection, model, vectors_of([3], [3]))
            assert collection.query(keys=[33]).take("g").to_pylist() == [3]
            collection.insert(make_batch(collection.schema, range(200, 240), 9))
            collection.delete([33])
            collection.flush()
            expected = {**{k: g for k, g in model.items() if k != 33}, **dict.fromkeys(range(200, 240), 9)}
            assert read_all(collection) == expected
        finally:
            database.close()
        database = Database.open(path)
        try:
            assert read_all(database.collection("default", "c")) == expected
        finally:
            database.close()
    except Corruption as error:
        return error.message
    return None


def damaged(source: Path, target: Path, file: str, damage: Callable[[bytearray], bytearray | None]) -> Path:
    """Copy a database with one file damaged, or missing where `damage` returns None."""
    shutil.copytree(source, target)
    path = next(p for p in sorted(target.rglob("*")) if p.match(file))
    content = damage(bytearray(path.read_bytes()))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return target


def flips(file_size: int, seed: int) -> list[tuple[int, int]]:
    """Return places and what to change there: one bit, or the whole byte."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, file_size, N_FLIPS)
    bits = np.where(rng.random(N_FLIPS) < 0.5, 1 << rng.integers(0, 8, N_FLIPS), rng.integers(1, 256, N_FLIPS))
    return [(int(place), int(bit)) for place, bit in zip(places, bits, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "file"),
    [
        ("killed", "roost.db-wal"),
        ("killed", "roost.db"),
        ("closed", "roost.db"),
        ("killed", "roost.commits"),
        ("killed", "*.rows"),
        ("closed", "fields.arrow"),
        ("closed", "vectors-101.arrow"),
        ("closed", "index-*.bin"),
    ],
)
def test_a_changed_byte(
    tmp_path: Path, filled: tuple[Path, Path, Model], state: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    killed, closed, model = filled
    source = killed if state == "killed" else closed
    size = next(p for p in sorted(source.rglob("*")) if p.match(file)).stat().st_size
    n_refused = 0
    for place, bits in flips(size, size):

        def flip(content: bytearray, place: int = place, bits: int = bits) -> bytearray:
            content[place] ^= bits
            return content

        target = damaged(source, tmp_path / "damaged", file, flip)
        message = answers_or_refuses(target, model)
        assert message is None or Path(file).name.split("-")[0].strip("*") in message or "roost.db" in message, message
        is_index = file.startswith("index-")
        assert message is None or not is_index, "an index is built again from its rows"
        n_refused += message is not None or (is_index and "is damaged" in caplog.text)
        caplog.clear()
        shutil.rmtree(target)
    assert n_refused or file == "roost.db", "no damage was noticed"


@pytest.mark.slow
def test_a_changed_byte_in_the_header_of_the_database(tmp_path: Path, filled: tuple[Path, Path, Model]) -> None:
    killed, _, model = filled
    for place in range(0, 100, 2):

        def flip(content: bytearray, place: int = place) -> bytearray:
            content[place] ^= 1 + place % 255
            return content

        target = damaged(killed, tmp_path / "damaged", "roost.db", flip)
        message = answers_or_refuses(target, model)
        assert message is None or "roost.db" in message
        shutil.rmtree(target)


@pytest.mark.parametrize("file", ["roost.db-wal", "roost.db", "roost.commits", "*.rows", "*.arrow"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_cut_short(tmp_path: Path, filled: tuple[Path, Path, Model], file: str, share: float) -> None:
    killed, _, model = filled
    target = damaged(killed, tmp_path / "damaged", file, lambda content: content[: int(share * len(content))])
    names = [p.name for p in target.rglob("*") if p.match(file)]
    message = answers_or_refuses(target, model)
    # The last pages of the database lie in its write-ahead log as well, the end of that log is left from before
    # it was started anew, and an empty count of commits says nothing.
    is_harmless = (share >= 0.7 and file.startswith("roost.db")) or (file, share) == ("roost.commits", 0.0)
    assert any(name in message for name in names) if message is not None else is_harmless


@pytest.mark.parametrize("file", ["roost.db-wal", "roost.db", "*.rows", "fields.arrow", "vectors-101.arrow"])
def test_a_missing_file(tmp_path: Path, filled: tuple[Path, Path, Model], file: str) -> None:
    killed, _, model = filled
    target = damaged(killed, tmp_path / "damaged", file, lambda content: None)
    message = answers_or_refuses(target, model)
    assert message is not None and "missing" in message and file.strip("*").split(".")[0] in message
    assert len(list(target.rglob("*.*"))) >= len(list(killed.rglob("*.*"))) - 2, "what is left must not be swept"


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_database_whose_commits_are_not_counted_opens_with_a_warning_until_it_changes(
    tmp_path: Path, filled: tuple[Path, Path, Model], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cut: Callable[[bytearray], bytearray | None] = _gone if damage == "missing" else lambda content: bytearray()
    target = damaged(filled[0], tmp_path / "damaged", "roost.commits", cut)
    for read_only in (True, False):
        database = Database.open(target, read_only=read_only)
        collection = database.collection("default", "c")
        assert read_all(collection) == filled[2]
        assert "roost.commits is missing or empty" in caplog.text
        caplog.clear()
        if not read_only:
            collection.delete([33])
        database.close()
    Database.open(target).close()
    assert caplog.text == ""


def test_a_reader_makes_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(Corruption, match=r"roost\.db is missing"):
        Catalog(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_upkeep_tells_once_and_without_a_traceback_of_damaged_columns(
    tmp_path: Path, filled: tuple[Path, Path, Model], caplog: pytest.LogCaptureFixture
) -> None:
    target = damaged(filled[1], tmp_path / "damaged", "fields.arrow", _flipped)
    database = Database.open(target)
    try:
        collection = database.collection("default", "c")
        for _ in range(2):
            with pytest.raises(Corruption, match=r"fields\.arrow"):
                collection.flush()
        (warning,) = caplog.records
        assert warning.exc_info is None
        assert "collection 'c' is not merged and indexed further" in warning.getMessage()
        assert "fields.arrow is damaged" in warning.getMessage()
    finally:
        database.close()


def test_a_segment_directory_that_is_a_file(tmp_path: Path, filled: tuple[Path, Path, Model]) -> None:
    target = damaged(filled[1], tmp_path / "damaged", "roost.commits", lambda content: content)
    segment = next((target / "segments").iterdir())
    shutil.rmtree(segment)
    segment.write_bytes(b"")
    message = answers_or_refuses(target, filled[2])
    assert message is not None and "missing" in message


def _flipped(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 4
    return content


def _cut(content: bytearray) -> bytearray:
    return content[: len(content) // 3]


def _gone(content: bytearray) -> None:
    return None


@pytest.mark.parametrize("damage", [_flipped, _cut, _gone])
def test_a_damaged_index_is_built_again_from_its_rows(
    tmp_path: Path,
    filled: tuple[Path, Path, Model],
    damage: Callable[[bytearray], bytearray | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    target, model = damaged(filled[1], tmp_path / "damaged", "index-*.bin", damage), filled[2]
    database = Database.open(target)
    collection = database.collection("default", "c")
    check_search(collection, model, vectors_of([3], [3]))
    assert caplog.text.count("its rows are compared one by one until it is built again") == 1
    check_search(collection, model, vectors_of([3], [3]))
    assert caplog.text.count("one by one") == 1, "it is told once"
    collection._upkeep.run(False)
    check_search(collection, model, vectors_of([3], [3]))
    database.close()
    caplog.clear()
    database = Database.open(target)
    check_search(database.collection("default", "c"), model, vectors_of([3], [3]))
    assert read_all(database.collection("default", "c")) == model
    database.close()
    assert "one by one" not in caplog.text
    assert len(list(target.rglob("index-*.bin"))) == 1


def test_a_damaged_index_is_not_grown_into_the_next_one(
    tmp_path: Path, filled: tuple[Path, Path, Model], caplog: pytest.LogCaptureFixture
) -> None:
    target = damaged(filled[1], tmp_path / "damaged", "index-*.bin", _flipped)
    database = Database.open(target)
    try:
        collection = database.collection("default", "c")
        collection.insert(make_batch(collection.schema, range(300, 340), 9))
        collection.flush()
        assert "is damaged: its checksum does not match" in caplog.text
        assert "the index is built anew" in caplog.text
        check_search(collection, {**filled[2], **dict.fromkeys(range(300, 340), 9)}, vectors_of([3], [3]))
    finally:
        database.close()


def test_who_only_reads_compares_the_rows_of_a_damaged_index(
    tmp_path: Path, filled: tuple[Path, Path, Model], caplog: pytest.LogCaptureFixture
) -> None:
    target = damaged(filled[1], tmp_path / "damaged", "index-*.bin", _flipped)
    before = {path: path.read_bytes() for path in target.rglob("index-*.bin")}
    database = Database.open(target, read_only=True)
    check_search(database.collection("default", "c"), filled[2], vectors_of([3], [3]))
    database.close()
    assert "one by one" in caplog.text
    assert {path: path.read_bytes() for path in target.rglob("index-*.bin")} == before


def test_rows_changed_behind_the_back_of_the_log(tmp_path: Path, filled: tuple[Path, Path, Model]) -> None:
    """Changes that leave SQLite's file well formed."""
    changes = {
        "a record is gone": "DELETE FROM log WHERE key = (SELECT max(key) FROM log)",
        "the first record is gone": "DELETE FROM log WHERE key = (SELECT min(key) FROM log)",
        "the whole log is gone": "DELETE FROM log",
        "a record is repeated": "INSERT INTO log SELECT key + 1, op, body, digest FROM log ORDER BY key DESC LIMIT 1",
        "a record is of another kind": "UPDATE log SET op = 3 - op WHERE key = (SELECT min(key) FROM log)",
        "a record has no body": "UPDATE log SET body = 'x' WHERE key = (SELECT min(key) FROM log)",
        "the head is gone": "DELETE FROM head WHERE id = 0",
        "a log's head is gone": "DELETE FROM head WHERE id > 0",
        "a log's head says less": "UPDATE head SET seq = seq - 1 WHERE id > 0",
        "deletes are gone": "DELETE FROM deletes",
        "deletes are other ones": "UPDATE deletes SET body = zeroblob(length(body))",
        "an object is gone": "DELETE FROM objects WHERE kind = 'segment'",
        "an object is another": "UPDATE objects SET body = replace(body, '80', '81') WHERE kind = 'segment'",
        "an object has no body": "UPDATE objects SET body = 7",
        "an object's digest is a text": "UPDATE objects SET digest = 'x'",
        "a table is gone": "DROP TABLE log",
    }
    for i, (what, change) in enumerate(changes.items()):
        target = tmp_path / str(i)
        shutil.copytree(filled[1], target)
        db = sqlite3.connect(target / "roost.db", isolation_level=None)
        n_changed = db.execute(change).rowcount
        db.close()
        assert n_changed != 0, what
        message = answers_or_refuses(target, filled[2])
        if what == "a record is repeated":
            assert message is None or "roost.db" in message
        else:
            assert message is not None and "roost.db" in message, what
