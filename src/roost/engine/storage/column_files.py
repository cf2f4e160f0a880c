"""The column files of a segment: Arrow IPC, written once, read through a memory map.

`fields.arrow` holds every scalar column, `vectors-<field id>.arrow` one vector field each. Both are
plain Arrow files that any Arrow reader opens; vectors become NumPy arrays without a copy.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from roost.engine.block_file import BlockFile
from roost.engine.columns import Bytes, VectorArray
from roost.engine.file_map import map_file, populated
from roost.engine.storage.durable import FileRecord, digest_pieces, storage_errors, verify, write_durable
from roost.errors import Corruption, StorageFailure

FIELDS_FILE = "fields.arrow"


def vectors_file(field_id: int) -> str:
    return f"vectors-{field_id}.arrow"


def write_scalars(directory: Path, scalars: pa.RecordBatch) -> FileRecord:
    """Write the scalar columns of a segment."""
    return _write(directory / FIELDS_FILE, scalars)


def write_vectors(directory: Path, field_id: int, vectors: VectorArray) -> FileRecord:
    """Write one vector field of a segment, each vector as a list of its stored numbers."""
    return _write(directory / vectors_file(field_id), _vector_batch(np.ascontiguousarray(vectors)))


def write_gathered(
    directory: Path, field_id: int, shape: tuple[int, int], dtype: np.dtype[Any], blocks: Iterable[VectorArray]
) -> FileRecord:
    """Write one vector field of a segment from blocks of rows, which are not held in memory together.

    The file is that of `write_vectors`. Arrow is given memory that is never touched, and so takes no room; where it
    hands that over to be written, the blocks are.

    Args:
        shape: (n_rows, numbers of a row) of all blocks together.
    """
    path = directory / vectors_file(field_id)
    untouched = np.zeros(shape, dtype)

    def write(target: Path) -> None:
        with BlockFile(target) as file:
            sink = _Replacing(file, untouched.ctypes.data, blocks)
            with pa.ipc.new_file(sink, (batch := _vector_batch(untouched)).schema) as writer:
                writer.write_batch(batch)
            if sink.n_replaced != untouched.nbytes:
                raise StorageFailure(f"cannot write {path}: {sink.n_replaced} bytes instead of {untouched.nbytes}")

    return write_durable(path, write)


def read_scalars(directory: Path, record: FileRecord) -> pa.RecordBatch:
    """Return the scalar columns, mapped into memory.

    Raises: Corruption: the file does not match its record.
    """
    return _read(directory, record)


def read_vectors(directory: Path, record: FileRecord) -> VectorArray:
    """Return the vectors as they were written, read-only and mapped into memory.

    Raises: Corruption: the file does not match its record.
    """
    return _vectors_in(_read(directory, record))


def map_vectors(directory: Path, record: FileRecord) -> Bytes:
    """Return the file of vectors, not verified and mapped into memory, where it stays when it is removed.

    Raises: Corruption: there is none, or it has another length.
    """
    path = directory / record.name
    with storage_errors(path):
        if path.stat().st_size != record.size_bytes:
            raise Corruption(f"{path} is damaged: it is not {record.size_bytes} bytes long; restore it from a copy")
        return map_file(path, record.size_bytes)


def verified_vectors(content: Bytes, directory: Path, record: FileRecord) -> VectorArray:
    """Return the vectors of a mapped file as `read_vectors` does.

    Raises: Corruption: the file does not match its record.
    """
    path = directory / record.name

    def read(start: int, end: int) -> memoryview:
        try:
            return populated(content[start:end])
        except OSError as error:
            if error.errno != errno.EINVAL:  # the system does not know how
                raise
            return content[start:end].data

    with storage_errors(path):
        found = digest_pieces(len(content), read)
        if found != record.digest:
            raise Corruption(f"{path} is damaged: its checksum does not match; restore it from a copy")
        return _vectors_in(_batch(path, pa.BufferReader(pa.py_buffer(content))))


def mapped_vectors(directory: Path, field_id: int) -> VectorArray:
    """Return vectors that were just written, read-only and mapped into memory."""
    return _vectors_in(_map(directory / vectors_file(field_id)))


class _Replacing:
    """A file for Arrow to write into, in which blocks of vectors take the place of one buffer.

    Attributes:
        n_replaced: bytes of the blocks that were written.
    """

    closed = False

    def __init__(self, file: BlockFile, address: int, blocks: Iterable[VectorArray]) -> None:
        """Take over an open file.

        Args:
            address: of the buffer that is replaced.
        """
        self.n_replaced = 0
        self._file = file
        self._address = address
        self._blocks = blocks

    def write(self, data: Any) -> int:
        if not isinstance(data, pa.Buffer) or data.address != self._address:
            return self._file.write(data)
        for block in self._blocks:
            self.n_replaced += self._file.write(np.ascontiguousarray(block).data)
        return int(data.size)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


def _vector_batch(vectors: VectorArray) -> pa.RecordBatch:
    kind, buffer = pa.from_numpy_dtype(vectors.dtype), pa.py_buffer(vectors)
    flat = pa.Array.from_buffers(kind, vectors.size, [None, buffer])
    return pa.record_batch([pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], names=["vector"])


def _vectors_in(batch: pa.RecordBatch) -> VectorArray:
    column = batch.column(0)
    flat: VectorArray = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(-1, column.type.list_size)


def _write(path: Path, batch: pa.RecordBatch) -> FileRecord:
    def write(target: Path) -> None:
        with BlockFile(target) as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)

    return write_durable(path, write)


def _read(directory: Path, record: FileRecord) -> pa.RecordBatch:
    verify(directory / record.name, record)
    return _map(directory / record.name)


def _map(path: Path) -> pa.RecordBatch:
    with storage_errors(path):
        return _batch(path, pa.memory_map(str(path), "r"))


def _batch(path: Path, source: pa.NativeFile) -> pa.RecordBatch:
    reader = pa.ipc.open_file(source)
    if reader.num_record_batches != 1:
        raise Corruption(f"{path} holds {reader.num_record_batches} record batches instead of one")
    return reader.get_batch(0)
