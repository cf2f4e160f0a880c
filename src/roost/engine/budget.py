"""What collections and the builds of their indexes need of memory, and whether the limit has room for it.

Needs are worked out from the sizes in the manifest, before anything is opened. They are rather too large than too
small: an error that comes too early names a way out, and a process that the system ends does not.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from roost.engine import memory
from roost.engine.columns import Batch
from roost.engine.compaction import MIN_INDEXED_ROWS
from roost.engine.index.base import VectorIndex
from roost.engine.index.registry import resolve_index, resolve_params
from roost.engine.index.sketch import EXCERPTED_PER_ROW
from roost.engine.memory import parse_bytes, physical_bytes, shown_bytes
from roost.engine.partitions import released_ids
from roost.engine.records import CollectionRecord
from roost.engine.schema import Field, Schema
from roost.engine.segment import IndexSpec, SegmentRecord
from roost.engine.storage.column_files import FIELDS_FILE
from roost.errors import InvalidArgument, MemoryLimitExceeded, MissingDependency, NotSupported

_log = logging.getLogger(__name__)

LIMIT_PROPERTY: Final = "memory.limit"
"""The property of a collection that says what it may take, in bytes or as text."""

DEFAULT_SHARE: Final = 0.8
"""Of the machine's memory: the limit of a database that is given none."""

KEY_BYTES: Final = (16, 96)
"""For looking up a row by its key: a number, a string."""

SKETCH_COPIES: Final = 3 + 2 * EXCERPTED_PER_ROW
"""A sketch is held as it is stored and in the two orders in which one query and several scan it, excerpts in these."""

EXCERPTED_ROW_BYTES: Final = 8 * EXCERPTED_PER_ROW
"""The numbers of the rows in excerpts, for each row of a sketch."""

TAIL_COPIES: Final = 2
"""Rows that are in no segment yet are copied side by side before they are searched or sealed."""

SCALAR_COPIES: Final = 3
"""What the build of a scalar index takes, as a multiple of the scalar columns."""

RESERVE_SHARE: Final = 1 / 64
RESERVE_BYTES: Final = 64 << 20
"""What the machine is left of its memory: this share, and so much at least."""

REREAD_S: Final = 0.1
"""What is free is asked of the system this often at most."""

# What a message advises.
RELEASE: Final = "release another collection"
_RELEASE_IT: Final = "release this one"
_LESSER_TYPE: Final = "choose an index type that needs less (DISKANN leaves the vectors on disk)"
RAISE: Final = "raise memory_limit= of roost.connect"
_RAISE_OWN: Final = f"raise its property {LIMIT_PROPERTY!r}"


# What a collection needs


def needed_bytes(record: CollectionRecord, segments: Sequence[SegmentRecord], tail_bytes: int = 0) -> int:
    """Return what a collection holds in memory: its tail, and what searches touch where it is loaded."""
    return stored_bytes(record, segments) + TAIL_COPIES * tail_bytes


def stored_bytes(record: CollectionRecord, segments: Sequence[SegmentRecord]) -> int:
    """Return what searches touch of segments, those left out that hold one released partition alone."""
    if not record.loaded:
        return 0
    released = released_ids(record)
    loaded = (segment for segment in segments if segment.partition_id not in released)
    return sum(segment_bytes(record.schema, record.indexes, segment) for segment in loaded)


def segment_bytes(schema: Schema, specs: Sequence[IndexSpec], segment: SegmentRecord) -> int:
    """Return what searches touch of a segment: indexes, sketches, key look-ups, and vectors that are compared."""
    by_field = {spec.field: spec for spec in specs}
    total = segment.n_rows * KEY_BYTES[schema.primary.max_length is not None]
    total += sum(segment.indexes[s.index_id].size_bytes for s in specs if s.is_scalar and s.index_id in segment.indexes)
    return total + sum(_searched_bytes(field, by_field.get(field.name), segment) for field in schema.vectors)


