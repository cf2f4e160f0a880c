from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash

from roost.engine.storage.durable import digest_file, storage_errors, sync_directory, verify, write_durable
from roost.errors import Corruption, StorageFailure, StorageFull


def test_a_file_is_written_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "a"
    record = write_durable(path, lambda target: target.write_bytes(b"hello") and None)
    assert (record.name, record.size_bytes) == ("a", 5)
    assert record.digest == xxhash.xxh3_128_hexdigest(b"hello")
    verify(path, record)
    sync_directory(tmp_path)


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert digest_file(tmp_path / "a") == xxhash.xxh3_128_hexdigest(b"")


@pytest.mark.parametrize("n_pieces", [0.5, 1, 3, 4, 9.2])
def test_a_long_file_is_read_in_order(tmp_path: Path, n_pieces: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.engine.storage.durable._READ_BYTES", 1_000)
    content = os.urandom(int(1_000 * n_pieces))
    (tmp_path / "a").write_bytes(content)
    assert digest_file(tmp_path / "a") == xxhash.xxh3_128_hexdigest(content)
    into = bytearray(len(content))
    assert digest_file(tmp_path / "a", memoryview(into)) == xxhash.xxh3_128_hexdigest(content)
    assert into == content


def test_a_file_that_became_shorter_than_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.engine.storage.durable._READ_BYTES", 1_000)
    (tmp_path / "a").write_bytes(bytes(4_200))
    assert digest_file(tmp_path / "a", memoryview(bytearray(9_000))) == xxhash.xxh3_128_hexdigest(bytes(4_200))


def test_a_long_file_is_read_where_no_thread_is_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the interpreter ends."""

    def refuse(*arguments: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr("roost.engine.storage.durable._READ_BYTES", 1_000)
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    content = os.urandom(9_500)
    (tmp_path / "a").write_bytes(content)
    assert digest_file(tmp_path / "a") == xxhash.xxh3_128_hexdigest(content)


def test_a_file_that_cannot_be_finished_is_removed(tmp_path: Path) -> None:
    def write(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageFull, match="no space left to write"):
        write_durable(tmp_path / "a", write)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("content", "what"), [(b"hellO", "checksum"), (b"hell", "4 bytes long instead of 5")])
def test_a_changed_file_is_noticed(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a"
    record = write_durable(path, lambda target: target.write_bytes(b"hello") and None)
    path.write_bytes(content)
    with pytest.raises(Corruption, match=what):
        verify(path, record)
    path.unlink()
    with pytest.raises(Corruption, match="is missing"):
        verify(path, record)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x"), StorageFull),
        (OSError(errno.EDQUOT, "x"), StorageFull),
        (OSError(errno.EIO, "x"), StorageFailure),
        (FileNotFoundError(errno.ENOENT, "x"), Corruption),
        (pa.ArrowInvalid("x"), StorageFailure),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), Corruption),
    ],
)
def test_errors_name_the_file(tmp_path: Path, error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="the-file"), storage_errors(tmp_path / "the-file"):
        raise error


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Corruption, match="missing"):
        sync_directory(tmp_path / "none")
