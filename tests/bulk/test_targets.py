"""What a server is sent is what `insert` takes."""

from __future__ import annotations

import numpy as np
import pytest
from pymilvus import DataType

from roost.bulk.targets import _rows
from roost.engine.rows import batch_from_rows
from roost.engine.schema import DYNAMIC_FIELD, Field, Schema

SCHEMA = Schema(
    (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("vector", DataType.FLOAT_VECTOR, 101, dim=2),
        Field("half", DataType.FLOAT16_VECTOR, 102, dim=2),
        Field("brain", DataType.BFLOAT16_VECTOR, 103, dim=2),
        Field("bytes", DataType.INT8_VECTOR, 104, dim=2),
        Field("bits", DataType.BINARY_VECTOR, 105, dim=16),
        Field("sparse", DataType.SPARSE_FLOAT_VECTOR, 106),
        Field("info", DataType.JSON, 107),
        Field(DYNAMIC_FIELD, DataType.JSON, 108),
    )
)


def rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "id": i,
            "vector": [i, 0.5],
            "half": [i, 1.5],
            "brain": [i, 2.5],
            "bytes": [i, -1],
            "bits": bytes([i, 255]),
            "sparse": {i: 1.5, 70: 2.0},
            "info": {"a": [i]},
            **({"season": "summer"} if i % 2 else {}),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize(("start", "end"), [(0, 9), (4, 7)])
def test_rows_are_those_that_were_read(start: int, end: int) -> None:
    batch = batch_from_rows(SCHEMA, rows(9))
    sent = _rows(SCHEMA, batch, start, end)
    assert type(sent[0]["brain"]) is bytes and type(sent[0]["bits"]) is bytes
    again, expected = batch_from_rows(SCHEMA, sent), batch_from_rows(SCHEMA, rows(9)[start:end])
    assert again.scalars.equals(expected.scalars)
    for name, vectors in expected.vectors.items():
        np.testing.assert_array_equal(again.vectors[name], vectors)
