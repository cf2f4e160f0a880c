"""The rows of a collection that no segment holds yet, in memory and in the log.

The writer appends to growing buffers. A reader holds a `TailView`: the first n rows at one moment,
over the same buffers, which are only ever written beyond n.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from roost.engine.columns import Batch, FloatArray, IntArray, Mask, VectorArray
from roost.engine.index.exact import inverse_norms
from roost.engine.index.sketch import Sketch
from roost.engine.index.sparse_rows import sparse_column
from roost.engine.keys import KeyArray, KeyLookup, key_array
from roost.engine.schema import Schema
from roost.engine.vector_buffer import VectorBuffer

_FIRST_CAPACITY = 256


class TailView:
    """The tail at one moment. Any thread may read; nothing in it changes.

    Attributes:
        dead: (n_rows,) rows that are deleted, or None when none is.
    """

    def __init__(
        self,
        n_rows: int,
        batches: tuple[pa.RecordBatch, ...],
        vectors: dict[str, VectorBuffer],
        dead: Mask | None,
        schema: Schema,
    ) -> None:
        self.n_rows = n_rows
        self.dead = dead
        self.memo: MutableMapping[Hashable, Any] = {}
        self.schema = schema
        self._batches = batches
        self._vectors = vectors

    @property
    def scalars(self) -> pa.RecordBatch:
        """Every scalar column, the hidden ones included."""
        found: pa.RecordBatch | None = self.memo.get("scalars")
        if found is None:
            found = self.memo["scalars"] = join_batches(self._batches, self.schema.stored_schema)
        return found

    def scalar(self, name: str) -> pa.Array:
        """Return one column, without joining the others."""
        found: pa.Array | None = self.memo.get(("scalar", name))
        if found is None:
            whole: pa.RecordBatch | None = self.memo.get("scalars")
            if whole is not None or len(self._batches) < 2:
                found = self.scalars.column(name)
            else:
                found = pa.concat_arrays([batch.column(name) for batch in self._batches])
            self.memo["scalar", name] = found
        return found

    def vectors(self, name: str) -> VectorArray:
        """Return the vectors of a field, as they are stored."""
        found: VectorArray | None = self.memo.get(("vectors", name))
        if found is None:
            held = self._vectors.get(name)
            found = sparse_column(self.scalar(name)) if held is None else held.first(self.n_rows)
            self.memo["vectors", name] = found
        return found

    def inverse_norms(self, name: str) -> FloatArray:
        """Return one over the Euclidean length of each vector ((n_rows,) float32)."""
        found: FloatArray | None = self.memo.get(("norms", name))
        if found is None:
            found = self.memo["norms", name] = inverse_norms(self.vectors(name))
        return found

    @property
    def key_column(self) -> KeyArray:
        """The primary key of each row."""
        found: KeyArray | None = self.memo.get("key_column")
        if found is None:
            found = self.memo["key_column"] = key_array(self.scalar(self.schema.primary.name))
        return found

    @property
    def keys(self) -> KeyLookup:
        """The rows by primary key."""
        found: KeyLookup | None = self.memo.get("keys")
        if found is None:
            found = self.memo["keys"] = KeyLookup(self.scalar(self.schema.primary.name))
        return found


class Tail:
    """The writer's side: one thread at a time, under the database's write lock.

    Attributes:
        sketches: index id to a sketch of the first rows, for its searches; replaced, never changed in place.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._n_rows = 0
        self._batches: list[pa.RecordBatch] = []
        self._vectors = {f.name: VectorBuffer(f.row_shape, f.vector_dtype) for f in schema.matrices}
        self._dead = np.zeros(_FIRST_CAPACITY, dtype=bool)
        self._n_dead = 0
        self._row_of: dict[Any, int] = {}
        self._size_bytes = 0
        self.sketches: Mapping[int, Sketch] = {}

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def size_bytes(self) -> int:
        """Bytes that the rows take, the spare room of the buffers left out."""
        return self._size_bytes

    def find(self, keys: KeyArray) -> list[int]:
        """Return the live rows that hold any of the keys."""
        rows = self._row_of
        if not rows:
            return []
        return [rows[key] for key in keys.tolist() if key in rows]

    def append(self, batch: Batch, partition_id: int) -> None:
        """Add rows whose keys are not live in the tail (the caller has removed those)."""
        start, end = self._n_rows, self._n_rows + batch.n_rows
        for name, vectors in batch.vectors.items():
            self._vectors[name].append(vectors)
            self._size_bytes += vectors.nbytes
        self._size_bytes += batch.scalars.nbytes
        self._dead = _grown(self._dead, start, end)
        self._dead[start:end] = False
        self._push(with_partition(batch.scalars, partition_id, self._schema))
        keys = batch.scalars.column(self._schema.primary.name).to_pylist()
        self._row_of.update(zip(keys, range(start, end), strict=True))
        self._n_rows = end

    def _push(self, batch: pa.RecordBatch) -> None:
        """Keep the batches' sizes falling by halves, so that there are few and each row is copied seldom."""
        self._batches.append(batch)
        while len(self._batches) > 1 and self._batches[-1].num_rows * 2 > self._batches[-2].num_rows:
            last = self._batches.pop()
            self._batches[-1] = join_batches((self._batches[-1], last), batch.schema)

    def remove(self, keys: KeyArray) -> None:
        """Mark the rows of the keys as deleted; keys that are not here are passed over."""
        wanted = keys.tolist()
        if self._row_of.keys().isdisjoint(wanted):
            return
        for key in wanted:
            row = self._row_of.pop(key, None)
            if row is not None:
                self._dead[row] = True
                self._n_dead += 1

    def view(self) -> TailView:
        """Return the tail as it is now."""
        n_rows = self._n_rows
        dead = self._dead[:n_rows].copy() if self._n_dead else None
        return TailView(n_rows, tuple(self._batches), self._vectors, dead, self._schema)


def with_partition(scalars: pa.RecordBatch, partition_id: int, schema: Schema) -> pa.RecordBatch:
    """Return the columns with the hidden partition column behind them."""
    column = _constant(partition_id, scalars.num_rows)
    return pa.RecordBatch.from_arrays([*scalars.columns, column], schema=schema.stored_schema)


@lru_cache(maxsize=16)
def _constant(value: int, n_rows: int) -> pa.Array:
    return pa.array(np.full(n_rows, value, dtype=np.int32))


def join_batches(batches: tuple[pa.RecordBatch, ...], schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows of all batches as one."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=schema)
    columns = [pa.concat_arrays([batch.column(i) for batch in batches]) for i in range(len(schema))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def live_rows(n_rows: int, dead: Mask | None) -> IntArray:
    """Return the numbers of the rows that are not deleted."""
    if dead is None:
        return np.arange(n_rows, dtype=np.int64)
    return np.flatnonzero(~dead).astype(np.int64)


def _grown(buffer: Any, used: int, needed: int) -> Any:
    """Return a buffer with room for `needed` rows; the old one stays as readers know it."""
    if needed <= len(buffer):
        return buffer
    capacity = max(_FIRST_CAPACITY, needed, 2 * len(buffer))
    grown = np.empty((capacity, *buffer.shape[1:]), dtype=buffer.dtype)
    grown[:used] = buffer[:used]
    return grown
