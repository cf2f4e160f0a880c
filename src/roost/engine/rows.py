"""Dict rows, as users give them, to a checked `Batch`.

A batch is right as a whole or refused as a whole. Columns are checked as columns; only when one does
not fit are its rows looked at one by one, to name the first that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pymilvus import DataType

from roost.engine.columns import Batch
from roost.engine.schema import DYNAMIC_FIELD, SPARSE, Field, Schema
from roost.engine.sparse_vectors import sparse_bytes
from roost.engine.vectors import shown, vector_column
from roost.errors import DuplicateKey, InvalidData, NotFinite

MAX_JSON_BYTES: Final = 65_536
"""Milvus's limit for one JSON value, and for the dynamic keys of one row together."""

_INTEGERS: Final = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_FLOATS: Final[Mapping[DataType, type[np.floating[Any]]]] = {DataType.FLOAT: np.float32, DataType.DOUBLE: np.float64}
_EMPTY_OBJECT: Final = b"{}"
_MOST_BYTES_PER_CHARACTER: Final = 4


def batch_from_rows(
    schema: Schema, rows: Sequence[Mapping[str, Any]], new_keys: Callable[[int], Sequence[int]] | None = None
) -> Batch:
    """Return rows as columns.

    Args:
        rows: at least one dict from field name to value. Values are Python's or NumPy's: bool, int,
            float and str for scalars; for JSON what JSON can hold, or a str of JSON text; for vectors
            a list of numbers or a 1-d float array.
        new_keys: gives n unused primary keys; used where the schema sets auto_id.
    Raises:
        InvalidData: a row is not a dict, misses a field, has a key that the schema does not allow, or a
            value of the wrong type or out of its range. The message names the row and the field.
        DimensionMismatch, NotFinite: of a vector, see `vector_column`; NotFinite also of a float.
        DuplicateKey: two rows have the same primary key.
    """
    _check_dicts(rows)
    given = [f for f in schema.fields if not (f.is_dynamic or f.auto_id)]
    values: dict[str, Sequence[Any]] = {f.name: _column(f, rows) for f in given}
    extras = _extra_keys(schema, rows, values)
    if schema.primary.auto_id:
        keys = (new_keys or _no_keys)(len(rows))
        values[schema.primary.name] = list(map(str, keys)) if schema.primary.max_length else keys
    arrays = []
    for field in schema.scalars:
        if field.is_dynamic:
            arrays.append(_json_array(field, extras, len(rows)))
        else:
            arrays.append(scalar_array(field, values[field.name]))
    _check_unique(schema.primary, values[schema.primary.name])
    vectors = {f.name: vector_column(f, values[f.name]) for f in schema.matrices}
    return Batch(pa.RecordBatch.from_arrays(arrays, schema=schema.arrow_schema), vectors)


def _no_keys(n: int) -> Sequence[int]:
    raise InvalidData(f"{n} rows need new primary keys and nothing gives them")


def _check_dicts(rows: Sequence[Any]) -> None:
    if set(map(type, rows)) != {dict}:
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InvalidData(f"row {i} is {shown(row)}; every row is a dict from field name to value")


