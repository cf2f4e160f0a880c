"""Columns, as files and frames give them, to a checked `Batch`.

What `roost.engine.rows` refuses of rows is refused here of columns, in the same words. Columns are checked as
columns; the values of JSON fields and of the dynamic field alone are looked at one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pymilvus import DataType

from roost.engine.columns import Batch, FloatArray, VectorArray
from roost.engine.index.narrow import not_finite
from roost.engine.rows import scalar_array
from roost.engine.schema import DYNAMIC_FIELD, SPARSE, Field, Schema
from roost.engine.vectors import FLOAT_ARRAYS, check_finite, check_length, is_float, shown, vector_column
from roost.errors import DimensionMismatch, InvalidData, NotFinite

Column: TypeAlias = "pa.Array | npt.NDArray[Any]"
"""An Arrow array, or a NumPy array whose first axis is the row."""

_INTEGERS: Final = (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)
_FLOATS: Final[Mapping[DataType, type[np.floating[Any]]]] = {DataType.FLOAT: np.float32, DataType.DOUBLE: np.float64}

_SPARSE_LISTS: Final = frozenset({"indices", "values"})
"""The keys of a sparse vector that is given as two lists."""


def batch_from_columns(
    schema: Schema,
    columns: Mapping[str, Column],
    *,
    first_row: int = 0,
    new_keys: Callable[[int], Sequence[int]] | None = None,
) -> Batch:
    """Return columns of one length as a batch; vectors that fit as they are are not copied.

    Args:
        columns: field name to values, one row at least. Vectors are 2-d arrays of floats, or Arrow lists of numbers;
            for other types than FLOAT_VECTOR see `vector_matrix`. Sparse ones are what `sparse_bytes` takes, Arrow
            maps, {"indices": [...], "values": [...]} (Arrow structs too), or JSON text of a dict, of pairs, or of that.
            What the schema does not name becomes keys of the dynamic field.
        first_row: the number that messages give the first row.
        new_keys: gives n unused primary keys; used where the schema sets auto_id.
    Raises:
        InvalidData: a field is missing, is not in the schema, or has values of the wrong type or out of range.
        DimensionMismatch, NotFinite: of a vector; NotFinite also of a float. The message names row and field.
        DuplicateKey is not raised here: see `SeenKeys`.
    """
    n_rows = _n_rows(columns)
    _check_names(schema, columns)
    arrays: list[pa.Array] = []
    for field in schema.scalars:
        if field.is_dynamic:
            arrays.append(_dynamic_array(schema, field, columns, n_rows, first_row))
        elif field.auto_id:
            keys = (new_keys or _no_keys)(n_rows)
            arrays.append(pa.array(map(str, keys) if field.max_length else keys, field.arrow_type))
        else:
            arrays.append(_scalar(field, columns.get(field.name), n_rows, first_row))
    vectors = {field.name: vector_matrix(field, columns[field.name], first_row) for field in schema.matrices}
    return Batch(pa.RecordBatch.from_arrays(arrays, schema=schema.arrow_schema), vectors)


def key_column(schema: Schema, column: Column, first_row: int = 0) -> pa.Array:
    """Return primary keys as they are stored. Raises: InvalidData: one is not a key."""
    return _scalar(schema.primary, column, len(column), first_row)


def _n_rows(columns: Mapping[str, Column]) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InvalidData(f"columns are not equally long: {listed}")
    return next(iter(lengths.values()), 0)


def _check_names(schema: Schema, columns: Mapping[str, Column]) -> None:
    given = ", ".join(map(repr, list(columns)[:8])) or "none"
    for field in schema.fields:
        is_made = field.is_dynamic or field.auto_id or field.default is not None
        if field.name not in columns and not is_made:
            raise InvalidData(
                f"field {field.name!r} ({field.dtype.name}) is missing; there are the columns {given}. "
                f"Every field of the schema needs a column"
            )
    if schema.primary.auto_id and schema.primary.name in columns:
        raise InvalidData(
            f"primary key {schema.primary.name!r} is given, but the collection makes its own (auto_id); leave it out"
        )
    if DYNAMIC_FIELD in columns:
        raise InvalidData(f"the column {DYNAMIC_FIELD!r} is reserved; give its keys as columns")
    unknown = next((name for name in columns if name not in schema.by_name), None)
    if unknown is not None and not schema.enable_dynamic:
        names = ", ".join(f.name for f in schema.fields)
        raise InvalidData(
            f"column {unknown!r} is not in the schema ({names}), and the collection has no dynamic field; leave it "
            f"out, or create the collection with enable_dynamic_field=True"
        )


def _no_keys(n: int) -> Sequence[int]:
    raise InvalidData(f"{n} rows need new primary keys and nothing gives them")


# Scalars


def _scalar(field: Field, given: Column | None, n_rows: int, first_row: int) -> pa.Array:
    """Return a scalar field as it is stored; the field's default stands in for what is missing."""
    if given is None:
        given = pa.nulls(n_rows, field.arrow_type)
    if field.dtype == SPARSE:
        return _in_rows(field, _sparse_values(field, given, first_row), first_row)
    if field.dtype == DataType.JSON and field.default is None:
        return _in_rows(field, _values(given), first_row)
    column = _arrow(field, given)
    if field.default is not None and column.null_count:
        column = pc.fill_null(column, pa.scalar(field.default).cast(column.type))
    if field.dtype == DataType.JSON:
        return _in_rows(field, column.to_pylist(), first_row)
    if column.null_count:
        _refuse(field, column, pc.is_null(column), first_row, _allowed(field))
    if field.dtype in _INTEGERS:
        return _integers(field, column, first_row)
    if field.dtype in _FLOATS:
        return _floats(field, column, first_row)
    if field.dtype == DataType.BOOL:
        return _bools(field, column, first_row)
    return _strings(field, column, first_row)


