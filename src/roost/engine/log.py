"""What a record of the log holds, and how it changes a collection's rows."""

from __future__ import annotations

import math
import struct

import numpy as np
import pyarrow as pa

from roost.engine.columns import Batch, VectorArray
from roost.engine.contents import Contents
from roost.engine.keys import KeyArray, as_keys, key_array
from roost.engine.schema import Schema
from roost.engine.storage.catalog import LogRecord
from roost.engine.storage.record_files import Piece

INSERT = 1
DELETE = 2

_INSERT_LAYOUT = struct.Struct("<iIQ")


def encode_insert(batch: Batch, partition_id: int, schema: Schema) -> list[Piece]:
    """Return rows as the pieces of a record's body: partition, row count, scalars as Arrow IPC, raw vectors."""
    scalars = batch.scalars.serialize()
    header = _INSERT_LAYOUT.pack(partition_id, batch.n_rows, len(scalars))
    return [header, scalars, *(batch.vectors[f.name].data.cast("B") for f in schema.matrices)]


def decode_insert(body: bytes, schema: Schema) -> tuple[Batch, int]:
    """Return the rows and the partition that `encode_insert` encoded."""
    partition_id, n_rows, size = _INSERT_LAYOUT.unpack_from(body)
    start = _INSERT_LAYOUT.size
    scalars = pa.ipc.read_record_batch(pa.py_buffer(body)[start : start + size], schema.arrow_schema)
    start += size
    vectors: dict[str, VectorArray] = {}
    for field in schema.matrices:
        shape = (n_rows, *field.row_shape)
        rows = np.frombuffer(body, field.vector_dtype, math.prod(shape), start).reshape(shape)
        vectors[field.name] = rows
        start += rows.nbytes
    return Batch(scalars, vectors), partition_id


def encode_delete(keys: KeyArray, schema: Schema) -> bytes:
    """Return primary keys as a record's body."""
    column = pa.array(keys, type=schema.primary.arrow_type)
    body: bytes = pa.record_batch([column], names=["keys"]).serialize().to_pybytes()
    return body


def decode_delete(body: bytes, schema: Schema) -> KeyArray:
    """Return the primary keys that `encode_delete` encoded."""
    layout = pa.schema([pa.field("keys", schema.primary.arrow_type)])
    column = pa.ipc.read_record_batch(pa.py_buffer(body), layout).column(0)
    return as_keys(column.to_pylist(), pa.types.is_large_string(column.type))


def replay(contents: Contents, record: LogRecord) -> None:
    """Apply a record to the rows, as the write that made it did."""
    schema = contents.schema
    if record.op == INSERT:
        batch, partition_id = decode_insert(record.body, schema)
        keys = key_array(batch.scalars.column(schema.primary.name))
        contents.insert(batch, partition_id, contents.find(keys, record.seq))
    else:
        keys = decode_delete(record.body, schema)
        contents.delete(keys, contents.find(keys, record.seq))
