"""The rows of one collection and how a write changes them: the writer's side of a snapshot.

Used alike by the live writer, by recovery, and by a process that follows the writer, so that all three
come to the same rows from the same log. One thread at a time, under the database's write lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from roost.engine.columns import Batch, IntArray, Mask
from roost.engine.keys import KeyArray, key_array
from roost.engine.schema import Schema
from roost.engine.segment import Segment, SegmentRecord, SegmentSketch, StoredIndex
from roost.engine.snapshot import Part, Snapshot
from roost.engine.tail import Tail
from roost.errors import Corruption


class Superseded(Exception):
    """The rows were emptied, or merged, while they were worked on; the work is thrown away."""


class Origin(NamedTuple):
    """What rows were recovered from, beside the records of the log.

    Attributes:
        log_start: the record before the first of the log.
        deletes: segment id to bitmap bytes.
    """

    log_start: int
    schema: Schema
    segment_ids: tuple[int, ...]
    deletes: dict[int, bytes]


class Contents:
    """Sealed parts by segment id, the rows that are being sealed, and the tail.

    Attributes:
        sealed: segment id to part; replaced, never changed in place.
        sealing: rows that left the tail and are on their way into a segment.
        dirty: segments whose deletes are newer than what the manifest holds.
        n_unfolded: deletes of sealed rows since the manifest last held them all.
        origin: what a process that follows a writer recovered the rows from; None in any other.
        replayed_upto: the last record of the log that was applied to these.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.sealed: dict[int, Part] = {}
        self.sealing: Part | None = None
        self.tail = Tail(schema)
        self.dirty: set[int] = set()
        self.n_unfolded = 0
        self.origin: Origin | None = None
        self.replayed_upto = 0

    def snapshot(self) -> Snapshot:
        """Return everything as it is now, as an object that later writes do not touch."""
        parts = [part for part in self.sealed.values() if part.n_rows]
        if self.sealing is not None and self.sealing.n_rows:
            parts.append(self.sealing)
        if self.tail.n_rows:
            view = self.tail.view()
            parts.append(Part(view, view.dead, {}, self.tail.sketches))
        return Snapshot(self.schema, tuple(parts))

    def manifests(self) -> list[SegmentRecord]:
        """Return the manifests of the sealed parts."""
        return [part.rows.record for part in list(self.sealed.values()) if isinstance(part.rows, Segment)]

    def holders(self) -> dict[int, object]:
        """Return by segment id what readers hold of the sealed segments."""
        return {segment_id: part.rows for segment_id, part in self.sealed.items()}

    def close_files(self, partitions: Collection[int] | None = None) -> None:
        """Close the files of the sealed parts; what is needed again is opened again.

        Args:
            partitions: close those of segments that hold rows of one of these alone.
        """
        for segment_id, part in list(self.sealed.items()):
            if partitions is None or part.partition_id in partitions:
                self.sealed[segment_id] = part.closed()

    def open_files(self) -> bool:
        """Open every file of the sealed parts, so that what is read stays when a writer removes it.

        Returns: whether all could be opened; a file that stays damaged is left to the read that needs it.
        """
        is_complete = True
        for part in self.sealed.values():
            try:
                part.open_files(verified=False)
            except Corruption:
                is_complete = False
        return is_complete

    def find(self, keys: KeyArray, log_seq: int | None = None) -> dict[int, IntArray]:
        """Return the live rows of the keys outside the tail: segment id (-1: being sealed) to rows.

        Args:
            log_seq: leave out segments that are newer than this record of the log.
        Raises: Corruption: a segment's file is damaged; nothing was changed.
        """
        found: dict[int, IntArray] = {}
        for segment_id, part in self._outside_tail():
            if log_seq is not None and isinstance(part.rows, Segment) and part.rows.record.log_seq >= log_seq:
                continue
            rows = part.rows.keys.find(keys)
            if part.dead is not None and len(rows):
                rows = rows[~part.dead[rows]]
            if len(rows):
                found[segment_id] = rows
        return found

    def is_unsealed(self, keys: KeyArray, found: dict[int, IntArray]) -> bool:
        """Whether the log, and not a segment, holds a live row of the keys (`found` of those keys)."""
        return -1 in found or bool(self.tail.find(keys))

    def count(self, keys: KeyArray, found: dict[int, IntArray]) -> int:
        """Return how many live rows the keys have, given what `find` found."""
        return len(self.tail.find(keys)) + sum(len(rows) for rows in found.values())

    def insert(self, batch: Batch, partition_id: int, found: dict[int, IntArray]) -> None:
        """Add rows in place of those that hold the same keys (`found` of those keys)."""
        keys = key_array(batch.scalars.column(self.schema.primary.name))
        self.delete(keys, found)
        self.tail.append(batch, partition_id)

    def delete(self, keys: KeyArray, found: dict[int, IntArray]) -> None:
        """Remove the rows of the keys (`found` of those keys)."""
        self.tail.remove(keys)
        for segment_id, rows in found.items():
            if segment_id < 0 and self.sealing is not None:
                self.sealing = _without(self.sealing, rows)
            else:
                self.sealed[segment_id] = _without(self.sealed[segment_id], rows)
                self.dirty.add(segment_id)
                self.n_unfolded += len(rows)

    def without(self, segment_id: int, rows: IntArray) -> Mask:
        """Return the mask of a segment's deleted rows, were these rows deleted too."""
        return _dead_with(self.sealed[segment_id], rows)

    def folded(self) -> None:
        """Note that the manifest holds every delete."""
        self.dirty.clear()
        self.n_unfolded = 0

    def without_index(self, index_id: int) -> dict[int, SegmentRecord]:
        """Return the manifests of the segments that have an index or its sketch, without them."""
        manifests = {manifest.segment_id: manifest for manifest in self.manifests()}
        return {
            segment_id: replace(
                manifest,
                indexes={i: f for i, f in manifest.indexes.items() if i != index_id},
                sketches={i: f for i, f in manifest.sketches.items() if i != index_id},
            )
            for segment_id, manifest in manifests.items()
            if index_id in manifest.indexes or index_id in manifest.sketches
        }

    def drop_index(self, index_id: int, manifests: dict[int, SegmentRecord]) -> list[StoredIndex | SegmentSketch]:
        """Take an index from the segments (`without_index` of it) and return what was held open of it."""
        dropped: list[StoredIndex | SegmentSketch] = []
        self.tail.sketches = {i: sketch for i, sketch in self.tail.sketches.items() if i != index_id}
        for segment_id, manifest in manifests.items():
            part = self.sealed[segment_id]
            if isinstance(part.rows, Segment):
                part.rows.record = manifest
            dropped.extend(held for held in part.derived if held.spec.index_id == index_id)
            indexes = {i: index for i, index in part.indexes.items() if i != index_id}
            sketches = {i: sketch for i, sketch in part.sketches.items() if i != index_id}
            self.sealed[segment_id] = replace(part, indexes=indexes, sketches=sketches, _selections={})
        return dropped

    def of_partition(self, partition_id: int) -> list[int]:
        """Return the segments that hold rows of this partition alone."""
        return [segment_id for segment_id, part in self.sealed.items() if part.partition_id == partition_id]

    def remove(self, segment_ids: Iterable[int]) -> dict[int, object]:
        """Remove segments with their rows, and return what readers hold of them."""
        self.dirty.difference_update(segment_ids)
        return {segment_id: self.sealed.pop(segment_id).rows for segment_id in segment_ids}

    def freeze(self) -> Part | None:
        """Move the tail's rows to `sealing` and return them; None when there is nothing to seal."""
        if self.sealing is None and self.tail.n_rows:
            view = self.tail.view()
            self.sealing = Part(view, view.dead, {}, self.tail.sketches)
            self.tail = Tail(self.schema)
        return self.sealing

    def _outside_tail(self) -> list[tuple[int, Part]]:
        parts = list(self.sealed.items())
        if self.sealing is not None:
            parts.append((-1, self.sealing))
        return parts


def _without(part: Part, rows: IntArray) -> Part:
    return replace(part, dead=_dead_with(part, rows), _selections={})


def _dead_with(part: Part, rows: IntArray) -> Mask:
    dead = np.zeros(part.n_rows, dtype=bool) if part.dead is None else part.dead.copy()
    dead[rows] = True
    return dead
