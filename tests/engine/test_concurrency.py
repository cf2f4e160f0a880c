"""Readers beside a writer, upkeep beside writes: every answer is one moment's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.errors import Closed, CollectionNotFound
from tests.engine.model import (
    check_files,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    nearest,
    read_all,
    stop_upkeep,
    vectors_of,
)

N_KEYS = 40
N_READERS = 8


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    database = Database.open(db_path, durability="normal")
    yield database
    database.close()


class Clock:
    """Which generation is written: `begun` is raised before a write, `done` after it."""

    def __init__(self) -> None:
        self.begun = 0
        self.done = 0
        self.is_over = False


def write_generations(collection: Collection, clock: Clock, n_generations: int) -> None:
    """Move all rows from one generation to the next, with flushes, merges and indexes in between."""
    try:
        for g in range(1, n_generations + 1):
            clock.begun = g
            collection.insert(make_batch(collection.schema, range(N_KEYS), g))
            clock.done = g
            if g % 7 == 0:
                collection.flush()
            if g % 20 == 10:
                collection.create_index(hnsw())
            if g % 20 == 0:
                collection.drop_index("vector")
    finally:
        clock.is_over = True


def read_generations(collection: Collection, clock: Clock, number: int) -> int:
    """Read until the writer is done; check that each answer is of one generation, of the time of the call."""
    n_reads = 0
    query = vectors_of([number], [number])
    while not clock.is_over or n_reads < 10:
        oldest = clock.done
        match (n_reads + number) % 3:
            case 0:
                hits = nearest(collection, query, N_KEYS)
                keys, gs = hits.keys.tolist(), hits.take("g").to_pylist()
                found = hits.take("vector")
            case 1:
                places = collection.query()
                keys, gs = places.keys.tolist(), places.take("g").to_pylist()
                found = places.take("vector")
            case _:
                places = collection.query(keys=range(N_KEYS))
                keys, gs = places.keys.tolist(), places.take("g").to_pylist()
                found = places.take("vector")
        newest = clock.begun
        assert sorted(keys) == list(range(N_KEYS)) or (oldest == 0 and not keys), "a row is missing or doubled"
        assert len(set(gs)) <= 1, "two generations in one answer"
        assert not gs or oldest <= gs[0] <= newest, "an answer of another time"
        np.testing.assert_array_equal(found, vectors_of(keys, gs))
        n_reads += 1
    return n_reads


@pytest.mark.slow
def test_eight_readers_beside_a_writer(database: Database) -> None:
    collection = database.create_collection("default", "c", make_schema())
    clock = Clock()
    with ThreadPoolExecutor(N_READERS + 1) as pool:
        readers = [pool.submit(read_generations, collection, clock, i) for i in range(N_READERS)]
        writer = pool.submit(write_generations, collection, clock, 300)
        writer.result()
        n_reads = [reader.result() for reader in readers]
    assert min(n_reads) >= 10
    assert read_all(collection) == dict.fromkeys(range(N_KEYS), 300)


@pytest.mark.slow
def test_writers_beside_upkeep(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inserts and deletes by several threads of their own keys, while a thread flushes without pause."""
    collection = database.create_collection("default", "c", make_schema())
    collection.create_index(hnsw())
    is_over = threading.Event()

    def write(first: int) -> dict[int, int]:
        rng = np.random.default_rng(first)
        held: dict[int, int] = {}
        for g in range(1, 120):
            keys = (first + rng.choice(200, rng.integers(1, 30), replace=False)).tolist()
            if rng.random() < 0.7:
                collection.insert(make_batch(collection.schema, keys, g))
                held.update(dict.fromkeys(keys, g))
            else:
                assert collection.delete(keys) == len(held.keys() & set(keys))
                held = {key: value for key, value in held.items() if key not in set(keys)}
        return held

    def flush() -> None:
        while not is_over.is_set():
            collection.flush()

    with ThreadPoolExecutor(4) as pool:
        flusher = pool.submit(flush)
        writers = [pool.submit(write, first) for first in (0, 1000, 2000)]
        expected = {key: g for writer in writers for key, g in writer.result().items()}
        is_over.set()
        flusher.result()
    assert read_all(collection) == expected
    path = database.path
    database.close()
    stop_upkeep(monkeypatch.setattr)
    again = Database.open(path)
    try:
        assert read_all(again.collection("default", "c")) == expected
        check_files(again)
    finally:
        again.close()


