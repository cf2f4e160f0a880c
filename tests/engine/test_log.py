from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

from roost.engine.columns import Batch
from roost.engine.contents import Contents
from roost.engine.keys import as_keys
from roost.engine.log import DELETE, INSERT, decode_delete, decode_insert, encode_delete, encode_insert, replay
from roost.engine.schema import VECTOR_TYPES, Field, Schema
from roost.engine.storage.catalog import LogRecord
from tests.engine.model import make_batch, make_schema


@pytest.mark.parametrize("string_keys", [False, True])
@pytest.mark.parametrize("n_rows", [1, 50])
def test_rows_come_back(string_keys: bool, n_rows: int) -> None:
    schema = make_schema(string_keys, n_vectors=2)
    keys = [f"k{n}" if string_keys else n for n in range(n_rows)]
    batch = make_batch(schema, keys, 3)
    found, partition = decode_insert(b"".join(encode_insert(batch, 5, schema)), schema)
    assert partition == 5
    assert found.scalars.equals(batch.scalars)
    for field in schema.vectors:
        np.testing.assert_array_equal(found.vectors[field.name], batch.vectors[field.name])


@pytest.mark.parametrize(("string_keys", "keys"), [(False, [5, -1]), (True, ["a", "é"]), (False, []), (True, [])])
def test_keys_come_back(string_keys: bool, keys: list[object]) -> None:
    schema = make_schema(string_keys)
    assert decode_delete(encode_delete(as_keys(keys, string_keys), schema), schema).tolist() == keys


def test_a_record_that_is_repeated_twice_changes_nothing() -> None:
    schema = make_schema()
    records = [
        LogRecord(1, INSERT, b"".join(encode_insert(make_batch(schema, range(5), 1), 0, schema))),
        LogRecord(2, DELETE, encode_delete(np.array([1, 2]), schema)),
    ]
    once, twice = Contents(schema), Contents(schema)
    for record in records:
        replay(once, record)
    for record in (*records, *records):
        replay(twice, record)
    for contents in (once, twice):
        assert contents.snapshot().n_rows == 3
        assert len(contents.tail.find(np.array([0, 3, 4]))) == 3


def test_vectors_of_every_type_come_back() -> None:
    types = [t for t in VECTOR_TYPES if t != DataType.FLOAT_VECTOR] + [DataType.FLOAT_VECTOR]
    fields = [Field("id", DataType.INT64, 100, is_primary=True)]
    fields += [Field(t.name, t, 101 + i, dim=24) for i, t in enumerate(types)]
    schema = Schema(tuple(fields))
    sparse = pa.array([b"", bytes(range(16)), bytes(8)], pa.large_binary())
    columns = pa.RecordBatch.from_arrays([pa.array([3, 5, 7]), sparse], schema=schema.arrow_schema)
    vectors = {f.name: np.arange(3 * f.row_shape[0]).reshape(3, -1).astype(f.vector_dtype) for f in schema.matrices}
    found, _ = decode_insert(b"".join(encode_insert(Batch(columns, vectors), 0, schema)), schema)
    assert found.scalars.equals(columns)
    assert len(schema.matrices) == len(VECTOR_TYPES) - 1
    for field in schema.matrices:
        assert found.vectors[field.name].dtype == field.vector_dtype
        np.testing.assert_array_equal(found.vectors[field.name], vectors[field.name])
