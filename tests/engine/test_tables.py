"""Columns become the batch that the same rows would have become, and are refused where those would have been."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

from roost.engine.rows import batch_from_rows
from roost.engine.schema import DYNAMIC_FIELD, Field, Schema
from roost.engine.tables import batch_from_columns
from roost.errors import DimensionMismatch, InvalidData, NotFinite

SCHEMA = Schema(
    (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("vector", DataType.FLOAT_VECTOR, 101, dim=2),
        Field("small", DataType.INT8, 102),
        Field("price", DataType.FLOAT, 103),
        Field("exact", DataType.DOUBLE, 104),
        Field("on", DataType.BOOL, 105),
        Field("text", DataType.VARCHAR, 106, max_length=8),
        Field("info", DataType.JSON, 107),
        Field("stars", DataType.INT32, 108, default=3),
        Field(DYNAMIC_FIELD, DataType.JSON, 109),
    )
)
N = 4


def columns(**changed: Any) -> dict[str, Any]:
    given = {
        "id": pa.array(range(10, 10 + N)),
        "vector": pa.array([[i, i + 0.5] for i in range(N)], pa.list_(pa.float32(), 2)),
        "small": pa.array([-128, 127, 0, 1]),
        "price": pa.array([1.5, 2.5, -3.0, 0.0]),
        "exact": pa.array([0.1, 1e300, 2.0, 3.0]),
        "on": pa.array([True, False, True, False]),
        "text": pa.array(["a", "äöü", "", "12345678"]),
        "info": pa.array(['{"a": [1, 2]}', "3", "null", '"x"']),
        "stars": pa.array([1, None, 2, None], pa.int32()),
        "season": pa.array(["summer", "winter", None, "x"]),
    }
    return {name: value for name, value in {**given, **changed}.items() if value is not None}


def test_columns_make_the_batch_that_rows_make() -> None:
    given = columns()
    rows = [{name: column[i].as_py() for name, column in given.items()} for i in range(N)]
    batch, expected = batch_from_columns(SCHEMA, given), batch_from_rows(SCHEMA, rows)
    assert batch.scalars.equals(expected.scalars)
    np.testing.assert_array_equal(batch.vectors["vector"], expected.vectors["vector"])


@pytest.mark.parametrize(
    "vectors",
    [
        np.array([[i, i + 0.5] for i in range(N)], np.float64),
        np.array([[i, i + 0.5] for i in range(N)], np.float16),
        np.array([[i, i + 0.5] for i in range(N)], np.float32)[:, ::1][::-1][::-1],
        pa.array([[i, i + 0.5] for i in range(N)]),
        pa.array([[i, i + 0.5] for i in range(-1, N)], pa.large_list(pa.float64())).slice(1),
        np.array([*(np.array([i, i + 0.5]) for i in range(N)), None], dtype=object)[:-1],
    ],
)
def test_vectors_may_come_in_many_forms(vectors: Any) -> None:
    found = batch_from_columns(SCHEMA, columns(vector=vectors)).vectors["vector"]
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, [[i, i + 0.5] for i in range(N)])


def test_vectors_that_fit_are_not_copied() -> None:
    given = np.ones((N, 2), np.float32)
    assert np.shares_memory(batch_from_columns(SCHEMA, columns(vector=given)).vectors["vector"], given)
    listed = pa.FixedSizeListArray.from_arrays(pa.array(given.ravel()), 2)
    assert np.shares_memory(
        batch_from_columns(SCHEMA, columns(vector=listed)).vectors["vector"],
        listed.flatten().to_numpy(),
    )


def test_scalars_may_come_in_many_forms() -> None:
    given = columns(
        id=np.arange(10, 10 + N, dtype=np.uint32),
        small=pa.array([1, 2, 3, 4], pa.uint64()),
        price=np.arange(N),
        on=np.array([0, 1, 1, 0]),
        text=pa.array(["a", "b", "a", "b"]).dictionary_encode(),
        info=np.array([{"a": 1}, [1], 2, True], dtype=object),
        stars=None,
    )
    found = batch_from_columns(SCHEMA, given).scalars
    assert found.column("small").to_pylist() == [1, 2, 3, 4]
    assert found.column("price").to_pylist() == [0.0, 1.0, 2.0, 3.0]
    assert found.column("on").to_pylist() == [False, True, True, False]
    assert found.column("text").to_pylist() == ["a", "b", "a", "b"]
    assert [json.loads(text) for text in found.column("info").to_pylist()] == [{"a": 1}, [1], 2, True]
    assert found.column("stars").to_pylist() == [3] * N


def test_keys_are_made_where_the_schema_says_so() -> None:
    fields = tuple(f for f in SCHEMA.fields if f.name in ("vector", "text"))
    numbers = Schema((Field("id", DataType.INT64, 100, is_primary=True, auto_id=True), *fields))
    texts = Schema((Field("id", DataType.VARCHAR, 100, is_primary=True, auto_id=True, max_length=20), *fields))
    given = {name: columns()[name] for name in ("vector", "text")}
    made = batch_from_columns(numbers, given, new_keys=lambda n: range(5, 5 + n)).scalars
    assert made.column("id").to_pylist() == [5, 6, 7, 8]
    made = batch_from_columns(texts, given, new_keys=lambda n: range(5, 5 + n)).scalars
    assert made.column("id").to_pylist() == ["5", "6", "7", "8"]
    with pytest.raises(InvalidData, match="nothing gives them"):
        batch_from_columns(numbers, given)
    with pytest.raises(InvalidData, match="makes its own"):
        batch_from_columns(numbers, {**given, "id": np.arange(N)}, new_keys=lambda n: range(n))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"vector": None}, InvalidData, "field 'vector' .* is missing; there are the columns 'id'"),
        ({"small": pa.array([1, 2, 128, 3])}, InvalidData, r"row 102, field 'small' \(INT8\): given 128 .*-128 to 127"),
        ({"id": pa.array([1, 2, 2**64 - 1, 3], pa.uint64())}, InvalidData, "row 102, field 'id'"),
        ({"small": pa.array([1, None, 2, 3])}, InvalidData, "row 101, field 'small' .*given None"),
        ({"small": pa.array([1.0, 2.0, 3.0, 4.0])}, InvalidData, "given a column of double"),
        ({"small": pa.array([True] * N)}, InvalidData, "given a column of bool"),
        ({"price": pa.array([1.0, 1e39, 2.0, 3.0])}, InvalidData, r"row 101, field 'price' .*1e\+39"),
        ({"price": pa.array([1.0, 2.0, float("nan"), 3.0])}, NotFinite, "row 102, field 'price'"),
        ({"price": pa.array(["1"] * N)}, InvalidData, "given a column of string"),
        ({"on": pa.array([0, 1, 2, 0])}, InvalidData, "row 102, field 'on' .*allowed: True or False"),
        ({"on": pa.array(["yes"] * N)}, InvalidData, "given a column of string"),
        ({"text": pa.array(["a", "äöüäö", "b", "c"])}, InvalidData, "row 101, field 'text' .*8 bytes"),
        ({"text": pa.array([1, 2, 3, 4])}, InvalidData, "given a column of int64"),
        ({"text": np.ones((N, 2))}, InvalidData, "allowed: a 1-d array"),
        ({"text": np.array([1, "a", None, 2], dtype=object)}, InvalidData, "field 'text'"),
        ({"info": pa.array(["1", "2", "{", "3"])}, InvalidData, "row 102, field 'info' .*not JSON text"),
        ({"season": pa.array([b"a", b"b", b"c", b"d"])}, InvalidData, "row 100, dynamic keys"),
        ({"vector": np.ones((N, 3), np.float32)}, DimensionMismatch, "length 3; the field has dimension 2"),
        ({"vector": pa.array([[1.0]] * N, pa.list_(pa.float32(), 1))}, DimensionMismatch, "length 1"),
        ({"vector": pa.array([[1.0, 2.0], [1.0], [2.0], [3.0]])}, DimensionMismatch, "row 101.* length 1"),
        ({"vector": pa.array([[1.0, 2.0], None] * 2)}, InvalidData, "row 101.*given None"),
        ({"vector": pa.array([[1.0, 2.0], [3.0, None]] * 2)}, InvalidData, "row 101.*element 1 is None"),
        ({"vector": pa.array([[1.0, 2.0], [3.0, float("inf")]] * 2)}, NotFinite, "row 101.*element 1"),
        ({"vector": np.full((N, 2), 1e39)}, NotFinite, "row 100.*element 0"),
        ({"vector": np.ones((N, 2), np.int64)}, InvalidData, r"\.astype\('float32'\)"),
        ({"vector": pa.array(["x"] * N)}, InvalidData, "given a column of string"),
        ({"season": pa.array(["a"])}, InvalidData, "not equally long"),
        ({DYNAMIC_FIELD: pa.array(["{}"] * N)}, InvalidData, "reserved"),
    ],
)
def test_what_does_not_fit_is_refused_by_row_and_field(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        batch_from_columns(SCHEMA, columns(**changed), first_row=100)


def test_a_column_that_the_schema_does_not_name_needs_a_dynamic_field() -> None:
    strict = Schema(SCHEMA.fields[:-1])
    with pytest.raises(InvalidData, match="column 'season' is not in the schema"):
        batch_from_columns(strict, columns())
    assert batch_from_columns(strict, columns(season=None)).n_rows == N


VECTORS = Schema(
    (
        Field("id", DataType.INT64, 100, is_primary=True),
        Field("half", DataType.FLOAT16_VECTOR, 101, dim=2),
        Field("brain", DataType.BFLOAT16_VECTOR, 102, dim=2),
        Field("bytes", DataType.INT8_VECTOR, 103, dim=2),
        Field("bits", DataType.BINARY_VECTOR, 104, dim=16),
        Field("sparse", DataType.SPARSE_FLOAT_VECTOR, 105),
    )
)
HALF, BRAIN = np.array([[1, 2.5], [-3, 4]], np.float16), np.array([[0x3F80, 0x4020], [0xC040, 0x4080]], np.uint16)
NUMBERS, BITS = np.array([[-128, 127], [0, 1]], np.int8), np.array([[255, 0], [3, 4]], np.uint8)
SPARSE = [{1: 0.5, 4_000_000_000: 2.0}, {}]
FORMS: dict[str, list[Any]] = {
    "half": [
        HALF,
        HALF.astype(np.float32),
        pa.array(HALF.tolist(), pa.list_(pa.float64())),
        pa.array(HALF.tolist(), pa.list_(pa.float32(), 2)),
        pa.array([list(row.tobytes()) for row in HALF], pa.list_(pa.uint8())),
        pa.array([list(row.tobytes()) for row in HALF], pa.list_(pa.uint8(), 4)),
        pa.array([list(row.tobytes()) for row in HALF], pa.large_list(pa.uint8())),
        pa.array([row.tobytes() for row in HALF]),
    ],
    "brain": [
        BRAIN,
        HALF.astype(np.float64),
        pa.array(HALF.astype(np.float32).tolist()),
        pa.array(BRAIN.tolist(), pa.list_(pa.uint16(), 2)),
        pa.array([list(row.tobytes()) for row in BRAIN], pa.list_(pa.uint8(), 4)),
    ],
    "bytes": [
        NUMBERS,
        pa.array(NUMBERS.tolist()),
        pa.array(NUMBERS.tolist(), pa.list_(pa.int8(), 2)),
        pa.array([row.tobytes() for row in NUMBERS]),
    ],
    "bits": [
        BITS,
        pa.array([row.tobytes() for row in BITS], pa.binary(2)),
        pa.array(BITS.tolist(), pa.list_(pa.uint8())),
        pa.array(BITS.tolist(), pa.large_list(pa.uint8())),
        pa.array(BITS.tolist(), pa.list_(pa.uint8(), 2)),
    ],
    "sparse": [
        np.array(SPARSE, dtype=object),
        pa.array(['{"4000000000": 2.0, "1": 0.5}', "{}"]),
        pa.array(['{"indices": [4000000000, 1], "values": [2.0, 0.5]}', '{"values": [], "indices": []}']),
        pa.array(["[[4000000000, 2.0], [1, 0.5]]", "[]"]),
        pa.array([list(row.items()) for row in SPARSE], pa.map_(pa.uint32(), pa.float32())),
        pa.array(
            [{"indices": list(row), "values": list(row.values())} for row in SPARSE],
            pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))]),
        ),
    ],
}


def vector_columns(**changed: Any) -> dict[str, Any]:
    return {"id": np.array([1, 2]), **{name: forms[0] for name, forms in FORMS.items()}, **changed}


@pytest.mark.parametrize(("name", "form"), [(name, i) for name, forms in FORMS.items() for i in range(len(forms))])
def test_vectors_of_every_type(name: str, form: int) -> None:
    rows = [
        {"id": i + 1, "half": HALF[i], "brain": BRAIN[i], "bytes": NUMBERS[i], "bits": BITS[i], "sparse": SPARSE[i]}
        for i in range(2)
    ]
    expected = batch_from_rows(VECTORS, rows)
    found = batch_from_columns(VECTORS, vector_columns(**{name: FORMS[name][form]}))
    assert found.scalars.equals(expected.scalars)
    assert found.vectors.keys() == expected.vectors.keys() == {"half", "brain", "bytes", "bits"}
    for vectors in VECTORS.matrices:
        assert found.vectors[vectors.name].dtype == vectors.vector_dtype
        np.testing.assert_array_equal(found.vectors[vectors.name], expected.vectors[vectors.name])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"half": np.array([[1.0, 2], [3, 70_000]])}, NotFinite, "row 8, field 'half': element 1"),
        ({"half": np.ones((2, 3), np.float16)}, DimensionMismatch, "row 7, field 'half': given a vector of 3 numbers"),
        ({"bytes": pa.array([[1, 2], [3, 128]])}, InvalidData, "row 8, field 'bytes': element 1 is 128"),
        ({"bytes": pa.array([[1, 2], None])}, InvalidData, "row 8, field 'bytes': given None"),
        ({"bits": pa.array([b"12", b"1"])}, DimensionMismatch, "row 8, field 'bits': given 1 bytes"),
        ({"bits": pa.array([[1, 2], [3]], pa.list_(pa.uint8()))}, DimensionMismatch, "row 8, .* vector of 1 numbers"),
        ({"sparse": pa.array(["{}", '{"x": 1}'])}, InvalidData, "row 8, field 'sparse': given .* is a dict"),
        ({"sparse": pa.array(["{}", '{"-1": 1}'])}, InvalidData, "row 8, field 'sparse': index -1"),
        ({"sparse": pa.array(["{}", None])}, InvalidData, "row 8, field 'sparse': given None"),
        *(
            ({"bytes": pa.array([[1, 2], [3, 200]], kind)}, InvalidData, "row 8, field 'bytes': element 1 is 200")
            for kind in (pa.list_(pa.uint8()), pa.large_list(pa.uint8()), pa.list_(pa.uint8(), 2))
        ),
        ({"bytes": np.array([[1, 2], [3, 200]], np.uint8)}, InvalidData, "row 7, field 'bytes': given an array"),
        *(
            ({"bits": pa.array([[1, 2], [3, None]], kind)}, InvalidData, "row 8, field 'bits': element 1 is None")
            for kind in (pa.list_(pa.uint8()), pa.list_(pa.uint8(), 2))
        ),
        ({"half": pa.array([[0, 0, 0, 0], None], pa.list_(pa.uint8(), 4))}, InvalidData, "row 8, .* given None"),
        *(
            ({"sparse": pa.array(["{}", text])}, InvalidData, f"row 8, field 'sparse': {message}")
            for text, message in (
                ('{"1": 1, "1": 2}', "index 1 is there twice"),
                ('{"1": 1, "01": 2}', "index 1 is there twice"),
                ("[[1, 1], [1, 2]]", "index 1 is there twice"),
                ('{"indices": [1, 1], "values": [1, 2]}', "index 1 is there twice"),
                ('{"indices": [1], "values": [1, 2]}', ".*two lists of one length"),
                ('{"indices": 1, "values": 2}', ".*two lists of one length"),
                ('{"indices": [1], "indices": [2]}', "given .* is a dict"),
                ('{"indices": [1.5], "values": [1]}', "index 1.5 .* is not allowed"),
                ("[1, 2]", "given .* is a dict"),
                ('[{"1": 2}]', "given .* is a dict"),
                ("3", "given 3 .* is a dict"),
                ("{", "given .* is a dict"),
                ("[" * 100_000, "given .* is a dict"),
            )
        ),
        ({"sparse": pa.array(["{}", '{"1": NaN}'])}, NotFinite, "row 8, field 'sparse': the number at index 1 is NaN"),
        (
            {"sparse": pa.array([[(2, 1.0)], [(1, 1.0), (1, 2.0)]], pa.map_(pa.uint32(), pa.float32()))},
            InvalidData,
            "row 8, field 'sparse': index 1 is there twice",
        ),
    ],
)
def test_bad_vectors_of_other_types_are_named(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batch_from_columns(VECTORS, vector_columns(**changed), first_row=7)