def repeat_during(work: Callable[[], None], change: Callable[[], None], n: int) -> None:
    """Do `work` in a thread, without pause, while `change` is done n times here."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            work()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run)
        try:
            for _ in range(n):
                change()
        finally:
            is_over.set()
        done.result()


def test_truncating_during_upkeep(database: Database) -> None:
    collection = database.create_collection("default", "c", make_schema())
    collection.create_index(hnsw())
    g = 0

    def change() -> None:
        nonlocal g
        g += 1
        collection.insert(make_batch(collection.schema, range(100), g))
        time.sleep(0.0005 * (g % 20))
        collection.truncate()
        assert read_all(collection) == {}
        collection.insert(make_batch(collection.schema, range(5), g))

    repeat_during(collection.flush, change, 60)
    assert read_all(collection) == dict.fromkeys(range(5), g)


def test_dropping_during_upkeep(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def flush() -> None:
        try:
            database.collection("default", "c").flush()
        except CollectionNotFound:
            return

    def change() -> None:
        collection = database.create_collection("default", "c", make_schema())
        collection.create_index(hnsw())
        for g in range(3):
            collection.insert(make_batch(collection.schema, range(100 * g, 100 * g + 60), g))
        database.drop_collection("default", "c")

    repeat_during(flush, change, 40)
    path = database.path
    database.close()
    stop_upkeep(monkeypatch.setattr)
    again = Database.open(path)
    try:
        assert again.list_collections("default") == []
        check_files(again)
    finally:
        again.close()


def test_indexes_that_come_and_go_during_merges(database: Database) -> None:
    collection = database.create_collection("default", "c", make_schema(n_vectors=2))
    g = 0

    def change() -> None:
        nonlocal g
        g += 1
        collection.create_index(hnsw("vector"))
        collection.create_index(hnsw("vector2"))
        collection.insert(make_batch(collection.schema, range(7 * g, 7 * g + 40), g))
        collection.drop_index("vector2" if g % 2 else "vector")
        assert len(nearest(collection, vectors_of([g], [g]), 5).row) == 5

    repeat_during(collection.flush, change, 40)
    collection.flush()
    expected: dict[int, int] = {}
    for i in range(1, g + 1):
        expected.update(dict.fromkeys(range(7 * i, 7 * i + 40), i))
    assert read_all(collection) == expected
    for part in collection.snapshot().parts:
        assert len(part.indexes) == 1
    check_files(database)


def test_a_snapshot_outlives_the_merge_of_its_segments(database: Database) -> None:
    collection = database.create_collection("default", "c", make_schema())
    for g in range(3):
        collection.insert(make_batch(collection.schema, range(100 * g, 100 * g + 50), g))
        collection.flush()
        old = collection.query()
    assert len(old) == 150
    collection.insert(make_batch(collection.schema, range(400), 9))
    collection.flush()
    assert set(old.take("g").to_pylist()) == {0, 1, 2}
    held = {part.rows.directory for part in old.snapshot.parts}
    assert all(directory.is_dir() for directory in held)
    del old
    assert not any(directory.exists() for directory in held)


def test_closing_during_upkeep_and_writes(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_thresholds(monkeypatch.setattr)
    acknowledged: dict[int, int] = {}
    for round_ in range(10):
        database = Database.open(db_path, durability="normal")
        collection = database.create_collection("default", "c", make_schema())

        def write(collection: Collection = collection, first: int = 1000 * round_) -> None:
            for i in range(1000):
                keys = range(first + 10 * i, first + 10 * i + 10)
                collection.insert(make_batch(collection.schema, keys, i))
                acknowledged.update(dict.fromkeys(keys, i))

        def flush(collection: Collection = collection) -> None:
            while True:
                collection.flush()

        with ThreadPoolExecutor(2) as pool:
            works = [pool.submit(write), pool.submit(flush)]
            time.sleep(0.005 * (1 + round_))
            database.close()
            for work in works:
                with pytest.raises(Closed):
                    work.result()
    stop_upkeep(monkeypatch.setattr)
    database = Database.open(db_path)
    try:
        found = read_all(database.collection("default", "c"))
        check_files(database)
    finally:
        database.close()
    assert all(found.get(key) == g for key, g in acknowledged.items())
