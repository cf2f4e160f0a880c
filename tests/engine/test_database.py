from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.engine.database import Database
from roost.errors import (
    AliasExists,
    AliasNotFound,
    Closed,
    CollectionExists,
    CollectionNotFound,
    DatabaseExists,
    DatabaseNotFound,
    InvalidArgument,
)
from tests.engine.model import make_batch, make_schema, read_all

SCHEMA = make_schema()


@pytest.fixture
def database(db_path: Path) -> Iterator[Database]:
    database = Database.open(db_path)
    yield database
    database.close()


def reopened(database: Database) -> Database:
    path = database.path
    database.close()
    return Database.open(path)


def test_names_survive_a_reopen(database: Database) -> None:
    database.create_database("other", {"a": 1})
    collection = database.create_collection("default", "c", SCHEMA, {"p": "q"})
    collection.create_partition("one")
    collection.create_partition("two")
    database.create_collection("other", "c", make_schema(string_keys=True))
    database.create_alias("default", "a", "c")
    database.rename_collection("default", "c", "d", "default")
    again = reopened(database)
    assert again.list_databases() == ["default", "other"]
    assert again.database("other").properties == {"a": 1}
    assert again.list_collections("default") == ["d"]
    found = again.collection("default", "a")
    assert found.name == "d" and found.schema == SCHEMA
    assert found.record.properties == {"p": "q"} and list(found.record.partitions) == ["_default", "one", "two"]
    assert again.collection("other", "c").schema == make_schema(string_keys=True)
    assert again.alias_target("default", "a") is found
    assert again.list_aliases("default") == again.list_aliases("default", "d") == ["a"]
    again.close()


def test_what_exists_is_not_made_again(database: Database) -> None:
    held = database.create_collection("default", "c", SCHEMA)
    assert database.create_collection("default", "c", SCHEMA) is held
    with pytest.raises(CollectionExists, match="another schema"):
        database.create_collection("default", "c", make_schema(string_keys=True))
    with pytest.raises(DatabaseExists):
        database.create_database("default", {})
    database.create_alias("default", "a", "c")
    database.create_alias("default", "a", "c")
    with pytest.raises(CollectionExists, match="alias"):
        database.create_collection("default", "a", SCHEMA)
    database.create_collection("default", "d", SCHEMA)
    with pytest.raises(AliasExists, match="alter_alias"):
        database.create_alias("default", "a", "d")
    with pytest.raises(AliasExists, match="collection's name"):
        database.create_alias("default", "d", "c")
    with pytest.raises(CollectionExists):
        database.rename_collection("default", "c", "d", "default")


def test_what_is_not_there_is_told(database: Database) -> None:
    for call in (
        lambda: database.collection("default", "c"),
        lambda: database.drop_collection("default", "c"),
        lambda: database.rename_collection("default", "c", "d", "default"),
        lambda: database.create_alias("default", "a", "c"),
        lambda: database.list_aliases("default", "c"),
    ):
        with pytest.raises(CollectionNotFound):
            call()
    for call in (
        lambda: database.database("none"),
        lambda: database.drop_database("none"),
        lambda: database.list_collections("none"),
        lambda: database.create_collection("none", "c", SCHEMA),
    ):
        with pytest.raises(DatabaseNotFound):
            call()
    with pytest.raises(AliasNotFound):
        database.alter_alias("default", "a", "c")
    database.drop_alias("default", "a")


def test_what_is_in_use_is_not_dropped(database: Database) -> None:
    database.create_database("other", {})
    database.create_collection("other", "c", SCHEMA)
    database.create_alias("other", "a", "c")
    with pytest.raises(InvalidArgument, match="default one"):
        database.drop_database("default")
    with pytest.raises(InvalidArgument, match="holds c"):
        database.drop_database("other")
    with pytest.raises(InvalidArgument, match="aliases: a"):
        database.drop_collection("other", "c")
    with pytest.raises(InvalidArgument, match="is an alias"):
        database.drop_collection("other", "a")
    with pytest.raises(InvalidArgument, match="has aliases"):
        database.rename_collection("other", "c", "c", "default")
    database.drop_alias("other", "a")
    database.rename_collection("other", "c", "c", "default")
    database.drop_database("other")
    assert database.list_collections("default") == ["c"]


