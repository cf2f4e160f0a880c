"""Which segments hold which partitions, and that nothing is lost on the way there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.engine import maintenance, merging
from roost.engine.bulk import load_batch
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.merging import Merging
from roost.engine.partitions import ISOLATION_PROPERTY
from roost.engine.query import count
from roost.engine.records import DEFAULT_PARTITION
from roost.engine.snapshot import Part
from roost.engine.upkeep import has_work
from roost.errors import Corruption, StorageFull
from tests.engine.model import (
    Model,
    brute_force,
    check_files,
    check_search,
    copy_database,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    nearest,
    read_all,
    rows_of,
    stop_upkeep,
    vectors_of,
)

PARTITIONS = (DEFAULT_PARTITION, "p", "q", "r")


@pytest.fixture
def database(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    monkeypatch.setattr(maintenance._log, "disabled", True)
    database = Database.open(db_path, durability="normal")
    yield database
    database.close()


@pytest.fixture
def collection(database: Database) -> Collection:
    """A collection that keeps partitions apart; an index is worth while from 24 rows on."""
    made = database.create_collection("default", "c", make_schema(), {ISOLATION_PROPERTY: True}, indexes=[hnsw()])
    for name in PARTITIONS[1:]:
        made.create_partition(name)
    return made


def insert(collection: Collection, keys: range, partition: str = DEFAULT_PARTITION, g: int = 1) -> None:
    collection.insert(make_batch(collection.schema, keys, g), partition)


def isolate(collection: Collection, value: bool) -> None:
    """Switch the property, and leave it to the next flush to act on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maintenance.Maintenance, "touch", lambda *_, **__: None)
        collection.revise(lambda record: replace(record, properties={ISOLATION_PROPERTY: value}))


def test_switching_the_property_is_acted_on_without_a_flush(collection: Collection) -> None:
    isolate(collection, False)
    rows = fill(collection)
    assert layout(collection) == [(None, 155)]
    collection.revise(lambda record: replace(record, properties={ISOLATION_PROPERTY: True}))
    deadline = time.monotonic() + 30
    while layout(collection) != APART and time.monotonic() < deadline:
        time.sleep(0.01)
    assert layout(collection) == APART
    check(collection, rows)


def layout(collection: Collection) -> list[tuple[int | None, int]]:
    """Return of each segment its partition and how many live rows it has, having looked whether that is so."""
    found = []
    for part in collection.contents.sealed.values():
        ids = part.scalar("$partition").to_numpy()[slice(None) if part.dead is None else ~part.dead]
        assert part.partition_id is None or set(ids) <= {part.partition_id}
        found.append((part.partition_id, len(ids)))
    return sorted(found, key=lambda one: (-1 if one[0] is None else one[0], one[1]))


def check(collection: Collection, rows: dict[str, Model]) -> None:
    """Compare searches, queries and counts, in each partition and in all, with brute force."""
    everything = {key: g for model in rows.values() for key, g in model.items()}
    assert read_all(collection) == everything
    query = vectors_of([7], [1])
    check_search(collection, everything, query)
    for name in PARTITIONS:
        partitions, model = collection.partition_ids([name]), rows.get(name, {})
        assert rows_of(collection.query(partitions=partitions)) == model
        assert collection.count(None, partitions) == len(model)
        hits = nearest(collection, query, 10, partitions=partitions)
        assert all(model.get(k) == g for k, g in zip(hits.keys.tolist(), hits.take("g").to_pylist(), strict=True))
        np.testing.assert_allclose(hits.distances, brute_force(model, query, 10), atol=1e-5)


def fill(collection: Collection) -> dict[str, Model]:
    """Insert many rows into two partitions and few into the two others, and flush."""
    for name, keys in (("p", range(60)), ("q", range(100, 180)), ("r", range(200, 210)), ("_default", range(300, 305))):
        insert(collection, keys, name)
    collection.flush()
    return {
        "p": dict.fromkeys(range(60), 1),
        "q": dict.fromkeys(range(100, 180), 1),
        "r": dict.fromkeys(range(200, 210), 1),
        "_default": dict.fromkeys(range(300, 305), 1),
    }


APART = [(None, 15), (1, 60), (2, 80)]


def test_partitions_with_many_rows_have_segments_of_their_own_and_the_others_share_one(
    collection: Collection, database: Database
) -> None:
    rows = fill(collection)
    assert layout(collection) == APART
    check(collection, rows)
    check_files(database)
    insert(collection, range(210, 228), "r", 2)
    collection.flush()
    assert layout(collection) == [(0, 5), (1, 60), (2, 80), (3, 28)], "it has enough rows by now"
    check(collection, rows | {"r": rows["r"] | dict.fromkeys(range(210, 228), 2)})
    assert all(len(part.indexes) == (part.n_rows >= 24) for part in collection.contents.sealed.values())


