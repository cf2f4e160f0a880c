"""Scalar indexes over the life of a collection: built, merged, damaged, dropped, opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roost.engine import upkeep
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.filter import compile_filter
from roost.engine.segment import IndexSpec, Segment
from roost.errors import FieldNotFound, IndexExists, InvalidArgument
from tests.engine.model import check_files, hnsw, lower_thresholds, make_batch, make_schema, read_all, stop_upkeep

BY_G = IndexSpec("g", "by_g", "STL_SORT", "")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upkeep when a flush asks for it, over a few dozen rows; an index answers whenever it can."""
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)


@pytest.fixture
def database(db_path: Path) -> Iterator[Database]:
    database = Database.open(db_path)
    yield database
    database.close()


@pytest.fixture
def collection(database: Database) -> Collection:
    return database.create_collection("default", "c", make_schema())


def insert(collection: Collection, keys: range, g: int) -> None:
    collection.insert(make_batch(collection.schema, keys, g))


def with_g(collection: Collection, expression: str) -> list[int]:
    found: list[int] = collection.query(predicate=compile_filter(expression, collection.schema)).keys.tolist()
    return found


def forms(collection: Collection) -> list[str | None]:
    """Return the form of the index on `g` of each sealed segment."""
    found = [part.scalar_index("g") for part in collection.contents.sealed.values()]
    return [None if index is None else index.form for index in found]


def index_files(collection: Collection) -> list[Path]:
    return sorted(collection.host.segments.rglob("index-*.bin"))


def test_an_index_is_built_by_a_flush_and_answers(collection: Collection) -> None:
    insert(collection, range(60), 1)
    collection.flush()
    collection.create_index(BY_G)
    assert forms(collection) == [None] and collection.n_unindexed("g") == 60
    assert len(with_g(collection, "g == 1")) == 60
    collection.flush()
    assert forms(collection) == ["lists"] and collection.n_unindexed("g") == 0
    insert(collection, range(20, 30), 2)
    collection.delete(range(5))
    assert with_g(collection, "g == 1") == [*range(5, 20), *range(30, 60)]
    assert with_g(collection, "g > 1") == list(range(20, 30)), "rows that no segment holds are read"
    assert with_g(collection, "g != 1") == list(range(20, 30))


def test_a_merge_builds_the_index_of_all_rows(collection: Collection, database: Database) -> None:
    collection.create_index(BY_G)
    collection.create_index(hnsw())
    for g in range(1, 7):
        insert(collection, range(40 * g, 40 * g + 60), g)
        collection.flush()
    assert all(form == "lists" for form in forms(collection))
    assert len(collection.contents.sealed) < 6
    for g in range(1, 6):
        assert with_g(collection, f"g == {g}") == list(range(40 * g, 40 * g + 40))
    check_files(database)


def test_segments_merge_where_there_are_scalar_indexes_alone(collection: Collection) -> None:
    collection.create_index(BY_G)
    insert(collection, range(60), 1)
    collection.flush()
    collection.delete(range(10))
    insert(collection, range(60, 100), 2)
    collection.flush()
    (part,) = collection.contents.sealed.values()
    assert part.n_rows == 90, "no graph is worth keeping the deleted rows"
    assert with_g(collection, "g <= 1") == list(range(10, 60))


def test_a_short_segment_has_none(collection: Collection) -> None:
    collection.create_index(BY_G)
    insert(collection, range(10), 1)
    collection.flush()
    assert forms(collection) == [None]
    assert with_g(collection, "g == 1") == list(range(10))


def test_an_index_of_each_kind_and_dropping_one(collection: Collection, database: Database) -> None:
    collection.create_index(hnsw())
    collection.create_index(BY_G)
    insert(collection, range(60), 1)
    collection.flush()
    assert len(index_files(collection)) == 2
    collection.drop_index("by_g")
    assert forms(collection) == [None] and len(with_g(collection, "g == 1")) == 60
    assert len(index_files(collection)) == 1
    check_files(database)


def test_an_index_dropped_while_it_is_built(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    build = upkeep.save_index

    def dropping(*arguments: object) -> object:
        file = build(*arguments)  # type: ignore[arg-type]
        collection.drop_index("by_g")
        return file

    insert(collection, range(60), 1)
    collection.flush()
    monkeypatch.setattr(upkeep, "save_index", dropping)
    collection.create_index(BY_G)
    collection.flush()
    assert not index_files(collection)


def test_opened_again_it_is_read_from_its_file(db_path: Path, database: Database, collection: Collection) -> None:
    collection.create_index(IndexSpec("g", "by_g", "AUTOINDEX", ""))
    insert(collection, range(60), 1)
    collection.flush()
    model = read_all(collection)
    database.close()
    again = Database.open(db_path)
    opened = again.collection("default", "c")
    assert forms(opened) == ["bitmaps"]
    assert opened.record.indexes == collection.record.indexes and opened.record.indexes[0].is_scalar
    assert read_all(opened) == model and len(with_g(opened, "g == 1")) == 60
    again.close()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [flipped, cut, Path.unlink])
def test_a_damaged_file_is_built_again_from_its_rows(
    db_path: Path,
    database: Database,
    collection: Collection,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    collection.create_index(BY_G)
    insert(collection, range(60), 1)
    collection.flush()
    (file,) = index_files(collection)
    database.close()
    damage(file)
    again = Database.open(db_path)
    opened = again.collection("default", "c")
    assert len(with_g(opened, "g == 1")) == 60
    assert caplog.text.count("until it is built again") == 1
    assert len(with_g(opened, "g < 5")) == 60
    assert caplog.text.count("until it is built again") == 1, "it is told once"
    opened._upkeep.run(False)
    assert forms(opened) == ["lists"] and len(with_g(opened, "g <= 5")) == 60
    check_files(again)
    again.close()
    caplog.clear()
    again = Database.open(db_path)
    assert forms(again.collection("default", "c")) == ["lists"]
    again.close()
    assert "built again" not in caplog.text


def test_opening_every_file_opens_the_index(db_path: Path, database: Database, collection: Collection) -> None:
    insert(collection, range(60), 1)
    collection.create_index(BY_G)
    collection.flush()
    part = next(iter(collection.contents.sealed.values()))
    part.open_files()
    assert isinstance(part.rows, Segment) and len(part.rows.record.indexes) == 1
    assert all(index.usable() is not None for index in part.indexes.values())


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (IndexSpec("g", "x", "Trie", ""), InvalidArgument),
        (IndexSpec("g", "x", "STL_SORT", "", {"a": 1}), InvalidArgument),
        (IndexSpec("none", "x", "STL_SORT", ""), FieldNotFound),
        (IndexSpec("g", "x", "INVERTED", ""), IndexExists),
    ],
)
def test_what_is_refused(collection: Collection, spec: IndexSpec, error: type[Exception]) -> None:
    collection.create_index(BY_G)
    collection.create_index(BY_G)
    with pytest.raises(error):
        collection.create_index(spec)
    assert [held.name for held in collection.record.indexes] == ["by_g"]
