"""The sketches of one collection: of rows that no graph covers yet, and for filtered searches.

A sketch takes a fraction of the time of a graph to make. While somebody searches, the rows of the tail are sketched as
they come, sealed and merged segments are published with their sketches, and graphs can wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from roost.engine.compaction import sketch_path, takes_sketch
from roost.engine.contents import Superseded
from roost.engine.index.sketch import Sketch
from roost.engine.index.threads import one_thread
from roost.engine.kept import Kept
from roost.engine.segment import IndexSpec, Segment, SegmentSketch
from roost.engine.storage.durable import sync_directory, write_durable
from roost.engine.tail import TailView
from roost.errors import Corruption

GROWN_BY = 512
"""Rows of the tail that are compared one by one before they are sketched."""


class Sketching:
    """Run by the maintenance thread alone, but for `is_behind`; in a process that follows a writer, by its searches."""

    def __init__(self, collection: Kept) -> None:
        self._collection = collection
        self._host = collection.host
        self._damaged: set[int] = set()
        """Segments whose vectors cannot be read."""

    def is_behind(self) -> bool:
        """Whether somebody searches, and meets rows of the tail that are to be sketched. Asked after each write."""
        return self._host.is_searched() and self.is_short()

    def is_short(self) -> bool:
        """Whether the tail has rows that are to be sketched for whoever searches."""
        tail = self._collection.contents.tail
        known, n_rows = tail.sketches, tail.n_rows
        sketched = (known.get(spec.index_id) for spec in self._wanted(n_rows))
        return any(n_rows - (0 if sketch is None else sketch.n_rows) >= GROWN_BY for sketch in sketched)

    def grow(self) -> None:
        """Sketch the rows of the tail that are not, where that is worth while."""
        collection = self._collection
        # A process that follows a writer changes nothing but what its own searches see.
        changing = collection.changing if not self._host.read_only else lambda: self._host.catalog.lock
        with changing():
            contents, tail = collection.contents, collection.contents.tail
            view, known = tail.view(), tail.sketches
        with one_thread():
            made = self._grown_all(view, known)
        if not made:
            return
        with changing():
            wanted = {spec.index_id for spec in collection.record.indexes}
            if collection.contents is contents and contents.tail is tail:
                tail.sketches = {i: held for i, held in {**tail.sketches, **made}.items() if i in wanted}
                collection.publish()

    def _grown_all(self, view: TailView, known: Mapping[int, Sketch]) -> dict[int, Sketch]:
        grown = ((spec, self._grown(spec, view, known.get(spec.index_id))) for spec in self._wanted(view.n_rows))
        return {spec.index_id: sketch for spec, sketch in grown if sketch is not None}

    def _wanted(self, n_rows: int) -> Iterator[IndexSpec]:
        """Give the indexes whose searches gain by a sketch of so many rows."""
        schema = self._collection.schema
        return (spec for spec in self._collection.record.indexes if takes_sketch(spec, schema, n_rows))

    def _grown(self, spec: IndexSpec, view: TailView, known: Sketch | None) -> Sketch | None:
        """Return the sketch of all rows of the tail; None where too few are new."""
        start = 0 if known is None else known.n_rows
        if view.n_rows - start < GROWN_BY:
            return None
        vectors = view.vectors(spec.field)
        like = known or self._largest(spec)
        if like is None:
            return Sketch.build(vectors, spec.metric)
        new = like.of(vectors[start:])
        return new if known is None else Sketch.joined([(known, None), (new, None)])

    def _largest(self, spec: IndexSpec) -> Sketch | None:
        """Return the sketch of the largest segment that has one."""
        parts = sorted(list(self._collection.contents.sealed.values()), key=lambda part: -part.n_rows)
        return next((held for part in parts if (held := part.sketch(spec)) is not None), None)

    def missing(self) -> tuple[Segment, IndexSpec] | None:
        """Return a segment that lacks its sketch for the searches of an index."""
        for segment_id, part in list(self._collection.contents.sealed.items()):
            if segment_id in self._damaged:
                continue
            for spec in self._wanted(part.n_rows):
                held = part.sketches.get(spec.index_id)
                is_damaged = isinstance(held, SegmentSketch) and held.is_damaged
                if (held is None or is_damaged) and isinstance(part.rows, Segment):
                    return part.rows, spec
        return None

    def build(self, segment: Segment, spec: IndexSpec) -> None:
        """Build the sketch of one segment and swap it in.

        Raises: Corruption: its vectors cannot be read; it is `missing` no more.
        """
        try:
            vectors = segment.vectors(spec.field)
        except Corruption:
            self._damaged.add(segment.segment_id)
            raise
        sketch = Sketch.build(vectors, spec.metric)
        path = sketch_path(segment.directory, spec)
        path.unlink(missing_ok=True)
        file = write_durable(path, sketch.save)
        try:
            sync_directory(segment.directory)
            self._swap(segment.segment_id, SegmentSketch(path, file, spec, sketch))
        except BaseException:
            manifest = self._host.catalog.segment(segment.segment_id)
            if manifest is None or str(spec.index_id) not in manifest.get("sketches", {}):
                path.unlink(missing_ok=True)
            raise

    def _swap(self, segment_id: int, sketch: SegmentSketch) -> None:
        collection, index_id = self._collection, sketch.spec.index_id
        with collection.changing():
            part = collection.contents.sealed.get(segment_id)
            if part is None or not isinstance(part.rows, Segment) or sketch.spec not in collection.record.indexes:
                raise Superseded
            segment = part.rows
            record = replace(segment.record, sketches={**segment.record.sketches, index_id: sketch.record})
            with self._host.catalog.transaction() as change:
                change.put("segment", segment_id, record.to_document())
            segment.record = record
            sketches = {**part.sketches, index_id: sketch}
            collection.contents.sealed[segment_id] = replace(part, sketches=sketches, _selections={})
            collection.publish()
