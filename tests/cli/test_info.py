"""`roost info` and `roost check`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from pymilvus import MilvusClient

from roost.client import connect
from roost.engine.storage import transaction
from tests.engine.model import copy_database


@pytest.fixture
def database(db_path):
    """A directory of vectors: one collection of 100 rows in a sealed, indexed segment, 10 of them deleted."""
    client = connect(str(db_path))
    client.create_collection("digits", dimension=4, metric_type="L2")
    vectors = np.random.default_rng(1).random((100, 4), dtype=np.float32)
    client.insert("digits", [{"id": i, "vector": vector} for i, vector in enumerate(vectors)])
    client.flush("digits")
    client.delete("digits", ids=list(range(10)))
    client.create_alias("digits", "numbers")
    client.close()
    return db_path


def test_info_says_what_is_in_a_database(roost, database):
    result = roost("info", database, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    (collection,) = found["collections"]
    assert collection["name"] == "digits"
    assert collection["aliases"] == ["numbers"]
    assert (collection["n_rows"], collection["n_segments"], collection["n_deleted"]) == (90, 1, 10)
    assert set(collection["indexes"]) == {"vector"}
    assert "L2" in collection["indexes"]["vector"]
    assert found["size_bytes"] > collection["size_bytes"] > 100 * 4 * 4
    assert found["workspace"] is None


def test_info_as_a_table(roost, database):
    printed = roost("info", database).stdout
    for word in ("digits", "numbers", "90", "KiB"):
        assert word in printed


def test_info_on_a_workspace_counts_what_is_in_it(roost, workspace_path):
    found = json.loads(roost("info", workspace_path, "--json").stdout)
    assert found["workspace"]["endpoints"] == 1
    assert found["workspace"]["deployments"] == 2
    assert found["workspace"]["ledger_entries"] > 4
    assert [(c["name"], c["n_rows"]) for c in found["collections"]] == [
        ("image_search__pca_v1", 120),
        ("image_search__pca_v2", 120),
    ]
    assert "1 endpoints, 2 deployments" in roost("info", workspace_path).stdout


def test_info_on_a_folder_without_a_database(roost, tmp_path):
    result = roost("info", tmp_path)
    assert result.exit_code == 1
    assert "holds no database" in result.stderr


def test_info_on_an_address_that_is_neither_path_nor_server(roost):
    result = roost("info", "ftp://example.org")
    assert result.exit_code == 2
    assert "unknown scheme" in result.stderr


@pytest.mark.milvus
def test_info_on_a_server(roost, milvus_uri, milvus_prefix):
    client = MilvusClient(milvus_uri)
    client.create_collection(f"{milvus_prefix}c", dimension=4, metric_type="COSINE")
    client.create_alias(f"{milvus_prefix}c", f"{milvus_prefix}a")
    client.close()
    found = json.loads(roost("info", milvus_uri, "--json").stdout)
    (own,) = [c for c in found["collections"] if c["name"] == f"{milvus_prefix}c"]
    assert own["aliases"] == [f"{milvus_prefix}a"]
    assert own["n_rows"] == 0
    assert "COSINE" in own["indexes"]["vector"]
    assert own["n_segments"] is None
    assert roost("info", milvus_uri).exit_code == 0


def test_check_finds_all_files_whole(roost, database):
    result = roost("check", database, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["n_files"] >= 2
    assert found["damages"] == []
    assert "all whole" in roost("check", database).stdout


def test_check_names_every_damaged_file(roost, database):
    files = sorted((database / "segments").rglob("*.arrow"))
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 1
    files[0].write_bytes(content)
    files[1].unlink()
    result = roost("check", database)
    assert result.exit_code == 1
    assert str(files[0]) in result.stderr
    assert str(files[1]) in result.stderr
    assert len(json.loads(roost("check", database, "--json").stdout)["damages"]) == 2


@pytest.fixture
def indexed(database):
    """The same with so many rows that they have an index file and a sketch, and a log."""
    client = connect(str(database))
    client.create_collection("many", dimension=32, metric_type="L2")
    vectors = np.random.default_rng(1).random((2_000, 32), dtype=np.float32)
    client.insert("many", [{"id": i, "vector": vector} for i, vector in enumerate(vectors)])
    client.flush("many")
    client.close()
    return database


@pytest.mark.parametrize("file", ["index-*.bin", "sketch-*"])
def test_check_says_of_what_is_built_of_the_rows_that_it_is_built_again(roost, indexed, file):
    database = indexed
    (path,) = (database / "segments").rglob(file)
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        (damage,) = json.loads(roost("check", database, "--json").stdout)["damages"]
        assert str(path) in damage and "it is built again from the rows" in damage and "restore" not in damage
        path.unlink(missing_ok=True)


def test_check_and_connect_agree_that_a_missing_count_of_commits_is_no_loss(roost, database, caplog):
    (database / "roost.commits").unlink()
    result = roost("check", database)
    assert result.exit_code == 1
    assert "roost.commits is missing or empty" in result.stderr
    client = connect(str(database))
    assert "roost.commits is missing or empty" in caplog.text
    client.delete("digits", ids=[50])
    client.close()
    assert roost("check", database).exit_code == 0


def test_check_and_info_go_on_past_a_collection_whose_log_is_damaged(roost, indexed):
    database = indexed
    client = connect(str(database))
    client.create_collection("other", dimension=4, metric_type="L2")
    client.insert("other", [{"id": 1, "vector": [0.0, 0.0, 0.0, 1.0]}])
    client.close()
    with closing(sqlite3.connect(database / "roost.db", isolation_level=None)) as db:
        db.execute("DELETE FROM log WHERE key = (SELECT min(key) FROM log)")
    (index,) = (database / "segments").rglob("index-*.bin")
    index.unlink()
    damages = json.loads(roost("check", database, "--json").stdout)["damages"]
    assert len(damages) == 2
    assert "collection 'digits' can only be emptied or dropped" in damages[0] and str(index) in damages[1]
    result = roost("info", database, "--json")
    assert result.exit_code == 0
    found = {c["name"]: c for c in json.loads(result.stdout)["collections"]}
    assert found["other"]["n_rows"] == 1 and found["other"]["damage"] is None
    assert found["digits"]["n_rows"] is None and "roost.db is damaged" in found["digits"]["damage"]
    assert "damaged" in roost("info", database).stdout


def test_check_names_a_damaged_catalogue(roost, database):
    content = bytearray((database / "roost.db").read_bytes())
    content[:4096] = b"x" * 4096
    (database / "roost.db").write_bytes(content)
    result = roost("check", database)
    assert result.exit_code == 1
    assert "roost.db" in result.stderr


def test_check_beside_a_process_that_writes(roost, database):
    with_writer = connect(str(database))
    with_writer.insert("digits", [{"id": 500, "vector": [0.0, 0.0, 0.0, 1.0]}])
    assert roost("check", database).exit_code == 0
    with_writer.close()


def test_check_on_a_folder_without_a_database(roost, tmp_path):
    result = roost("check", tmp_path)
    assert result.exit_code == 1
    assert "holds no database" in result.stderr


def test_check_on_a_workspace_checks_its_vectors(roost, workspace_path):
    assert roost("check", workspace_path).exit_code == 0


def test_a_password_in_an_address_is_not_printed(roost):
    result = roost("info", "http://root:hunter2@127.0.0.1:1")
    assert result.exit_code == 1
    assert "hunter2" not in result.output + result.stderr
    result = roost("ledger", "verify", "postgresql+pg8000://root:hunter2@127.0.0.1:1/roost")
    assert result.exit_code == 1
    assert "***@127.0.0.1:1" in result.stderr and "hunter2" not in result.stderr


def test_check_counts_what_a_killed_process_left_in_the_log(roost, db_path, tmp_path, monkeypatch):
    monkeypatch.setattr(transaction, "MIN_FILE_BYTES", 1_000)
    client = connect(str(db_path))
    client.create_collection("digits", dimension=4)
    client.insert("digits", [{"id": 1, "vector": [0.0, 0.0, 0.0, 1.0]}])
    client.insert("digits", [{"id": i, "vector": [0.0, 0.0, 0.0, 1.0]} for i in range(100)])
    copy = copy_database(db_path, tmp_path / "copy")
    client.close()
    found = json.loads(roost("check", copy, "--json").stdout)
    assert (found["n_files"], found["n_records"], found["damages"]) == (2, 2, [])
    assert "2 files and 2 records of the log, all whole" in roost("check", copy).stdout
    (large,) = (copy / "log").iterdir()
    content = bytearray(large.read_bytes())
    content[-1] ^= 1
    large.write_bytes(content)
    result = roost("check", copy)
    assert result.exit_code == 1
    assert str(large) in result.stderr


@pytest.mark.parametrize("command", ["info", "check"])
@pytest.mark.parametrize("file", ["roost.db", "segments/1/../../LOCK"])
def test_a_file_of_a_database_is_not_the_database(roost, database, command, file):
    result = roost(command, (database / file).resolve())
    assert result.exit_code == 2
    assert f"is a file of a database; name its directory: {database}" in result.stderr


def test_info_breaks_no_name_in_80_columns(roost, workspace_path):
    printed = roost("info", workspace_path, COLUMNS="80").stdout
    assert "image_search__pca_v1\n" in printed
    assert "vector: HNSW L2 M=16 efConstruction=200\n" in printed