def _arrow(field: Field, given: Column) -> pa.Array:
    if isinstance(given, np.ndarray):
        if given.ndim != 1:
            raise InvalidData(f"field {field.name!r} ({field.dtype.name}): given {shown(given)}; allowed: a 1-d array")
        try:
            given = pa.array(given)
        except pa.ArrowException as error:
            raise InvalidData(f"field {field.name!r} ({field.dtype.name}): given {shown(given)}; {error}") from error
    if pa.types.is_dictionary(given.type):
        given = given.dictionary_decode()
    return _storage(given)


def _storage(given: pa.Array) -> pa.Array:
    return given.storage if isinstance(given, pa.ExtensionArray) else given


def _allowed(field: Field) -> str:
    if field.dtype in _INTEGERS:
        low, high = _bounds(field)
        return f"an int from {low} to {high}"
    if field.dtype in _FLOATS:
        return f"a finite number of at most {float(np.finfo(_FLOATS[field.dtype]).max):.4g} in size"
    if field.dtype == DataType.BOOL:
        return "True or False"
    return f"a str of at most {field.max_length} bytes in UTF-8 (max_length counts bytes)"


def _bounds(field: Field) -> tuple[int, int]:
    info = np.iinfo(field.arrow_type.to_pandas_dtype())
    return int(info.min), int(info.max)


def _refuse(field: Field, column: pa.Array, bad: pa.Array, first_row: int, allowed: str) -> None:
    """Raise for the first row that a mask names."""
    row = pc.index(bad, True).as_py()
    value = column[row].as_py()
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    error = NotFinite if is_infinite and field.dtype in _FLOATS else InvalidData
    raise error(
        f"row {first_row + row}, field {field.name!r} ({field.dtype.name}): given {shown(value)}; allowed: {allowed}"
    )


def _refuse_type(field: Field, column: pa.Array) -> None:
    raise InvalidData(
        f"field {field.name!r} ({field.dtype.name}): given a column of {column.type}; allowed: {_allowed(field)}"
    )


def _integers(field: Field, column: pa.Array, first_row: int) -> pa.Array:
    if not pa.types.is_integer(column.type):
        _refuse_type(field, column)
    low, high = _bounds(field)
    try:
        return column.cast(field.arrow_type)
    except pa.ArrowInvalid:
        wide = column.cast(pa.decimal128(38, 0))
        bad = pc.or_(pc.less(wide, pa.scalar(low, wide.type)), pc.greater(wide, pa.scalar(high, wide.type)))
        _refuse(field, column, bad, first_row, _allowed(field))
        raise


def _floats(field: Field, column: pa.Array, first_row: int) -> pa.Array:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        _refuse_type(field, column)
    wide = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        stored = wide.astype(_FLOATS[field.dtype], copy=False)
    finite = np.isfinite(stored)
    if not finite.all():
        _refuse(field, column, pa.array(~finite), first_row, _allowed(field))
    return pa.array(stored)


