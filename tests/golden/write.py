"""Write the golden database of a format version, with the code that wrote that version.

    PYTHONPATH=<a checkout of that code>/src python tests/golden/write.py tests/golden/version-<number>.zip

A release that raises `FORMAT_VERSION` adds a file, and every later release opens it. The rows follow from their keys,
so that the tests know them without reading them anywhere; their numbers are small and whole, so that files stay small.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

import roost

DIM = 24
N_SEALED, N_ROWS = 1_200, 1_230
"""Rows of the first flush, enough for an index, and with those that came after it."""

REPLACED = range(100, 110)
DELETED_BEFORE_THE_FLUSH, DELETED_SINCE = range(0, 60, 7), range(601, 660, 7)

Row: TypeAlias = dict[str, Any]


def vectors_of(keys: list[int], generation: int = 1) -> npt.NDArray[np.float32]:
    """Return the (n, DIM) vectors of rows, whole numbers from -8 to 8."""
    mixed = np.array(keys, np.uint64)[:, None] * np.uint64(DIM) + np.arange(DIM, dtype=np.uint64)
    mixed = (mixed + np.uint64(generation)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((mixed >> np.uint64(33)) % np.uint64(17)).astype(np.float32) - np.float32(8)


def rows_of(keys: list[int], generation: int = 1) -> list[Row]:
    """Return rows as they were inserted."""
    vectors = vectors_of(keys, generation)
    return [
        {
            "id": key,
            "vector": vector.tolist(),
            "g": generation,
            "name": f"n{key % 10}",
            "price": key / 4,
            "is_new": key % 3 == 0,
            "more": {"half": key // 2},
            "extra": key % 5,
        }
        for key, vector in zip(keys, vectors, strict=True)
    ]


def expected() -> dict[int, Row]:
    """Return the rows of `things` by key."""
    rows = rows_of(list(range(N_ROWS))) + rows_of(list(REPLACED), 2)
    deleted = {*DELETED_BEFORE_THE_FLUSH, *DELETED_SINCE}
    return {row["id"]: row for row in rows if row["id"] not in deleted}


def note(number: int) -> Row:
    """Return a row of `notes`, whose rows are all in the log."""
    return {"key": f"k{number}", "vector": [float(number), 1.0, -2.0, 0.5]}


N_NOTES = 6


def write(path: Path) -> None:
    """Write the database into a directory."""
    client = roost.connect(str(path))
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("g", DataType.INT64)
    schema.add_field("name", DataType.VARCHAR, max_length=20)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field("is_new", DataType.BOOL)
    schema.add_field("more", DataType.JSON)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 6, "efConstruction": 60})
    indexes.add_index("name", index_type="INVERTED")
    client.create_collection("things", schema=schema, index_params=indexes)
    client.create_alias("things", "goods")
    client.insert("things", rows_of(list(range(N_SEALED))))
    client.delete("things", ids=list(DELETED_BEFORE_THE_FLUSH))
    client.flush("things")
    client.delete("things", ids=list(DELETED_SINCE))
    client.upsert("things", rows_of(list(REPLACED), 2))
    client.insert("things", rows_of(list(range(N_SEALED, N_ROWS))))
    flat = client.prepare_index_params()
    flat.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection("notes", schema=_notes_schema(client), index_params=flat)
    client.insert("notes", [note(number) for number in range(N_NOTES)])
    client.close()


def _notes_schema(client: Any) -> Any:
    schema = client.create_schema()
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=10)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    return schema


def main(archive: Path) -> None:
    """Write a database and pack it."""
    with tempfile.TemporaryDirectory() as place:
        database = Path(place) / "golden.roost"
        write(database)
        (database / "LOCK").unlink()  # it names the machine
        shutil.make_archive(str(archive.with_suffix("")), "zip", place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
