"""Which segments to merge, and the merge itself.

A search visits every segment, and a graph of twice the rows costs hardly more to search, so few large
segments are fast. Merging costs the rewriting of columns; the largest graph of the segments is kept and
grown by the rows of the others, so that each row enters a graph about once.

Where partitions are kept apart, rows lie in segments of one partition each, once that has enough of them for an index;
the rows of all smaller partitions share segments.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from roost.engine.columns import IntArray, Mask, VectorArray
from roost.engine.effort import Pace
from roost.engine.index import sketch
from roost.engine.index.base import NUMBERS, VectorIndex
from roost.engine.index.narrow import blocks
from roost.engine.index.registry import resolve_index, resolve_params
from roost.engine.index.sketch import Sketch
from roost.engine.index.sparse_rows import sparse_column
from roost.engine.memory import physical_bytes
from roost.engine.scalar.built import BuiltScalarIndex, build_scalar_index
from roost.engine.schema import PARTITION_FIELD, Field, Schema
from roost.engine.segment import IndexSpec, SegmentRecord
from roost.engine.snapshot import Part
from roost.engine.storage.column_files import mapped_vectors, write_gathered, write_scalars, write_vectors
from roost.engine.storage.durable import FileRecord, sync_directory, verify, write_durable
from roost.engine.tail import join_batches, live_rows
from roost.errors import Corruption

_log = logging.getLogger(__name__)

MIN_INDEXED_ROWS = 1_024
"""Shorter segments are scanned exactly: that is as fast, and needs no index."""

MAX_SEGMENT_BYTES = max(1 << 30, physical_bytes() // 4)
"""Merging stops here; larger collections have several segments. A merge holds a graph in memory, and maps the
vectors."""

FULL_SEGMENT_BYTES = MAX_SEGMENT_BYTES * 3 // 4
"""A segment from this size on takes in hardly any other."""

MERGE_RATIO = 0.25
"""A segment is merged with the smaller ones when they come to this share of it."""

MAX_DEAD_SHARE = 0.3
"""A segment with more deleted rows than this is rewritten."""


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """What the choice of a merge depends on; `partition_id` and `n_largest` as in `SegmentRecord`."""

    segment_id: int
    n_rows: int
    n_dead: int
    size_bytes: int
    partition_id: int | None = None
    n_largest: int | None = None

    @classmethod
    def of(cls, segment: SegmentRecord, n_dead: int = 0) -> SegmentStats:
        """Return those of a segment with so many deleted rows."""
        size, partition_id = segment.size_bytes, segment.partition_id
        return cls(segment.segment_id, segment.n_rows, n_dead, size, partition_id, segment.n_largest)

    @property
    def n_live(self) -> int:
        return self.n_rows - self.n_dead


def plan_merge(
    segments: Sequence[SegmentStats],
    min_bytes: int = 0,
    fits: Callable[[Sequence[SegmentStats]], bool] = lambda merged: True,
    isolates: bool = False,
) -> list[int]:
    """Return the ids of the segments to merge, largest first; empty when none is due.

    A single id means that the segment is rewritten without its deleted rows, and where partitions are kept apart, that
    its rows are put into segments apart (`apart`).

    Args:
        min_bytes: plan no merge into a smaller segment.
        fits: whether there is memory to merge some segments.
        isolates: keep partitions apart: merge segments of the same partition, or such as hold small partitions alone.
    """
    if not isolates:
        return _plan_among(segments, min_bytes, fits)
    mixed, pools = _by_partition(segments)
    for segment in mixed:
        if segment.size_bytes >= min_bytes and fits([segment]):
            return [segment.segment_id]
    return next((ids for pool in pools if (ids := _plan_among(pool, min_bytes, fits))), [])


def _by_partition(segments: Sequence[SegmentStats]) -> tuple[list[SegmentStats], list[list[SegmentStats]]]:
    """Return the segments that are to be taken apart, and the others by what may be merged."""
    mixed: list[SegmentStats] = []
    shared: list[SegmentStats] = []
    own: dict[int, list[SegmentStats]] = {}
    for segment in segments:
        if segment.n_live < MIN_INDEXED_ROWS:
            shared.append(segment)
        elif segment.partition_id is not None:
            own.setdefault(segment.partition_id, []).append(segment)
        elif segment.n_largest is None or segment.n_largest >= MIN_INDEXED_ROWS:
            mixed.append(segment)
        else:
            shared.append(segment)
    return mixed, [*own.values(), shared]


def _plan_among(
    segments: Sequence[SegmentStats], min_bytes: int, fits: Callable[[Sequence[SegmentStats]], bool]
) -> list[int]:
    ordered = sorted(segments, key=lambda s: (-s.size_bytes, s.segment_id))
    for i, largest in enumerate(ordered[:-1]):
        smaller = ordered[i + 1 :]
        total = sum(s.size_bytes for s in smaller)
        is_due = total >= MERGE_RATIO * largest.size_bytes and min_bytes <= total + largest.size_bytes
        if is_due and total + largest.size_bytes <= MAX_SEGMENT_BYTES and fits(ordered[i:]):
            return [s.segment_id for s in (largest, *smaller)]
    for segment in ordered:
        is_due = segment.size_bytes >= min_bytes and segment.n_dead > MAX_DEAD_SHARE * segment.n_rows
        if is_due and fits([segment]):
            return [segment.segment_id]
    return []


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one part that go into a merged segment."""

    part: Part
    rows: IntArray

    @property
    def live_rows(self) -> IntArray:
        """Those of the rows that are not deleted."""
        dead = self.part.dead
        return self.rows if dead is None else self.rows[~dead[self.rows]]


