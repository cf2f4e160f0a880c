"""Rows straight into a sealed segment, without the log.

Steps of a batch: (1) its column files are written and fsynced, (2) one transaction names the segment, stores the
deletes of the rows that it replaces, and notes how far the load has come. A crash before (2) leaves files that
nothing names, which are swept; after (2) the batch is stored as a whole.

Records of the log that are older than the segment do not concern its rows (`SegmentRecord.log_seq`). Rows that the
log holds under the same keys are removed by a record of their own, in the same transaction.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from roost.engine.collection import Collection
from roost.engine.columns import Batch
from roost.engine.compaction import Written
from roost.engine.keys import key_array
from roost.engine.log import DELETE, encode_delete
from roost.engine.records import CollectionRecord, LoadRecord
from roost.engine.segment import Segment, SegmentRecord, pack_bitmap
from roost.engine.snapshot import Part
from roost.engine.storage.column_files import write_scalars, write_vectors
from roost.engine.storage.durable import sync_directory
from roost.engine.tail import with_partition
from roost.errors import LoadConflict, PartitionNotFound

MAX_FINISHED_LOADS = 64
"""Finished loads that a collection remembers; the oldest go first."""


def start_load(collection: Collection, name: str, source: dict[str, object], *, restart: bool = False) -> LoadRecord:
    """Return how far the load of that name has come, having noted it where it is new.

    A load that was finished begins again when its source has changed.

    Args:
        source: what the rows are read from, as JSON values.
        restart: begin with the first row, whatever was loaded.
    Raises: LoadConflict: the load was interrupted, and its source has changed since.
    """
    held = collection.record.loads.get(name)
    if held is not None and not restart:
        if held.source == source:
            return held
        if held.finished_at is None and held.n_rows:
            raise LoadConflict(
                f"the load {name!r} was interrupted after {held.n_rows} rows, and its source has changed since: it was "
                f"{_shown(held.source)}, it is {_shown(source)}; bring back what it was, or load it from its beginning "
                f"with restart=True"
            )
    begun = LoadRecord(source)
    collection.revise(lambda record: _with_load(record, name, begun))
    return begun


def finish_load(collection: Collection, name: str, so_far: LoadRecord) -> None:
    """Note that a load is complete. Raises: LoadConflict: somebody else changed it."""

    def finish(record: CollectionRecord) -> CollectionRecord:
        _require_same(record, name, so_far)
        return _with_load(record, name, replace(so_far, finished_at=time.time_ns()))

    collection.revise(finish)


def load_batch(
    collection: Collection, batch: Batch, partition: str, name: str | None = None, so_far: LoadRecord | None = None
) -> LoadRecord | None:
    """Store rows as one segment; a row whose primary key exists already takes the place of the old one.

    The rows can be searched when it returns. Call it inside `Collection.loading`.

    Args:
        name: of the load that the rows belong to; None for one that is not noted.
        so_far: how far it had come before these rows.
    Returns: how far the load has come now; None without a name.
    Raises: PartitionNotFound. LoadConflict: the collection was emptied since, or somebody else carries on the load.
        Closed, ReadOnly, CollectionNotFound, StorageFull, StorageFailure. MemoryLimitExceeded: the collection is
        loaded, and would outgrow its own limit. Nothing of the batch was stored.
    """
    host = collection.host
    collection.require_writable()
    partition_id = _partition_id(collection, partition)
    after = None if so_far is None else replace(so_far, n_rows=so_far.n_rows + batch.n_rows)
    if batch.n_rows:
        with host.new_segment() as (segment_id, directory):
            written = _write(directory, segment_id, collection, partition_id, batch)
            with collection.changing():
                if _partition_id(collection, partition) != partition_id:
                    raise PartitionNotFound(f"partition {partition!r} was dropped and made again meanwhile")
                host.budget.check_growth(collection, [written.record], collection.contents.tail.size_bytes)
                record = collection.record
                if name is not None and so_far is not None and after is not None:
                    _require_same(record, name, so_far)
                    record = _with_load(record, name, after)
                _swap_in(collection, batch, written, record)
    return after


def _write(directory: Path, segment_id: int, collection: Collection, partition_id: int, batch: Batch) -> Written:
    directory.mkdir(parents=True, exist_ok=True)
    files = [write_scalars(directory, with_partition(batch.scalars, partition_id, collection.schema))]
    for field in collection.schema.matrices:
        files.append(write_vectors(directory, field.field_id, batch.vectors[field.name]))
    sync_directory(directory)
    sync_directory(directory.parent)
    record = SegmentRecord(
        segment_id,
        collection.collection_id,
        batch.n_rows,
        tuple(files),
        {},
        partition_id=partition_id,
        n_largest=batch.n_rows,
    )
    return Written(record, directory, {})


def _swap_in(collection: Collection, batch: Batch, written: Written, record: CollectionRecord) -> None:
    """Name a written segment and publish it. Under the write lock."""
    host, contents, schema = collection.host, collection.contents, collection.schema
    keys = key_array(batch.scalars.column(schema.primary.name))
    found = contents.find(keys)
    replaced = {segment_id: contents.without(segment_id, rows) for segment_id, rows in found.items() if segment_id >= 0}
    with host.catalog.transaction() as change:
        log_seq = host.catalog.log_range(collection.collection_id)[1]
        if contents.is_unsealed(keys, found):
            log_seq = change.append(collection.collection_id, DELETE, encode_delete(keys, schema))
        segment = Segment(written.directory, replace(written.record, log_seq=log_seq), schema)
        change.put("segment", segment.segment_id, segment.record.to_document())
        for segment_id, dead in replaced.items():
            change.set_deletes(segment_id, pack_bitmap(dead))
        if record != collection.record:
            change.put("collection", collection.collection_id, record.to_document())
        host.save_counter(change)
    collection.record = record
    contents.delete(keys, found)
    contents.sealed[segment.segment_id] = Part(segment, partition_id=segment.record.partition_id)
    collection.publish()


def _with_load(record: CollectionRecord, name: str, load: LoadRecord) -> CollectionRecord:
    loads = {**record.loads, name: load}
    finished = sorted((held.finished_at, key) for key, held in loads.items() if held.finished_at is not None)
    for _, key in finished[:-MAX_FINISHED_LOADS]:
        del loads[key]
    return replace(record, loads=loads)


def _require_same(record: CollectionRecord, name: str, so_far: LoadRecord) -> None:
    if record.loads.get(name) != so_far:
        raise LoadConflict(
            f"the load {name!r} of collection {record.name!r} cannot go on: the collection was emptied meanwhile, or "
            f"another call carries on the same load; call it again"
        )


def _partition_id(collection: Collection, name: str) -> int:
    ids = collection.partition_ids([name]) or ()
    return ids[0]


def _shown(source: dict[str, object]) -> str:
    text = ", ".join(f"{key} {value}" for key, value in source.items())
    return text if len(text) <= 200 else f"{text[:197]}..."
