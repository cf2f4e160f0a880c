"""Which directories may hold a database. What a user meets of it is in tests/client/test_connect.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.engine import directory
from roost.engine.directory import LOCK, SEGMENTS, lock_directory, require_database
from roost.errors import DatabaseNotFound, InvalidArgument, StorageFailure


def test_what_a_crash_left_of_a_new_database_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    lock_directory(path).release()
    (path / "roost.new").touch()
    assert sorted(entry.name for entry in path.iterdir()) == [LOCK, "roost.new", SEGMENTS]
    with pytest.raises(DatabaseNotFound, match="holds no database"):
        require_database(path)
    lock_directory(path).release()


def test_a_directory_of_other_things_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with pytest.raises(InvalidArgument, match=r"holds other things \(letter\)"):
        lock_directory(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter"]


def test_the_lock_is_let_go_when_the_directory_cannot_be_made_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = directory.make_directory

    def refuse(path: Path) -> None:
        if path.name == SEGMENTS:
            raise StorageFailure("no")
        make(path)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "make_directory", refuse)
        with pytest.raises(StorageFailure):
            lock_directory(tmp_path)
    lock_directory(tmp_path).release()
