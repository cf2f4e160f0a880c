from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.engine import compaction
from roost.engine.compaction import (
    MAX_DEAD_SHARE,
    MAX_SEGMENT_BYTES,
    MIN_INDEXED_ROWS,
    SegmentStats,
    Source,
    apart,
    carried_deletes,
    merge_sources,
    plan_merge,
    spread,
    write_segment,
)
from roost.engine.effort import Pace
from roost.engine.segment import Segment, SegmentIndex, SegmentRecord
from roost.engine.snapshot import Part
from roost.engine.tail import Tail, live_rows
from tests.engine.model import hnsw, make_batch, make_schema, vectors_of

SCHEMA = make_schema()


def stats(*sizes: int, n_dead: int = 0) -> list[SegmentStats]:
    return [SegmentStats(i, size, n_dead, size) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], []),
        (stats(100), []),
        (stats(100, 24), []),
        (stats(100, 25), [0, 1]),
        (stats(25, 100), [1, 0]),
        (stats(100, 10, 10, 5), [0, 1, 2, 3]),
        (stats(100, 10, 9), [1, 2]),
        (stats(100, 100, 1000), [0, 1]),
        (stats(100, n_dead=30), []),
        (stats(100, n_dead=31), [0]),
        (stats(MAX_SEGMENT_BYTES, MAX_SEGMENT_BYTES // 2), []),
        (stats(MAX_SEGMENT_BYTES, 2**20, 2**20), [1, 2]),
    ],
)
def test_which_segments_are_merged(segments: list[SegmentStats], expected: list[int]) -> None:
    assert plan_merge(segments) == expected


def tail_part(keys: range, g: int, dead: list[int]) -> Part:
    tail = Tail(SCHEMA)
    tail.append(make_batch(SCHEMA, keys, g), 0)
    tail.remove(np.array(dead, dtype=np.int64))
    view = tail.view()
    return Part(view, view.dead)


def write(directory: Path, segment_id: int, sources: list[Source], stop: bool = False) -> Part | None:
    spec = hnsw()
    written = write_segment(directory / str(segment_id), segment_id, 1, SCHEMA, sources, [spec], Pace(lambda: stop))
    if written is None:
        return None
    segment = Segment(written.directory, written.record, SCHEMA)
    dead = carried_deletes(sources, [source.part.dead for source in sources])
    files = written.record.indexes
    indexes = {i: SegmentIndex(written.directory / f.name, f, spec) for i, f in files.items()}
    return Part(segment, dead, indexes, partition_id=segment.record.partition_id)


def test_a_merge_keeps_the_graph_and_the_dead_rows_of_its_largest_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MIN_INDEXED_ROWS", 24)
    fresh = tail_part(range(40), 1, [])
    first = write(tmp_path, 1, [Source(fresh, live_rows(40, None))])
    assert first is not None and first.dead is None
    dead = np.zeros(40, dtype=bool)
    dead[3] = True
    first = Part(first.rows, dead, first.indexes)
    second = tail_part(range(100, 110), 2, [104])
    sources = merge_sources([first, second])
    assert [len(source.rows) for source in sources] == [40, 9]
    merged = write(tmp_path, 2, sources)
    assert merged is not None and merged.dead is not None
    assert np.flatnonzero(merged.dead).tolist() == [3]
    assert merged.rows.key_column.tolist() == [*range(40), *range(100, 104), *range(105, 110)]
    (index,) = (held.usable() for held in merged.indexes.values())
    assert index is not None and index.n_rows == merged.n_rows == 49
    found = index.search(vectors_of([105], [2]), 1, None, {"ef": 64})
    assert found.ids.tolist() == [[44]] and found.distances[0, 0] == pytest.approx(0)


def test_a_merge_drops_the_dead_rows_when_they_are_many_or_have_no_graph() -> None:
    many = tail_part(range(10), 1, [0, 1, 2, 3])
    other = tail_part(range(20, 22), 1, [])
    assert [len(source.rows) for source in merge_sources([many, other])] == [6, 2]
    few = tail_part(range(10), 1, [0])
    assert [len(source.rows) for source in merge_sources([few, other])] == [9, 2]


def test_deletes_that_arrive_during_a_merge_are_carried_over() -> None:
    part = tail_part(range(6), 1, [2])
    sources = merge_sources([part, tail_part(range(10, 13), 1, [])])
    later = np.array([True, False, True, False, False, False])
    dead = carried_deletes(sources, [later, np.array([False, False, True])])
    assert dead is not None and dead.tolist() == [True, False, False, False, False, False, False, True]
    assert carried_deletes(sources, [part.dead, None]) is None


