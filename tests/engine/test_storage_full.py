"""A full disk: an error, nothing written, and all is well when there is room again."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from roost.engine import maintenance
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.errors import StorageFailure, StorageFull
from tests.engine.model import (
    Model,
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

SIZE = 3 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs to be root, to mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def database(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    # pytest would keep the errors, and they the segments that were merged away.
    monkeypatch.setattr(maintenance._log, "disabled", True)
    database = Database.open(small_disk / "test.roost")
    yield database
    database.close()


@contextmanager
def full(place: Path, room: int = 0) -> Iterator[None]:
    """Fill the disk up to `room` bytes, and make place again at the end."""
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4_096))
        file.truncate(max(0, file.tell() - room))
    try:
        yield
    finally:
        ballast.unlink()


def reopened(database: Database) -> Model:
    """Return the rows after a reopen, having checked that no file is left over."""
    path = database.path
    database.close()
    again = Database.open(path)
    try:
        check_files(again)
        return read_all(again.collection("default", "c"))
    finally:
        again.close()


def filled(database: Database) -> tuple[Collection, Model]:
    collection = database.create_collection("default", "c", make_schema())
    collection.insert(make_batch(collection.schema, range(200), 1))
    collection.flush()
    collection.insert(make_batch(collection.schema, range(150, 250), 2))
    return collection, {**dict.fromkeys(range(150), 1), **dict.fromkeys(range(150, 250), 2)}


def test_an_insert(database: Database) -> None:
    collection, expected = filled(database)
    with full(database.path.parent):
        refused = 0
        for g in range(3, 60):
            try:
                collection.insert(make_batch(collection.schema, range(500, 900), g))
                expected.update(dict.fromkeys(range(500, 900), g))
            except StorageFull as error:
                assert "roost.db" in error.message or ".rows" in error.message
                refused += 1
            assert read_all(collection) == expected
        assert refused > 10
        with pytest.raises(StorageFull):
            collection.insert(make_batch(collection.schema, range(500, 5000), 60))
        assert read_all(collection) == expected
        check_search(collection, expected, vectors_of([9], [1]))
    collection.insert(make_batch(collection.schema, range(5), 61))
    expected.update(dict.fromkeys(range(5), 61))
    assert read_all(collection) == expected
    collection.flush()
    assert reopened(database) == expected


@pytest.mark.parametrize("room", [0, 4_096, 8_192, 16_384, 24_576, 40_960])
def test_a_flush(database: Database, room: int) -> None:
    collection, expected = filled(database)
    collection.create_index(hnsw())
    with full(database.path.parent, room):
        try:
            collection.flush()
        except StorageFull:
            check_files(database)
        assert read_all(collection) == expected
        check_search(collection, expected, vectors_of([9], [1]))
    assert collection.delete(range(100)) == 100
    collection.insert(make_batch(collection.schema, range(10), 3))
    expected = {**{k: g for k, g in expected.items() if k >= 100}, **dict.fromkeys(range(10), 3)}
    collection.flush()
    assert collection.contents.sealing is None
    assert collection.contents.tail.n_rows == 0
    assert len(collection.snapshot().parts) == 1
    assert collection.snapshot().parts[0].indexes
    assert read_all(collection) == expected
    check_search(collection, expected, vectors_of([9], [1]))
    gc.collect()
    check_files(database)
    assert reopened(database) == expected


@pytest.mark.parametrize("room", [0, 8_192, 16_384, 40_960])
def test_an_index_build(database: Database, room: int) -> None:
    collection, expected = filled(database)
    collection.flush()
    with full(database.path.parent, room):
        try:
            collection.create_index(hnsw())
            collection.flush()
        except StorageFull:
            check_files(database)
        check_search(collection, expected, vectors_of([9], [1]))
    collection.create_index(hnsw())
    collection.flush()
    assert all(part.indexes for part in collection.snapshot().parts)
    check_search(collection, expected, vectors_of([9], [1]))
    assert reopened(database) == expected


def test_changes_of_the_catalogue(database: Database) -> None:
    collection, expected = filled(database)
    with full(database.path.parent):
        with pytest.raises(StorageFull):
            for i in range(2000):
                collection.create_partition(f"part{i}" * 20)
        n_partitions = len(collection.record.partitions)
        with pytest.raises(StorageFull):
            for i in range(2000):
                database.create_collection("default", f"c{i}", make_schema())
        n_collections = len(database.list_collections("default"))
    assert len(database.list_collections("default")) == n_collections
    path = database.path
    database.close()
    again = Database.open(path)
    try:
        assert len(again.list_collections("default")) == n_collections
        assert len(again.collection("default", "c").record.partitions) == n_partitions
        assert read_all(again.collection("default", "c")) == expected
    finally:
        again.close()


def test_making_a_database(small_disk: Path) -> None:
    n_refused = 0
    for room in range(0, 160_000, 8_192):
        with full(small_disk, room):
            try:
                Database.open(small_disk / "test.roost").close()
            except StorageFull:
                n_refused += 1
    assert 0 < n_refused < 20
    database = Database.open(small_disk / "test.roost")
    try:
        check_files(database)
        assert database.list_databases() == ["default"]
    finally:
        database.close()


def test_a_limit_on_the_size_of_files(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        collection, expected = filled(database)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        with pytest.raises((StorageFull, StorageFailure)):
            collection.insert(make_batch(collection.schema, range(900), 3))
        with pytest.raises((StorageFull, StorageFailure)):
            collection.flush()
        assert read_all(collection) == expected
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        collection.flush()
        assert read_all(collection) == expected
        assert reopened(database) == expected
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        database.close()