def _bools(field: Field, column: pa.Array, first_row: int) -> pa.Array:
    if pa.types.is_integer(column.type):
        bad = pc.invert(pc.is_in(column, pa.array([0, 1]).cast(column.type)))
        if pc.any(bad).as_py():
            _refuse(field, column, bad, first_row, _allowed(field))
        return column.cast(pa.bool_())
    if not pa.types.is_boolean(column.type):
        _refuse_type(field, column)
    return column


def _strings(field: Field, column: pa.Array, first_row: int) -> pa.Array:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        _refuse_type(field, column)
    column = column.cast(field.arrow_type)
    too_long = pc.greater(pc.binary_length(column), field.max_length or 0)
    if pc.any(too_long).as_py():
        _refuse(field, column, too_long, first_row, _allowed(field))
    return column


def _dynamic_array(
    schema: Schema, field: Field, columns: Mapping[str, Column], n_rows: int, first_row: int
) -> pa.Array:
    """Return what the schema does not name, as one JSON object a row."""
    names = [name for name in columns if name not in schema.by_name]
    if not names:
        return pa.repeat(pa.scalar("{}", field.arrow_type), n_rows)
    values = [_values(columns[name]) for name in names]
    return _in_rows(field, [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)], first_row)


def _values(column: Column) -> list[Any]:
    found: list[Any] = column.tolist() if isinstance(column, np.ndarray) else column.to_pylist()
    return found


def _in_rows(field: Field, values: list[Any], first_row: int) -> pa.Array:
    """Return values as JSON text; a message names the row of the whole input."""
    try:
        return scalar_array(field, values)
    except InvalidData as error:
        raise _from_first(error, first_row) from error


def _from_first(error: InvalidData, first_row: int) -> InvalidData:
    """Return an error that names the row of the whole input."""
    where, _, what = error.message.partition(",")
    return type(error)(f"row {first_row + int(where.removeprefix('row '))},{what}")


def _sparse_values(field: Field, given: Column, first_row: int) -> list[Any]:
    """Return sparse vectors as dicts or lists of pairs; files may hold them as JSON text, or in two lists.

    Raises: InvalidData: a vector's "indices" and "values" are not two lists of one length.
    """
    found = [_from_json(value) if isinstance(value, str) else value for value in _values(given)]
    for i, value in enumerate(found):
        if isinstance(value, Mapping) and value.keys() == _SPARSE_LISTS:
            indices, numbers = value["indices"], value["values"]
            if not all(isinstance(part, (list, tuple, np.ndarray)) for part in (indices, numbers)) or (
                len(indices) != len(numbers)
            ):
                raise InvalidData(
                    f"row {first_row + i}, field {field.name!r}: given {shown(value)}; 'indices' and 'values' are two "
                    f"lists of one length"
                )
            found[i] = list(zip(indices, numbers, strict=True))
    return found


def _from_json(text: str) -> Any:
    """Return what JSON text holds; an object as a list of pairs, so that an index which is there twice is seen."""
    try:
        held = json.loads(text, object_pairs_hook=tuple)
        if not isinstance(held, tuple):
            return held
        if len(held) == len(_SPARSE_LISTS) and dict(held).keys() == _SPARSE_LISTS:
            return dict(held)
        return [(int(index), value) for index, value in held]
    except (ValueError, RecursionError):
        return text


# Vectors


def vector_matrix(field: Field, given: Column, first_row: int = 0) -> VectorArray:
    """Return vectors as the array that is stored.

    Args:
        given: of FLOAT_VECTOR see `float_matrix`. Of other types a 2-d array, or an Arrow array of lists or of bytes,
            of what a row may be (`vectors.vector_column`); half-precision vectors also as lists of the bytes (uint8)
            of each.
    Raises: DimensionMismatch, NotFinite, InvalidData: the message names the row.
    """
    if field.dtype == DataType.FLOAT_VECTOR:
        return float_matrix(field, given, first_row)
    stored = _stored_matrix(field, given, first_row)
    if stored is not None:
        return stored
    try:
        return vector_column(field, _typed_rows(field, given))
    except InvalidData as error:
        raise _from_first(error, first_row) from error