def test_a_build_that_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MIN_INDEXED_ROWS", 24)
    part = tail_part(range(40), 1, [])
    assert write(tmp_path, 1, [Source(part, live_rows(40, None))], stop=True) is None


def test_a_damaged_graph_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "MIN_INDEXED_ROWS", 24)
    first = write(tmp_path, 1, [Source(tail_part(range(40), 1, []), live_rows(40, None))])
    assert first is not None
    (held,) = first.indexes.values()
    content = bytearray(held.path.read_bytes())
    content[-9] ^= 1
    held.path.write_bytes(content)
    merged = write(tmp_path, 2, merge_sources([first, tail_part(range(50, 60), 1, [])]))
    assert "index-0.bin is damaged: its checksum does not match; the index is built anew" in caplog.text
    assert merged is not None
    (held,) = merged.indexes.values()
    index = held.usable()
    assert index is not None and index.n_rows == 50


# Partitions kept apart

Rows = dict[int, int]
"""Live rows by partition."""


def isolated(segment_id: int, rows: Rows, n_dead: int = 0, is_known: bool = True) -> SegmentStats:
    """Return the stats of a segment of which each row takes a byte."""
    n_rows, most = sum(rows.values()) + n_dead, max(rows.values(), default=0)
    owner = next(iter(rows)) if is_known and len(rows) == 1 else None
    return SegmentStats(segment_id, n_rows, n_dead, n_rows, owner, most if is_known else None)


MANY = MIN_INDEXED_ROWS


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([isolated(0, {1: MANY}), isolated(1, {2: MANY})], []),
        ([isolated(0, {1: MANY}), isolated(1, {2: MANY}), isolated(2, {1: MANY})], [0, 2]),
        ([isolated(0, {1: MANY, 2: 1})], [0]),
        ([isolated(0, {1: MANY - 1, 2: MANY - 1})], []),
        ([isolated(0, {1: MANY, 2: MANY}, is_known=False)], [0]),
        ([isolated(0, {1: 5, 2: 5}, is_known=False)], []),
        ([isolated(0, {1: 90, 2: 10}), isolated(1, {1: 30})], [0, 1]),
        ([isolated(0, {1: MANY}), isolated(1, {1: MANY // 2})], []),
        ([isolated(0, {1: MANY}, n_dead=MANY)], [0]),
        ([isolated(0, {1: MANY, 2: MANY}), isolated(1, {2: 9}), isolated(2, {3: 9})], [0]),
    ],
)
def test_what_is_merged_where_partitions_are_kept_apart(segments: list[SegmentStats], expected: list[int]) -> None:
    assert plan_merge(segments, isolates=True) == expected


def test_a_segment_is_not_taken_apart_before_it_is_long_enough_or_where_it_does_not_fit() -> None:
    mixed, own = isolated(0, {1: MANY, 2: MANY}), [isolated(1, {1: MANY}), isolated(2, {1: MANY})]
    assert plan_merge([mixed, *own], 2 * MANY + 1, isolates=True) == []
    assert plan_merge([mixed, *own], 2 * MANY, isolates=True) == [0]
    assert plan_merge([mixed, *own], 0, lambda merged: mixed not in merged, isolates=True) == [1, 2]


segments_of_partitions = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 6), st.sampled_from((1, 20, 300, MANY - 1, MANY, 5 * MANY)), max_size=5),
        st.sampled_from((0, 0, 1, 500, 3 * MANY)),
        st.booleans(),
    ),
    max_size=12,
)


