"""Several processes on one directory: one writes, others read and follow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roost.engine import host, recovery
from roost.engine.contents import Contents
from roost.engine.database import Database
from roost.engine.log import replay
from roost.engine.search import Request
from roost.engine.storage import witness
from roost.engine.storage.catalog import LogRecord
from roost.engine.tail import Tail
from roost.errors import (
    CollectionNotFound,
    Corruption,
    DatabaseLocked,
    DatabaseNotFound,
    InvalidArgument,
    ReadOnly,
)
from tests.engine.follow_reader import N_KEYS
from tests.engine.model import (
    check_files,
    copy_database,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    nearest,
    read_all,
    stop_upkeep,
    vectors_of,
)
from tests.engine.test_sketches import HNSW, SCHEMA, VECTORS, insert

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a process of its own; it has ended when the block has."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def follower_of(database: Database) -> Database:
    """Open the directory as another process would, beside the writer of this one."""
    return Database(database.path, "full", True)


@pytest.fixture
def writer(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    yield database
    database.close()


@pytest.fixture
def reader(writer: Database) -> Iterator[Database]:
    database = follower_of(writer)
    yield database
    database._host.maintenance.stop()
    database._host.catalog.close()


def test_a_follower_sees_every_change(writer: Database, reader: Database) -> None:
    assert reader.list_collections("default") == []
    written = writer.create_collection("default", "c", make_schema(n_vectors=2))
    read = reader.collection("default", "c")
    assert read_all(read) == {}
    written.insert(make_batch(written.schema, range(100), 1))
    assert read_all(read) == dict.fromkeys(range(100), 1)
    written.create_index(hnsw())
    written.flush()
    assert read_all(read) == dict.fromkeys(range(100), 1)
    assert len(read.snapshot().parts[0].indexes) == 1
    written.delete(range(50))
    assert read.n_rows == 50
    assert nearest(read, vectors_of([3], [1]), 100).keys.min() == 50
    written.insert(make_batch(written.schema, range(200), 2))
    written.flush()
    assert read_all(read) == dict.fromkeys(range(200), 2)
    written.create_partition("p")
    assert reader.collection("default", "c").record.partitions == written.record.partitions
    writer.create_alias("default", "a", "c")
    assert reader.collection("default", "a") is read
    written.drop_index("vector")
    assert reader.collection("default", "c").record.indexes == ()
    written.truncate()
    assert read_all(read) == {}
    check_files(writer)


def test_a_follower_reads_each_record_of_the_log_once(
    writer: Database, reader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = []

    def counted(contents: Contents, record: LogRecord) -> None:
        applied.append(record.seq)
        replay(contents, record)

    monkeypatch.setattr(recovery, "replay", counted)
    written = writer.create_collection("default", "c", make_schema())
    read = reader.collection("default", "c")
    for g in range(1, 4):
        written.insert(make_batch(written.schema, range(10 * g), g))
        written.delete([g])
        assert read_all(read) == read_all(written)
    assert applied == [1, 2, 3, 4, 5, 6]
    written.create_index(hnsw())
    assert read_all(read) == read_all(written) and len(applied) == 6
    written.flush()
    written.delete([20])
    assert read_all(read) == read_all(written)
    assert applied == [1, 2, 3, 4, 5, 6, 7], "what is sealed is read from the segment"
    written.truncate()
    written.insert(make_batch(written.schema, range(5), 9))
    assert read_all(read) == dict.fromkeys(range(5), 9)


def test_a_follower_begins_again_after_a_damaged_record(writer: Database, reader: Database) -> None:
    written = writer.create_collection("default", "c", make_schema())
    read = reader.collection("default", "c")
    written.insert(make_batch(written.schema, range(10), 1))
    assert read.n_rows == 10
    written.insert(make_batch(written.schema, range(10, 20), 1))
    change = "UPDATE log SET digest = digest {} 1 WHERE key = (SELECT MAX(key) FROM log)"
    catalog = writer._host.catalog
    with catalog.lock:
        catalog._db.execute(change.format("+"))
    with pytest.raises(Corruption):
        read.query()
    with catalog.lock:
        catalog._db.execute(change.format("-"))
    assert read_all(read) == dict.fromkeys(range(20), 1)


def test_a_follower_that_is_interrupted_in_a_record_begins_again(
    writer: Database, reader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writer.create_collection("default", "c", make_schema())
    read = reader.collection("default", "c")
    written.insert(make_batch(written.schema, range(10), 1))
    assert read.n_rows == 10
    written.insert(make_batch(written.schema, range(10, 20), 1))

    def interrupted(tail: Tail, batch: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tail, "_push", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read.query()
    assert read_all(read) == dict.fromkeys(range(20), 1)
    found = nearest(read, vectors_of(list(range(20)), [1] * 20), 1)
    assert found.keys.tolist() == list(range(20))


def test_a_reader_of_a_long_log_sketches_it(writer: Database) -> None:
    """Also where nothing is written any more."""
    written = writer.create_collection("default", "c", SCHEMA)
    written.create_index(HNSW)
    insert(written, range(2_000))
    with_log = follower_of(writer)
    read = with_log.collection("default", "c")
    spec = read.record.indexes[0]
    request = Request(VECTORS[1_000:1_001], "v", 1, "L2", spec, {})
    assert read.snapshot().parts[0].sketch(spec) is None
    assert read.search(request).keys.tolist() == [1_000]
    assert read.snapshot().parts[0].sketch(spec) is not None
    with_log._host.maintenance.stop()
    with_log._host.catalog.close()


@pytest.mark.parametrize("searched_s", [host.SEARCHED_S, 0.0], ids=["quick", "slow"])
def test_a_follower_sketches_what_its_searches_meet(
    writer: Database, reader: Database, searched_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the writer, which nobody searches, has not sealed; however long it takes to read them."""
    monkeypatch.setattr(host, "SEARCHED_S", searched_s)
    written = writer.create_collection("default", "c", SCHEMA)
    written.create_index(HNSW)
    read = reader.collection("default", "c")
    spec = read.record.indexes[0]
    request = Request(VECTORS[1_999:2_000], "v", 1, "L2", spec, {})
    read.search(request)
    insert(written, range(2_000))
    assert read.search(request).keys.tolist() == [1_999]
    (part,) = read.snapshot().parts
    sketch = part.sketch(spec)
    assert sketch is not None and sketch.n_rows == 2_000
    assert written.snapshot().parts[-1].sketch(spec) is None
    insert(written, range(2_000, 3_000))
    assert read.search(request._replace(queries=VECTORS[2_500:2_501])).keys.tolist() == [2_500]
    grown = read.snapshot().parts[-1].sketch(spec)
    assert grown is not None and grown.n_rows == 3_000