def build_need(schema: Schema, spec: IndexSpec, segment: SegmentRecord) -> int:
    """Return what building an index of a segment takes at its peak, the rows that it is built of included."""
    scalars = segment.file(FIELDS_FILE).size_bytes
    if spec.is_scalar:
        return SCALAR_COPIES * scalars
    field = schema.field(spec.field)
    return _vector_bytes(field, segment.n_rows, scalars) + _peak(field, spec, segment.n_rows, scalars)


def merge_need(schema: Schema, specs: Sequence[IndexSpec], n_rows: int, size_bytes: int) -> int:
    """Return what merging segments takes at its peak: their rows side by side, and the indexes over them.

    Args:
        size_bytes: of the column files of all of them.
    """
    return size_bytes + sum(_peak(schema.field(s.field), s, n_rows, size_bytes) for s in specs if not s.is_scalar)


def unbuildable(
    record: CollectionRecord, segments: Sequence[SegmentRecord], limit: int
) -> tuple[IndexSpec, int] | None:
    """Return an index that a whole limit is too little to build of some segment, the one that needs most, and its need.

    None where each can be built once the other collections are released.
    """
    lacking = [
        (build_need(record.schema, spec, segment), spec)
        for segment in segments
        if segment.n_rows >= MIN_INDEXED_ROWS
        for spec in record.indexes
        if spec.index_id not in segment.indexes
    ]
    need, spec = max(lacking, key=lambda one: one[0], default=(0, None))
    return None if spec is None or need <= limit else (spec, need)


def ways_out(record: CollectionRecord, *ways: str) -> str:
    """Return in a sentence what can be done; that another index type needs less only where one does."""
    kinds = [_kind(spec) for spec in record.indexes if not spec.is_scalar]
    if not kinds or not all(kind is not None and kind.on_disk for kind in kinds):
        ways = (*ways[:-1], _LESSER_TYPE, ways[-1])
    text = ways[-1] if len(ways) == 1 else f"{', '.join(ways[:-1])}, or {ways[-1]}"
    return text[0].upper() + text[1:]


def _searched_bytes(field: Field, spec: IndexSpec | None, segment: SegmentRecord) -> int:
    vectors = _vector_bytes(field, segment.n_rows, segment.file(FIELDS_FILE).size_bytes)
    if spec is None:
        return vectors
    kind = _kind(spec)
    compared = 0 if kind is not None and (kind.on_disk or not kind.compresses) else vectors
    file, sketch = segment.indexes.get(spec.index_id), segment.sketches.get(spec.index_id)
    if kind is None:
        return compared + (0 if file is None else file.size_bytes)
    n_rows, dim, params = segment.n_rows, field.dim or 0, resolve_params(spec.index_type, spec.params)
    sketched = 0 if sketch is None else SKETCH_COPIES * sketch.size_bytes + EXCERPTED_ROW_BYTES * n_rows
    if file is not None:
        return compared + kind.loaded_bytes(file.size_bytes, n_rows, dim, params) + sketched
    if n_rows < MIN_INDEXED_ROWS:
        return vectors + sketched
    size = kind.index_bytes(n_rows, dim, vectors, params)
    # Until the index is built, the vectors themselves are compared.
    return max(vectors, compared + kind.loaded_bytes(size, n_rows, dim, params)) + sketched


def _peak(field: Field, spec: IndexSpec, n_rows: int, scalar_bytes: int) -> int:
    kind = _kind(spec)
    if kind is None or n_rows < MIN_INDEXED_ROWS:
        return 0
    vectors, params = _vector_bytes(field, n_rows, scalar_bytes), resolve_params(spec.index_type, spec.params)
    return kind.build_bytes(n_rows, field.dim or 0, vectors, params)


def _vector_bytes(field: Field, n_rows: int, scalar_bytes: int) -> int:
    """Return what a field's vectors take, or more: sparse ones are among the scalar columns."""
    return n_rows * field.row_shape[0] * field.vector_dtype.itemsize if field.is_matrix else scalar_bytes


def _own_limit(record: CollectionRecord) -> int:
    """Return what a collection may take by its own property. Raises: InvalidArgument: that is no size."""
    given = record.properties.get(LIMIT_PROPERTY)
    return sys.maxsize if given is None else parse_bytes(LIMIT_PROPERTY, given)


