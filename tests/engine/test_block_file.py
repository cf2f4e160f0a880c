"""Files that are written in large blocks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from roost.engine import block_file
from roost.engine.block_file import BlockFile
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.storage.column_files import write_gathered, write_vectors

BLOCK = 1_000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_file, "BLOCK_BYTES", BLOCK)


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call of the system was given."""
    sizes: list[int] = []
    put = os.write

    def counted(descriptor: int, content: memoryview) -> int:
        sizes.append(len(content))
        return put(descriptor, content)

    monkeypatch.setattr(os, "write", counted)
    return sizes


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [0],
        [1],
        [999],
        [1_000],
        [1_001],
        [400, 600, 1],
        [400, 5_000, 600, 3],
        [3_000, 3_000],
        [7] * 500,
        [2_500, 0, 1],
    ],
    ids=str,
)
def test_pieces_are_written_in_whole_blocks(tmp_path: Path, pieces: list[int], puts: list[int]) -> None:
    bodies = [os.urandom(n) for n in pieces]
    with BlockFile(tmp_path / "a") as file:
        for body in bodies:
            assert file.write(body) == len(body)
        assert file.tell() == sum(pieces)
        file.flush()
    assert (tmp_path / "a").read_bytes() == b"".join(bodies)
    assert all(size % BLOCK == 0 for size in puts[:-1])
    assert len(puts) <= 2 * len(pieces) + 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.arange(900, dtype=np.float32).reshape(30, 30), np.arange(900, dtype=np.float32).tobytes()),
        (np.empty((0, 30)), b""),
        (bytearray(range(200)), bytes(range(200))),
        (pa.py_buffer(bytes(2_500)), bytes(2_500)),
        (b"", b""),
    ],
    ids=["matrix", "empty matrix", "bytearray", "arrow", "nothing"],
)
def test_any_buffer_is_taken(tmp_path: Path, content: object, expected: bytes) -> None:
    with BlockFile(tmp_path / "a") as file:
        assert file.write(content) == len(expected)
    assert (tmp_path / "a").read_bytes() == expected


def test_a_system_that_takes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: put(descriptor, content[:300]))
    body = os.urandom(5_700)
    with BlockFile(tmp_path / "a") as file:
        file.write(body)
    assert (tmp_path / "a").read_bytes() == body


@pytest.mark.parametrize("n_bytes", [10, 2_000])
def test_a_full_disk_is_told(tmp_path: Path, n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"), BlockFile(tmp_path / "a") as file:
        file.write(bytes(n_bytes))
    assert file._file.closed


def test_what_waits_is_not_written_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BlockFile(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("n_bytes", [0, 1, BLOCK])
def test_a_closed_file_refuses(tmp_path: Path, n_bytes: int) -> None:
    with BlockFile(tmp_path / "a") as file:
        assert not file.closed
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.write(bytes(n_bytes))


def test_a_call_of_the_system_is_given_no_more_than_it_takes_whole(
    tmp_path: Path, puts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_file, "_MOST_BYTES", 2 * BLOCK)
    with BlockFile(tmp_path / "a") as file:
        file.write(bytes(5 * BLOCK + 1))
    assert puts == [2 * BLOCK, 2 * BLOCK, BLOCK, 1]


def test_graphs_and_vectors_are_written_in_whole_blocks(tmp_path: Path, puts: list[int]) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 30)).astype(np.float32)
    for write in (
        lambda: FaissHnsw.build(rows, "L2", {"M": 8}).save(tmp_path / "index.bin"),
        lambda: write_vectors(tmp_path, 1, rows),
        lambda: write_gathered(tmp_path, 2, rows.shape, rows.dtype, [rows[:150], rows[150:]]),
    ):
        puts.clear()
        write()
        assert sum(puts) > rows.nbytes
        assert all(size % BLOCK == 0 for size in puts[:-1])
