"""From what a user declares to what the engine stores: names and schemas, checked once."""

from __future__ import annotations

import re
from typing import Any

from pymilvus import CollectionSchema, DataType, FieldSchema

from roost.engine.rows import scalar_array
from roost.engine.schema import (
    DYNAMIC_FIELD,
    MAX_BINARY_DIM,
    MAX_DIM,
    MAX_FIELDS,
    MAX_NAME_LENGTH,
    MAX_VARCHAR_LENGTH,
    SCALAR_TYPES,
    SPARSE,
    VECTOR_TYPES,
    Field,
    Schema,
)
from roost.errors import InvalidData, InvalidDatabaseName, InvalidFieldName, InvalidName, InvalidSchema, NotSupported

FIRST_FIELD_ID = 100
"""Milvus keeps the ids below for its own columns."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PARTITION_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_PRIMARY_TYPES = (DataType.INT64, DataType.VARCHAR)


def check_name(kind: str, name: Any) -> str:
    """Return a name of a collection, an alias, an index, a partition, a field or a database.

    Args:
        kind: what is named, in a word that the message uses ("collection", "field", ...).
    Raises: InvalidName: it is not a str, is empty, too long, or holds a character that is not allowed;
        InvalidFieldName and InvalidDatabaseName for those two kinds.
    """
    pattern = _PARTITION_NAME if kind == "partition" else _NAME
    if isinstance(name, str) and len(name) <= MAX_NAME_LENGTH and pattern.fullmatch(name):
        return name
    start = "" if kind == "partition" else ", and starts with a letter or an underscore"
    shown = repr(name) if len(repr(name)) <= 60 else f"{repr(name)[:56]}... ({len(name)} characters)"
    error = {"field": InvalidFieldName, "database": InvalidDatabaseName}.get(kind, InvalidName)
    raise error(
        f"{kind} name {shown} is not allowed: a name is a str of 1 to {MAX_NAME_LENGTH} "
        f"ASCII letters, digits and underscores{start}"
    )


def schema_from_milvus(declared: CollectionSchema) -> Schema:
    """Return the engine's schema of a collection that is declared with pymilvus's classes.

    Raises:
        InvalidSchema: the fields do not make a collection (no primary key or two, no vector, a name
            twice, a length or a dimension out of range).
        InvalidFieldName: a field's name is not allowed.
        NotSupported: a type or a feature that Milvus has and this engine does not have yet.
    """
    _refuse_features(declared)
    fields = [_field(f, FIRST_FIELD_ID + i, declared) for i, f in enumerate(declared.fields)]
    _check_together(fields)
    if declared.enable_dynamic_field:
        fields.append(Field(DYNAMIC_FIELD, DataType.JSON, FIRST_FIELD_ID + len(fields)))
    return Schema(tuple(fields), declared.description or "")


def field_params(field: Field) -> dict[str, int]:
    """Return the parameters of a field's type, as Milvus names them."""
    if field.dim is not None:
        return {"dim": field.dim}
    return {} if field.max_length is None else {"max_length": field.max_length}


def _refuse_features(declared: CollectionSchema) -> None:
    features = {
        "functions (BM25, text embedding, ...)": declared.functions,
        "struct fields": declared.struct_fields,
        "namespaces": declared.enable_namespace,
        "external collections": declared.external_source,
    }
    for feature, used in features.items():
        if used:
            raise NotSupported(f"the schema uses {feature}, which the embedded engine does not have yet")


