"""Rows by primary key or by filter, without a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import IntArray, VectorArray
from roost.engine.filter import Predicate
from roost.engine.keys import KeyArray, key_array
from roost.engine.search import gather
from roost.engine.snapshot import Part, Partitions, Snapshot


@dataclass(frozen=True, slots=True)
class Places:
    """Rows of a snapshot: which part, and which row in it; ordered by primary key."""

    snapshot: Snapshot
    part: IntArray
    row: IntArray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def keys(self) -> KeyArray:
        """The primary keys of the rows."""
        return key_array(self.take(self.snapshot.schema.primary.name))

    def take(self, name: str) -> pa.Array | VectorArray:
        """Return a field of the rows: Arrow for scalars, an array as it is stored for vectors."""
        return gather(self.snapshot.parts, self.part, self.row, name, self.snapshot)

    def page(self, offset: int, limit: int | None) -> Places:
        """Return `limit` rows from `offset` on."""
        end = None if limit is None else offset + limit
        return Places(self.snapshot, self.part[offset:end], self.row[offset:end])


def find(
    snapshot: Snapshot,
    *,
    predicate: Predicate | None = None,
    keys: KeyArray | None = None,
    partitions: Partitions = None,
    first: int | None = None,
) -> Places:
    """Return the live rows that have one of the keys and pass the filter, ordered by primary key.

    Args:
        first: return the first of them only, this many.
    """
    parts: list[IntArray] = []
    rows: list[IntArray] = []
    for number, part in enumerate(snapshot.parts):
        if part.is_outside(partitions):
            continue
        allowed = part.select(predicate, partitions)
        if keys is not None:
            found = np.unique(part.rows.keys.find(keys))
            found = found if allowed is None else found[allowed.mask[found]]
        else:
            found = np.arange(part.n_rows, dtype=np.int64) if allowed is None else allowed.rows
        if first is not None and len(found) > first:
            found = _lowest(part, found, snapshot.schema.primary.name, first)
        rows.append(found)
        parts.append(np.full(len(found), number, dtype=np.int64))
    return _sorted(snapshot, _joined(parts), _joined(rows)).page(0, first)


def count(snapshot: Snapshot, predicate: Predicate | None = None, partitions: Partitions = None) -> int:
    """Return how many live rows pass the filter."""
    parts = (part for part in snapshot.parts if not part.is_outside(partitions))
    selected = ((part, part.select(predicate, partitions)) for part in parts)
    return sum(part.n_rows if allowed is None else allowed.count for part, allowed in selected)


def _lowest(part: Part, rows: IntArray, primary: str, first: int) -> IntArray:
    """Return those rows of a part that have the lowest keys, in no particular order."""
    keys = part.rows.scalar(primary) if len(rows) == part.n_rows else part.column(primary, rows)
    lowest: IntArray = pc.bottom_k_unstable(keys, first).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows[lowest]


def _sorted(snapshot: Snapshot, part: IntArray, row: IntArray) -> Places:
    places = Places(snapshot, part, row)
    order = np.argsort(places.keys, kind="stable")
    return Places(snapshot, part[order], row[order])


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