def test_a_dropped_collection_is_gone_for_a_follower(writer: Database, reader: Database) -> None:
    written = writer.create_collection("default", "c", make_schema())
    written.insert(make_batch(written.schema, range(100), 1))
    written.flush()
    read = reader.collection("default", "c")
    writer.drop_collection("default", "c")
    del written
    with pytest.raises(CollectionNotFound, match="dropped"):
        read.query()
    with pytest.raises(CollectionNotFound):
        reader.collection("default", "c")


def test_a_follower_reads_on_when_segments_are_merged_away_unopened(writer: Database, reader: Database) -> None:
    written = writer.create_collection("default", "c", make_schema())
    written.insert(make_batch(written.schema, range(100), 1))
    written.flush()
    read = reader.collection("default", "c")
    stale = read._snapshot
    written.insert(make_batch(written.schema, range(100), 2))
    written.flush()
    assert read._snapshot is stale
    assert read_all(read) == dict.fromkeys(range(100), 2)


def test_a_follower_tells_of_damage_every_time_and_reads_the_other_collections(
    writer: Database, reader: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = writer.create_collection("default", "c", make_schema())
    other = writer.create_collection("default", "other", make_schema())
    read = reader.collection("default", "c")
    written.insert(make_batch(written.schema, range(100), 1))
    written.flush()
    assert read_all(written) == dict.fromkeys(range(100), 1)
    (writer.path / "segments").rename(tmp_path / "elsewhere")
    for _ in range(3):
        with pytest.raises(Corruption, match="missing"):
            read.query().take("vector")
    written.insert(make_batch(written.schema, range(200, 210), 2))
    for key in range(3):
        other.insert(make_batch(other.schema, [key], 3))
        with pytest.raises(Corruption, match="missing"):
            read.query()
        assert reader.list_collections("default") == ["c", "other"]
        assert read_all(reader.collection("default", "other")) == dict.fromkeys(range(key + 1), 3)
    assert caplog.text.count("collection 'c' cannot be used") == 1, "it is logged once"
    late = follower_of(writer)
    with pytest.raises(Corruption, match="missing"):
        late.collection("default", "c").query()
    late.close()
    (tmp_path / "elsewhere").rename(writer.path / "segments")
    assert read.n_rows == 110
    other.insert(make_batch(other.schema, [3], 3))
    assert read_all(read) == {**dict.fromkeys(range(100), 1), **dict.fromkeys(range(200, 210), 2)}


def test_a_follower_that_was_interrupted_catches_up(
    writer: Database, reader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writer.create_collection("default", "c", make_schema())
    read = reader.collection("default", "c")
    written.insert(make_batch(written.schema, range(10), 1))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_recover_collection", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read.query()
    assert read_all(read) == dict.fromkeys(range(10), 1)


def test_a_follower_cannot_write(writer: Database, reader: Database) -> None:
    written = writer.create_collection("default", "c", make_schema())
    read = reader.collection("default", "c")
    batch = make_batch(written.schema, range(3), 1)
    for write in (lambda: read.insert(batch), lambda: read.delete([1]), read.flush, read.truncate):
        with pytest.raises(ReadOnly):
            write()
    with pytest.raises(ReadOnly):
        reader.create_collection("default", "d", make_schema())


def test_reading_only_what_a_killed_writer_left(writer: Database, tmp_path: Path) -> None:
    written = writer.create_collection("default", "c", make_schema())
    written.insert(make_batch(written.schema, range(100), 1))
    copy = copy_database(writer.path, tmp_path / "copy")
    before = sorted(p.relative_to(copy) for p in copy.rglob("*"))
    reader = Database.open(copy, read_only=True)
    try:
        assert read_all(reader.collection("default", "c")) == dict.fromkeys(range(100), 1)
    finally:
        reader.close()
    assert set(before) <= {p.relative_to(copy) for p in copy.rglob("*")}


def test_reading_only_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotFound, match="holds no database"):
        Database.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_reader_and_then_writers_in_one_process(db_path: Path) -> None:
    Database.open(db_path).close()
    reader = Database.open(db_path, read_only=True)
    writer = Database.open(db_path)
    again = Database.open(db_path)
    shared = Database.open(db_path, read_only=True)
    try:
        assert writer is again
        assert reader is shared
        with pytest.raises(InvalidArgument, match="durability"):
            Database.open(db_path, durability="normal")
        writer.create_collection("default", "c", make_schema())
        assert reader.list_collections("default") == ["c"]
        with pytest.raises(ReadOnly):
            reader.create_collection("default", "d", make_schema())
    finally:
        for database in (reader, writer, again, shared):
            database.close()
    Database.open(db_path).close()


FORK = """
import os, sys
from roost.engine.database import Database
from roost.errors import Closed, DatabaseLocked
from tests.engine.model import make_batch, make_schema

database = Database.open(sys.argv[1])
collection = database.create_collection("default", "c", make_schema())
collection.insert(make_batch(collection.schema, range(5), 1))
if not os.fork():
    refused = []
    for call in (
        database.list_databases,
        lambda: collection.insert(make_batch(collection.schema, range(5), 2)),
        lambda: Database.open(sys.argv[1]),
    ):
        try:
            call()
        except (Closed, DatabaseLocked) as error:
            refused.append(error.name)
    reader = Database.open(sys.argv[1], read_only=True)
    print(*refused, reader.collection("default", "c").n_rows, flush=True)
    database.close()
    sys.exit()
os.wait()
collection.insert(make_batch(collection.schema, range(5, 8), 1))
database.close()
again = Database.open(sys.argv[1])
print(again.collection("default", "c").n_rows)
"""


def test_a_forked_child_does_not_write_beside_its_parent(db_path: Path) -> None:
    with process("-W", "ignore", "-c", FORK, str(db_path)) as parent:
        output, errors = parent.communicate(timeout=60)
    assert output.splitlines() == ["closed closed database_locked 5", "8"], errors


@pytest.mark.slow
def test_a_second_writing_process_is_told_of_the_first(db_path: Path) -> None:
    code = (
        "import sys; from roost.engine.database import Database;"
        "database = Database.open(sys.argv[2]); print('open', flush=True); input()"
    )
    with process("-c", code, "the-holder", str(db_path)) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(DatabaseLocked) as caught:
            Database.open(db_path)
        assert f"process {holder.pid} " in caught.value.message
        assert "the-holder" in caught.value.message
        assert str(db_path) in caught.value.message
        reader = Database.open(db_path, read_only=True)
        assert reader.list_collections("default") == []
        reader.close()
        holder.kill()
    Database.open(db_path).close()


@pytest.mark.slow
def test_readers_in_other_processes_see_whole_batches_in_order(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_thresholds(monkeypatch.setattr)
    writer = Database.open(db_path, durability="normal")
    collection = writer.create_collection("default", "c", make_schema())
    script = str(Path(__file__).with_name("follow_reader.py"))
    try:
        with process(script, str(db_path)) as one, process(script, str(db_path)) as two:
            for reader in (one, two):
                assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
            for g in range(1, 400):
                collection.insert(make_batch(collection.schema, range(N_KEYS), g))
                if g % 5 == 0:
                    collection.flush()
                if g % 40 == 20:
                    collection.create_index(hnsw())
                if g % 40 == 0:
                    collection.drop_index("vector")
            writer.create_collection("default", "end", make_schema())
            for reader in (one, two):
                output, errors = reader.communicate()
                assert reader.returncode == 0, errors
                assert int(output) > 5
    finally:
        writer.close()


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_power_cut_may_take_the_last_commits_of_a_normal_database_alone(
    db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    database = Database.open(db_path, durability=durability)
    collection = database.create_collection("default", "c", make_schema())
    collection.insert(make_batch(collection.schema, range(5), 1))
    copy = copy_database(db_path, tmp_path / "copy")
    collection.insert(make_batch(collection.schema, range(5, 9), 1))
    (copy / "roost.commits").write_bytes((db_path / "roost.commits").read_bytes())
    database.close()
    with pytest.raises(Corruption, match="1 acknowledged commits"):
        Database.open(copy, read_only=True)
    (tmp_path / "boot_id").write_bytes(b"another")
    monkeypatch.setattr(witness, "_BOOT_ID", tmp_path / "boot_id")
    for read_only in (True, False):
        if durability == "full":
            with pytest.raises(Corruption, match="1 acknowledged commits"):
                Database.open(copy, read_only=read_only)
        else:
            again = Database.open(copy, read_only=read_only)
            assert read_all(again.collection("default", "c")) == dict.fromkeys(range(5), 1)
            again.close()
