"""Segments that were just written, on their way into the manifest and among the parts of a collection."""

from __future__ import annotations

from dataclasses import replace

from roost.engine.compaction import Written
from roost.engine.kept import Kept
from roost.engine.segment import Segment, SegmentSketch, pack_bitmap
from roost.engine.snapshot import Part
from roost.engine.storage.durable import FileRecord
from roost.engine.storage.transaction import Transaction


def open_written(collection: Kept, written: Written, log_seq: int = 0) -> Segment:
    """Return the segment, without the indexes and sketches that were dropped while they were built.

    Args:
        log_seq: the last record of the log whose deletes the segment's bitmap will hold.
    """
    wanted = {spec.index_id for spec in collection.record.indexes}

    def kept(files: dict[int, FileRecord]) -> dict[int, FileRecord]:
        for index_id, file in files.items():
            if index_id not in wanted:
                (written.directory / file.name).unlink(missing_ok=True)
        return {index_id: file for index_id, file in files.items() if index_id in wanted}

    indexes, sketches = kept(written.record.indexes), kept(written.record.sketches)
    record = replace(written.record, indexes=indexes, sketches=sketches, log_seq=log_seq)
    return Segment(written.directory, record, collection.schema)


def written_sketches(collection: Kept, segment: Segment, written: Written) -> dict[int, SegmentSketch]:
    """Return the segment's sketches as they were written."""
    return {
        spec.index_id: SegmentSketch(segment.directory / file.name, file, spec, written.sketches[spec.index_id])
        for spec in collection.record.indexes
        if (file := segment.record.sketches.get(spec.index_id)) is not None
    }


def put_segment(change: Transaction, part: Part) -> None:
    """Name a segment in the manifest, with its deletes."""
    segment_id = segment_of(part).segment_id
    change.put("segment", segment_id, segment_of(part).record.to_document())
    put_deletes(change, segment_id, part)


def put_deletes(change: Transaction, segment_id: int, part: Part) -> None:
    """Store the deletes of a segment."""
    if part.dead is not None:
        change.set_deletes(segment_id, pack_bitmap(part.dead))


def segment_of(part: Part) -> Segment:
    """Return the segment that a sealed part holds."""
    if not isinstance(part.rows, Segment):
        raise TypeError("a sealed part holds a segment")
    return part.rows
