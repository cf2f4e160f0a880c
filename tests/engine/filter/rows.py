"""Rows of every scalar type, as the engine holds them and as a Milvus server takes them."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from typing import Any

import orjson
import pyarrow as pa
from pymilvus import DataType

from roost.engine.columns import ScalarIndex
from roost.engine.scalar.built import build_scalar_index
from roost.engine.schema import DYNAMIC_FIELD, Field, Schema

SCALARS = {
    "b": DataType.BOOL,
    "i8": DataType.INT8,
    "i16": DataType.INT16,
    "i32": DataType.INT32,
    "i64": DataType.INT64,
    "f": DataType.FLOAT,
    "d": DataType.DOUBLE,
    "s": DataType.VARCHAR,
    "j": DataType.JSON,
}

BIG = 2**53
"""The first integer whose successor float64 does not hold."""


def make_schema(nullable: bool = False, dynamic: bool = True) -> Schema:
    """Return a schema with a field of each scalar type, a vector, and the dynamic field if asked for."""
    fields = [Field("pk", DataType.INT64, 100, is_primary=True)]
    for number, (name, dtype) in enumerate(SCALARS.items(), start=101):
        length = 100 if dtype == DataType.VARCHAR else None
        fields.append(Field(name, dtype, number, nullable=nullable, max_length=length))
    fields.append(Field("v", DataType.FLOAT_VECTOR, 120, dim=2))
    if dynamic:
        fields.append(Field(DYNAMIC_FIELD, DataType.JSON, 121))
    return Schema(tuple(fields))


SCHEMA = make_schema()


class Rows:
    """Columns in memory, made from dictionaries; keys that the schema lacks go to the dynamic field."""

    def __init__(self, rows: list[dict[str, Any]], schema: Schema = SCHEMA) -> None:
        self.n_rows = len(rows)
        self.memo: MutableMapping[Hashable, Any] = {}
        self.indexes: dict[str, ScalarIndex] = {}
        names = [field.name for field in schema.scalars if not field.is_dynamic]
        columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
        if schema.enable_dynamic:
            columns[DYNAMIC_FIELD] = [{k: v for k, v in row.items() if k not in schema.by_name} for row in rows]
        for field in schema.scalars:
            if field.dtype == DataType.JSON:
                values = columns[field.name]
                columns[field.name] = [None if v is None else orjson.dumps(v).decode() for v in values]
        arrays = [pa.array(columns[field.name], field.arrow_type) for field in schema.scalars]
        self._batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow_schema)

    def scalar(self, name: str) -> pa.Array:
        return self._batch.column(name)

    def scalar_index(self, name: str) -> ScalarIndex | None:
        return self.indexes.get(name)

    def copy(self) -> Rows:
        """Return the same rows, with nothing remembered and no index."""
        other = object.__new__(Rows)
        other.n_rows, other.memo, other.indexes, other._batch = self.n_rows, {}, {}, self._batch
        return other

    def indexed(self, index_type: str) -> Rows:
        """Return the same rows with an index of that type on every field that is not JSON."""
        names = [name for name, dtype in SCALARS.items() if dtype != DataType.JSON]
        self.indexes = {name: build_scalar_index(self.scalar(name), index_type) for name in names}
        return self


_I8 = [-128, 127, 0, 1, -1, 7, -7, 3, -3, 100, -100, 2]
_I64 = [BIG, BIG + 1, -BIG - 1, 2**63 - 1, -(2**63), 0, 1, -1, 7, -7, 3, -3]
_F = [0.1, 0.5, -1.5, 0.0, 2.0, 3.0, 1e10, -0.25, 7.0, 8.0, 9.0, 10.0]
_S = ["", "a", "ab", "a%b", "a_b", "A", "b\\c", 'q"q', "it's", "abc\n", "é", "zz"]
_J: list[Any] = [
    {"a": 1},
    {"a": 2.5},
    {"a": "x"},
    {"a": True},
    {"a": None},
    {"a": [1, 2, 3]},
    {"a": {"b": 5}},
    {"a": BIG + 1},
    {"c": [1, "x", 2.5, True, [1, 2], {"k": 1}]},
    {},
    {"a": BIG},
    {"a": -3},
]


def _row(k: int) -> dict[str, Any]:
    row: dict[str, Any] = {"pk": k, "b": k % 2 == 0, "i16": k * 100, "i32": k - 6}
    row |= {"i8": _I8[k % 12], "i64": _I64[k % 12], "f": _F[k % 12], "d": _F[k % 12], "s": _S[k % 12], "j": _J[k % 12]}
    if k % 3 == 0:
        row["colour"] = "red" if k % 2 else "blue"
    if k % 4 == 0:
        row["n"] = k
    row |= {5: {"n": "5"}, 7: {"n": 7.5}, 8: {"tags": [1, 2, "x"]}, 3: {"tags": [True, None, [1, 2]]}}.get(k, {})
    return row


ROWS = [_row(k) for k in range(30)]
"""Thirty rows: integers beyond the floats, strings with quotes and wildcards, every kind of JSON."""
TWELVE = ROWS[:12]
