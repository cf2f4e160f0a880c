from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roost.engine import compaction
from roost.engine.compaction import (
    MAX_SEGMENT_BYTES,
    SegmentStats,
    Source,
    carried_deletes,
    merge_sources,
    plan_merge,
    write_segment,
)
from roost.engine.effort import Pace
from roost.engine.segment import Segment, SegmentIndex
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
    return Part(segment, dead, {i: SegmentIndex(written.directory / f.name, f, spec) for i, f in files.items()})


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
