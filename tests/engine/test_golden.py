"""Databases that earlier formats wrote can be opened, read, changed and brought up to date."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roost
from roost.engine.database import Database
from roost.engine.storage.catalog import _READABLE_VERSIONS, FORMAT_VERSION
from tests.engine.model import check_files
from tests.golden import write as golden

ARCHIVES = Path(golden.__file__).parent
QUERY = golden.vectors_of([5_000])
SEARCH = {"params": {"ef": 400}}
Row = Mapping[str, Any]


@pytest.fixture(params=_READABLE_VERSIONS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the database of each format version."""
    shutil.unpack_archive(ARCHIVES / f"version-{request.param}.zip", tmp_path)
    assert version_of(tmp_path / "golden.roost") == request.param
    return tmp_path / "golden.roost"


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path / "roost.db")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_rows(client: Any, rows: Mapping[int, Row]) -> None:
    found = {row["id"]: row for row in client.query("things", filter="id >= 0", output_fields=["*"])}
    assert found == rows
    assert client.get_collection_stats("things") == {"row_count": len(rows)}
    notes = client.query("notes", filter='key != ""', output_fields=["*"])
    assert notes == [golden.note(number) for number in range(golden.N_NOTES)]


def check_search(client: Any, rows: Mapping[int, Row], text: str = "", keep: Callable[[Row], bool] = bool) -> None:
    """Compare a search through the alias with every row that a filter keeps."""
    kept = [row for row in rows.values() if keep(row)]
    true = np.sort(((np.array([row["vector"] for row in kept]) - QUERY) ** 2).sum(axis=1))[:10]
    hits = client.search("goods", QUERY.tolist(), filter=text, limit=10, search_params=SEARCH, output_fields=["*"])[0]
    assert all(keep(rows[hit["id"]]) and dict(hit["entity"]) == rows[hit["id"]] for hit in hits)
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances) and len(distances) == len(true)
    assert np.mean(np.isclose(distances, true)) >= 0.9


def check_reads(client: Any, rows: Mapping[int, Row]) -> None:
    check_rows(client, rows)
    check_search(client, rows)
    check_search(client, rows, "g == 2", lambda row: row["g"] == 2)
    check_search(client, rows, 'name == "n3" and price < 200', lambda row: row["name"] == "n3" and row["price"] < 200)
    check_search(client, rows, "is_new == true", lambda row: row["is_new"])
    check_search(client, rows, 'more["half"] > 500', lambda row: row["more"]["half"] > 500)
    check_search(client, rows, "extra == 2", lambda row: row["extra"] == 2)


def test_every_format_has_a_golden_database() -> None:
    assert max(_READABLE_VERSIONS) == FORMAT_VERSION
    names = {path.name for path in ARCHIVES.glob("*.zip")}
    assert names == {f"version-{version}.zip" for version in _READABLE_VERSIONS}


def test_it_is_read_and_changed(path: Path) -> None:
    rows = golden.expected()
    client = roost.connect(str(path))
    try:
        check_reads(client, rows)
        assert client.describe_alias("goods")["collection_name"] == "things"
        client.delete("things", ids=[1, 101, 1_210])
        changed = [2, 102, 601, 1_211, 1_300]
        client.upsert("things", golden.rows_of(changed, 3))
        rows = {key: row for key, row in rows.items() if key not in (1, 101, 1_210)}
        rows |= {row["id"]: row for row in golden.rows_of(changed, 3)}
        check_reads(client, rows)
    finally:
        client.close()
    client = roost.connect(str(path))
    try:
        check_reads(client, rows)
    finally:
        client.close()


def test_it_is_brought_up_to_date(path: Path) -> None:
    client = roost.connect(str(path))
    try:
        check_search(client, golden.expected(), "g == 1", lambda row: row["g"] == 1)  # finds what cannot be read
        client.insert("things", golden.rows_of(list(range(2_000, 2_400))))
        client.flush("things")
        client.flush("notes")
        rows = golden.expected() | {row["id"]: row for row in golden.rows_of(list(range(2_000, 2_400)))}
        check_reads(client, rows)
    finally:
        client.close()
    assert version_of(path) == FORMAT_VERSION
    database = Database.open(path)
    try:
        things = database.collection("default", "things")
        (part,) = things.snapshot().parts
        assert set(part.indexes) == {spec.index_id for spec in things.record.indexes}
        part.open_files()
        assert not any(held.is_damaged for held in part.derived)
        for name in ("things", "notes"):
            first, last = database._host.catalog.log_range(database.collection("default", name).collection_id)
            assert first == last
        check_files(database)
    finally:
        database.close()


def test_it_is_read_without_being_changed(path: Path) -> None:
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and "roost.db-" not in file.name}
    database = Database.open(path, read_only=True)
    try:
        assert database.collection("default", "goods").n_rows == len(golden.expected())
    finally:
        database.close()
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and "roost.db-" not in file.name}
    assert after == before