def _stored_matrix(field: Field, given: Column, first_row: int) -> VectorArray | None:
    """Return vectors that are all as the field stores them; None where any needs a closer look."""
    if isinstance(given, np.ndarray):
        matrix = given
    else:
        column = _storage(given)
        if not pa.types.is_fixed_size_list(column.type) or column.null_count or column.flatten().null_count:
            return None
        matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if matrix.ndim != 2 or matrix.dtype != field.vector_dtype or matrix.shape[1:] != field.row_shape:
        return None
    if not_finite(matrix).any():
        return None
    check_length(matrix, field, "row {}, field " + repr(field.name), first_row)
    return np.ascontiguousarray(matrix)


def _typed_rows(field: Field, given: Column) -> list[Any]:
    """Return vectors of fewer bits one by one."""
    if isinstance(given, np.ndarray):
        return list(given)
    column, size_bytes = _storage(given), field.row_shape[0] * field.vector_dtype.itemsize
    kind = column.type
    is_fixed = pa.types.is_fixed_size_list(kind)
    is_list = is_fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    # Bytes above 127 would be negative numbers of an INT8_VECTOR, so its uint8 are numbers.
    is_bytes = is_list and pa.types.is_uint8(kind.value_type) and field.dtype != DataType.INT8_VECTOR
    if not is_fixed or column.null_count or column.flatten().null_count:
        rows = column.to_pylist()
        return [bytes(row) if is_bytes and row and len(row) == size_bytes and None not in row else row for row in rows]
    matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if is_bytes and matrix.shape[1] == size_bytes:
        return list(np.ascontiguousarray(matrix).view(field.vector_dtype))
    return list(matrix) if matrix.dtype.kind == "f" or matrix.dtype == field.vector_dtype else list(matrix.tolist())


def float_matrix(field: Field, given: Column, first_row: int = 0) -> FloatArray:
    """Return vectors as (n_rows, dim) float32; what is that already is not copied.

    Args:
        given: a 2-d array of floats; an Arrow array of lists of numbers, of fixed size or not.
    Raises: DimensionMismatch, NotFinite, InvalidData: the message names the row.
    """
    flat = _matrix(field, given) if isinstance(given, np.ndarray) else _listed(field, given, first_row)
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(flat, dtype=np.float32)
    check_finite(matrix, field, "row {}, field " + repr(field.name), first_row)
    return matrix


def _matrix(field: Field, given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if given.dtype == object:
        return _listed(field, pa.array(list(given)), 0)
    if given.ndim != 2 or not is_float(given.dtype):
        raise InvalidData(
            f"field {field.name!r}: given {shown(given)}; vectors are a 2-d array of {FLOAT_ARRAYS}, a row each: "
            f"convert it with .astype('float32')"
        )
    if given.shape[1] != field.dim:
        raise DimensionMismatch(
            f"field {field.name!r}: given vectors of length {given.shape[1]}; the field has dimension {field.dim}"
        )
    return given


def _listed(field: Field, column: pa.Array, first_row: int) -> npt.NDArray[Any]:
    column = _storage(column)
    kind = column.type
    is_fixed = pa.types.is_fixed_size_list(kind)
    if not (is_fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not _is_number(kind.value_type):
        raise InvalidData(
            f"field {field.name!r} ({field.dtype.name}): given a column of {kind}; a vector is a list of numbers"
            + ("; sparse vectors go into a SPARSE_FLOAT_VECTOR field" if pa.types.is_map(kind) else "")
        )
    where = f"field {field.name!r}"
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise InvalidData(f"row {first_row + row}, {where}: given None; a vector is a list of numbers")
    if is_fixed and kind.list_size != field.dim:
        raise DimensionMismatch(
            f"{where}: given vectors of length {kind.list_size}; the field has dimension {field.dim}"
        )
    if not is_fixed:
        lengths = pc.list_value_length(column)
        row = pc.index(pc.not_equal(lengths, field.dim), True).as_py()
        if row >= 0:
            raise DimensionMismatch(
                f"row {first_row + row}, {where}: given a vector of length {lengths[row].as_py()}; "
                f"the field has dimension {field.dim}"
            )
    inner = column.flatten()
    if inner.null_count:
        place = pc.index(pc.is_null(inner), True).as_py()
        row, element = divmod(place, field.dim or 1)
        raise InvalidData(
            f"row {first_row + row}, {where}: element {element} is None; every element of a vector is a number"
        )
    return np.asarray(inner.to_numpy(zero_copy_only=False)).reshape(len(column), field.dim or 0)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
