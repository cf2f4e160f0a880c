from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import CollectionSchema, DataType, FieldSchema

from roost.errors import CollectionNotFound, InvalidArgument, JobStopped, StorageFailure
from roost.lifecycle.backfill import ArraySource, CollectionSource, ParquetSource, Progress
from roost.lifecycle.backfill import collection as collection_source
from roost.lifecycle.backfill.recorded import recorded_source
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Digits, Place


def write_parquet(folder: Path, digits: Digits, n_files: int = 3, n_rows: int = 100) -> Path:
    for number in range(n_files):
        rows = slice(number * n_rows, (number + 1) * n_rows)
        columns = {
            "id": pa.array(range(rows.start, rows.stop)),
            "image": pa.FixedSizeListArray.from_arrays(pa.array(digits.images[rows].ravel()), 64),
            "label": pa.array(digits.labels[rows]),
            "note": pa.array([f"n{i}" for i in range(n_rows)]),
        }
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet", row_group_size=30)
    return folder


def test_parquet_files_are_read_in_order_and_from_any_place_on(tmp_path: Path, digits: Digits) -> None:
    source = ParquetSource(write_parquet(tmp_path, digits), content="image")
    assert source.n_records == 300
    everything = list(source.records())
    assert [record["id"] for record in everything] == list(range(300))
    np.testing.assert_array_equal(everything[130]["content"], digits.images[130])
    assert set(everything[0]) == {"id", "content", "label", "note"}
    for n_done in (0, 1, 29, 30, 31, 100, 145, 299, 300):
        assert [record["id"] for record in source.records(n_done)] == list(range(n_done, 300))


