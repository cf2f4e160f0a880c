"""The schema of a collection: its fields, their types, and how they are stored.

`pymilvus.CollectionSchema` is what users write. `Schema` is what the engine reads: frozen, checked
once, and the same after a reopen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pymilvus import DataType

from roost.errors import FieldNotFound

DYNAMIC_FIELD = "$meta"
"""The hidden JSON column that holds the keys which the schema does not name."""

PARTITION_FIELD = "$partition"
"""The hidden int32 column that names each row's partition; only the engine writes and reads it."""

MAX_NAME_LENGTH = 255
MAX_VARCHAR_LENGTH = 65_535
MAX_DIM = 32_768
MAX_BINARY_DIM = 8 * MAX_DIM
MAX_FIELDS = 64

SCALAR_TYPES: Mapping[DataType, pa.DataType] = {
    DataType.BOOL: pa.bool_(),
    DataType.INT8: pa.int8(),
    DataType.INT16: pa.int16(),
    DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(),
    DataType.FLOAT: pa.float32(),
    DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.large_string(),
    DataType.JSON: pa.large_string(),
}
"""How each scalar type is stored. JSON is its compact text in UTF-8."""

SPARSE = DataType.SPARSE_FLOAT_VECTOR
"""The one type of vectors that is a column of Arrow: the bytes of a vector's pairs of an index and a number."""

VECTOR_TYPES: Mapping[DataType, np.dtype[Any]] = {
    DataType.FLOAT_VECTOR: np.dtype(np.float32),
    DataType.FLOAT16_VECTOR: np.dtype(np.float16),
    DataType.BFLOAT16_VECTOR: np.dtype(np.uint16),
    DataType.INT8_VECTOR: np.dtype(np.int8),
    DataType.BINARY_VECTOR: np.dtype(np.uint8),
    SPARSE: np.dtype([("index", "<u4"), ("value", "<f4")]),
}
"""How the numbers of each vector type are stored. NumPy has no bfloat16: those are their 16 bits, the upper half of a
float32. Binary vectors are eight to a byte, the first in the highest bit."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a collection."""

    name: str
    dtype: DataType
    field_id: int
    is_primary: bool = False
    auto_id: bool = False
    is_partition_key: bool = False
    nullable: bool = False
    default: Any = None
    dim: int | None = None
    max_length: int | None = None
    description: str = ""

    @property
    def is_vector(self) -> bool:
        return self.dtype in VECTOR_TYPES

    @property
    def is_matrix(self) -> bool:
        """Whether the field's vectors are the rows of an array, apart from the columns of Arrow."""
        return self.is_vector and self.dtype != SPARSE

    @property
    def vector_dtype(self) -> np.dtype[Any]:
        """What a vector is stored as."""
        return VECTOR_TYPES[self.dtype]

    @property
    def row_shape(self) -> tuple[int]:
        """How many stored numbers make a vector: the dimension, or an eighth of it where eight are one byte."""
        dim = self.dim or 0
        return (dim // 8 if self.dtype == DataType.BINARY_VECTOR else dim,)

    @property
    def is_dynamic(self) -> bool:
        return self.name == DYNAMIC_FIELD

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of the column; the vectors of a matrix are stored apart from columns."""
        return pa.large_binary() if self.dtype == SPARSE else SCALAR_TYPES[self.dtype]


@dataclass(frozen=True)
class Schema:
    """The fields of a collection in their order; the dynamic field, where there is one, is the last."""

    fields: tuple[Field, ...]
    description: str = ""
    by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {f.name: f for f in self.fields})

    @property
    def enable_dynamic(self) -> bool:
        return DYNAMIC_FIELD in self.by_name

    @cached_property
    def primary(self) -> Field:
        return next(f for f in self.fields if f.is_primary)

    @cached_property
    def vectors(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.is_vector)

    @cached_property
    def matrices(self) -> tuple[Field, ...]:
        """The vector fields that are stored as arrays: all but sparse ones."""
        return tuple(f for f in self.fields if f.is_matrix)

    @cached_property
    def scalars(self) -> tuple[Field, ...]:
        """Every field that is a column of Arrow: scalars, sparse vectors, the primary key and the dynamic field."""
        return tuple(f for f in self.fields if not f.is_matrix)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the scalar columns."""
        return pa.schema([pa.field(f.name, f.arrow_type) for f in self.scalars])

    @cached_property
    def stored_schema(self) -> pa.Schema:
        """The Arrow schema of the scalar columns as the engine keeps them, the hidden ones included."""
        return self.arrow_schema.append(pa.field(PARTITION_FIELD, pa.int32()))

    def field(self, name: str) -> Field:
        """Return the field of that name.

        Raises: FieldNotFound: the schema does not name it.
        """
        found = self.by_name.get(name)
        if found is None:
            known = ", ".join(f.name for f in self.fields if not f.is_dynamic)
            raise FieldNotFound(f"field {name!r} does not exist; the collection has: {known}")
        return found

    def to_json(self) -> str:
        return self._json

    @cached_property
    def _json(self) -> str:
        rows = [{**asdict(f), "dtype": int(f.dtype)} for f in self.fields]
        return json.dumps({"fields": rows, "description": self.description}, sort_keys=True)

    @classmethod
    @lru_cache(maxsize=64)
    def from_json(cls, text: str) -> Schema:
        """Return the schema that `to_json` wrote; collections of one schema share it."""
        raw = json.loads(text)
        fields = tuple(Field(**{**f, "dtype": DataType(f["dtype"])}) for f in raw["fields"])
        return cls(fields, raw["description"])