def _own_limit_before(record: CollectionRecord) -> int:
    """Return the same of a stored definition; what is no size, and was stored before sizes were read, is no limit."""
    try:
        return _own_limit(record)
    except InvalidArgument:
        return sys.maxsize


def _kind(spec: IndexSpec) -> type[VectorIndex] | None:
    """Return the class of an index; None where the library or the plug-in is gone that it was made with."""
    try:
        return resolve_index(spec.index_type)
    except (InvalidArgument, MissingDependency, NotSupported):
        return None


# What there is


def _sum_but(sizes: Mapping[int, int], besides: int | None) -> int:
    return sum(sizes.values()) - (sizes.get(besides, 0) if besides is not None else 0)


class Holder(Protocol):
    """A collection as the budget sees it."""

    @property
    def collection_id(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def record(self) -> CollectionRecord: ...

    @property
    def dropped(self) -> bool: ...

    @property
    def footprint(self) -> tuple[Sequence[SegmentRecord], int]:
        """The manifests of its segments and the bytes of its tail."""


class Budget:
    """What the collections of one database may hold in memory, and what they hold. Used under the write lock."""

    def __init__(self, limit: int | None = None) -> None:
        """Begin with no collection.

        Args:
            limit: in bytes; a share of the machine's memory when None.
        """
        whole = physical_bytes()
        self.limit = int(DEFAULT_SHARE * whole) if limit is None else limit
        self._reserve = max(RESERVE_BYTES, int(RESERVE_SHARE * whole))
        self._held: dict[int, int] = {}
        self._tails: dict[int, int] = {}
        self._changed: dict[int, Holder] = {}
        self._free = 0
        self._read_at = float("-inf")

    def changed(self, collection: Holder) -> None:
        """Note that a collection may hold more or less than before; it is looked at when somebody asks."""
        self._changed[collection.collection_id] = collection

    def forget(self, collection_id: int) -> None:
        """Note that a collection is gone."""
        self._changed.pop(collection_id, None)
        self._held.pop(collection_id, None)
        self._tails.pop(collection_id, None)

    def held(self, besides: int | None = None) -> int:
        """Return what all collections hold, but for one."""
        while self._changed:
            collection_id, collection = self._changed.popitem()
            held = 0 if collection.dropped else needed_bytes(collection.record, *collection.footprint)
            if held:
                self._held[collection_id] = held
                self._tails[collection_id] = TAIL_COPIES * collection.footprint[1]
            else:
                self.forget(collection_id)
        return _sum_but(self._held, besides)

    def released(self, besides: int | None = None) -> int:
        """Return what all collections would hold if they were released, but for one."""
        self.held()  # looks at what has changed
        return _sum_but(self._tails, besides)

    def ways_into_limit(self, need: int, besides: int) -> tuple[str, ...]:
        """Return what makes room for what a collection needs and the others do not leave: to release them, if it does.

        Args:
            besides: the collection.
        """
        kept = self.released(besides)
        return (RELEASE, RAISE) if kept < self.held(besides) and kept + need <= self.limit else (RAISE,)

    def free(self) -> int:
        """Return what the machine can give now, its reserve left out."""
        now = time.monotonic()
        if now - self._read_at >= REREAD_S:
            self._free, self._read_at = max(0, memory.available_bytes() - self._reserve), now
        return self._free

    def check(self, collection: Holder, record: CollectionRecord) -> None:
        """Refuse a definition under which a collection would need more memory than it may have.

        What does not need more than before, and what needs none, is never refused.
        Raises: MemoryLimitExceeded: it does not fit beside the others, or into its own limit. InvalidArgument: that
            limit is no size.
        """
        footprint = collection.footprint
        need, before = needed_bytes(record, *footprint), needed_bytes(collection.record, *footprint)
        own_before = _own_limit_before(collection.record)
        is_same = record.properties.get(LIMIT_PROPERTY) == collection.record.properties.get(LIMIT_PROPERTY)
        own = own_before if is_same else _own_limit(record)
        if record.loaded and need > own and (need > before or own < own_before):
            raise MemoryLimitExceeded(
                f"collection {record.name!r} needs about {shown_bytes(need)} of memory when it is loaded, more than "
                f"its own limit of {shown_bytes(own)}; nothing was changed. {ways_out(record, _RAISE_OWN)}"
            )
        held = self.held(collection.collection_id)
        if need > before and held + need > self.limit:
            ways = self.ways_into_limit(need, collection.collection_id)
            raise MemoryLimitExceeded(
                f"collection {record.name!r} needs about {shown_bytes(need)} of memory, and of the limit of "
                f"{shown_bytes(self.limit)} the other collections hold {shown_bytes(held)}; nothing was changed. "
                f"{ways_out(record, *ways)}"
            )
        is_new = {spec.index_id for spec in record.indexes} - {spec.index_id for spec in collection.record.indexes}
        found = unbuildable(record, footprint[0], self.limit) if is_new else None
        if found is not None and found[0].index_id in is_new:
            raise MemoryLimitExceeded(
                f"{self._never_built(record, *found)}; nothing was changed. {ways_out(record, RAISE)}"
            )

    def redefined(self, collection: Holder, before: CollectionRecord) -> None:
        """Note that a definition was changed. It is warned of a collection that is loaded and cannot be indexed."""
        self.changed(collection)
        if collection.record.loaded and not before.loaded:
            found = unbuildable(collection.record, collection.footprint[0], self.limit)
            if found is not None:
                _log.warning(
                    "%s; it is loaded, and its rows are compared one by one. %s",
                    self._never_built(collection.record, *found),
                    ways_out(collection.record, RAISE),
                )

    def _never_built(self, record: CollectionRecord, spec: IndexSpec, need: int) -> str:
        return (
            f"index {spec.name!r} of collection {record.name!r} cannot be built: that takes about {shown_bytes(need)} "
            f"of memory, more than the whole limit of {shown_bytes(self.limit)}"
        )

    def check_rows(self, collection: Holder, batch: Batch, tail_bytes: int) -> None:
        """Refuse rows that the machine has no memory for, or that do not fit into the collection's own limit.

        Args:
            tail_bytes: of the rows that are in no segment yet.
        Raises: MemoryLimitExceeded.
        """
        size = batch.scalars.nbytes + sum(vectors.nbytes for vectors in batch.vectors.values())
        need, free = tail_bytes + TAIL_COPIES * size, self.free()
        if need > free:
            or_release = " or release" if self.released() < self.held() else ""
            raise MemoryLimitExceeded(
                f"collection {collection.name!r} cannot take {batch.n_rows} rows: they need about {shown_bytes(need)} "
                f"of memory, and the machine has {shown_bytes(free)} to give; nothing was written. Insert fewer rows "
                f"at once, or flush{or_release} a collection"
            )
        self.check_growth(collection, (), tail_bytes + size)

    def check_growth(self, collection: Holder, more: Sequence[SegmentRecord], tail_bytes: int) -> None:
        """Refuse rows with which a loaded collection would need more than its own limit.

        Args:
            more: the new segments.
            tail_bytes: of the rows in no segment, the new ones included.
        Raises: MemoryLimitExceeded.
        """
        record = collection.record
        if not record.loaded or LIMIT_PROPERTY not in record.properties:
            return
        need, own = needed_bytes(record, [*collection.footprint[0], *more], tail_bytes), _own_limit_before(record)
        if need > own:
            raise MemoryLimitExceeded(
                f"collection {record.name!r} would need about {shown_bytes(need)} of memory with these rows, more than "
                f"its own limit of {shown_bytes(own)}; nothing was written. {ways_out(record, _RELEASE_IT, _RAISE_OWN)}"
            )

    def warn_if_over(self, name: str) -> None:
        """Log that the loaded collections need more than the limit, where they do: they are mapped, and can be read."""
        held = self.held()
        if held > self.limit:
            _log.warning(
                "%s: the loaded collections need about %s of memory, more than the limit of %s; searches read from "
                "disk what does not fit. Release a collection, or raise memory_limit=",
                name,
                shown_bytes(held),
                shown_bytes(self.limit),
            )
