from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from roost.engine.storage.lock import WriterLock
from roost.errors import DatabaseLocked, StorageFailure, StorageFull


def test_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "LOCK")
    with pytest.raises(DatabaseLocked, match=rf"process {os.getpid()} \(.*\) on .* since .*read_only=True"):
        WriterLock(tmp_path / "LOCK")
    lock.release()
    lock.release()
    WriterLock(tmp_path / "LOCK").release()


def test_the_text_of_a_killed_holder_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    path.write_text(json.dumps({"pid": 1, "program": "x" * 500}))
    lock = WriterLock(path)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b"\xff\xfe"])
def test_a_holder_without_a_readable_name(tmp_path: Path, content: bytes) -> None:
    lock = WriterLock(tmp_path / "LOCK")
    (tmp_path / "LOCK").write_bytes(content)
    with pytest.raises(DatabaseLocked, match="another process"):
        WriterLock(tmp_path / "LOCK")
    lock.release()


def test_a_lock_that_cannot_name_its_holder_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(StorageFull):
            WriterLock(tmp_path / "LOCK")
    WriterLock(tmp_path / "LOCK").release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    n_open = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(StorageFailure, match="LOCK"):
            WriterLock(tmp_path / "LOCK")
    WriterLock(tmp_path / "LOCK").release()
    assert len(os.listdir("/proc/self/fd")) == n_open
