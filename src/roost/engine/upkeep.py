"""The background work of one collection: rows into segments, segments into fewer, indexes over them.

Each step writes files first, then swaps them in with one transaction and one new snapshot. Readers see
the rows before or after, never in between; writers wait only for the swap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from roost.engine import maintenance
from roost.engine.compaction import (
    FULL_SEGMENT_BYTES,
    MIN_INDEXED_ROWS,
    SegmentStats,
    Source,
    Written,
    build_index,
    carried_deletes,
    index_path,
    plan_merge,
    save_index,
    write_segment,
)
from roost.engine.contents import Contents, Superseded
from roost.engine.effort import Effort, Pace, choose_effort
from roost.engine.index.base import VectorIndex
from roost.engine.kept import Kept
from roost.engine.merging import Merging
from roost.engine.partitions import isolates, released_ids
from roost.engine.records import CollectionRecord
from roost.engine.recovery import open_index
from roost.engine.room import Room
from roost.engine.scalar.built import BuiltScalarIndex, build_scalar_index
from roost.engine.segment import IndexSpec, Segment, SegmentRecord, StoredIndex
from roost.engine.sketching import Sketching
from roost.engine.snapshot import Part
from roost.engine.storage.durable import sync_directory
from roost.engine.tail import live_rows
from roost.engine.waiting import waiting_ns
from roost.engine.written import open_written, put_deletes, put_segment, segment_of, written_sketches
from roost.errors import Closed, CollectionNotFound, Corruption

_log = logging.getLogger(__name__)

MIN_SEALED_ROWS = MIN_INDEXED_ROWS
"""A shorter tail stays in the log unless a flush asks for it."""

MAX_LOG_RECORDS = 4_096
MAX_LOG_DELETES = 65_536
"""A log with more records, or more deletes of sealed rows, is folded into the manifest, however short its tail."""

MAX_TAIL_BYTES = 256 << 20
MAX_TAIL_ROWS = 262_144
"""A longer tail is sealed without waiting for writes to pause."""

SETTLED_S = 3.0
SEARCHED_TAIL_ROWS = 98_304
"""While somebody searches, a tail is sealed when nothing was written for so long, or when it is longer than this: one
long run of rows that are sketched as they come is searched faster than many short segments."""


def has_work(record: CollectionRecord, segments: Sequence[SegmentRecord], n_log_records: int) -> bool:
    """Whether something is due that shows before the rows of a collection are read."""
    lacks_index = any(
        spec.index_id not in segment.indexes
        for segment in segments
        if segment.n_rows >= MIN_INDEXED_ROWS
        for spec in record.indexes
    )
    is_due = bool(plan_merge([SegmentStats.of(segment) for segment in segments], isolates=isolates(record)))
    return lacks_index or n_log_records >= MAX_LOG_RECORDS or is_due


class Upkeep:
    """The upkeep of one collection. Run by the maintenance thread alone."""

    def __init__(self, collection: Kept) -> None:
        self._collection = collection
        self._host = collection.host
        self._room = Room(collection)
        self._merging = Merging(collection, self._room, self._pace)
        self._sketching = Sketching(collection)
        self._following = threading.Lock()
        self._failed_at = float("-inf")
        self._sealed_upto = 0
        self._written_at = float("-inf")
        self._has_put_off = False
        self._told_damage = ""
        self.n_loads = 0
        """Bulk loads under way: until they end, only what makes a full segment is merged and indexed."""

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Merge and index only what makes a full segment until the block ends. For any thread."""
        with self._host.catalog.lock:
            self.n_loads += 1
        try:
            yield
        finally:
            with self._host.catalog.lock:
                self.n_loads -= 1
            self._host.maintenance.touch(self._collection.collection_id, self.run)

    def touch(self) -> None:
        """Note that the collection was written to. For any thread."""
        self._written_at = time.monotonic()
        is_urgent = self.overdue() or self._sketching.is_behind()
        self._host.maintenance.touch(self._collection.collection_id, self.run, urgent=is_urgent)

    def follow(self) -> bool:
        """Sketch rows that are in no segment, for a search of a reading process; return whether any were new."""
        if not self._sketching.is_short() or not self._following.acquire(blocking=False):
            return False
        try:
            self._sketching.grow()
        finally:
            self._following.release()
        return True

    def overdue(self) -> bool:
        """Whether the tail is so long that it is sealed at once."""
        tail = self._collection.contents.tail
        return tail.n_rows >= MAX_TAIL_ROWS or tail.size_bytes >= MAX_TAIL_BYTES

    def run(self, full: bool) -> None:
        """Do what is due; with `full`, seal every row first.

        Raises: MemoryLimitExceeded: all was done but for indexes that there is no memory to build. Corruption: rows
            that are to be merged or indexed are damaged. Both are logged, once.
        """
        while True:
            try:
                if not full and time.monotonic() < self._failed_at + maintenance.RETRY_S:
                    return self._await_retry()
                self._run(full)
                self._told_damage = ""
                return
            except Superseded:
                continue
            except (CollectionNotFound, Closed):
                if self._collection.dropped or self._host.closed:
                    return
                raise
            except Exception as error:
                self._failed_at = time.monotonic()
                if isinstance(error, Corruption):
                    self._tell(error.message)
                raise

    def _await_retry(self) -> None:
        """Do what needs no file, which searches wait for, until it is time to try again what failed."""
        if self._sketching.is_behind():
            self._sketching.grow()
        self._host.maintenance.touch(self._collection.collection_id, self.run)

    def _tell(self, damage: str) -> None:
        if damage != self._told_damage:
            _log.warning("collection %r is not merged and indexed further: %s", self._collection.name, damage)
        self._told_damage = damage

    def _run(self, full: bool) -> None:
        self._collection.require_present()
        self._has_put_off = has_worked = False
        self._merging.begin()
        if self._collection.contents.sealing is not None:
            self._seal()
        self._tend_tail(full)
        min_bytes = FULL_SEGMENT_BYTES if self.n_loads and not full else 0
        while not self._host.maintenance.stopping():
            self._room.begin()  # what an earlier pass had no room for may have been built since
            if self._host.is_searched() and not full and (bare := self._sketching.missing()):
                self._sketching.build(*bare)
            # Merges first, each time: what was sealed while an index was built need not have one of its own.
            elif ids := self._merging.due(min_bytes):
                if not self._merging.merge(ids):
                    return
            elif missing := self._missing_index(min_bytes):
                if not self._build(*missing):
                    return
            elif bare := self._sketching.missing():
                self._sketching.build(*bare)
            else:
                break
            has_worked = True
        if has_worked and released_ids(self._collection.record):
            self._collection.close_files()  # of released partitions, which the work has opened
        if self._has_put_off:
            self._host.maintenance.touch(self._collection.collection_id, self.run)
        try:
            self._room.end()
        finally:
            self._merging.end()

    def _tend_tail(self, full: bool) -> None:
        """Seal the tail where that is due; otherwise sketch what searches would scan of it."""
        if full or self._is_seal_due():
            self._seal()
        elif self._sketching.is_behind():
            self._sketching.grow()

    def _tend(self) -> bool:
        """Look after the rows that came while a graph grows; return whether to stop growing it."""
        if self._host.maintenance.stopping():
            return True
        if self._host.is_searched():
            self._tend_tail(full=False)
        elif self.overdue():
            self._seal()
        return False

    # Sealing

    def _is_seal_due(self) -> bool:
        """Whether to empty the log now. Rows of the tail that searches meet are sketched, and can wait."""
        if not self._is_log_long():
            return False
        if self._is_log_overlong():
            return True
        now, tail = time.monotonic(), self._collection.contents.tail
        is_due = (
            not self._host.is_searched()
            or self.overdue()
            or now - self._written_at >= SETTLED_S
            or tail.n_rows >= SEARCHED_TAIL_ROWS
        )
        self._has_put_off |= not is_due
        return is_due

    def _is_log_long(self) -> bool:
        """Whether the log is worth emptying: for its rows, its records, or the deletes of sealed rows in it."""
        return self._collection.contents.tail.n_rows >= MIN_SEALED_ROWS or self._is_log_overlong()

    def _is_log_overlong(self) -> bool:
        first, last = self._host.catalog.log_range(self._collection.collection_id)
        return last - first >= MAX_LOG_RECORDS or self._collection.contents.n_unfolded >= MAX_LOG_DELETES

    def _seal(self) -> None:
        """Move the rows of the tail from the log into a segment.

        Steps: (1) the rows leave the tail and stay readable, (2) files are written, (3) one
        transaction names the segment, stores all deletes and drops the rows from the log. A crash
        or an error before (3) leaves the log as it was.
        """
        host, collection = self._host, self._collection
        with collection.changing():
            contents = collection.contents
            resumed = contents.sealing is not None
            part = contents.freeze()
            if part is None:
                self._fold_deletes(contents)
                return
            if not resumed:
                self._sealed_upto = host.catalog.log_range(collection.collection_id)[1]
            collection.publish()
            upto = self._sealed_upto
        source = Source(part, live_rows(part.n_rows, part.dead))
        if not len(source.rows):
            self._swap_sealed(contents, None, source, upto)
            return
        with host.new_segment() as (segment_id, directory):
            written = write_segment(
                directory,
                segment_id,
                collection.collection_id,
                collection.schema,
                [source],
                [],
                Pace(lambda: False),
                collection.record.indexes,
            )
            self._swap_sealed(contents, written, source, upto)

    def _fold_deletes(self, contents: Contents) -> None:
        """Move what the log holds into the bitmaps, when it holds nothing but deletes of sealed rows."""
        host, collection_id = self._host, self._collection.collection_id
        first, last = host.catalog.log_range(collection_id)
        if not contents.dirty and first == last:
            return
        with host.catalog.transaction() as change:
            for segment_id in contents.dirty:
                put_deletes(change, segment_id, contents.sealed[segment_id])
            change.truncate_log(collection_id, last)
        contents.folded()

    def _swap_sealed(self, contents: Contents, written: Written | None, source: Source, upto: int) -> None:
        host, collection = self._host, self._collection
        with collection.changing():
            if contents is not collection.contents or contents.sealing is None:
                raise Superseded
            sealed = None
            if written is not None:
                segment = open_written(collection, written)
                dead = carried_deletes([source], [contents.sealing.dead])
                sketches = written_sketches(collection, segment, written)
                sealed = Part(segment, dead, {}, sketches, segment.record.partition_id)
            with host.catalog.transaction() as change:
                if sealed is not None:
                    put_segment(change, sealed)
                for segment_id in contents.dirty:
                    put_deletes(change, segment_id, contents.sealed[segment_id])
                change.truncate_log(collection.collection_id, upto)
                host.save_counter(change)
            if sealed is not None:
                contents.sealed[segment_of(sealed).segment_id] = sealed
            contents.sealing = None
            contents.folded()
            collection.publish()

    # Indexing

    def _missing_index(self, min_bytes: int) -> tuple[int, IndexSpec] | None:
        for segment_id, part in list(self._collection.contents.sealed.items()):
            if part.n_rows >= MIN_INDEXED_ROWS and segment_of(part).record.size_bytes >= min_bytes:
                for spec in self._collection.record.indexes:
                    held = part.indexes.get(spec.index_id)
                    is_missing = held is None or held.is_damaged
                    if is_missing and self._room.takes_index(segment_of(part).record, spec):
                        return segment_id, spec
        return None

    def _build(self, segment_id: int, spec: IndexSpec) -> bool:
        """Build one index of one segment and swap it in; False when told to stop."""
        host, collection = self._host, self._collection
        part = collection.contents.sealed.get(segment_id)
        if part is None:
            raise Superseded
        segment = segment_of(part)
        index: VectorIndex | BuiltScalarIndex | None
        if spec.is_scalar:
            index = build_scalar_index(segment.scalar(spec.field), spec.index_type)
        else:
            index = build_index(spec, segment.vectors(spec.field), None, self._pace())
        if index is None:
            return False
        # A file that was damaged may be mapped elsewhere; it is not written over.
        index_path(segment.directory, spec).unlink(missing_ok=True)
        file = save_index(segment.directory, spec, index)
        path = segment.directory / file.name
        try:
            sync_directory(segment.directory)
            self._swap_indexed(segment, open_index(segment, spec, file))
        except BaseException:
            manifest = host.catalog.segment(segment_id)
            if manifest is None or str(spec.index_id) not in manifest["indexes"]:
                path.unlink(missing_ok=True)
            raise
        return True

    def _swap_indexed(self, segment: Segment, index: StoredIndex) -> None:
        host, collection = self._host, self._collection
        index_id = index.spec.index_id
        with collection.changing():
            part = collection.contents.sealed.get(segment.segment_id)
            if part is None or index.spec not in collection.record.indexes:
                raise Superseded
            segment = segment_of(part)
            record = replace(segment.record, indexes={**segment.record.indexes, index_id: index.record})
            with host.catalog.transaction() as change:
                change.put("segment", segment.segment_id, record.to_document())
            segment.record = record
            indexes = {**part.indexes, index_id: index}
            collection.contents.sealed[segment.segment_id] = replace(part, indexes=indexes, _selections={})
            collection.publish()

    # Pieces

    def _pace(self) -> Pace:
        return Pace(self._tend, self._effort, self._host.maintenance.rest)

    def _effort(self) -> Effort:
        """Choose how hard to build, by what searches have to scan meanwhile."""
        scan_ns = waiting_ns(self._collection.contents, self._collection.record.indexes)
        is_awaited = self._host.maintenance.is_awaited()
        return choose_effort(scan_ns, is_searched=self._host.is_searched(), is_awaited=is_awaited)
