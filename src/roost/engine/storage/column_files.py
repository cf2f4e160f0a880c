"""The column files of a segment: Arrow IPC, written once, read through a memory map.

`fields.arrow` holds every scalar column, `vectors-<field id>.arrow` one vector field each. Both are
plain Arrow files that any Arrow reader opens; vectors become NumPy arrays without a copy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from roost.engine.columns import VectorArray
from roost.engine.storage.durable import FileRecord, storage_errors, verify, write_durable
from roost.errors import Corruption

FIELDS_FILE = "fields.arrow"


def vectors_file(field_id: int) -> str:
    return f"vectors-{field_id}.arrow"


def write_scalars(directory: Path, scalars: pa.RecordBatch) -> FileRecord:
    """Write the scalar columns of a segment."""
    return _write(directory / FIELDS_FILE, scalars)


def write_vectors(directory: Path, field_id: int, vectors: VectorArray) -> FileRecord:
    """Write one vector field of a segment, each vector as a list of its stored numbers."""
    kind, buffer = pa.from_numpy_dtype(vectors.dtype), pa.py_buffer(np.ascontiguousarray(vectors))
    flat = pa.Array.from_buffers(kind, vectors.size, [None, buffer])
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return _write(directory / vectors_file(field_id), pa.record_batch([column], names=["vector"]))


def read_scalars(directory: Path, record: FileRecord) -> pa.RecordBatch:
    """Return the scalar columns, mapped into memory.

    Raises: Corruption: the file does not match its record.
    """
    return _read(directory, record)


def read_vectors(directory: Path, record: FileRecord) -> VectorArray:
    """Return the vectors as they were written, read-only and mapped into memory.

    Raises: Corruption: the file does not match its record.
    """
    column = _read(directory, record).column(0)
    flat: VectorArray = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(-1, column.type.list_size)


def _write(path: Path, batch: pa.RecordBatch) -> FileRecord:
    def write(target: Path) -> None:
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)

    return write_durable(path, write)


def _read(directory: Path, record: FileRecord) -> pa.RecordBatch:
    path = directory / record.name
    verify(path, record)
    with storage_errors(path):
        reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        if reader.num_record_batches != 1:
            raise Corruption(f"{path} holds {reader.num_record_batches} record batches instead of one")
        return reader.get_batch(0)
