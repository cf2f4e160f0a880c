"""`roost load`."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roost.client import connect


@pytest.fixture
def database(db_path):
    with connect(db_path) as client:
        client.create_collection("digits", dimension=4, metric_type="L2")
        client.create_partition("digits", "part")
    return db_path


@pytest.fixture
def rows(tmp_path):
    """A Parquet file of 1,500 rows."""
    vectors = np.random.default_rng(1).random((1_500, 4), dtype=np.float32)
    listed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"key": range(1_500), "embedding": listed}), path)
    return path


COLUMNS = ("--column", "id=key", "--column", "vector=embedding")


def test_rows_are_loaded_once_and_indexed(roost, database, rows):
    result = roost("load", database, "digits", rows, *COLUMNS, "--partition", "part", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["n_rows"] == 1_500
    result = roost("load", database, "digits", rows, *COLUMNS, "--partition", "part")
    assert "1,500 rows were loaded before; --restart" in result.stdout
    assert roost("load", database, "digits", rows, *COLUMNS, "--restart", "--no-index").stdout.startswith("1,500 rows")
    with connect(database, read_only=True) as client:
        assert client.get_collection_stats("digits") == {"row_count": 1_500}
        assert client.get_partition_stats("digits", "part") == {"row_count": 0}


def test_several_npy_files_are_columns_of_a_workspace_too(roost, workspace_path, tmp_path):
    with connect(workspace_path / "vectors.roost") as client:
        client.create_collection("digits", dimension=4)
    np.save(tmp_path / "id.npy", np.arange(10))
    np.save(tmp_path / "vector.npy", np.ones((10, 4), np.float32))
    result = roost("load", workspace_path, "digits", tmp_path / "id.npy", tmp_path / "vector.npy", "--name", "ten")
    assert result.stdout.startswith("10 rows loaded in"), result.stderr


def test_the_exit_status_says_what_was_wrong(roost, database, rows, tmp_path):
    assert roost("load", database, "digits", rows, "--column", "id").exit_code == 2
    assert roost("load", database, "digits", tmp_path / "nothing.parquet").exit_code == 2
    assert roost("load", database, "nothing", rows).exit_code == 1
    assert roost("load", tmp_path / "nothing.roost", "digits", rows).exit_code == 1
    assert not (tmp_path / "nothing.roost").exists()
    result = roost("load", database, "digits", rows)
    assert result.exit_code == 1 and "field 'id' (INT64) is missing" in result.stderr and not result.stdout
