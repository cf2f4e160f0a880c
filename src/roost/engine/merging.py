"""The merges of one collection: segments into fewer, and where partitions are kept apart, one into several."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from roost.engine.compaction import (
    SegmentStats,
    Source,
    Written,
    apart,
    carried_deletes,
    merge_sources,
    plan_merge,
    spread,
    write_segment,
)
from roost.engine.contents import Contents, Superseded
from roost.engine.effort import Pace
from roost.engine.kept import Kept
from roost.engine.partitions import isolates
from roost.engine.recovery import open_indexes
from roost.engine.room import Room
from roost.engine.snapshot import Part
from roost.engine.written import open_written, put_segment, segment_of, written_sketches
from roost.errors import Corruption


class Merging:
    """Run by the maintenance thread alone."""

    def __init__(self, collection: Kept, room: Room, pace: Callable[[], Pace]) -> None:
        self._collection = collection
        self._host = collection.host
        self._room = room
        self._pace = pace
        self._damage: dict[int, Corruption] = {}
        """Segments whose partitions cannot be counted."""

    def begin(self) -> None:
        """Begin a pass: what was damaged before may have been restored."""
        self._damage = {}

    def end(self) -> None:
        """End a pass. Raises: Corruption: a segment was left out, for a file that tells its rows' partitions."""
        for damage in self._damage.values():
            raise damage

    def due(self, min_bytes: int) -> list[int]:
        """Return the segments to merge next, as `plan_merge` does."""
        is_isolated = isolates(self._collection.record)
        if is_isolated:
            self._count_partitions()
        sealed = self._collection.contents.sealed
        parts = [part for segment_id, part in list(sealed.items()) if segment_id not in self._damage]
        stats = [SegmentStats.of(segment_of(part).record, part.n_dead) for part in parts]
        return plan_merge(stats, min_bytes, self._room.takes_merge, is_isolated)

    def merge(self, ids: Sequence[int]) -> bool:
        """Replace segments by others with their rows; False when told to stop.

        Steps: (1) the files of every new segment are written, (2) one transaction names these and no longer the old
        ones. A crash before (2) leaves the old ones, and files that are swept.
        """
        collection = self._collection
        with collection.changing():
            contents = collection.contents
            parts = [_sealed(contents, segment_id) for segment_id in ids]
            parts.sort(key=lambda part: -part.n_indexed)
        sources = merge_sources(parts)
        if not sum(len(source.rows) for source in sources):
            self._swap(contents, [], parts)
            return True
        groups = apart(sources) if isolates(collection.record) else [sources]
        specs = collection.record.indexes
        if len(parts) == 1:
            # What is taken apart before it was indexed may be merged next, and indexed then.
            specs = tuple(spec for spec in specs if spec.index_id in parts[0].indexes)
        with ExitStack() as stack:
            merged: list[tuple[Written, list[Source]]] = []
            for group in groups:
                segment_id, directory = stack.enter_context(self._host.new_segment())
                written = write_segment(
                    directory,
                    segment_id,
                    collection.collection_id,
                    collection.schema,
                    group,
                    specs,
                    self._pace(),
                    collection.record.indexes,
                )
                if written is None:
                    for unfinished in (directory, *(earlier.directory for earlier, _ in merged)):
                        shutil.rmtree(unfinished, ignore_errors=True)
                    return False
                merged.append((written, group))
            self._swap(contents, merged, parts)
        return True

    def _swap(
        self, contents: Contents, merged: Sequence[tuple[Written, Sequence[Source]]], parts: Sequence[Part]
    ) -> None:
        """Put written segments, each with its sources, in the place of parts."""
        host, collection = self._host, self._collection
        ids = [segment_of(part).segment_id for part in parts]
        with collection.changing():
            if contents is not collection.contents:
                raise Superseded
            replaced = [_sealed(contents, segment_id) for segment_id in ids]
            log_seq = host.catalog.log_range(collection.collection_id)[1]
            made = [self._part(written, sources, replaced, log_seq) for written, sources in merged]
            with host.catalog.transaction() as change:
                for segment_id in ids:
                    change.remove("segment", segment_id)
                for part in made:
                    put_segment(change, part)
                host.save_counter(change)
            old = contents.remove(ids)
            for part in made:
                contents.sealed[segment_of(part).segment_id] = part
            collection.publish()
        host.remove_segments((), old)

    def _part(self, written: Written, sources: Sequence[Source], replaced: Sequence[Part], log_seq: int) -> Part:
        segment = open_written(self._collection, written, log_seq)
        dead = carried_deletes(sources, [part.dead for part in replaced])
        indexes = open_indexes(segment, self._collection.record.indexes)
        sketches = written_sketches(self._collection, segment, written)
        return Part(segment, dead, indexes, sketches, segment.record.partition_id)

    def _count_partitions(self) -> None:
        """Note in the manifests what was not noted when the segments were written: how partitions share them.

        Deletes of the meantime do no harm: what is noted is of rows that were live.
        """
        collection = self._collection
        contents = collection.contents
        counted = {}
        for segment_id, part in list(contents.sealed.items()):
            if segment_of(part).record.n_largest is None and segment_id not in self._damage:
                try:
                    counted[segment_id] = spread(part)
                except Corruption as damage:
                    self._damage[segment_id] = damage
        if not counted:
            return
        with collection.changing():
            if contents is not collection.contents:
                raise Superseded
            segments = [segment_of(_sealed(contents, segment_id)) for segment_id in counted]
            records = [
                replace(segment.record, partition_id=partition_id, n_largest=n_largest)
                for segment, (partition_id, n_largest) in zip(segments, counted.values(), strict=True)
            ]
            with self._host.catalog.transaction() as change:
                for record in records:
                    change.put("segment", record.segment_id, record.to_document())
            for segment, record in zip(segments, records, strict=True):
                segment.record = record
                part = contents.sealed[record.segment_id]
                contents.sealed[record.segment_id] = replace(part, partition_id=record.partition_id, _selections={})
            collection.publish()


def _sealed(contents: Contents, segment_id: int) -> Part:
    """Raises: Superseded: the segment went with its partition, or was merged."""
    part = contents.sealed.get(segment_id)
    if part is None:
        raise Superseded
    return part