def test_segments_are_merged_with_those_of_the_same_partition(collection: Collection) -> None:
    rows = fill(collection)
    graph = next(part for part in collection.contents.sealed.values() if part.partition_id == 2)
    insert(collection, range(400, 430), "p", 3)
    collection.flush()
    assert layout(collection) == [(None, 15), (1, 90), (2, 80)]
    assert graph in collection.contents.sealed.values(), "another partition's rows leave it alone"
    check(collection, rows | {"p": rows["p"] | dict.fromkeys(range(400, 430), 3)})


def test_a_thousand_small_partitions_share_one_segment(collection: Collection) -> None:
    rows: Model = {}
    for number in range(1_000):
        collection.create_partition(f"n{number}")
        insert(collection, range(2 * number, 2 * number + 2), f"n{number}")
        if number % 250 == 0:
            collection.flush()
        rows |= dict.fromkeys(range(2 * number, 2 * number + 2), 1)
    collection.flush()
    assert layout(collection) == [(None, 2_000)]
    assert read_all(collection) == rows


def test_switching_it_on_takes_segments_apart_and_off_lets_them_be_merged(
    collection: Collection, database: Database
) -> None:
    isolate(collection, False)
    rows = fill(collection)
    assert layout(collection) == [(None, 155)]
    isolate(collection, True)
    collection.flush()
    assert layout(collection) == APART
    check(collection, rows)
    isolate(collection, False)
    collection.flush()
    assert layout(collection) == [(None, 155)]
    check(collection, rows)
    check_files(database)


