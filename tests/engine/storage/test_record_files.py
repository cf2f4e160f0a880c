"""Large records of the log, in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.engine.storage import transaction
from roost.engine.storage.catalog import Catalog
from roost.engine.storage.record_files import RecordFiles
from roost.errors import Corruption, StorageFailure


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setattr(transaction, "MIN_FILE_BYTES", 10)
    catalog = Catalog(tmp_path)
    yield catalog
    catalog.close()


def files(catalog: Catalog) -> list[str]:
    return sorted(path.name for path in (catalog.path.parent / "log").glob("*"))


def test_large_records_stand_in_files_beside_small_ones(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.append(3, 1, b"0123456789", memoryview(b"abc"))
        change.append(3, 1, b"small")
    assert files(catalog) == ["3-1.rows"]
    assert [record.body for record in catalog.read_log(3)] == [b"0123456789abc", b"small"]


def test_an_undone_transaction_leaves_no_file(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.transaction() as change:
        change.append(3, 1, b"0123456789")
        raise ZeroDivisionError
    assert files(catalog) == []


def test_dropped_records_take_their_files_with_them(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        for collection in (3, 3, 4, 5):
            change.append(collection, 1, b"0123456789")
    with catalog.transaction() as change:
        change.truncate_log(3, 1)
        change.drop_log(4)
    assert files(catalog) == ["3-2.rows", "5-1.rows"]
    assert [record.seq for record in catalog.read_log(3)] == [2]


def test_files_of_no_record_are_swept(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.append(3, 1, b"0123456789")
    for name in ("3-2.rows", "9-1.rows"):
        (catalog.path.parent / "log" / name).write_bytes(b"from an interrupted write")
    catalog.sweep()
    assert files(catalog) == ["3-1.rows"]


def test_a_changed_or_missing_file_is_named(catalog: Catalog) -> None:
    with catalog.transaction() as change:
        change.append(3, 1, b"0123456789")
    path = catalog.path.parent / "log" / "3-1.rows"
    path.write_bytes(b"0123456788")
    with pytest.raises(Corruption, match=r"3-1\.rows is damaged"):
        list(catalog.read_log(3))
    path.unlink()
    with pytest.raises(Corruption, match=r"3-1\.rows is missing"):
        list(catalog.read_log(3))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a file where the directory should be")
    with pytest.raises(StorageFailure):
        RecordFiles(tmp_path / "log").write(1, 1, [b"x"])
    assert (tmp_path / "log").is_file()
