"""Rows as columns: what the writer takes, what filters read, what a search returns."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FloatArray: TypeAlias = npt.NDArray[np.float32]
VectorArray: TypeAlias = npt.NDArray[Any]
"""Vectors as they are stored, a row each: see `schema.VECTOR_TYPES`. `SparseRows` stand in for sparse ones."""
IntArray: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Bitmap: TypeAlias = npt.NDArray[np.uint8]
"""One bit a row, little-endian within a byte; a zero bit skips the row."""

Bytes: TypeAlias = npt.NDArray[np.uint8]
"""The content of a file, (size,)."""

_LINE_BYTES = 64


class StoredVectors(Protocol):
    """Vectors that are read from where they lie when they are asked for; an array is read in place."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> VectorArray: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as columns, checked against a schema and ready to be written.

    Attributes:
        scalars: every field that is not a vector, in the schema's order, the primary key and the
            dynamic field included; types as in `Schema.arrow_schema`.
        vectors: field name to (n_rows, *row_shape) of the field's stored type, C-contiguous and finite.
    """

    scalars: pa.RecordBatch
    vectors: dict[str, VectorArray]

    @property
    def n_rows(self) -> int:
        return int(self.scalars.num_rows)


class Spans(NamedTuple):
    """Runs of the entries of a `ScalarIndex`: run i is from `first[i]` to before `last[i]`; runs do not overlap."""

    first: IntArray
    last: IntArray


class ScalarIndex(Protocol):
    """The rows of each distinct value of a scalar column. Any thread may read; nothing in it changes.

    Its entries are the distinct values, ascending (strings by their UTF-8 bytes); null and NaN are none. Constants
    come in the kind of `values`: whole for integers, float32 for a FLOAT column.

    Attributes:
        form: how the rows are kept, in a word.
        n_rows: rows of the column.
        values: the entries: a NumPy array, or an Arrow array of strings.
    """

    form: str
    n_rows: int
    values: Any

    def compare(self, symbol: str, constant: Any) -> Spans:
        """Return the entries that are == < <= > or >= a constant."""
        ...

    def among(self, constants: Any) -> Spans:
        """Return the entries that are among constants, given ascending and each once."""
        ...

    def starting(self, prefix: str) -> Spans:
        """Return the entries that start with a prefix."""
        ...

    def count(self, spans: Spans) -> int:
        """Return how many rows the entries have, without looking at rows."""
        ...

    def mask(self, spans: Spans) -> Mask:
        """Return the rows of the entries: (n_rows,) bool, the caller's own."""
        ...

    def cost_ns(self, spans: Spans) -> float:
        """Return about how long `mask` takes."""
        ...


class Columns(Protocol):
    """The scalar columns of an immutable run of rows: a segment, or a tail at one moment.

    Safe to read from any thread. `memo` lives as long as the run and may hold what was computed
    from it (a parsed JSON key, the mask of a filter); a race may compute a value twice, never
    wrongly.
    """

    @property
    def n_rows(self) -> int: ...

    @property
    def memo(self) -> MutableMapping[Hashable, Any]: ...

    def scalar(self, name: str) -> pa.Array:
        """Return the column (length n_rows, not chunked, typed as in `Schema.arrow_schema`)."""
        ...

    def scalar_index(self, name: str) -> ScalarIndex | None:
        """Return the index over a column, if there is one that can be used."""
        ...


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of each query, nearest first.

    Attributes:
        ids: (n_queries, k) int64 row numbers, padded with -1.
        distances: (n_queries, k) float32, smaller is closer, padded with inf.
    """

    ids: IntArray
    distances: FloatArray

    @property
    def is_full(self) -> bool:
        """Whether every query has k rows; those that are missing stand at the end."""
        if len(self.ids) == 1:
            return bool(self.ids.item(-1) >= 0)
        return bool((self.ids[:, -1:] >= 0).all())


def aligned(shape: tuple[int, int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array without content that begins with a cache line: to read its rows takes a tenth less then."""
    kind = np.dtype(dtype)
    n_bytes = shape[0] * shape[1] * kind.itemsize
    room = np.empty(n_bytes + _LINE_BYTES, np.uint8)
    start = -room.ctypes.data % _LINE_BYTES
    return room[start : start + n_bytes].view(kind).reshape(shape)