def test_an_alias_moves(database: Database) -> None:
    one, two = (database.create_collection("default", name, SCHEMA) for name in ("one", "two"))
    database.create_alias("default", "a", "one")
    assert database.collection("default", "a") is one
    database.alter_alias("default", "a", "two")
    assert database.collection("default", "a") is two
    database.drop_collection("default", "one")


def test_a_dropped_collection_does_not_come_back(database: Database) -> None:
    for g in range(3):
        collection = database.create_collection("default", "c", SCHEMA)
        assert read_all(collection) == {}
        collection.insert(make_batch(SCHEMA, range(30), g))
        collection.flush()
        collection.insert(make_batch(SCHEMA, range(10), g))
        database.drop_collection("default", "c")
    again = reopened(database)
    assert again.list_collections("default") == []
    assert list((again.path / "segments").iterdir()) == []
    assert read_all(again.create_collection("default", "c", SCHEMA)) == {}
    again.close()


def test_the_last_user_closes(db_path: Path) -> None:
    one, two = Database.open(db_path), Database.open(str(db_path))
    assert one is two
    one.close()
    collection = two.create_collection("default", "c", SCHEMA)
    two.close()
    two.close()
    with pytest.raises(Closed, match=r"roost\.connect"):
        two.list_databases()
    with pytest.raises(Closed):
        collection.truncate()


def test_one_is_closed_by_the_background_thread_of_another_that_closes(tmp_path: Path) -> None:
    one, two = Database.open(tmp_path / "one"), Database.open(tmp_path / "two")
    started, go_on = threading.Event(), threading.Event()

    def collect(full: bool) -> None:
        started.set()
        go_on.wait()
        one.close()

    done = two._host.maintenance.request(0, collect)
    assert started.wait(60)
    closing = threading.Thread(target=two.close, daemon=True)
    closing.start()
    while two._users:
        time.sleep(0.001)
    reopened: list[Database] = []
    opening = threading.Thread(target=lambda: reopened.append(Database.open(tmp_path / "two")), daemon=True)
    opening.start()
    go_on.set()
    for thread in (closing, opening):
        thread.join(60)
        assert not thread.is_alive()
    with pytest.raises(Closed):
        done.result()
    assert reopened[0] is not two
    reopened[0].close()


def test_an_unknown_durability(db_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="full, normal"):
        Database.open(db_path, durability="some")
    assert not db_path.exists()


def test_an_alias_names_a_collection_at_every_moment(database: Database) -> None:
    interval = sys.getswitchinterval()
    database.create_collection("default", "c0", SCHEMA)
    database.create_alias("default", "a", "c0")
    errors: list[Exception] = []
    n_found, stopping = [0, 0], threading.Event()

    def look_up(number: int) -> None:
        try:
            while not stopping.is_set() or n_found[number] < 2_000:
                found = database.collection("default", "a") if number else database.alias_target("default", "a")
                assert found.name.startswith("c")
                n_found[number] += 1
        except Exception as error:
            errors.append(error)

    readers = [threading.Thread(target=look_up, args=(number,)) for number in range(2)]
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        for i in range(60):
            database.create_collection("default", f"c{i + 1}", SCHEMA)
            database.alter_alias("default", "a", f"c{i + 1}")
            database.drop_collection("default", f"c{i}")
            if errors:
                break
    finally:
        stopping.set()
        for reader in readers:
            reader.join(60)
        sys.setswitchinterval(interval)
    assert not errors
    assert min(n_found) >= 2_000
    assert database.collection("default", "a").name == "c60"
