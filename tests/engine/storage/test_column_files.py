from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from roost.engine.storage.column_files import (
    mapped_vectors,
    read_scalars,
    read_vectors,
    write_gathered,
    write_scalars,
    write_vectors,
)
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


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int8])
@pytest.mark.parametrize("n_rows", [0, 1, 1_000])
def test_blocks_are_written_as_if_they_were_one(tmp_path: Path, n_rows: int, dtype: type[Any]) -> None:
    vectors = (np.arange(n_rows * 30) % 100).reshape(n_rows, 30).astype(dtype)
    whole = write_vectors(tmp_path, 7, vectors)
    content = (tmp_path / whole.name).read_bytes()
    blocks = [vectors[:400], vectors[400:400], vectors[np.arange(400, n_rows)], vectors[n_rows:]]
    assert write_gathered(tmp_path, 7, vectors.shape, vectors.dtype, blocks) == whole
    assert (tmp_path / whole.name).read_bytes() == content
    found = mapped_vectors(tmp_path, 7)
    np.testing.assert_array_equal(found, vectors)
    assert not found.flags.writeable and not found.flags.owndata


def test_blocks_that_are_too_few_leave_no_file(tmp_path: Path) -> None:
    vectors = np.ones((10, 4), np.float32)
    with pytest.raises(StorageFailure, match="144 bytes instead of 160"):
        write_gathered(tmp_path, 7, (10, 4), vectors.dtype, [vectors[:9]])
    assert not list(tmp_path.iterdir())


def test_an_error_of_a_block_is_told(tmp_path: Path) -> None:
    def blocks() -> Iterator[Any]:
        yield np.ones((5, 4), np.float32)
        raise Corruption("a block is damaged")

    with pytest.raises(Corruption, match="a block is damaged"):
        write_gathered(tmp_path, 7, (10, 4), np.dtype(np.float32), blocks())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which says how much memory is held")
def test_blocks_are_not_held_together(tmp_path: Path) -> None:
    n_blocks, block = 40, np.ones((1_024, 256), np.float32)
    held = []

    def blocks() -> Iterator[Any]:
        for i in range(n_blocks):
            held.append(_anonymous_bytes())
            yield block + i

    write_gathered(tmp_path, 7, (n_blocks * 1_024, 256), block.dtype, blocks())
    assert held[-1] - held[0] < 10 * block.nbytes
    assert mapped_vectors(tmp_path, 7)[-1, 0] == n_blocks


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


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
