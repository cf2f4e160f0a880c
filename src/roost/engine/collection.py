"""One collection: writes go to the log and then to memory, reads take a snapshot and nothing else.

A write is (1) checked, (2) committed to the log, (3) applied in memory, (4) published as a new
snapshot, (5) acknowledged. A crash before (2) leaves nothing of it; after (2), recovery repeats (3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from threading import TIMEOUT_MAX
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from roost.engine import query as row_query
from roost.engine import search as vector_search
from roost.engine.columns import Batch
from roost.engine.contents import Contents
from roost.engine.filter import Predicate
from roost.engine.host import Host
from roost.engine.keys import KeyArray, as_keys, key_array
from roost.engine.log import DELETE, INSERT, encode_delete, encode_insert
from roost.engine.partitions import isolates, released_ids
from roost.engine.query import Places
from roost.engine.records import DEFAULT_PARTITION, CollectionRecord
from roost.engine.recovery import record_of, recover_contents, segments_of
from roost.engine.schema import Schema
from roost.engine.search import Hits, Request
from roost.engine.segment import IndexSpec, SegmentRecord
from roost.engine.snapshot import Partitions, Snapshot
from roost.engine.upkeep import Upkeep
from roost.errors import CollectionNotFound, IndexNotFound, InvalidArgument, PartitionNotFound, Timeout

Recover: TypeAlias = Callable[[CollectionRecord, Contents | None], Contents]
"""Gives the rows of a collection, given its record and an earlier reading whose open files are used again."""


class Collection:
    """Rows with vectors. Any thread may call any method; searches never wait for writes.

    Made by `Database` alone. Every writing method raises Closed, ReadOnly, CollectionNotFound (it was
    dropped), StorageFull or StorageFailure, and then has written nothing.
    """

    def __init__(
        self, host: Host, record: CollectionRecord, recover: Recover, segments: Sequence[SegmentRecord] = ()
    ) -> None:
        """Take over what the catalogue has of a collection.

        Args:
            segments: the manifests of its segments.
            recover: gives its rows; called when they are first needed, so that a database of many collections opens
                soon and holds the rows of those that are used.
        """
        self.host = host
        self.record = record
        self.dropped = False
        self.follow: Callable[[], bool] | None = None
        """Set in a process that follows a writer: catches up, and says whether anything was new."""
        self._upkeep = Upkeep(self)
        self._is_torn = False
        self._recover_rows: Recover | None = recover
        self._unopened: Sequence[SegmentRecord] = segments
        self._contents: Contents | None = None
        self._published: Snapshot | None = None
        host.budget.changed(self)

    def __repr__(self) -> str:
        return f"<Collection {self.name!r}>"

    @property
    def collection_id(self) -> int:
        return self.record.collection_id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def schema(self) -> Schema:
        return self.record.schema

    @property
    def n_rows(self) -> int:
        """Live rows."""
        return self.snapshot().n_rows

    @property
    def contents(self) -> Contents:
        """The rows as the writer has them. Used under the write lock."""
        return self._contents or self.open()[0]

    @contents.setter
    def contents(self, contents: Contents) -> None:
        self._contents = contents

    @property
    def footprint(self) -> tuple[Sequence[SegmentRecord], int]:
        """The manifests of its segments and the bytes of its tail; nothing is opened for them."""
        if self._contents is None:
            return self._unopened, 0
        return self._contents.manifests(), self._contents.tail.size_bytes

    @property
    def _snapshot(self) -> Snapshot:
        return self._published or self.open()[1]

    def open(self) -> tuple[Contents, Snapshot]:
        """Recover the rows where that was not done yet.

        Raises: Corruption: the log, or a file that it refers to, is damaged. Closed, CollectionNotFound.
        """
        with self.host.catalog.lock:
            if self._contents is None or self._published is None:
                self.require_present()
                if self._contents is None and self._recover_rows is not None:
                    self._contents = self._recover_rows(self.record, None)
                    self._recover_rows, self._unopened = None, ()
                self.publish()
                if not self.host.read_only:
                    self._upkeep.touch()
            return self.contents, self._snapshot

    def close_files(self) -> None:
        """Give back the memory of stored rows and indexes that are released; what is needed again is opened again.

        These are all of a collection that is not loaded, and the segments that hold one released partition alone.
        """
        with self.host.catalog.lock:
            if self._contents is not None:
                self._contents.close_files(released_ids(self.record) if self.record.loaded else None)
                self.publish()

    def renew(self, record: CollectionRecord, recover: Recover, segments: Sequence[SegmentRecord]) -> None:
        """Take over what the catalogue has by now; rows that were recovered are recovered again at once.

        Raises: Corruption: they cannot be; whoever uses the collection tries, and is told so, again.
        """
        try:
            self._contents = self._contents and recover(record, self._contents)
        except BaseException:  # they may be half changed
            self._contents = self._published = None
            raise
        finally:
            self.record, self._recover_rows, self._unopened = record, recover, segments
            self.host.budget.changed(self)
        if self._contents is not None:
            self._recover_rows, self._unopened = None, ()
            self.publish()

    # Reading

    def snapshot(self) -> Snapshot:
        """Return every row at this moment."""
        follow = self.follow
        if follow is not None:
            follow()
        return self._snapshot

    def search(self, request: Request) -> Hits:
        """Return the nearest rows of each query.

        Raises: Corruption: a file that the search needs is damaged.
        """
        self.host.searched_at = time.monotonic()
        snapshot = self.snapshot()
        if self.host.read_only and self._upkeep.follow():
            snapshot = self._snapshot
        return vector_search.search(snapshot, request)

    def query(
        self,
        *,
        predicate: Predicate | None = None,
        keys: Sequence[Any] | None = None,
        partitions: Partitions = None,
        first: int | None = None,
    ) -> Places:
        """Return the rows that have one of the keys and pass the filter, ordered by primary key.

        Args:
            first: return the first of them only, this many.
        Raises: Corruption: a file that the query needs is damaged.
        """
        wanted = None if keys is None else self._keys(keys)
        return row_query.find(self.snapshot(), predicate=predicate, keys=wanted, partitions=partitions, first=first)

    def count(self, predicate: Predicate | None = None, partitions: Partitions = None) -> int:
        """Return how many rows pass the filter."""
        return row_query.count(self.snapshot(), predicate, partitions)

    def partition_ids(self, names: Sequence[str] | None) -> Partitions:
        """Return the ids of partitions, or None for no restriction.

        Raises: PartitionNotFound: the collection has no partition of that name.
        """
        if not names:
            return None
        return tuple(sorted({self._partition_id(name) for name in names}))

    # Writing

    @contextmanager
    def changing(self, *, keeps_rows: bool = True) -> Iterator[None]:
        """Hold the write lock for one change: its transaction, and then its effect in memory.

        When the change ends between the two (Ctrl-C, no memory left), the next one first takes the
        rows from the catalogue again. Readers keep the snapshot of before until then.

        Args:
            keeps_rows: False for a change that removes every row and so reads none, damaged as they may be.
        Raises: Closed, ReadOnly, CollectionNotFound (it was dropped).
        """
        catalog = self.host.catalog
        with catalog.lock:
            self.require_writable()
            if self._is_torn and keeps_rows:
                self._recover()
            before = catalog.n_commits
            try:
                yield
            except BaseException:
                self._is_torn = self._is_torn or catalog.n_commits != before
                raise

    def _recover(self) -> None:
        host = self.host
        with host.catalog.reading():
            state = host.catalog.load()
            record = record_of(state, self.collection_id)
            manifests = segments_of(state).get(self.collection_id, [])
            contents = recover_contents(host, record, manifests, state.deletes, self.contents)
        self.record, self.contents = record, contents
        self.publish()
        self._is_torn = False

    def insert(self, batch: Batch, partition: str = DEFAULT_PARTITION) -> None:
        """Add rows; a row whose primary key exists already takes the place of the old one.

        Raises: PartitionNotFound. MemoryLimitExceeded: the machine, or the collection's limit, has no room for them.
        """
        with self.changing():
            partition_id = self._partition_id(partition)
            if not batch.n_rows:
                return
            self.host.budget.check_rows(self, batch, self.contents.tail.size_bytes)
            body = encode_insert(batch, partition_id, self.schema)
            keys = key_array(batch.scalars.column(self.schema.primary.name))
            found = self.contents.find(keys)
            with self.host.catalog.transaction() as change:
                change.append(self.collection_id, INSERT, *body)
            self.contents.insert(batch, partition_id, found)
            self.publish()
        self._upkeep.touch()

    def delete(self, keys: Sequence[Any], partitions: Partitions = None) -> int:
        """Remove the rows of some primary keys and return how many there were."""
        with self.changing():
            wanted = np.unique(self._keys(keys))
            if partitions is not None:
                wanted = row_query.find(self._snapshot, keys=wanted, partitions=partitions).keys
            return self._delete(wanted)

    def delete_where(self, predicate: Predicate, partitions: Partitions = None) -> int:
        """Remove the rows that pass a filter and return how many there were."""
        with self.changing():
            return self._delete(row_query.find(self._snapshot, predicate=predicate, partitions=partitions).keys)

    def _delete(self, keys: KeyArray, record: CollectionRecord | None = None, whole: Sequence[int] = ()) -> int:
        """Remove rows and whole segments, and in the same transaction store a changed definition if one is given."""
        found = self.contents.find(keys)
        n_removed = self.contents.count(keys, found)
        if not n_removed and record is None:
            return 0
        with self.host.catalog.transaction() as change:
            change.append(self.collection_id, DELETE, encode_delete(keys, self.schema))
            if record is not None:
                change.put("collection", self.collection_id, record.to_document())
            for segment_id in whole:
                change.remove("segment", segment_id)
        self.record = record or self.record
        self.contents.delete(keys, found)
        removed = self.contents.remove(whole)
        self.publish()
        self.host.remove_segments((), removed)
        self._upkeep.touch()
        return n_removed

    def truncate(self) -> None:
        """Remove every row, whether it can be read or not; schema, indexes and partitions stay."""
        catalog = self.host.catalog
        with self.changing(keeps_rows=False):
            held = record_of(catalog.load(), self.collection_id) if self._is_torn else self.record
            record = replace(held, loads={})
            segment_ids = catalog.segments_of(self.collection_id)
            with catalog.transaction() as change:
                for segment_id in segment_ids:
                    change.remove("segment", segment_id)
                change.truncate_log(self.collection_id, catalog.log_range(self.collection_id)[1])
                if record != held:
                    change.put("collection", self.collection_id, record.to_document())
            old = {} if self._contents is None else self._contents.holders()
            self.record, self._recover_rows = record, None
            self.contents = Contents(self.schema)
            self._is_torn = False
            self.publish()
        self.host.remove_segments(segment_ids, old)

    def drop(self) -> None:
        """Remove the collection with its rows and files, whether these can be read or not."""
        catalog = self.host.catalog
        with self.changing(keeps_rows=False):
            segment_ids = catalog.segments_of(self.collection_id)
            with catalog.transaction() as change:
                change.remove("collection", self.collection_id)
                for segment_id in segment_ids:
                    change.remove("segment", segment_id)
                change.drop_log(self.collection_id)
            self.close_down(segment_ids)

    # Definition

    def revise(self, revise: Callable[[CollectionRecord], CollectionRecord]) -> None:
        """Store what a function makes of the definition, which nothing else changes meanwhile.

        A definition that stays the same is not written, and so is no error where only reading is allowed.
        Raises: MemoryLimitExceeded: it needs more memory than there is.
        """
        if revise(self.record) == self.record:
            return
        with self.changing():
            record = revise(self.record)
            if record != self.record:
                self._store(record)

    def create_partition(self, name: str) -> None:
        """Add a partition; one of that name may exist."""
        with self.changing():
            if name not in self.record.partitions:
                next_id = 1 + max(self.record.partitions.values())
                self._store(replace(self.record, partitions={**self.record.partitions, name: next_id}))

    def drop_partition(self, name: str, properties: dict[str, Any] | None = None) -> None:
        """Remove a partition and its rows; a name that does not exist is no error.

        Segments with rows of no other go as a whole, unread.

        Args:
            properties: of the collection from then on; as they are when None.
        Raises: InvalidArgument: it is the default partition. Corruption: a file that tells its rows is damaged.
        """
        with self.changing():
            if name == DEFAULT_PARTITION:
                raise InvalidArgument(f"the default partition {name!r} cannot be dropped")
            if name not in self.record.partitions:
                return
            kept = {n: i for n, i in self.record.partitions.items() if n != name}
            partition_id = self._partition_id(name)
            others = tuple(part for part in self._snapshot.parts if part.partition_id != partition_id)
            keys = row_query.find(Snapshot(self.schema, others), partitions=(partition_id,)).keys
            held = self.record.properties if properties is None else properties
            record = replace(self.record, partitions=kept, properties=held)
            self._delete(keys, record, self.contents.of_partition(partition_id))

    def create_index(self, spec: IndexSpec) -> None:
        """Define an index on a field; it is built in the background.

        Raises:
            IndexExists: the field has another index, or the name is taken.
            InvalidArgument: the type, the metric or a parameter is not allowed.
            MemoryLimitExceeded: the whole limit is too little to build it, or the collection is loaded, and would need
                more memory with it than there is.
        """
        spec.check(self.schema)
        with self.changing():
            if self.record.with_index(spec) is self.record:
                return
            self._store(self.record.with_index(replace(spec, index_id=self.host.new_id())))
        self.host.maintenance.touch(self.collection_id, self._upkeep.run, urgent=True)

    def drop_index(self, name: str) -> None:
        """Remove an index.

        Raises: IndexNotFound.
        """
        with self.changing():
            spec = next((s for s in self.record.indexes if s.name == name), None)
            if spec is None:
                raise IndexNotFound(f"collection {self.name!r} has no index {name!r}")
            record = replace(self.record, indexes=tuple(s for s in self.record.indexes if s is not spec))
            without = self.contents.without_index(spec.index_id)
            with self.host.catalog.transaction() as change:
                change.put("collection", self.collection_id, record.to_document())
                for segment_id, manifest in without.items():
                    change.put("segment", segment_id, manifest.to_document())
            self.record = record
            for dropped in self.contents.drop_index(spec.index_id, without):
                self.host.remove_when_unused(dropped, dropped.path)
            self.publish()

    def check_memory(self, record: CollectionRecord) -> None:
        """Raise MemoryLimitExceeded where there is no memory for the collection under that definition."""
        with self.host.catalog.lock:
            self.host.budget.check(self, record)

    def _store(self, record: CollectionRecord) -> None:
        self.host.budget.check(self, record)
        with self.host.catalog.transaction() as change:
            change.put("collection", self.collection_id, record.to_document())
            self.host.save_counter(change)
        before, self.record = self.record, record
        self.host.budget.redefined(self, before)
        if isolates(record) != isolates(before):
            self.host.maintenance.touch(self.collection_id, self._upkeep.run, urgent=True)

    # Upkeep

    def flush(self, timeout_s: float | None = None) -> None:
        """Seal every row into a segment, merge what is due, and build the indexes.

        When it returns, searches run at the speed of the index.
        Raises: Timeout: the work goes on in the background. StorageFull, StorageFailure. MemoryLimitExceeded: all was
            done but for an index that there is no memory to build.
        """
        self.require_writable()
        done = self.host.maintenance.request(self.collection_id, self._upkeep.run)
        try:
            done.result(None if timeout_s is None else min(timeout_s, TIMEOUT_MAX))
        except FutureTimeout as error:
            raise Timeout(
                f"collection {self.name!r} was not flushed within {timeout_s} s; the work goes on in the background"
            ) from error

    def resume_upkeep(self) -> None:
        """Plan what a crash or a short run may have left undone. Called when the database opens."""
        self.host.maintenance.touch(self.collection_id, self._upkeep.run)

    def loading(self) -> AbstractContextManager[None]:
        """Put off upkeep until rows have been loaded in bulk, so that they are merged and indexed once."""
        return self._upkeep.loading()

    def n_unindexed(self, field_name: str) -> int:
        """Return how many live rows an index on the field does not cover yet."""
        spec = self.record.index_of(field_name)
        return self.snapshot().n_unindexed(None if spec is None else spec.index_id)

    def publish(self) -> None:
        """Show readers the contents as they are now. Under the write lock."""
        for part in self.contents.sealed.values():
            for held in part.derived:
                held.on_damage = self._mend
        self._published = self.contents.snapshot()
        self.host.budget.changed(self)

    def _mend(self) -> None:
        """Let upkeep build again what was found damaged."""
        if not self.host.read_only:
            self.host.maintenance.touch(self.collection_id, self._upkeep.run)

    def close_down(self, segment_ids: Sequence[int] = ()) -> None:
        """Mark the collection as dropped and let its files go once unread. Under the write lock.

        Args:
            segment_ids: further segments than those that are open.
        """
        self.dropped = True
        self.host.maintenance.forget(self.collection_id)
        self.host.budget.forget(self.collection_id)
        if not self.host.read_only:
            self.host.remove_segments(segment_ids, {} if self._contents is None else self._contents.holders())
        self.let_go()

    def let_go(self) -> None:
        """Forget the rows, which nobody can ask for any more; who reads holds what is read. Under the write lock."""
        self._contents = self._published = self._recover_rows = self.follow = None

    def require_present(self) -> None:
        """Raises: Closed, CollectionNotFound (it was dropped)."""
        self.host.require_open()
        if self.dropped:
            raise CollectionNotFound(f"collection {self.name!r} was dropped")

    def require_writable(self) -> None:
        """Raises: Closed, ReadOnly, CollectionNotFound."""
        self.host.require_writable()
        self.require_present()

    def _keys(self, keys: Sequence[Any]) -> KeyArray:
        return as_keys(keys, pa.types.is_large_string(self.schema.primary.arrow_type))

    def _partition_id(self, name: str) -> int:
        found = self.record.partitions.get(name)
        if found is None:
            raise PartitionNotFound(f"collection {self.name!r} has no partition {name!r}")
        return found