@given(segments_of_partitions, st.booleans(), st.sampled_from((10 * MANY, 1 << 40)), st.randoms(use_true_random=False))
def test_merges_come_to_an_end(
    given_segments: list[tuple[Rows, int, bool]], isolates: bool, most_bytes: int, random: Random
) -> None:
    """Whatever there is, merges end, lose no row, and leave no partition with many rows in a segment with others."""
    held = {i: (rows, n_dead, is_known) for i, (rows, n_dead, is_known) in enumerate(given_segments)}
    before = sum((Counter(rows) for rows, _, _ in held.values()), Counter[int]())
    numbers = iter(range(100, 10_000))

    def fits(merged: Sequence[SegmentStats]) -> bool:
        return sum(s.size_bytes for s in merged) <= most_bytes

    for _ in range(200):
        ids = plan_merge([isolated(i, *segment) for i, segment in held.items()], 0, fits, isolates)
        if not ids:
            break
        merged = [held.pop(i) for i in ids]
        rows = sum((Counter(of_one) for of_one, _, _ in merged), Counter[int]())
        large = {i: n for i, n in rows.items() if n >= MANY}
        groups = [{i: n} for i, n in large.items()] + [{i: n for i, n in rows.items() if i not in large}]
        groups = [group for group in groups if group]
        if not isolates or len(groups) == 1:
            # The graph of the first may be grown, and its deleted rows are kept then, while they are few.
            n_kept = merged[0][1] if len(merged) > 1 and random.random() < 0.5 else 0
            groups, n_dead = [dict(rows)], n_kept if n_kept <= MAX_DEAD_SHARE * sum(merged[0][0].values()) else 0
        else:
            n_dead = 0
        held |= {next(numbers): (group, n_dead, True) for group in groups if group}
    else:
        pytest.fail("there is always something to merge")
    assert sum((Counter(rows) for rows, _, _ in held.values()), Counter[int]()) == before
    if isolates and most_bytes > 10 * MANY:
        assert all(len(rows) < 2 or max(rows.values()) < MANY for rows, _, _ in held.values())
        small = [s for s in held.values() if sum(s[0].values()) < MANY or len(s[0]) > 1]
        assert len(small) <= 8, "partitions of few rows share segments"


def in_partitions(rows: list[tuple[range, int]], dead: list[int]) -> Part:
    """Return a tail with keys of several partitions."""
    tail = Tail(SCHEMA)
    for keys, partition_id in rows:
        tail.append(make_batch(SCHEMA, keys, 1), partition_id)
    tail.remove(np.array(dead, dtype=np.int64))
    view = tail.view()
    return Part(view, view.dead)


def test_rows_are_put_apart_by_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MIN_INDEXED_ROWS", 10)
    first = in_partitions([(range(8), 1), (range(20, 32), 2), (range(40, 45), 3)], [0, 20])
    second = in_partitions([(range(50, 53), 1), (range(60, 64), 3)], [60])
    sources = merge_sources([first, second])

    def keys(group: list[Source]) -> list[int]:
        return [key for source in group for key in source.part.rows.key_column[source.rows].tolist()]

    groups = apart(sources)
    assert [keys(group) for group in groups] == [
        [*range(1, 8), *range(50, 53)],
        [*range(21, 32)],
        [*range(40, 45), *range(61, 64)],
    ]
    assert all([source.part for source in group] == [first, second] for group in groups)
    whole = [Source(first, np.arange(25)), Source(second, np.arange(7))]
    assert [keys(group) for group in apart(whole)] == [keys(group) for group in groups], "deleted rows stay behind"
    alone = merge_sources([in_partitions([(range(12), 4)], [3])])
    assert apart(alone) == [alone]
    small = merge_sources([in_partitions([(range(9), 4), (range(20, 29), 5)], [])])
    assert apart(small) == [small]
    both = merge_sources([in_partitions([(range(12), 4), (range(20, 32), 5)], [])])
    assert [keys(group) for group in apart(both)] == [[*range(12)], [*range(20, 32)]]


def test_a_segment_knows_whose_rows_it_holds(tmp_path: Path) -> None:
    several = write(tmp_path, 1, merge_sources([in_partitions([(range(8), 1), (range(20, 32), 2)], [20])]))
    assert several is not None and isinstance(several.rows, Segment)
    assert (several.partition_id, several.rows.record.n_largest) == (None, 11)
    assert spread(several) == (None, 11)
    live = write(tmp_path, 2, merge_sources([in_partitions([(range(3), 1), (range(20, 32), 2)], [0, 1, 2])]))
    assert live is not None and isinstance(live.rows, Segment)
    assert (live.partition_id, live.rows.record.n_largest) == spread(live) == (2, 12)
    with_dead = Source(in_partitions([(range(3), 1), (range(20, 32), 2)], [0, 1, 2]), np.arange(15))
    kept = write(tmp_path, 3, [with_dead])
    assert kept is not None and kept.n_rows == 15 and kept.n_dead == 3, "as where the graph of a segment is grown"
    assert kept.partition_id == 2
    record = live.rows.record
    assert SegmentRecord.from_document(2, record.to_document()) == record
    old = {name: value for name, value in record.to_document().items() if name not in ("partition", "n_largest")}
    assert SegmentRecord.from_document(2, old) == replace(record, partition_id=None, n_largest=None)
