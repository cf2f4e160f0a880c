"""Names and schemas that users declare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from roost.engine.declare import check_name, field_params, schema_from_milvus
from roost.engine.schema import DYNAMIC_FIELD, Schema
from roost.errors import InvalidDatabaseName, InvalidFieldName, InvalidName, InvalidSchema, NotSupported, RoostError


def declared(*fields: tuple[str, DataType, dict[str, Any]], **options: Any) -> CollectionSchema:
    schema: CollectionSchema = MilvusClient.create_schema(**options)
    for name, dtype, params in fields:
        schema.add_field(name, dtype, **params)
    return schema


KEY = ("id", DataType.INT64, {"is_primary": True})
VECTOR = ("vector", DataType.FLOAT_VECTOR, {"dim": 4})


@pytest.mark.parametrize("name", ["a", "_", "A1_b", "x" * 255])
def test_good_names(name: str) -> None:
    assert check_name("collection", name) == name


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a\n", "$a", "x" * 256, None, 3])
def test_bad_names_say_what_is_allowed(name: Any) -> None:
    with pytest.raises(InvalidName, match=r"collection name .* is not allowed: .* 1 to 255"):
        check_name("collection", name)


def test_kinds_of_names() -> None:
    assert check_name("partition", "1a") == "1a"
    with pytest.raises(InvalidFieldName) as of_field:
        check_name("field", "$meta")
    with pytest.raises(InvalidDatabaseName) as of_database:
        check_name("database", "")
    assert (of_field.value.code, of_database.value.code) == (1701, 802)


def test_a_schema_of_every_type() -> None:
    scalars = [DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64]
    scalars += [DataType.FLOAT, DataType.DOUBLE, DataType.JSON]
    fields = [(t.name.lower(), t, {}) for t in scalars]
    text = ("text", DataType.VARCHAR, {"max_length": "7", "description": "words"})
    schema = schema_from_milvus(declared(KEY, *fields, text, VECTOR, description="all", enable_dynamic_field=True))
    assert [f.name for f in schema.fields] == ["id", *(name for name, _, _ in fields), "text", "vector", DYNAMIC_FIELD]
    assert [f.field_id for f in schema.fields] == list(range(100, 100 + len(schema.fields)))
    assert (schema.description, schema.primary.name, schema.field("text").description) == ("all", "id", "words")
    assert field_params(schema.field("text")) == {"max_length": 7}
    assert field_params(schema.field("vector")) == {"dim": 4}
    assert field_params(schema.field("bool")) == {}
    assert Schema.from_json(schema.to_json()) == schema


def test_options_of_fields() -> None:
    schema = schema_from_milvus(
        declared(
            ("id", DataType.VARCHAR, {"is_primary": True, "max_length": 20, "auto_id": True}),
            ("tenant", DataType.INT64, {"is_partition_key": True}),
            ("rank", DataType.INT32, {"default_value": 3}),
            VECTOR,
        )
    )
    assert schema.primary.auto_id
    assert schema.field("tenant").is_partition_key
    assert schema.field("rank").default == 3
    assert schema_from_milvus(declared(KEY, VECTOR, auto_id=True)).primary.auto_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([VECTOR], "exactly one primary key; given: none"),
        ([("id", DataType.FLOAT, {"is_primary": True}), VECTOR], "must be INT64 or VARCHAR"),
        ([KEY], "at least one vector field"),
        ([KEY, VECTOR, ("vector", DataType.INT64, {})], "more than once: vector"),
        ([KEY, ("vector", DataType.FLOAT_VECTOR, {})], "needs dim="),
        ([KEY, ("vector", DataType.FLOAT_VECTOR, {"dim": 0})], "dim=0 is not allowed"),
        ([KEY, ("vector", DataType.FLOAT_VECTOR, {"dim": 32_769})], "from 1 to 32768"),
        ([KEY, ("vector", DataType.FLOAT_VECTOR, {"dim": "x"})], "dim='x' is not allowed"),
        ([KEY, ("vector", DataType.FLOAT_VECTOR, {"dim": True})], "dim=True is not allowed"),
        ([KEY, VECTOR, ("s", DataType.VARCHAR, {})], "needs max_length="),
        ([KEY, VECTOR, ("s", DataType.VARCHAR, {"max_length": 65_536})], "from 1 to 65535"),
        ([KEY, VECTOR, *((f"f{i}", DataType.INT64, {}) for i in range(63))], "65 fields; at most 64"),
        ([KEY, VECTOR, ("p", DataType.FLOAT, {"is_partition_key": True})], "can be the partition key"),
        ([KEY, VECTOR, ("j", DataType.JSON, {"default_value": "{}"})], "takes no default_value"),
        ([KEY, VECTOR, ("n", DataType.INT8, {"default_value": 300})], "'n' .INT8.: given 300 .*from -128 to 127"),
        ([KEY, VECTOR, ("s", DataType.VARCHAR, {"default_value": "äb", "max_length": 2})], "at most 2 bytes"),
        ([KEY, VECTOR, ("x", DataType.FLOAT, {"default_value": float("nan")})], "given nan"),
        ([KEY, VECTOR, ("x", DataType.DOUBLE, {"default_value": float("inf")})], "given inf"),
    ],
)
def test_bad_schemas(fields: list[Any], message: str) -> None:
    with pytest.raises(InvalidSchema, match=message):
        schema_from_milvus(declared(*fields))


def test_types_of_vectors() -> None:
    schema = schema_from_milvus(
        declared(KEY, ("bits", DataType.BINARY_VECTOR, {"dim": 262_144}), ("half", DataType.FLOAT16_VECTOR, {"dim": 3}))
    )
    bits, half = schema.vectors
    assert (bits.row_shape, bits.vector_dtype) == ((32_768,), np.dtype(np.uint8))
    assert (half.row_shape, half.vector_dtype) == ((3,), np.dtype(np.float16))
    assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(("dim", "message"), [(12, "multiple of 8"), (262_152, "from 1 to 262144"), (0, "dim=0")])
def test_a_dimension_of_bits_makes_whole_bytes(dim: int, message: str) -> None:
    with pytest.raises(InvalidSchema, match=message):
        schema_from_milvus(declared(KEY, ("bits", DataType.BINARY_VECTOR, {"dim": dim})))


def test_a_bad_field_name() -> None:
    with pytest.raises(InvalidFieldName):
        schema_from_milvus(declared(KEY, VECTOR, ("a b", DataType.INT64, {})))


@pytest.mark.parametrize(
    "field",
    [
        ("v", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 4}),
        ("v", DataType.INT64, {"nullable": True}),
        ("v", DataType.INT64, {"is_clustering_key": True}),
        ("v", DataType.VARCHAR, {"max_length": 9, "enable_analyzer": True}),
    ],
)
def test_what_the_engine_does_not_have(field: Any) -> None:
    with pytest.raises(NotSupported, match=r"'v' .*does not have yet"):
        schema_from_milvus(declared(KEY, VECTOR, field))


def test_features_that_the_engine_does_not_have() -> None:
    schema = declared(KEY, VECTOR, ("text", DataType.VARCHAR, {"max_length": 9}))
    schema.add_function(Function("f", FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"]))
    with pytest.raises(NotSupported, match="functions"):
        schema_from_milvus(schema)
    assert issubclass(NotSupported, RoostError)
