"""A collection's rows, from what the catalogue names and the log repeats."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TypeVar, cast

from roost.engine.contents import Contents, Origin
from roost.engine.host import Host
from roost.engine.log import replay
from roost.engine.records import CollectionRecord
from roost.engine.segment import (
    IndexSpec,
    Segment,
    SegmentIndex,
    SegmentRecord,
    SegmentScalarIndex,
    SegmentSketch,
    StoredIndex,
    unpack_bitmap,
)
from roost.engine.snapshot import Part
from roost.engine.storage.catalog import Catalog, CatalogState
from roost.engine.storage.durable import FileRecord

_Derived = TypeVar("_Derived", StoredIndex, SegmentSketch)


def record_of(state: CatalogState, collection_id: int) -> CollectionRecord:
    """Return what the catalogue has of a collection."""
    return CollectionRecord.from_document(collection_id, state.objects["collection"][collection_id])


def segments_of(state: CatalogState) -> dict[int, list[SegmentRecord]]:
    """Return the segments by collection id, oldest first."""
    found: dict[int, list[SegmentRecord]] = {}
    for segment_id, document in sorted(state.objects.get("segment", {}).items()):
        record = SegmentRecord.from_document(segment_id, document)
        found.setdefault(record.collection_id, []).append(record)
    return found


def recover_contents(
    host: Host,
    record: CollectionRecord,
    manifests: list[SegmentRecord],
    deletes: dict[int, bytes],
    known: Contents | None = None,
) -> Contents:
    """Return a collection's rows as the catalogue has them.

    In a process that only reads, nothing but the log changes the rows that it holds: where nothing else is new, they
    are taken further.

    Args:
        manifests: the collection's segments.
        deletes: segment id to bitmap bytes.
        known: an earlier reading, whose open files are used again.
    Raises: Corruption: the log is damaged, or a segment's file that its records refer to; `known` is not to be used
        any more.
    """
    catalog = host.catalog
    log_start, _ = catalog.log_range(record.collection_id)
    origin = Origin(log_start, record.schema, tuple(manifest.segment_id for manifest in manifests), deletes)
    if host.read_only and known is not None and known.origin == origin:
        _take_over(known, manifests, record.indexes)
        return _replayed(catalog, record.collection_id, known, known.replayed_upto)
    contents = Contents(record.schema)
    contents.origin = origin if host.read_only else None
    if known is not None and known.origin is not None and known.origin[:2] == origin[:2]:
        contents.tail.sketches = known.tail.sketches  # the rows of the tail are those of the log
    for manifest in manifests:
        held = None if known is None else known.sealed.get(manifest.segment_id)
        body = deletes.get(manifest.segment_id)
        dead = None if body is None else unpack_bitmap(body, manifest.n_rows)
        if held is not None and isinstance(held.rows, Segment):
            segment = held.rows
            segment.record = manifest
        else:
            held, segment = None, Segment(host.segment_directory(manifest.segment_id), manifest, record.schema)
        indexes, sketches = open_indexes(segment, record.indexes), open_sketches(segment, record.indexes)
        if held is not None:
            indexes = {i: _known(held.indexes.get(i), index) for i, index in indexes.items()}
            sketches = {i: _known(held.sketches.get(i), sketch) for i, sketch in sketches.items()}
        contents.sealed[manifest.segment_id] = Part(segment, dead, indexes, sketches, manifest.partition_id)
    return _replayed(catalog, record.collection_id, contents, None)


def _take_over(contents: Contents, manifests: list[SegmentRecord], specs: tuple[IndexSpec, ...]) -> None:
    """Take over the indexes and sketches that segments have by now."""
    for manifest in manifests:
        part = contents.sealed[manifest.segment_id]
        if not isinstance(part.rows, Segment):
            raise TypeError("a sealed part holds a segment")
        part.rows.record = manifest
        indexes = {i: _known(part.indexes.get(i), index) for i, index in open_indexes(part.rows, specs).items()}
        sketches = {i: _known(part.sketches.get(i), sketch) for i, sketch in open_sketches(part.rows, specs).items()}
        if (indexes, sketches, manifest.partition_id) != (part.indexes, part.sketches, part.partition_id):
            contents.sealed[manifest.segment_id] = replace(
                part, indexes=indexes, sketches=sketches, partition_id=manifest.partition_id, _selections={}
            )


def _replayed(catalog: Catalog, collection_id: int, contents: Contents, after: int | None) -> Contents:
    """Apply the log's records after a number, or all of them."""
    with closing(catalog.read_log(collection_id, after)) as entries:
        for entry in entries:
            replay(contents, entry)
    contents.replayed_upto = catalog.log_range(collection_id)[1]
    return contents


def _known(known: object, named: _Derived) -> _Derived:
    """Return what the manifest names as it was opened before, where it is the same and whole."""
    is_same = isinstance(known, type(named)) and known.record == named.record and not known.is_damaged
    return cast(_Derived, known) if is_same else named


def check_log(catalog: Catalog, collection_id: int) -> int:
    """Read a collection's log and return how many records it has. Raises: Corruption: it is damaged."""
    with closing(catalog.read_log(collection_id)) as entries:
        return sum(1 for _ in entries)


def open_indexes(segment: Segment, specs: tuple[IndexSpec, ...]) -> dict[int, StoredIndex]:
    """Return the indexes of a segment that `specs` name."""
    return {
        spec.index_id: open_index(segment, spec, file)
        for spec in specs
        if (file := segment.record.indexes.get(spec.index_id)) is not None
    }


def open_index(segment: Segment, spec: IndexSpec, file: FileRecord) -> StoredIndex:
    """Return an index of a segment, not yet read."""
    path = segment.directory / file.name
    if spec.is_scalar:
        return SegmentScalarIndex(path, file, spec)
    return SegmentIndex(path, file, spec)


def open_sketches(segment: Segment, specs: tuple[IndexSpec, ...]) -> dict[int, SegmentSketch]:
    """Return the sketches of a segment for the searches of the indexes `specs`, not yet read."""
    return {
        spec.index_id: SegmentSketch(segment.directory / file.name, file, spec)
        for spec in specs
        if (file := segment.record.sketches.get(spec.index_id)) is not None
    }
