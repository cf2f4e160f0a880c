from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import DataType

from roost.errors import CollectionNotFound, InvalidArgument, InvalidData
from roost.lifecycle.models.data_versions import (
    DataVersion,
    data_digest,
    data_versions_from_json,
    data_versions_to_json,
)
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


def test_arrays_and_lists_are_known_again(workspace: Workspace, digits: Digits) -> None:
    made = workspace.data.describe(digits.images, name="digits")
    assert (made.kind, made.name, made.uri, made.n_rows) == ("array", "digits", "", 1797)
    assert made.digest == workspace.data.describe(digits.images.copy()).digest == data_digest(digits.images)
    assert made.digest != workspace.data.describe(digits.images[::-1]).digest
    texts = workspace.data.describe(["a", "b"])
    assert texts.n_rows == 2 and texts.digest != workspace.data.describe(["b", "a"]).digest
    assert workspace.data.describe([{"a": 1}]).digest != workspace.data.describe([{"a": 2}]).digest


def test_an_array_of_objects_is_known_by_what_they_are() -> None:
    def made(*values: object) -> np.ndarray:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array

    assert data_digest(made("a", 1)) == data_digest(made("a", 1)) != data_digest(made("a", 2))
    with pytest.raises(InvalidArgument, match="not a JSON value"):
        data_digest(made(object()))


def test_files_and_directories(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1, 2, 3]}), folder / "rows.parquet")
    np.save(folder / "inner" / "rows.npy", np.zeros((5, 2)))
    (folder / "text.csv").write_text("a,b")
    describe = workspace.data.describe
    rows = describe(folder / "rows.parquet")
    assert (rows.kind, rows.name, rows.n_rows) == ("file", "rows.parquet", 3)
    assert rows.uri == (folder / "rows.parquet").as_uri()
    assert describe(folder / "inner" / "rows.npy").n_rows == 5 and describe(str(folder / "text.csv")).n_rows is None
    whole = describe(folder, name="all")
    assert (whole.name, whole.n_rows) == ("all", None) and describe(folder).digest == whole.digest
    (folder / "text.csv").rename(folder / "renamed.csv")
    assert describe(folder).digest != whole.digest


def test_what_cannot_be_described(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFound, match="no collection and no file 'nowhere'"):
        workspace.data.describe("nowhere")
    with pytest.raises(InvalidArgument, match="no file or directory"):
        workspace.data.describe(tmp_path / "nowhere")
    with pytest.raises(InvalidArgument, match="type int cannot be described"):
        workspace.data.describe(3)  # type: ignore[arg-type]
    for name in ("damaged.parquet", "damaged.npy"):
        (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(InvalidData, match=name):
            workspace.data.describe(tmp_path / name)


def test_a_collection_is_known_by_its_rows_in_any_order(workspace: Workspace, place: Place) -> None:
    prefix = place.endpoint.replace("-", "_")
    client = workspace.vectors
    rows = [{"id": i, "vector": [i / 7, 1.0], "label": f"l{i}", "extra": {"n": i}} for i in range(2345)]

    def fill(name: str, content: list[dict[str, object]], key: DataType = DataType.INT64) -> DataVersion:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", key, is_primary=True, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_collection(name, schema=schema, index_params=index)
        for start in range(0, len(content), 1000):
            client.insert(name, content[start : start + 1000])
        client.load_collection(name)
        return workspace.data.describe(name)

    made = fill(f"{prefix}_a", rows)
    assert (made.kind, made.name, made.n_rows) == ("collection", f"{prefix}_a", 2345)
    assert made.uri == f"{workspace.location}#{prefix}_a"
    assert fill(f"{prefix}_b", rows[::-1]).digest == made.digest
    client.upsert(f"{prefix}_b", [{**rows[7], "vector": [0.0, 1.5]}])
    changed = workspace.data.describe(f"{prefix}_b")
    assert (changed.n_rows, changed.digest != made.digest) == (2345, True)
    client.upsert(f"{prefix}_b", [rows[7]])
    assert workspace.data.describe(f"{prefix}_b").digest == made.digest
    client.delete(f"{prefix}_b", ids=[3])
    assert workspace.data.describe(f"{prefix}_b").n_rows == 2344
    texts = [{**row, "id": f'a "{row["id"]}'} for row in rows]
    assert fill(f"{prefix}_c", texts, DataType.VARCHAR).n_rows == 2345


def test_versions_are_text_and_back(digits: Digits) -> None:
    versions = (DataVersion("sha256:1", "file", "rows", "file:///rows", None, "2026-01-31"),)
    assert data_versions_from_json(data_versions_to_json(versions)) == versions
    assert data_versions_from_json("[]") == ()
    assert "file:///rows" in versions[0]._repr_html_()
