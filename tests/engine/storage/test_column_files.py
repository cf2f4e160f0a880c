from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from roost.engine.storage.column_files import read_scalars, read_vectors, write_scalars, write_vectors
from roost.engine.storage.durable import FileRecord, digest_file
from roost.errors import Corruption, StorageFailure

SCALARS = pa.record_batch({"id": pa.array([1, 2, 3]), "text": pa.array(["a", None, "é"], pa.large_string())})


def test_scalars_come_back(tmp_path: Path) -> None:
    record = write_scalars(tmp_path, SCALARS)
    assert read_scalars(tmp_path, record).equals(SCALARS)


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (0, 4)])
def test_vectors_come_back_without_a_copy(tmp_path: Path, shape: tuple[int, int], rng: np.random.Generator) -> None:
    vectors = rng.random(shape, np.float32)
    record = write_vectors(tmp_path, 7, vectors)
    assert record.name == "vectors-7.arrow"
    found = read_vectors(tmp_path, record)
    np.testing.assert_array_equal(found, vectors)
    assert found.dtype == np.float32 and not found.flags.writeable and not found.flags.owndata


@pytest.mark.parametrize("dtype", [np.float16, np.uint16, np.int8, np.uint8])
def test_vectors_are_written_in_their_own_width(tmp_path: Path, dtype: type[np.generic]) -> None:
    vectors = np.arange(3_000).reshape(1_000, 3).astype(dtype)
    record = write_vectors(tmp_path, 7, vectors)
    found = read_vectors(tmp_path, record)
    np.testing.assert_array_equal(found, vectors)
    assert found.dtype == vectors.dtype and not found.flags.owndata
    assert record.size_bytes < vectors.nbytes + 1_000


def test_vectors_of_any_layout_are_written(tmp_path: Path, rng: np.random.Generator) -> None:
    vectors = rng.random((6, 4), np.float32)[::2, ::2]
    np.testing.assert_array_equal(read_vectors(tmp_path, write_vectors(tmp_path, 1, vectors)), vectors)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    record = write_scalars(tmp_path, SCALARS)
    path = tmp_path / record.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corruption, match=r"fields\.arrow"):
        read_scalars(tmp_path, record)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fields.arrow"
    path.write_bytes(b"what")
    with pytest.raises(StorageFailure, match=r"fields\.arrow"):
        read_scalars(tmp_path, FileRecord(path.name, 4, digest_file(path)))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCALARS.schema) as writer:
        writer.write_batch(SCALARS)
        writer.write_batch(SCALARS)
    with pytest.raises(Corruption, match="2 record batches instead of one"):
        read_scalars(tmp_path, FileRecord(path.name, path.stat().st_size, digest_file(path)))
