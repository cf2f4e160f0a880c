"""Dict rows to batches."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType

from roost.engine.rows import MAX_JSON_BYTES, batch_from_rows
from roost.engine.schema import DYNAMIC_FIELD, Field, Schema
from roost.errors import DimensionMismatch, DuplicateKey, InvalidData, NotFinite

KEY = Field("id", DataType.INT64, 100, is_primary=True)
VECTOR = Field("vector", DataType.FLOAT_VECTOR, 101, dim=2)
DYNAMIC = Field(DYNAMIC_FIELD, DataType.JSON, 102)


def schema_with(*fields: Field, dynamic: bool = False) -> Schema:
    return Schema((KEY, VECTOR, *fields, *([DYNAMIC] if dynamic else [])))


def row(key: Any = 1, **values: Any) -> dict[str, Any]:
    return {"id": key, "vector": [1.0, 2.0], **values}


def column(field: Field, *values: Any) -> list[Any]:
    """Return what is stored of the values of one field."""
    batch = batch_from_rows(schema_with(field), [row(i, x=value) for i, value in enumerate(values)])
    stored: list[Any] = batch.scalars.column("x").to_pylist()
    return stored


def scalar(dtype: DataType, **options: Any) -> Field:
    return Field("x", dtype, 103, **options)


def test_a_batch_has_the_schemas_columns() -> None:
    schema = schema_with(scalar(DataType.VARCHAR, max_length=9), dynamic=True)
    batch = batch_from_rows(schema, [row(7, x="a", extra=1), row(8, x="b")])
    assert batch.scalars.schema == schema.arrow_schema
    assert batch.scalars.to_pylist() == [
        {"id": 7, "x": "a", DYNAMIC_FIELD: '{"extra":1}'},
        {"id": 8, "x": "b", DYNAMIC_FIELD: "{}"},
    ]
    np.testing.assert_array_equal(batch.vectors["vector"], np.array([[1, 2], [1, 2]], np.float32))


@pytest.mark.parametrize(
    ("dtype", "values", "stored"),
    [
        (DataType.BOOL, [True, False, np.bool_(True)], [True, False, True]),
        (DataType.BOOL, [1, 0, np.int8(1)], [True, False, True]),
        (DataType.INT8, [-128, 127, np.int64(5)], [-128, 127, 5]),
        (DataType.INT16, [-32768, 32767], [-32768, 32767]),
        (DataType.INT32, [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
        (DataType.INT64, [-(2**63), 2**63 - 1, np.int8(3)], [-(2**63), 2**63 - 1, 3]),
        (DataType.FLOAT, [1.5, 2, True, np.float64(0.5), 2**60], [1.5, 2.0, 1.0, 0.5, float(2**60)]),
        (DataType.DOUBLE, [0.1, -(2**53) - 1, np.float32(0.5), 1e308], [0.1, -(2.0**53), 0.5, 1e308]),
    ],
)
def test_scalars(dtype: DataType, values: list[Any], stored: list[Any]) -> None:
    assert column(scalar(dtype), *values) == stored


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (DataType.BOOL, "yes", r"row 1, field 'x' \(BOOL\): given 'yes' \(str\); allowed: True or False"),
        (DataType.BOOL, 2, "given 2"),
        (DataType.BOOL, 1.0, "given 1.0"),
        (DataType.BOOL, None, "given None"),
        (DataType.INT8, 128, r"given 128 \(int\); allowed: an int from -128 to 127"),
        (DataType.INT8, 1.0, r"given 1.0 \(float\)"),
        (DataType.INT8, True, "given True"),
        (DataType.INT8, "1", "given '1'"),
        (DataType.INT16, -32769, "from -32768 to 32767"),
        (DataType.INT32, 2**31, "2147483647"),
        (DataType.INT64, 2**63, "given 9223372036854775808"),
        (DataType.INT64, 2**70, "given 11805"),
        (DataType.INT64, None, "given None"),
        (DataType.FLOAT, "1", "finite number"),
        (DataType.FLOAT, 1e300, "at most 3.403e"),
        (DataType.FLOAT, None, "given None"),
        (DataType.DOUBLE, "x", "given 'x'"),
        (DataType.DOUBLE, 10**400, "given 1000"),
        (DataType.DOUBLE, 1j, "complex"),
    ],
)
def test_wrong_scalars_are_named(dtype: DataType, value: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        column(scalar(dtype), 1 if dtype != DataType.BOOL else True, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
@pytest.mark.parametrize("dtype", [DataType.FLOAT, DataType.DOUBLE])
def test_floats_are_finite(dtype: DataType, value: Any) -> None:
    with pytest.raises(NotFinite, match="row 1, field 'x'"):
        column(scalar(dtype), 1.0, value)


def test_strings_are_counted_in_bytes() -> None:
    field = scalar(DataType.VARCHAR, max_length=4)
    assert column(field, "abcd", "äö", "", np.str_("a")) == ["abcd", "äö", "", "a"]
    for bad in ("abcde", "äöü", b"a", 1, None, "\ud800"):
        with pytest.raises(InvalidData, match=r"row 1, field 'x' .*; allowed: a str of at most 4 bytes"):
            column(field, "a", bad)


def test_long_strings_near_the_limit() -> None:
    field = scalar(DataType.VARCHAR, max_length=40)
    assert column(field, "a" * 40, "ä" * 20) == ["a" * 40, "ä" * 20]
    with pytest.raises(InvalidData, match="row 1"):
        column(field, "a" * 40, "ä" * 20 + "a")


def test_json_values() -> None:
    field = scalar(DataType.JSON)
    given = [{"b": [1, None, "ü"], "a": 1.5}, [1], 3, True, '{"x": 2}', '"text"', {"n": np.float32(0.5)}, np.arange(2)]
    expected = ['{"b":[1,null,"ü"],"a":1.5}', "[1]", "3", "true", '{"x":2}', '"text"', '{"n":0.5}', "[0,1]"]
    assert column(field, *given) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not json", "is not JSON text .* json.dumps"),
        ("", "is not JSON text"),
        ({1: 2}, "Dict key must be str"),
        ({"a": {3}}, "set"),
        (object(), "object"),
        (2**70, "64"),
        (None, "given None"),
        ({"a": "x" * MAX_JSON_BYTES}, "at most 65536"),
    ],
)
def test_what_cannot_be_json(value: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        column(scalar(DataType.JSON), {}, value)
    assert "row 1, field 'x' (JSON)" in str(caught.value)


def test_dynamic_keys_are_one_json_value() -> None:
    batch = batch_from_rows(schema_with(dynamic=True), [row(1), row(2, a=1, b={"c": None}), row(3, **{"ü b": "x"})])
    stored = [orjson.loads(text) for text in batch.scalars.column(DYNAMIC_FIELD).to_pylist()]
    assert stored == [{}, {"a": 1, "b": {"c": None}}, {"ü b": "x"}]


@pytest.mark.parametrize("extra", [{"$meta": {"a": 1}}, {3: 1}, {"a": {1}}, {"a": "x" * MAX_JSON_BYTES}])
def test_bad_dynamic_keys(extra: dict[Any, Any]) -> None:
    with pytest.raises(InvalidData, match="row 1"):
        batch_from_rows(schema_with(dynamic=True), [row(1), {**row(2), **extra}])


def test_unknown_fields_are_named() -> None:
    with pytest.raises(
        InvalidData, match=r"row 1: field 'age' is not in the schema \(id, vector\).*enable_dynamic_field"
    ):
        batch_from_rows(schema_with(), [row(1), row(2, age=3)])


def test_missing_fields_are_named() -> None:
    with pytest.raises(InvalidData, match=r"row 1: field 'x' \(BOOL\) is missing; the row has 'id', 'vector'"):
        batch_from_rows(schema_with(scalar(DataType.BOOL)), [row(1, x=True), row(2)])
    with pytest.raises(InvalidData, match="row 0: field 'id'"):
        batch_from_rows(schema_with(), [{}])


def test_a_missing_and_an_unknown_field_at_once() -> None:
    with pytest.raises(InvalidData, match="field 'x'"):
        batch_from_rows(schema_with(scalar(DataType.BOOL)), [row(1, y=True)])


def test_rows_are_dicts() -> None:
    for bad in (3, "row", None, [("id", 1)]):
        with pytest.raises(InvalidData, match=r"row 1 is .*; every row is a dict"):
            batch_from_rows(schema_with(), [row(1), bad])  # type: ignore[list-item]
    assert batch_from_rows(schema_with(), [OrderedDict(row(1))]).n_rows == 1


def test_defaults_stand_in() -> None:
    schema = schema_with(scalar(DataType.INT32, default=5))
    batch = batch_from_rows(schema, [row(1), row(2, x=None), row(3, x=7)])
    assert batch.scalars.column("x").to_pylist() == [5, 5, 7]
    with pytest.raises(InvalidData, match="row 1: field 'y'"):
        batch_from_rows(schema, [row(1), row(2, y=7)])


def test_bad_vectors_are_named() -> None:
    with pytest.raises(DimensionMismatch, match="row 1, field 'vector'"):
        batch_from_rows(schema_with(), [row(1), {"id": 2, "vector": [1.0]}])


def test_equal_keys_are_refused() -> None:
    with pytest.raises(DuplicateKey, match=r"rows 0 and 2 have the same primary key id=1;"):
        batch_from_rows(schema_with(), [row(1), row(2), row(np.int64(1))])


def test_generated_keys() -> None:
    fields = (Field("id", DataType.INT64, 100, is_primary=True, auto_id=True), VECTOR)
    batch = batch_from_rows(Schema(fields), [{"vector": [1, 2]}] * 2, lambda n: range(50, 50 + n))
    assert batch.scalars.column("id").to_pylist() == [50, 51]
    text = (Field("id", DataType.VARCHAR, 100, is_primary=True, auto_id=True, max_length=20), VECTOR)
    batch = batch_from_rows(Schema(text), [{"vector": [1, 2]}], lambda n: range(n))
    assert batch.scalars.column("id").to_pylist() == ["0"]
    with pytest.raises(InvalidData, match="row 0: primary key 'id' is given"):
        batch_from_rows(Schema(fields), [row(1)], range)
    with pytest.raises(InvalidData, match="new primary keys"):
        batch_from_rows(Schema(fields), [{"vector": [1, 2]}])


def test_a_date_is_json_as_pymilvus_writes_it() -> None:
    assert column(scalar(DataType.JSON), {"d": datetime.date(2024, 5, 1)}) == ['{"d":"2024-05-01"}']


@given(st.lists(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=6), st.none()), min_size=1))
def test_any_value_is_stored_exactly_or_refused(values: list[Any]) -> None:
    fields = [scalar(DataType.INT8), scalar(DataType.INT64), scalar(DataType.VARCHAR, max_length=5)]
    for field in fields:
        try:
            stored = column(field, *values)
        except InvalidData as error:
            assert "field 'x'" in str(error)
        else:
            assert stored == values
            assert {type(v) for v in values} == ({str} if field.max_length else {int})