def test_what_was_done_is_not_read_again(tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ParquetSource(str(write_parquet(tmp_path, digits) / "part-*.parquet"), content="image", columns=["label"])
    groups: list[list[int]] = []
    read = pq.ParquetFile.iter_batches

    def watched(self: Any, *args: Any, **options: Any) -> Iterator[Any]:
        groups.append(options["row_groups"])
        return read(self, *args, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert next(iter(source.records(265)))["id"] == 265
    assert groups == [[2]]


def test_parquet_files_are_recorded_where_another_folder_finds_them(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    write_parquet(tmp_path / "rows", digits)
    monkeypatch.chdir(tmp_path)
    request = ParquetSource("rows", content="image").describe()
    monkeypatch.chdir(tmp_path / "rows")
    assert ParquetSource(request["path"], content="image").n_records == 300


def test_a_parquet_source_is_known_again_and_a_changed_file_is_not(tmp_path: Path, digits: Digits) -> None:
    folder = write_parquet(tmp_path, digits)
    first = ParquetSource(folder, content="image")
    again = recorded_source(first.describe(), None)  # type: ignore[arg-type]
    assert again.digest == first.digest and isinstance(again, ParquetSource)
    assert ParquetSource(folder, content="image", columns=["label"]).digest != first.digest
    write_parquet(folder, Digits(digits.images + 1, digits.labels))
    assert ParquetSource(folder, content="image").digest != first.digest


def test_files_that_are_none_are_refused(tmp_path: Path, digits: Digits) -> None:
    with pytest.raises(InvalidArgument, match="no Parquet file"):
        ParquetSource(tmp_path)
    folder = write_parquet(tmp_path, digits)
    with pytest.raises(InvalidArgument, match="no column 'content'"):
        ParquetSource(folder)
    (folder / "part-0.parquet").write_bytes(b"nothing")
    with pytest.raises(StorageFailure, match="cannot be read as Parquet"):
        ParquetSource(folder, content="image")


def test_arrays_are_records(digits: Digits) -> None:
    source = ArraySource(digits.images[:2000], keys=np.arange(len(digits.images)), label=digits.labels)
    everything = list(source.records())
    assert len(everything) == source.n_records == len(digits.images)
    assert type(everything[5]["id"]) is int and everything[5]["label"] == int(digits.labels[5])
    assert [record["id"] for record in source.records(1790)] == list(range(1790, 1797))
    other = ArraySource(digits.images + 1, keys=np.arange(len(digits.images)), label=digits.labels)
    assert other.digest != source.digest
    with pytest.raises(InvalidArgument, match="column 'label' has 3 rows"):
        ArraySource(digits.images, keys=np.arange(len(digits.images)), label=[1, 2, 3])
    texts = ArraySource(np.array(["a", "b"], dtype=object), keys=["x", "y"], key="name")
    assert list(texts.records()) == [{"content": "a", "name": "x"}, {"content": "b", "name": "y"}]
    assert texts.digest == ArraySource(np.array(["a", "b"], dtype=object), keys=["x", "y"], key="name").digest


@pytest.fixture
def stored(place: Place, workspace: Workspace, digits: Digits) -> str:
    """A collection that stores digits as text, in no order of its keys, in several segments."""
    name, client = f"{place.endpoint.replace('-', '_')}_stored", workspace.vectors
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("label", DataType.INT64),
        FieldSchema("old", DataType.FLOAT_VECTOR, dim=2),
    ]
    client.create_collection(name, schema=CollectionSchema(fields, enable_dynamic_field=True))
    keys = np.random.default_rng(0).permutation(N_RECORDS) - 100
    for start in range(0, N_RECORDS, 100):
        some = [int(key) for key in keys[start : start + 100]]
        rows = [{"id": k, "label": k % 7, "old": [0.0, 1.0], "pixels": digits.images[k + 100].tolist()} for k in some]
        client.upsert(name, rows)
        client.flush(name)
    params = client.prepare_index_params()
    params.add_index("old", index_type="FLAT", metric_type="L2", params={})
    client.create_index(name, params)
    client.load_collection(name)
    return name


def test_a_collection_is_read_in_the_order_of_its_keys(
    workspace: Workspace, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection_source, "PAGE_SIZE", 70)
    source = CollectionSource(workspace.vectors, stored, "pixels")
    assert source.n_records == N_RECORDS
    everything = list(source.records())
    assert [record["id"] for record in everything] == list(range(-100, N_RECORDS - 100))
    assert set(everything[0]) == {"id", "content", "label"}
    assert [record["id"] for record in source.records(3, last_key=-98)][:2] == [-97, -96]
    some = CollectionSource(workspace.vectors, stored, "pixels", fields=[], filter="label == 3 or label == 4")
    assert [record["id"] for record in some.records()] == [k for k in range(-100, 200) if k % 7 in (3, 4)]
    assert recorded_source(some.describe(), workspace.vectors).digest == some.digest


def test_the_content_field_stays_among_the_fields_that_name_it_and_as_the_key(
    workspace: Workspace, stored: str, digits: Digits
) -> None:
    kept = CollectionSource(workspace.vectors, stored, "pixels", fields=["pixels", "label"])
    record = next(iter(kept.records()))
    assert set(record) == {"id", "content", "pixels", "label"}
    assert record["pixels"] == record["content"] == digits.images[0].tolist()
    assert recorded_source(kept.describe(), workspace.vectors).digest == kept.digest
    keys = CollectionSource(workspace.vectors, stored, "id", fields=["label"])
    assert [(record["id"], record["content"]) for record in keys.records()] == [(k, k) for k in range(-100, 200)]


def test_a_collection_that_is_not_there_is_refused(workspace: Workspace, stored: str) -> None:
    with pytest.raises(CollectionNotFound):
        CollectionSource(workspace.vectors, "nowhere", "text")


def test_a_deployment_is_filled_from_a_collection_that_is_the_only_copy(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, stored: str
) -> None:
    built = empty_endpoint.deploy(weak, CollectionSource(workspace.vectors, stored, "pixels"), batch_size=64)
    assert (built.n_records, built.n_rejected) == (N_RECORDS, 0)
    empty_endpoint.promote(built, "first")
    answer = empty_endpoint.search(digits.images[100 + 17], limit=1, output_fields=["label"])
    assert answer.ids == [17] and answer.hits[0].fields == {"label": 3}


def test_a_paused_job_goes_on_with_its_recorded_files_alone(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    source = ParquetSource(write_parquet(folder, digits), content="image")

    def pause(at: Progress) -> None:
        if at.stage == "embed" and at.n_done == 50:
            empty_endpoint.pause("digits-v1", "the night is over")

    with pytest.raises(JobStopped, match=r"paused after \d+ records: resume\('digits-v1'\) goes on"):
        empty_endpoint.deploy(weak, source, batch_size=25, progress=pause)
    job = workspace.jobs.list()[0]
    assert (job.state, job.wanted, job.total, job.error is None) == ("paused", "pause", 300, False)
    assert 50 <= job.n_done < 300 and job.request["source"]["kind"] == "parquet"
    built = empty_endpoint.resume("digits-v1")
    assert built.n_records == 300
    done = workspace.jobs.get(job)
    assert (done.state, done.n_done, done.result["verification"]["n_checked"] > 0) == ("done", 300, True)
    entry = next(e for e in workspace.ledger.entries(empty_endpoint.name) if e.action == "backfill.pause")
    assert (entry.subject, entry.reason) == ("digits-v1", "the night is over")


def test_other_records_are_not_taken_for_the_same(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    def pause(at: Progress) -> None:
        if at.n_done == 25:
            empty_endpoint.pause("digits-v1")

    with pytest.raises(JobStopped):
        empty_endpoint.deploy(
            weak, ArraySource(digits.images[:200], range(200)), batch_size=25, rate_limit=500, progress=pause
        )
    with pytest.raises(InvalidArgument, match="had begun with other records"):
        empty_endpoint.resume("digits-v1", ArraySource(digits.images[1:201], range(200)))
    with pytest.raises(InvalidArgument, match="came from arrays: pass them to `resume` again"):
        empty_endpoint.resume("digits-v1")
    assert empty_endpoint.resume("digits-v1", ArraySource(digits.images[:200], range(200))).n_records == 200