@pytest.mark.parametrize("before", [False, True])
def test_switching_it_wakes_upkeep(collection: Collection, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    isolate(collection, before)
    fill(collection)
    touched: list[int] = []
    monkeypatch.setattr(
        collection.host.maintenance, "touch", lambda collection_id, run, urgent=False: touched.append(collection_id)
    )
    collection.revise(lambda record: replace(record, properties={**record.properties, "other": 1}))
    assert touched == []
    isolate(collection, not before)
    assert touched == [collection.collection_id]


def test_bulk_loads_are_segments_of_their_partition(collection: Collection) -> None:
    with collection.loading():
        for start in (0, 40):
            load_batch(collection, make_batch(collection.schema, range(start, start + 40), 1), "p")
        load_batch(collection, make_batch(collection.schema, range(100, 130), 1), "q")
        load_batch(collection, make_batch(collection.schema, range(70, 76), 2), "r")
        assert [partition for partition, _ in layout(collection)] == [1, 1, 2, 3]
    collection.flush()
    assert layout(collection) == [(1, 74), (2, 30), (3, 6)]
    model = {key: 1 for key in range(80) if not 70 <= key < 76}
    check(collection, {"p": model, "q": dict.fromkeys(range(100, 130), 1), "r": dict.fromkeys(range(70, 76), 2)})


def test_an_upsert_moves_a_row_to_another_partition(collection: Collection) -> None:
    rows = fill(collection)
    insert(collection, range(10, 40), "q", 2)
    expected = {
        **rows,
        "p": {key: g for key, g in rows["p"].items() if not 10 <= key < 40},
        "q": rows["q"] | dict.fromkeys(range(10, 40), 2),
    }
    check(collection, expected)
    collection.delete(list(range(5)))
    expected["p"] = {key: g for key, g in expected["p"].items() if key >= 5}
    collection.delete(list(range(200)), collection.partition_ids(["r"]))
    check(collection, expected)
    collection.flush()
    check(collection, expected)
    assert layout(collection) == [(None, 15), (1, 25), (2, 110)]


def test_a_partition_that_lost_most_of_its_rows_shares_a_segment_again(collection: Collection) -> None:
    rows = fill(collection)
    collection.delete(list(range(50)))
    collection.flush()
    assert layout(collection) == [(None, 25), (2, 80)]
    check(collection, rows | {"p": dict.fromkeys(range(50, 60), 1)})


def test_it_is_the_same_after_reopening(collection: Collection, database: Database) -> None:
    rows = fill(collection)
    insert(collection, range(210, 215), "r", 2)
    rows["r"] |= dict.fromkeys(range(210, 215), 2)
    path = database.path
    database.close()
    reopened = Database.open(path)
    try:
        held = reopened.collection("default", "c")
        assert layout(held) == APART
        check(held, rows)
        held.flush()
        check(held, rows)
    finally:
        reopened.close()


def test_what_is_due_shows_before_rows_are_read(collection: Collection) -> None:
    fill(collection)
    manifests = collection.contents.manifests()
    assert not has_work(collection.record, manifests, 0)
    mixed = next(manifest for manifest in manifests if manifest.partition_id is None)
    others = [manifest for manifest in manifests if manifest is not mixed]
    for n_largest in (None, 24):
        changed = [*others, replace(mixed, n_rows=24, n_largest=n_largest)]
        assert has_work(collection.record, [replace(m, indexes=others[0].indexes) for m in changed], 0)


def forget(collection: Collection) -> None:
    """Let the manifests say nothing of partitions, as those of earlier versions do."""
    with collection.changing(), collection.host.catalog.transaction() as change:
        for part in collection.contents.sealed.values():
            record = replace(part.rows.record, partition_id=None, n_largest=None)  # type: ignore[union-attr]
            document = record.to_document()
            del document["partition"], document["n_largest"]
            change.put("segment", record.segment_id, document)


def test_segments_of_an_earlier_version_are_counted_and_taken_apart(collection: Collection) -> None:
    rows = fill(collection)
    first = list(collection.contents.sealed)
    forget(collection)
    collection._recover()
    assert layout(collection) == [(None, 15), (None, 60), (None, 80)]
    check(collection, rows)
    collection.flush()
    assert layout(collection) == APART
    assert list(collection.contents.sealed) == first, "what need not be taken apart is not written again"
    collection._recover()
    assert layout(collection) == APART, "it was stored"
    isolate(collection, False)
    collection.flush()
    forget(collection)
    collection._recover()
    isolate(collection, True)
    collection.flush()
    assert layout(collection) == APART
    check(collection, rows)


def test_a_damaged_segment_that_is_to_be_counted_is_told_of(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    isolate(collection, False)
    for keys, name in ((range(400), "q"), (range(500, 530), "p")):
        insert(collection, keys, name)
        collection.flush()
    forget(collection)
    collection._recover()
    collection.close_files()
    smaller = max(collection.contents.sealed)
    path = collection.host.segment_directory(smaller) / "fields.arrow"
    whole_file = path.read_bytes()
    content = bytearray(whole_file)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    collection.drop_index(hnsw().name)
    collection.create_index(hnsw())
    isolate(collection, True)
    room = collection._upkeep._room
    with monkeypatch.context() as patch:
        patch.setattr(room, "begin", lambda: setattr(room, "_lacking", "no room for an index"))
        with pytest.raises(Corruption, match=r"fields\.arrow"), caplog.at_level("WARNING"):
            collection.flush()
    assert "no room for an index" in caplog.text, "one trouble does not hide the other"
    held = {
        segment_id: (part.partition_id, len(part.indexes)) for segment_id, part in collection.contents.sealed.items()
    }
    assert held.pop(smaller)[0] is None
    assert list(held.values()) == [(2, 1)], "the other is counted and indexed"
    path.write_bytes(whole_file)
    collection.flush()
    assert layout(collection) == [(1, 30), (2, 400)]


def test_what_is_counted_later_changes_no_earlier_snapshot(collection: Collection) -> None:
    """A segment of two partitions is of one once the rows of the other are deleted, but not for who read before."""
    isolate(collection, False)
    insert(collection, range(30), "p")
    insert(collection, range(100, 140), "q")
    collection.flush()
    forget(collection)
    collection._recover()
    before = collection.snapshot()
    ids = [collection.partition_ids([name]) for name in ("p", "q")]
    collection.delete(list(range(100, 140)))
    collection._upkeep._merging._count_partitions()
    assert [part.partition_id for part in collection.contents.sealed.values()] == [ids[0][0]]
    assert [count(before, partitions=partitions) for partitions in ids] == [30, 40]
    assert [count(collection.snapshot(), partitions=partitions) for partitions in ids] == [30, 0]


# Interruptions


@pytest.mark.parametrize("step", ["write", "swap"])
def test_a_crash_while_segments_are_taken_apart(
    collection: Collection, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Copies of the directory are taken between the segments that are written, before and after they are named."""
    isolate(collection, False)
    rows = fill(collection)
    copies: list[Path] = []

    def copy() -> None:
        copies.append(copy_database(database.path, tmp_path / f"copy{len(copies)}"))

    whole, swap = merging.write_segment, Merging._swap

    def copied_write(*arguments: Any) -> Any:
        written = whole(*arguments)
        copy()
        return written

    def copied_swap(self: Merging, *arguments: Any) -> None:
        copy()
        swap(self, *arguments)
        copy()

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(merging, "write_segment", copied_write)
        else:
            patch.setattr(Merging, "_swap", copied_swap)
        isolate(collection, True)
        collection.flush()
    assert len(copies) == (3 if step == "write" else 2)
    for number, path in enumerate(copies):
        reopened = Database.open(path)
        try:
            held = reopened.collection("default", "c")
            check_files(reopened)
            assert layout(held) == (APART if (step, number) == ("swap", 1) else [(None, 155)])
            check(held, rows)
            held.flush()
            assert layout(held) == APART
            check(held, rows)
            check_files(reopened)
        finally:
            reopened.close()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_error_while_segments_are_taken_apart_leaves_no_file(
    collection: Collection, database: Database, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    isolate(collection, False)
    rows = fill(collection)
    isolate(collection, True)
    whole, calls = merging.write_segment, iter(range(1, 9))

    def failing(*arguments: Any) -> Any:
        written = whole(*arguments)
        if next(calls) == nth:
            raise StorageFull("no space left")
        return written

    with monkeypatch.context() as patch:
        patch.setattr(merging, "write_segment", failing)
        with pytest.raises(StorageFull):
            collection.flush()
    assert layout(collection) == [(None, 155)]
    check_files(database)
    collection.flush()
    assert layout(collection) == APART
    check(collection, rows)


def test_who_is_told_to_stop_leaves_no_file(
    collection: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(collection, False)
    fill(collection)
    isolate(collection, True)
    whole, calls = merging.write_segment, iter(range(9))
    with monkeypatch.context() as patch:
        patch.setattr(merging, "write_segment", lambda *given: whole(*given) if not next(calls) else None)
        assert not collection._upkeep._merging.merge(collection._upkeep._merging.due(0))
    check_files(database)
    assert layout(collection) == [(None, 155)]


def test_deletes_of_the_meantime_reach_every_segment(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(collection, False)
    rows = fill(collection)
    isolate(collection, True)
    swap, gone = Merging._swap, [3, 101, 205, 301]

    def deleting(self: Merging, *arguments: Any) -> None:
        collection.delete(gone)
        swap(self, *arguments)

    monkeypatch.setattr(Merging, "_swap", deleting)
    collection.flush()
    assert layout(collection) == [(None, 13), (1, 59), (2, 79)]
    check(collection, {name: {k: g for k, g in model.items() if k not in gone} for name, model in rows.items()})


# Dropping a partition


def test_a_dropped_partition_goes_with_its_segments_unread(collection: Collection, database: Database) -> None:
    rows = fill(collection)
    insert(collection, range(40, 50), "r", 2)
    insert(collection, range(500, 505), "p", 2)
    (own,) = collection.contents.of_partition(1)
    collection.close_files()
    for path in collection.host.segment_directory(own).glob("vectors-*"):
        path.write_bytes(b"damaged")
    collection.drop_partition("p")
    collection.create_partition("p")
    expected = {**rows, "p": {}, "r": rows["r"] | dict.fromkeys(range(40, 50), 2)}
    check(collection, expected)
    assert own not in collection.contents.sealed
    assert not collection.host.segment_directory(own).exists()
    collection._recover()
    check(collection, expected)
    collection.flush()
    check(collection, expected)
    check_files(database)


def test_a_partition_dropped_while_its_segments_are_merged(
    collection: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = fill(collection)
    insert(collection, range(400, 430), "p", 3)
    whole, names = merging.write_segment, ["p"]

    def dropping(*arguments: Any) -> Any:
        written = whole(*arguments)
        if written is not None and written.record.partition_id == 1 and written.record.n_rows == 90 and names:
            collection.drop_partition(names.pop())
        return written

    monkeypatch.setattr(merging, "write_segment", dropping)
    collection.flush()
    assert not names
    collection.create_partition("p")
    check(collection, {**rows, "p": {}})
    check_files(database)


def test_a_partition_with_a_number_that_was_used_before_begins_empty(collection: Collection) -> None:
    rows = fill(collection)
    insert(collection, range(600, 640), "r")
    collection.flush()
    collection.drop_partition("r")
    collection.create_partition("r")
    assert collection.partition_ids(["r"]) == (3,)
    insert(collection, range(700, 703), "r", 5)
    check(collection, {**rows, "r": dict.fromkeys(range(700, 703), 5)})


# Reading


def is_open(part: Part) -> bool:
    """Whether a sealed part has opened anything."""
    return bool(part.rows._held) or any(held._opened is not None for held in part.derived)  # type: ignore[union-attr]


def test_a_search_within_a_partition_opens_no_other_and_filters_nothing(collection: Collection) -> None:
    fill(collection)
    collection.close_files()
    partitions = collection.partition_ids(["p"])
    parts = {part.partition_id: part for part in collection.snapshot().parts}
    assert parts[1].select(None, partitions) is None
    assert not is_open(parts[1]), "whose rows they are is known"
    outside = parts[2].select(None, partitions)
    assert outside is not None and outside.count == 0
    nearest(collection, vectors_of([7], [1]), 5, partitions=partitions)
    collection.query(partitions=partitions)
    collection.count(None, partitions)
    assert is_open(parts[1]) and not is_open(parts[2])
