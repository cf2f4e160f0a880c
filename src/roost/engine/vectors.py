"""Vectors as users give them (lists, arrays, bytes) to float32 matrices, checked."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from roost.engine.columns import FloatArray
from roost.engine.schema import Field
from roost.errors import DimensionMismatch, InvalidArgument, InvalidData, NotFinite

_FLOAT_TYPES: Final = (np.dtype(np.float32), np.dtype(np.float64))
_FLOAT32: Final = _FLOAT_TYPES[0]


def vector_column(field: Field, values: Sequence[Any]) -> FloatArray:
    """Return the vectors of a batch of rows as one (n_rows, dim) float32 array.

    Args:
        values: per row a list or tuple of numbers, or a 1-d float32 or float64 array.
    Raises:
        DimensionMismatch: a vector has another length than the field.
        NotFinite: a vector holds NaN, infinity, or a number that float32 cannot hold.
        InvalidData: a value is not a vector of numbers. Each message names the row.
    """
    matrix = _stack_arrays(field, values)
    if matrix is None:
        matrix = np.empty((len(values), field.dim or 0), dtype=np.float32)
        for i, value in enumerate(values):
            matrix[i] = _vector(value, field, f"row {i}, field {field.name!r}")
    _check_finite(matrix, field, "row {}, field " + repr(field.name))
    return matrix


def query_matrix(field: Field, data: Any) -> FloatArray:
    """Return query vectors as a (n_queries, dim) float32 array.

    Args:
        data: a 2-d float32 or float64 array, or a list of vectors: lists of numbers, 1-d arrays, or
            the bytes of little-endian float32.
    Raises:
        InvalidArgument: it is a single vector, empty, or of a type that is not taken.
        DimensionMismatch, NotFinite, InvalidData: as in `vector_column`; the message names the query.
    """
    if type(data) is np.ndarray and data.ndim == 2 and data.dtype in _FLOAT_TYPES and data.shape[0]:
        if data.shape[1] != field.dim:
            raise _wrong_length(data.shape[1], field, "every query")
        matrix = np.ascontiguousarray(data) if data.dtype == _FLOAT32 else _to_float32(data)
    else:
        stacked = _stack_arrays(field, data) if type(data) is list else None
        matrix = _queries_one_by_one(field, data) if stacked is None else stacked
    _check_finite(matrix, field, "query {}")
    return matrix


def _queries_one_by_one(field: Field, data: Any) -> FloatArray:
    vectors = list(data) if isinstance(data, list) or (isinstance(data, np.ndarray) and data.ndim) else None
    if not vectors or not all(isinstance(v, (list, np.ndarray, bytes)) for v in vectors):
        raise InvalidArgument(
            f"data= is {shown(data)}; it must be a list of vectors or a 2-d array of at least one row: "
            f"for one vector of dimension {field.dim} pass data=[vector]"
        )
    matrix = np.empty((len(vectors), field.dim or 0), dtype=np.float32)
    for i, value in enumerate(vectors):
        decoded = np.frombuffer(value, dtype="<f4") if _is_float32_bytes(value) else value
        matrix[i] = _vector(decoded, field, f"query {i}")
    return matrix


def _is_float32_bytes(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) % _FLOAT32.itemsize == 0


def _stack_arrays(field: Field, values: Sequence[Any]) -> FloatArray | None:
    """Return arrays that all fit as one matrix; None where any value needs a closer look."""
    if len(values) == 1:
        only = values[0]
        if type(only) is not np.ndarray or only.shape != (field.dim,) or only.dtype != _FLOAT32:
            return None
        return np.array(only[None])
    if set(map(type, values)) != {np.ndarray} or {v.shape for v in values} != {(field.dim,)}:
        return None
    if not {v.dtype for v in values} <= set(_FLOAT_TYPES):
        return None
    with np.errstate(over="ignore"):
        return np.concatenate(values, dtype=np.float32, casting="same_kind").reshape(len(values), -1)


def _vector(value: Any, field: Field, where: str) -> Any:
    """Return one vector of the right length; what float32 cannot hold comes out as infinity."""
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype not in _FLOAT_TYPES:
            raise InvalidData(
                f"{where}: given a {value.ndim}-d array of {value.dtype}; a vector is a 1-d array of float32 or "
                f"float64: convert it with .astype('float32')"
            )
        if len(value) != field.dim:
            raise _wrong_length(len(value), field, where)
        return _to_float32(value)
    if not isinstance(value, (list, tuple)):
        raise InvalidData(f"{where}: given {shown(value)}; a vector is a list of numbers or a NumPy array")
    if len(value) != field.dim:
        raise _wrong_length(len(value), field, where)
    try:
        return np.frombuffer(struct.pack(f"{field.dim}f", *value), dtype=np.float32)
    except OverflowError:
        return _to_float32(np.array(value, dtype=np.float64))
    except struct.error:
        at, bad = next((i, v) for i, v in enumerate(value) if not _is_number(v))
        raise InvalidData(f"{where}: element {at} is {shown(bad)}; every element of a vector is a number") from None


def _is_number(value: Any) -> bool:
    try:
        struct.pack("d", value)
    except struct.error:
        return False
    return True


def _to_float32(values: Any) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _check_finite(matrix: FloatArray, field: Field, where: str) -> None:
    flat = matrix.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(flat.dot(flat)):  # quick, and infinite also where only the squares overflow
            return
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise NotFinite(
            f"{where.format(row)}: element {column} is NaN, infinite, or too large for float32; "
            f"a vector of field {field.name!r} holds finite numbers only"
        )


def _wrong_length(given: int, field: Field, where: str) -> DimensionMismatch:
    return DimensionMismatch(
        f"{where}: given a vector of length {given}; field {field.name!r} has dimension {field.dim}"
    )


def shown(value: Any, longest: int = 60) -> str:
    """Return a value as an error message shows it, with its type."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= longest else text[: longest - 3] + '...'} ({type(value).__name__})"