def _column(field: Field, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return one field of every row; where the field has a default it stands in for what is missing."""
    name = field.name
    if field.default is not None:
        found = [row.get(name) for row in rows]
        return [field.default if value is None else value for value in found]
    try:
        return [row[name] for row in rows]
    except KeyError:
        i = next(i for i, row in enumerate(rows) if name not in row)
        keys = ", ".join(map(repr, list(rows[i])[:8])) or "no keys"
        raise InvalidData(
            f"row {i}: field {name!r} ({field.dtype.name}) is missing; the row has {keys}. "
            f"Every field of the schema needs a value"
        ) from None


def _extra_keys(schema: Schema, rows: Sequence[Mapping[str, Any]], known: Mapping[str, Any]) -> list[Any] | None:
    """Return per row the keys that the schema does not name; None where no row has any.

    Raises: InvalidData: there is such a key, and the schema has no dynamic field; or it is reserved.
    """
    n_known = len(known)
    if all(len(row) == n_known for row in rows) and all(f.default is None for f in schema.fields):
        return None
    extras = [{k: v for k, v in row.items() if k not in known} for row in rows]
    if not any(extras):
        return None
    for i, extra in enumerate(extras):
        if schema.primary.auto_id and schema.primary.name in extra:
            raise InvalidData(
                f"row {i}: primary key {schema.primary.name!r} is given, but the collection makes its own (auto_id); "
                f"leave it out"
            )
        if extra and not schema.enable_dynamic:
            names = ", ".join(f.name for f in schema.fields)
            raise InvalidData(
                f"row {i}: field {next(iter(extra))!r} is not in the schema ({names}), and the collection has no "
                f"dynamic field; leave it out, or create the collection with enable_dynamic_field=True"
            )
        if DYNAMIC_FIELD in extra:
            raise InvalidData(f"row {i}: the key {DYNAMIC_FIELD!r} is reserved; give its keys as keys of the row")
    return extras


def _check_unique(primary: Field, keys: Sequence[Any]) -> None:
    if len(set(keys)) == len(keys):
        return
    seen: dict[Any, int] = {}
    for i, key in enumerate(keys):
        if key in seen:
            plain = key.item() if isinstance(key, np.generic) else key
            raise DuplicateKey(
                f"rows {seen[key]} and {i} have the same primary key {primary.name}={plain!r}; "
                f"a batch holds each key once: keep the row that you want"
            )
        seen[key] = i


def scalar_array(field: Field, values: Sequence[Any]) -> pa.Array:
    """Return the values of a scalar field as it is stored.

    Raises: InvalidData, NotFinite: of the first value that is of the wrong type or out of its range.
    """
    if field.dtype == DataType.JSON:
        return _json_array(field, values, len(values))
    if field.dtype == SPARSE:
        return pa.array(sparse_bytes(field, values, "row {}, field " + repr(field.name)), field.arrow_type)
    types = set(map(type, values))
    try:
        if field.dtype in _INTEGERS:
            return _integer_array(field, values, types)
        if field.dtype in _FLOATS:
            return _float_array(field, values, types)
        if field.dtype == DataType.BOOL:
            return _bool_array(field, values, types)
        return _string_array(field, values, types)
    except _Misfit as misfit:
        raise _refusal(field, values, misfit) from None


class _Misfit(Exception):
    """Some value does not fit: which ones, and what would."""

    def __init__(self, fits: Callable[[Any], bool], allowed: str) -> None:
        self.fits = fits
        self.allowed = allowed


def _refusal(field: Field, values: Sequence[Any], misfit: _Misfit) -> InvalidData:
    """Return the error that names the first value which does not fit."""
    i, bad = next((i, v) for i, v in enumerate(values) if not misfit.fits(v))
    not_finite = isinstance(bad, (float, np.floating)) and not math.isfinite(bad)
    error = NotFinite if not_finite and field.dtype in _FLOATS else InvalidData
    return error(f"row {i}, field {field.name!r} ({field.dtype.name}): given {shown(bad)}; allowed: {misfit.allowed}")


def _is_integer(kind: type) -> bool:
    return issubclass(kind, (int, np.integer)) and kind is not bool


def _is_real(kind: type) -> bool:
    return issubclass(kind, (int, float, np.integer, np.floating, np.bool_))


def _integer_array(field: Field, values: Sequence[Any], types: set[type]) -> pa.Array:
    bits = _INTEGERS[field.dtype]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if all(map(_is_integer, types)):
        try:
            return pa.array(values, field.arrow_type)
        except (pa.ArrowInvalid, OverflowError):
            pass
    raise _Misfit(lambda v: _is_integer(type(v)) and low <= v <= high, f"an int from {low} to {high}")


def _float_array(field: Field, values: Sequence[Any], types: set[type]) -> pa.Array:
    kind = _FLOATS[field.dtype]
    if all(map(_is_real, types)):
        try:
            with np.errstate(over="ignore"):
                column = np.array(values, dtype=np.float64).astype(kind, copy=False)
        except OverflowError:
            column = np.array([math.inf])
        if np.isfinite(column).all():
            return pa.array(column)
    largest = float(np.finfo(kind).max)

    def fits(value: Any) -> bool:
        try:
            return _is_real(type(value)) and abs(float(value)) <= largest
        except OverflowError:
            return False

    raise _Misfit(fits, f"a finite number of at most {largest:.4g} in size")


def _bool_array(field: Field, values: Sequence[Any], types: set[type]) -> pa.Array:
    if types <= {bool, np.bool_}:
        return pa.array(values, field.arrow_type)

    def fits(value: Any) -> bool:
        return isinstance(value, (bool, np.bool_)) or (_is_integer(type(value)) and value in (0, 1))

    if all(map(fits, values)):
        return pa.array(list(map(bool, values)), field.arrow_type)
    raise _Misfit(fits, "True or False")


def _string_array(field: Field, values: Sequence[Any], types: set[type]) -> pa.Array:
    longest = field.max_length or 0

    def fits(value: Any) -> bool:
        try:
            return isinstance(value, str) and len(value.encode()) <= longest
        except UnicodeEncodeError:
            return False

    if all(issubclass(kind, str) for kind in types):
        try:
            column = pa.array(values, field.arrow_type)
        except UnicodeEncodeError:
            column = None
        if column is not None and _longest_bytes(column, values, longest) <= longest:
            return column
    raise _Misfit(fits, f"a str of at most {longest} bytes in UTF-8 (max_length counts bytes)")


def _longest_bytes(column: pa.Array, values: Sequence[str], enough: int) -> int:
    """Return an upper bound, at most `enough`, of the longest string's bytes; or the exact number."""
    bound = max(map(len, values)) * _MOST_BYTES_PER_CHARACTER
    return bound if bound <= enough else int(pc.max(pc.binary_length(column)).as_py())


def _json_array(field: Field, values: Sequence[Any] | None, n_rows: int) -> pa.Array:
    """Return values as their compact JSON text; None stands for a row of no dynamic keys each."""
    if values is None:
        return pa.array([_EMPTY_OBJECT] * n_rows, field.arrow_type)
    return pa.array([_json_text(field, i, value) for i, value in enumerate(values)], field.arrow_type)


def _json_text(field: Field, row: int, value: Any) -> bytes:
    where = f"row {row}, dynamic keys" if field.is_dynamic else f"row {row}, field {field.name!r} (JSON)"
    if value is None:
        raise InvalidData(f"{where}: given None; allowed: a dict, list, number or bool, or a str of JSON text")
    try:
        text = orjson.dumps(orjson.loads(value) if isinstance(value, str) else value, default=_plain)
    except orjson.JSONDecodeError as error:
        raise InvalidData(
            f"{where}: the str {shown(value)} is not JSON text ({error}); for a JSON string pass json.dumps(value)"
        ) from None
    except TypeError as error:
        raise InvalidData(
            f"{where}: {shown(value)} cannot be JSON: {error}; keys are str, numbers have 64 bits"
        ) from None
    if len(text) > MAX_JSON_BYTES:
        raise InvalidData(f"{where}: {len(text)} bytes of JSON text; at most {MAX_JSON_BYTES} are allowed")
    return text


def _plain(value: Any) -> Any:
    """Return a NumPy value as Python's; orjson calls this for what it does not know."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
