from __future__ import annotations

import numpy as np
import pytest

from roost.engine.contents import Contents
from roost.engine.keys import as_keys
from roost.engine.log import DELETE, INSERT, decode_delete, decode_insert, encode_delete, encode_insert, pieces, replay
from roost.engine.storage.catalog import LogRecord
from tests.engine.model import make_batch, make_schema


@pytest.mark.parametrize("string_keys", [False, True])
@pytest.mark.parametrize("n_rows", [1, 50])
def test_rows_come_back(string_keys: bool, n_rows: int) -> None:
    schema = make_schema(string_keys, n_vectors=2)
    keys = [f"k{n}" if string_keys else n for n in range(n_rows)]
    batch = make_batch(schema, keys, 3)
    found, partition = decode_insert(encode_insert(batch, 5, schema), schema)
    assert partition == 5
    assert found.scalars.equals(batch.scalars)
    for field in schema.vectors:
        np.testing.assert_array_equal(found.vectors[field.name], batch.vectors[field.name])


@pytest.mark.parametrize(("string_keys", "keys"), [(False, [5, -1]), (True, ["a", "é"]), (False, []), (True, [])])
def test_keys_come_back(string_keys: bool, keys: list[object]) -> None:
    schema = make_schema(string_keys)
    assert decode_delete(encode_delete(as_keys(keys, string_keys), schema), schema).tolist() == keys


def test_a_record_that_is_repeated_twice_changes_nothing() -> None:
    schema = make_schema()
    records = [
        LogRecord(1, INSERT, encode_insert(make_batch(schema, range(5), 1), 0, schema)),
        LogRecord(2, DELETE, encode_delete(np.array([1, 2]), schema)),
    ]
    once, twice = Contents(schema), Contents(schema)
    for record in records:
        replay(once, record)
    for record in (*records, *records):
        replay(twice, record)
    for contents in (once, twice):
        assert contents.snapshot().n_rows == 3
        assert len(contents.tail.find(np.array([0, 3, 4]))) == 3


@pytest.mark.parametrize("string_keys", [False, True])
def test_a_large_batch_is_cut_into_records(monkeypatch: pytest.MonkeyPatch, string_keys: bool) -> None:
    schema = make_schema(string_keys)
    batch = make_batch(schema, [f"k{n}" if string_keys else n for n in range(100)], 1)
    monkeypatch.setattr("roost.engine.log.MAX_RECORD_BYTES", batch.size_bytes // 7)
    cut = list(pieces(batch))
    assert len(cut) == 8
    assert max(piece.size_bytes for piece in cut) < batch.size_bytes // 4
    contents = Contents(schema)
    for number, piece in enumerate(cut):
        replay(contents, LogRecord(number, INSERT, encode_insert(piece, 0, schema)))
    view = contents.tail.view()
    assert view.scalars.drop_columns(["$partition"]).equals(batch.scalars)
    np.testing.assert_array_equal(view.vectors("vector"), batch.vectors["vector"])