@dataclass(frozen=True, slots=True)
class Written:
    """A segment on disk that no manifest names yet.

    Attributes:
        sketches: index id to the sketch that was written.
    """

    record: SegmentRecord
    directory: Path
    sketches: Mapping[int, Sketch]


def merge_sources(parts: Sequence[Part]) -> list[Source]:
    """Return which rows of each part to keep: the first part's graph is reused, so all of its rows
    stay, deleted or not, unless too many are deleted; of the others the live rows."""
    first, *others = parts
    specs = [held.spec for held in first.indexes.values() if not held.spec.is_scalar]
    grows = any(not resolve_index(spec.index_type).learns for spec in specs)
    keep_all = grows and first.n_dead <= MAX_DEAD_SHARE * first.n_rows and bool(others)
    rows = np.arange(first.n_rows, dtype=np.int64) if keep_all else live_rows(first.n_rows, first.dead)
    return [Source(first, rows), *(Source(part, live_rows(part.n_rows, part.dead)) for part in others)]


def apart(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the live rows by partition: for each that has enough for an index a list of sources, and one for the rest.

    What need not be taken apart is left as it is. A list has all sources, some of them without rows.
    """
    rows = [source.live_rows for source in sources]
    ids = [_partitions(source.part)[of_source] for source, of_source in zip(sources, rows, strict=True)]
    n_rows = np.bincount(np.concatenate(ids))
    is_large = n_rows >= MIN_INDEXED_ROWS
    if np.count_nonzero(is_large) + bool(n_rows[~is_large].any()) < 2:
        return [list(sources)]

    def group(of_group: Callable[[IntArray], Mask]) -> list[Source]:
        return [
            Source(source.part, of_source[of_group(partitions)])
            for source, of_source, partitions in zip(sources, rows, ids, strict=True)
        ]

    groups = [group(partial(np.equal, partition_id)) for partition_id in np.flatnonzero(is_large)]
    return [*groups, group(lambda partitions: ~is_large[partitions])] if n_rows[~is_large].any() else groups


def spread(part: Part) -> tuple[int | None, int]:
    """Return the partition that all live rows of a part are of, None where they are of several, and `n_largest`."""
    return _spread(_partitions(part)[live_rows(part.n_rows, part.dead)])


def _spread(partitions: IntArray) -> tuple[int | None, int]:
    n_rows = np.bincount(partitions, minlength=1)
    largest = int(n_rows.argmax())
    n_largest = int(n_rows[largest])
    return (largest if n_largest and n_largest == len(partitions) else None), n_largest


def _partitions(part: Part) -> IntArray:
    ids: IntArray = part.scalar(PARTITION_FIELD).to_numpy(zero_copy_only=True)
    return ids


def write_segment(
    directory: Path,
    segment_id: int,
    collection_id: int,
    schema: Schema,
    sources: Sequence[Source],
    specs: Sequence[IndexSpec],
    pace: Pace,
    sketched: Sequence[IndexSpec] = (),
) -> Written | None:
    """Write the rows of the sources as one segment and build its indexes; None when told to stop.

    Steps: (1) the column files, (2) each sketch and index, (3) the directory is fsynced. Nothing names the
    directory before all are done, so a crash after any step leaves files that are swept.

    Args:
        specs: the indexes to build.
        sketched: the indexes for whose searches the rows are sketched, if any of the sources are.
    Raises: StorageFull, StorageFailure: the caller removes the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    batches = tuple(source.part.rows.scalars.take(pa.array(source.rows)) for source in sources)
    scalars = join_batches(batches, schema.stored_schema)
    files = [write_scalars(directory, scalars)]
    vectors: dict[str, VectorArray] = {}
    for field in schema.vectors:
        if not field.is_matrix:
            vectors[field.name] = sparse_column(scalars.column(field.name))
            continue
        files.append(_write_vectors(directory, field, sources))
        vectors[field.name] = mapped_vectors(directory, field.field_id)
    sketches = {
        spec.index_id: made
        for spec in sketched
        if not spec.is_scalar and (made := merged_sketch(spec, schema, sources, vectors[spec.field])) is not None
    }
    of_id = {spec.index_id: spec for spec in sketched}
    sketch_files = {i: write_durable(sketch_path(directory, of_id[i]), made.save) for i, made in sketches.items()}
    records: dict[int, FileRecord] = {}
    if scalars.num_rows >= MIN_INDEXED_ROWS:
        for spec in specs:
            index: VectorIndex | BuiltScalarIndex | None
            if spec.is_scalar:
                index = build_scalar_index(scalars.column(spec.field), spec.index_type)
            else:
                index = build_index(spec, vectors[spec.field], _reusable(sources[0], spec), pace)
            if index is None:
                return None
            records[spec.index_id] = save_index(directory, spec, index)
    sync_directory(directory)
    sync_directory(directory.parent)
    partition_id, n_largest = _spread(np.concatenate([_partitions(s.part)[s.live_rows] for s in sources]))
    record = SegmentRecord(
        segment_id,
        collection_id,
        scalars.num_rows,
        tuple(files),
        records,
        sketches=sketch_files,
        partition_id=partition_id,
        n_largest=n_largest,
    )
    return Written(record, directory, sketches)


def merged_sketch(spec: IndexSpec, schema: Schema, sources: Sequence[Source], vectors: VectorArray) -> Sketch | None:
    """Return the sketch of merged rows; None where no source has one, or none is needed.

    The axes are those of the sources, until the rows are many and enter a graph.

    Args:
        vectors: the rows of all sources.
    """
    held = [source.part.sketch(spec) for source in sources]
    like = next((sketch for sketch in held if sketch is not None), None)
    if like is None or not takes_sketch(spec, schema, len(vectors)):
        return None
    if sources[0].part.n_indexed:
        return Sketch.build(vectors, spec.metric)
    pieces: list[tuple[Sketch, IntArray | None]] = []
    start = 0
    for source, known in zip(sources, held, strict=True):
        end = start + len(source.rows)
        if known is not None and known.agrees_with(like):
            kept = source.rows[: np.searchsorted(source.rows, known.n_rows)]
            pieces.append((known, kept))
            start += len(kept)
        if start < end:
            pieces.append((like.of(vectors[start:end]), None))
        start = end
    return Sketch.joined(pieces)


def build_index(spec: IndexSpec, vectors: VectorArray, base: VectorIndex | None, pace: Pace) -> VectorIndex | None:
    """Return an index over the vectors; None when told to stop.

    Args:
        base: an index over the first rows of `vectors`, to be grown, or None; None for a type that learns.
        pace: asked between blocks of rows.
    """
    kind, params = resolve_index(spec.index_type), resolve_params(spec.index_type, spec.params)
    if kind.learns:
        return kind.build_until(vectors, spec.metric, params, pace.tend)
    index = base
    start = 0 if index is None else index.n_rows
    while start < len(vectors):
        n_rows = pace.next_rows()
        if not n_rows:
            return None
        chunk = vectors[start : start + n_rows]
        if index is None:
            index = pace.run(partial(kind.build, chunk, spec.metric, params))
        else:
            pace.run(partial(index.add, chunk))
        start += len(chunk)
    return index


def save_index(directory: Path, spec: IndexSpec, index: VectorIndex | BuiltScalarIndex) -> FileRecord:
    """Write an index into a segment's directory."""
    return write_durable(index_path(directory, spec), index.save)


def index_path(directory: Path, spec: IndexSpec) -> Path:
    """Return where a segment's index lies."""
    return directory / f"index-{spec.index_id}.bin"


def takes_sketch(spec: IndexSpec, schema: Schema, n_rows: int) -> bool:
    """Say whether searches gain by a sketch of so many rows: filtered ones, and all until the index is built."""
    if spec.is_scalar or n_rows < sketch.MIN_ROWS:
        return False
    field = schema.field(spec.field)
    if field.dtype not in NUMBERS or (field.dim or 0) < sketch.MIN_DIM:
        return False
    return resolve_index(spec.index_type).search_width(1, {}) > 0


def sketch_path(directory: Path, spec: IndexSpec) -> Path:
    """Return where the sketch of a segment lies."""
    return directory / f"sketch-{spec.index_id}.bin"


def carried_deletes(sources: Sequence[Source], now: Sequence[Mask | None]) -> Mask | None:
    """Return the deleted rows of a merged segment, given the sources' deletes at this moment."""
    parts = [
        np.zeros(len(source.rows), dtype=bool) if dead is None else dead[source.rows]
        for source, dead in zip(sources, now, strict=True)
    ]
    mask: Mask = np.concatenate(parts)
    return mask if mask.any() else None


def _write_vectors(directory: Path, field: Field, sources: Sequence[Source]) -> FileRecord:
    if len(sources) == 1 and len(sources[0].rows) == sources[0].part.n_rows:
        return write_vectors(directory, field.field_id, sources[0].part.rows.vectors(field.name))
    columns = [source.part.rows.vectors(field.name) for source in sources]
    shape = (sum(len(source.rows) for source in sources), columns[0].shape[1])
    return write_gathered(directory, field.field_id, shape, columns[0].dtype, _gathered(sources, columns))


def _gathered(sources: Sequence[Source], columns: Sequence[VectorArray]) -> Iterator[VectorArray]:
    """Give the rows of the sources block by block."""
    for source, vectors in zip(sources, columns, strict=True):
        is_whole = len(source.rows) == len(vectors)
        for block in blocks(len(source.rows), vectors.shape[1]):
            yield vectors[block] if is_whole else vectors[source.rows[block]]


def _reusable(source: Source, spec: IndexSpec) -> VectorIndex | None:
    """Return a private copy of the first source's index when all of its rows are kept and its file is whole."""
    held = source.part.indexes.get(spec.index_id)
    kind = resolve_index(spec.index_type)
    if held is None or kind.learns or len(source.rows) != source.part.n_rows:
        return None
    try:
        verify(held.path, held.record)
        return kind.load(held.path, spec.metric, resolve_params(spec.index_type, spec.params), mmap=False)
    except Corruption as error:
        _log.warning("%s; the index is built anew", error.message.partition(";")[0])
        return None
