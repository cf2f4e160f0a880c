"""What a reader sees: one immutable object with every row of a collection at one moment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from roost.engine.columns import Mask, ScalarIndex, VectorArray
from roost.engine.filter import Predicate
from roost.engine.index.allowed import Allowed
from roost.engine.index.base import VectorIndex
from roost.engine.index.sketch import Sketch
from roost.engine.schema import PARTITION_FIELD, Schema
from roost.engine.segment import IndexSpec, Segment, SegmentIndex, SegmentScalarIndex, SegmentSketch, StoredIndex
from roost.engine.tail import TailView

_MAX_MASKS = 64
"""Masks kept per run of rows; the oldest goes first."""

Partitions: TypeAlias = tuple[int, ...] | None
"""Ids of the partitions to read, or None for all."""


@dataclass(frozen=True)
class Part:
    """A run of rows and what is known of them at one moment: deletes and indexes. To filters it is their `Columns`.

    Attributes:
        dead: (n_rows,) deleted rows, or None when none is.
        indexes: index id to the index over these rows.
        sketches: index id to a sketch of these rows, or of the first of them, for its searches.
        partition_id: the partition that all rows are of that are not dead, where they are of one and that is known.
    """

    rows: Segment | TailView
    dead: Mask | None = None
    indexes: Mapping[int, StoredIndex] = field(default_factory=dict)
    sketches: Mapping[int, SegmentSketch | Sketch] = field(default_factory=dict)
    partition_id: int | None = None
    _selections: dict[Any, Allowed | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_indexed(self) -> int:
        """Rows that a vector index covers: all of them, or none."""
        return self.n_rows if any(not index.spec.is_scalar for index in self.indexes.values()) else 0

    @property
    def n_dead(self) -> int:
        return 0 if self.dead is None else int(np.count_nonzero(self.dead))

    def is_outside(self, partitions: Partitions) -> bool:
        """Whether it is known, without opening a file, that no live row lies in the partitions."""
        return partitions is not None and self.partition_id is not None and self.partition_id not in partitions

    @property
    def memo(self) -> MutableMapping[Hashable, Any]:
        return self.rows.memo

    def scalar(self, name: str) -> pa.Array:
        return self.rows.scalar(name)

    def vector_index(self, spec: IndexSpec) -> SegmentIndex | None:
        """Return an index on a vector field, where it is built."""
        held = self.indexes.get(spec.index_id)
        return held if isinstance(held, SegmentIndex) else None

    def sketch(self, spec: IndexSpec) -> Sketch | None:
        """Return the sketch for the searches of an index, where there is one that is whole."""
        held = self.sketches.get(spec.index_id)
        return held.usable() if isinstance(held, SegmentSketch) else held

    @property
    def derived(self) -> tuple[StoredIndex | SegmentSketch, ...]:
        """What was built of the rows and lies in files: indexes and sketches."""
        sketches = (held for held in self.sketches.values() if isinstance(held, SegmentSketch))
        return (*self.indexes.values(), *sketches)

    def scalar_index(self, name: str) -> ScalarIndex | None:
        """Return the index on a scalar field, if it has one that is whole."""
        for held in self.indexes.values():
            if isinstance(held, SegmentScalarIndex) and held.spec.field == name:
                return held.usable()
        return None

    def remembers(self, predicate: Predicate) -> bool:
        """Whether the filter's mask over the rows is known already."""
        return predicate.key in self.rows.memo.get("masks", {})

    def select(self, predicate: Predicate | None, partitions: Partitions) -> Allowed | None:
        """Return the live rows that pass the filter and lie in the partitions; None means all rows."""
        if self.is_outside(partitions):
            return self.no_rows
        if self.partition_id is not None:
            partitions = None
        if predicate is None and partitions is None and self.dead is None:
            return None
        key = (None if predicate is None else predicate.key, partitions)
        try:
            return self._selections[key]
        except KeyError:
            found = self._select(predicate, partitions)
            _keep(self._selections, key, found)
            return found

    @property
    def all_rows(self) -> Allowed:
        """Every row, none of which is deleted, for searches that need to be told."""
        return self._alike(True)

    @property
    def no_rows(self) -> Allowed:
        """None of the rows."""
        return self._alike(False)

    def _alike(self, is_allowed: bool) -> Allowed:
        found = self._selections.get(is_allowed)
        if found is None:
            found = self._selections[is_allowed] = Allowed(np.full(self.n_rows, is_allowed))
        return found

    def _select(self, predicate: Predicate | None, partitions: Partitions) -> Allowed | None:
        mask: Mask | None = None if self.dead is None else ~self.dead
        if partitions is not None:
            mask = _both(mask, self._in_partitions(partitions))
        if predicate is not None:
            mask = _both(mask, self._passing(predicate))
        return None if mask is None or mask.all() else Allowed(mask)

    def _in_partitions(self, partitions: tuple[int, ...]) -> Mask:
        ids = self.rows.scalar(PARTITION_FIELD).to_numpy(zero_copy_only=True)
        return np.isin(ids, partitions)

    def _passing(self, predicate: Predicate) -> Mask:
        """Return the filter's mask; it outlives deletes, since it is kept with the rows."""
        masks: dict[Any, Mask] = self.rows.memo.setdefault("masks", {})
        found = masks.get(predicate.key)
        if found is None:
            found = predicate.evaluate(self)
            _keep(masks, predicate.key, found)
        return found

    def open_files(self, *, verified: bool = True) -> None:
        """Open every file of the rows and their indexes, so that they can be read when they are removed.

        Args:
            verified: all of them are; otherwise large ones may be verified later, as `Segment.hold_vectors` says.
        Raises: Corruption: a file of the rows is damaged or missing.
        """
        for vector in self.rows.schema.vectors:
            if verified or not isinstance(self.rows, Segment):
                self.rows.vectors(vector.name)
            else:
                self.rows.hold_vectors(vector.name)
        self.rows.scalar(PARTITION_FIELD)
        for held in self.derived:
            opened = held.usable()
            if verified:
                held.settle()
            if isinstance(opened, VectorIndex) and opened.on_disk and isinstance(self.rows, Segment):
                self.rows.vector_file(held.spec.field)

    def closed(self) -> Part:
        """Close the files of the rows and their indexes; return the part without what searches remember of it."""
        if isinstance(self.rows, Segment):
            self.rows.close()
        for held in self.derived:
            held.close()
        return replace(self, _selections={})

    def column(self, name: str, rows: npt.NDArray[np.int64]) -> pa.Array | VectorArray:
        """Return a field's values at some rows: Arrow for scalars, an array as it is stored for vectors."""
        if self.rows.schema.field(name).is_matrix:
            return self.rows.vectors(name)[rows]
        return self.rows.scalar(name).take(pa.array(rows))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every row of a collection at one moment. Any thread may read it for as long as it likes.

    Attributes:
        parts: sealed segments, rows that are being sealed, and the tail; empty parts are left out.
    """

    schema: Schema
    parts: tuple[Part, ...]

    @property
    def n_rows(self) -> int:
        """Live rows."""
        return sum(part.n_rows - part.n_dead for part in self.parts)

    def open_files(self, partitions: Partitions = None) -> None:
        """Open and verify every file of the stored rows and their indexes.

        Args:
            partitions: leave out what holds rows of other partitions alone.
        Raises: Corruption: a file of the rows is damaged.
        """
        for part in self.parts:
            if not part.is_outside(partitions):
                part.open_files()

    def n_unindexed(self, index_id: int | None) -> int:
        """Return how many live rows an index does not cover; all where there is none."""
        return sum(p.n_rows - p.n_dead for p in self.parts if index_id is None or index_id not in p.indexes)


def _both(left: Mask | None, right: Mask) -> Mask:
    return right if left is None else left & right


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Remember a value; the oldest makes room. Readers may race: at worst a value is computed again."""
    if len(kept) >= _MAX_MASKS:
        for oldest in list(kept)[: len(kept) - _MAX_MASKS + 1]:
            kept.pop(oldest, None)
    kept[key] = value
