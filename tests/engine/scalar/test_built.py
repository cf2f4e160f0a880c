from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.engine.columns import Spans
from roost.engine.scalar.built import (
    AUTO_BITMAPS,
    MAX_BITMAPS,
    BuiltScalarIndex,
    build_scalar_index,
    load_scalar_index,
)
from roost.errors import Corruption

COLUMNS: dict[str, pa.Array] = {
    "int8": pa.array([3, -1, None, 3, 100, -1, 0], pa.int8()),
    "int64": pa.array([2**62, -(2**63), 5, 5, None], pa.int64()),
    "float": pa.array([0.5, float("nan"), -0.0, 0.0, float("inf"), None], pa.float32()),
    "double": pa.array([1.5, 1.5, 2.5, float("-inf")], pa.float64()),
    "bool": pa.array([True, None, False, True], pa.bool_()),
    "text": pa.array(["b", "", None, "é", "b", "a"], pa.large_string()),
    "sliced": pa.array(["x", "b", "a", None, "b"], pa.large_string())[1:],
    "one": pa.array([7] * 9, pa.int32()),
    "nulls": pa.array([None, None], pa.large_string()),
}
TYPES = ["INVERTED", "BITMAP"]


def every_span(index: BuiltScalarIndex) -> list[Spans]:
    n_entries = len(index.values)
    runs = [(i, j) for i in range(n_entries) for j in range(i + 1, n_entries + 1)]
    spans = [Spans(np.array([i]), np.array([j])) for i, j in runs]
    odd = np.arange(0, n_entries, 2)
    return [*spans, Spans(odd, odd + 1), Spans(np.empty(0, np.int64), np.empty(0, np.int64))]


def rows_of(column: pa.Array, index: BuiltScalarIndex, spans: Spans) -> list[bool]:
    entries = pa.array(index.values).to_pylist()
    pairs = zip(spans.first, spans.last, strict=True)
    wanted = {value for first, last in pairs for value in entries[first:last]}
    return [value is not None and value in wanted for value in column.to_pylist()]


@pytest.mark.parametrize("index_type", TYPES)
@pytest.mark.parametrize("name", COLUMNS)
def test_rows_of_entries_before_and_after_saving(name: str, index_type: str, tmp_path: Path) -> None:
    column = COLUMNS[name]
    built = build_scalar_index(column, index_type)
    built.save(tmp_path / "index")
    loaded = load_scalar_index(tmp_path / "index")
    assert loaded.form == built.form == {"INVERTED": "lists", "BITMAP": "bitmaps"}[index_type]
    assert pa.array(loaded.values).to_pylist() == pa.array(built.values).to_pylist()
    distinct = {value for value in column.to_pylist() if value is not None and value == value}
    assert pa.array(built.values).to_pylist() == sorted(distinct)
    for index in (built, loaded):
        assert index.n_rows == len(column)
        for spans in every_span(index):
            mask = index.mask(spans)
            assert mask.tolist() == rows_of(column, index, spans)
            assert index.count(spans) == mask.sum()
            assert index.cost_ns(spans) > 0
            mask[:] = True
            assert index.mask(spans).tolist() == rows_of(column, index, spans), "the mask is the caller's own"


@given(st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=60), st.sampled_from(TYPES))
def test_any_column(values: list[int | None], index_type: str) -> None:
    column = pa.array(values, pa.int16())
    index = build_scalar_index(column, index_type)
    for spans in every_span(index):
        assert index.mask(spans).tolist() == rows_of(column, index, spans)


@pytest.mark.parametrize(
    ("index_type", "n_entries", "form"),
    [
        ("AUTOINDEX", AUTO_BITMAPS, "bitmaps"),
        ("AUTOINDEX", AUTO_BITMAPS + 1, "lists"),
        ("bitmap", MAX_BITMAPS, "bitmaps"),
        ("BITMAP", MAX_BITMAPS + 1, "lists"),
        ("STL_SORT", 2, "lists"),
        ("Trie", 2, "lists"),
    ],
)
def test_the_form_follows_from_the_type_and_the_number_of_entries(index_type: str, n_entries: int, form: str) -> None:
    numbers = np.arange(2_000) % n_entries
    assert build_scalar_index(pa.array(numbers), index_type).form == form


def test_what_an_index_costs() -> None:
    column = pa.array(np.arange(100_000) % 100)
    lists, bitmaps = build_scalar_index(column, "INVERTED"), build_scalar_index(column, "BITMAP")
    few, half = lists.compare("==", 7), lists.compare("<", 50)
    assert lists.cost_ns(few) < bitmaps.cost_ns(few) < bitmaps.cost_ns(half) < lists.cost_ns(half)
    assert lists.cost_ns(lists.compare(">=", 1)) == pytest.approx(lists.cost_ns(lists.compare("<", 1)))


def other_format(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.replace_schema_metadata({**batch.schema.metadata, b"roost.format": b"2"})


def without_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.drop_columns(["rows"])


def without_notes(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.replace_schema_metadata(None)


@pytest.mark.parametrize("change", [other_format, without_rows, without_notes])
def test_a_file_that_is_no_index(tmp_path: Path, change: Any) -> None:
    path, damaged = tmp_path / "index", tmp_path / "damaged"
    build_scalar_index(COLUMNS["int8"], "INVERTED").save(path)
    batch = change(pa.ipc.open_file(path.read_bytes()).get_batch(0))
    with pa.OSFile(str(damaged), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(Corruption, match="damaged"):
        load_scalar_index(damaged)
    damaged.write_bytes(b"no Arrow file")
    with pytest.raises(Corruption, match="is no scalar index"):
        load_scalar_index(damaged)