def _field(declared: FieldSchema, field_id: int, schema: CollectionSchema) -> Field:
    name = check_name("field", declared.name)
    dtype = declared.dtype
    if dtype not in SCALAR_TYPES and dtype not in VECTOR_TYPES:
        known = ", ".join(t.name for t in (*SCALAR_TYPES, *sorted(VECTOR_TYPES)))
        raise NotSupported(
            f"field {name!r} has type {dtype.name}, which the embedded engine does not have yet; it has: {known}"
        )
    unsupported = {
        "nullable": declared.nullable,
        "is_clustering_key": declared.is_clustering_key,
        "enable_analyzer": declared.params.get("enable_analyzer"),
        "enable_match": declared.params.get("enable_match"),
    }
    for option, used in unsupported.items():
        if used:
            raise NotSupported(f"field {name!r} sets {option}, which the embedded engine does not have yet")
    made = Field(
        name=name,
        dtype=dtype,
        field_id=field_id,
        is_primary=declared.is_primary,
        auto_id=declared.is_primary and bool(declared.auto_id or schema.auto_id),
        is_partition_key=declared.is_partition_key,
        default=_default(declared),
        dim=_dim(declared) if dtype in VECTOR_TYPES and dtype != SPARSE else None,
        max_length=_bounded(declared, "max_length", MAX_VARCHAR_LENGTH) if dtype == DataType.VARCHAR else None,
        description=declared.description or "",
    )
    if made.default is not None:
        _check_default(made)
    return made


def _dim(declared: FieldSchema) -> int:
    """Return the dimension of a vector field."""
    if declared.dtype != DataType.BINARY_VECTOR:
        return _bounded(declared, "dim", MAX_DIM)
    dim = _bounded(declared, "dim", MAX_BINARY_DIM)
    if dim % 8:
        raise InvalidSchema(
            f"field {declared.name!r}: dim={dim} is not allowed; eight numbers of a BINARY_VECTOR are one byte, so its "
            f"dimension is a multiple of 8"
        )
    return dim


def _check_default(field: Field) -> None:
    """Raises: InvalidSchema: rows could not hold the default."""
    try:
        scalar_array(field, [field.default])
    except InvalidData as error:
        raise InvalidSchema(f"default_value: {str(error.message).removeprefix('row 0, ')}") from error


def _bounded(declared: FieldSchema, parameter: str, largest: int) -> int:
    """Return a whole number that a type needs. Milvus takes a str of digits too."""
    given = declared.params.get(parameter)
    if given is None:
        raise InvalidSchema(
            f"field {declared.name!r} ({declared.dtype.name}) needs {parameter}=, a whole number from 1 to {largest}"
        )
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= largest:
        raise InvalidSchema(
            f"field {declared.name!r}: {parameter}={given!r} is not allowed; it is a whole number from 1 to {largest}"
        )
    return number


def _default(declared: FieldSchema) -> Any:
    """Return the plain value of a default, which pymilvus keeps as a protocol message."""
    if declared.default_value is None:
        return None
    kind = declared.default_value.WhichOneof("data")
    if declared.dtype == DataType.JSON or declared.dtype in VECTOR_TYPES or declared.is_primary:
        raise InvalidSchema(
            f"field {declared.name!r}: a primary key or a field of type {declared.dtype.name} takes no default_value"
        )
    return getattr(declared.default_value, kind)


def _check_together(fields: list[Field]) -> None:
    names = [f.name for f in fields]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InvalidSchema(f"field names must differ; these occur more than once: {', '.join(twice)}")
    if len(fields) > MAX_FIELDS:
        raise InvalidSchema(f"the schema has {len(fields)} fields; at most {MAX_FIELDS} are allowed")
    primaries = [f for f in fields if f.is_primary]
    if len(primaries) != 1:
        given = ", ".join(f.name for f in primaries) or "none"
        raise InvalidSchema(
            f"a collection has exactly one primary key; given: {given}. Pass is_primary=True to one field"
        )
    if primaries[0].dtype not in _PRIMARY_TYPES:
        raise InvalidSchema(
            f"primary key {primaries[0].name!r} has type {primaries[0].dtype.name}; it must be INT64 or VARCHAR"
        )
    if not any(f.is_vector for f in fields):
        raise InvalidSchema("a collection has at least one vector field; add one of type FLOAT_VECTOR with dim=")
    keys = [f for f in fields if f.is_partition_key]
    if len(keys) > 1 or any(f.is_primary or f.dtype not in _PRIMARY_TYPES for f in keys):
        raise InvalidSchema(
            f"one field of type INT64 or VARCHAR that is not the primary key can be the partition key; "
            f"given: {', '.join(f.name for f in keys)}"
        )
