"""Vectors as users give them (lists, arrays, bytes) to matrices of the stored type, checked."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import faiss
import numpy as np
from pymilvus import DataType

from roost.engine.columns import FloatArray, VectorArray
from roost.engine.index.narrow import as_float32, not_finite, to_bfloat16
from roost.engine.schema import Field
from roost.errors import DimensionMismatch, InvalidArgument, InvalidData, NotFinite

_FLOAT32: Final = np.dtype(np.float32)
FLOAT_ARRAYS: Final = "float16, float32 or float64"
"""Of these types arrays are taken as numbers; float16 is widened, which changes none of them."""

MAX_LENGTH: Final = 2.0**62
"""The Euclidean length of the longest vector that is taken: the square of twice that is well within float32, so no
distance or inner product of two vectors overflows it. Rows at infinite distances would be found by no index."""

_FLOAT_VECTOR: Final = DataType.FLOAT_VECTOR
_HALF_TYPES: Final = (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)

_FORMS: Final[Mapping[DataType, str]] = {
    DataType.FLOAT16_VECTOR: "a list of numbers, an array of float16, float32 or float64, or the bytes of float16",
    DataType.BFLOAT16_VECTOR: (
        "a list of numbers, an array of bfloat16 (of ml_dtypes), of its bits as uint16, of float32 or float64, or the "
        "bytes of bfloat16"
    ),
    DataType.INT8_VECTOR: "a list of whole numbers from -128 to 127, an array of int8, or the bytes of int8",
    DataType.BINARY_VECTOR: "the bytes, an array of uint8 or a list of whole numbers from 0 to 255; each holds 8 bits",
}
"""How vectors of the types beside float32 are given."""


def vector_column(field: Field, values: Sequence[Any]) -> VectorArray:
    """Return the vectors of a batch of rows as one array of the field's stored type, a row each.

    Args:
        values: per row a list or tuple of numbers, or a 1-d array; of FLOAT_VECTOR float16, float32 or float64.
            Half-precision types take arrays of their own type, and round those of float32 and float64; these and
            INT8_VECTOR and BINARY_VECTOR take the bytes of a vector.
    Raises:
        DimensionMismatch: a vector has another length than the field.
        NotFinite: a vector holds NaN, infinity, or a number that its type cannot hold, or is longer than `MAX_LENGTH`.
        InvalidData: a value is not a vector of numbers. Each message names the row.
    """
    if field.dtype is not _FLOAT_VECTOR:
        return _typed_matrix(field, values, "row {}, field " + repr(field.name))
    matrix = _stack_arrays(field, values)
    if matrix is None:
        matrix = np.empty((len(values), field.dim or 0), dtype=np.float32)
        for i, value in enumerate(values):
            matrix[i] = _vector(value, field, f"row {i}, field {field.name!r}")
    check_finite(matrix, field, "row {}, field " + repr(field.name))
    return matrix


def query_matrix(field: Field, data: Any) -> VectorArray:
    """Return query vectors as a (n_queries, dim) float32 array; binary ones as they are stored.

    Args:
        data: a 2-d float16, float32 or float64 array, or a list of vectors: lists of numbers, 1-d arrays, or
            the bytes of little-endian float32. For other types what `vector_column` takes; numbers are rounded
            as those of rows are.
    Raises:
        InvalidArgument: it is a single vector, empty, or of a type that is not taken.
        DimensionMismatch, NotFinite, InvalidData: as in `vector_column`; the message names the query.
    """
    if field.dtype is not _FLOAT_VECTOR:
        asked = _typed_matrix(field, _listed(field, data), "query {}")
        return asked if field.dtype is DataType.BINARY_VECTOR else as_float32(asked)
    if type(data) is np.ndarray and data.ndim == 2 and is_float(data.dtype) and data.shape[0]:
        if data.shape[1] != field.dim:
            raise _wrong_length(data.shape[1], field, "every query")
        matrix = np.ascontiguousarray(data) if data.dtype == _FLOAT32 else _to_float32(data)
    else:
        stacked = _stack_arrays(field, data) if type(data) is list else None
        matrix = _queries_one_by_one(field, data) if stacked is None else stacked
    check_finite(matrix, field, "query {}")
    return matrix


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of a type are taken as numbers: `FLOAT_ARRAYS`, in any order of bytes."""
    return dtype.kind == "f" and dtype.itemsize <= 8


def _queries_one_by_one(field: Field, data: Any) -> FloatArray:
    vectors = _listed(field, data)
    matrix = np.empty((len(vectors), field.dim or 0), dtype=np.float32)
    for i, value in enumerate(vectors):
        decoded = np.frombuffer(value, dtype="<f4") if _is_float32_bytes(value) else value
        matrix[i] = _vector(decoded, field, f"query {i}")
    return matrix


def _listed(field: Field, data: Any) -> list[Any]:
    """Return query vectors as a list of at least one. Raises: InvalidArgument: they are given in no such form."""
    vectors = list(data) if isinstance(data, list) or (isinstance(data, np.ndarray) and data.ndim) else None
    if not vectors or not all(isinstance(v, (list, np.ndarray, bytes)) for v in vectors):
        raise InvalidArgument(
            f"data= is {shown(data)}; it must be a list of vectors or a 2-d array of at least one row: "
            f"for one vector of dimension {field.dim} pass data=[vector]"
        )
    return vectors


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
    kinds = {v.dtype for v in values}
    if kinds == {_FLOAT32} and (joined := _joined(values)) is not None:
        return joined.reshape(len(values), -1)
    if not all(map(is_float, kinds)):
        return None
    with np.errstate(over="ignore"):
        return np.concatenate(values, dtype=np.float32, casting="same_kind").reshape(len(values), -1)


def _joined(arrays: Sequence[Any]) -> FloatArray | None:
    """Return the numbers of arrays behind one another; None where one of them does not lie in one piece.

    In one step, while NumPy gives up the interpreter lock for each array, and waits for it when others search.
    """
    try:
        return np.frombuffer(bytearray().join(arrays), np.float32)
    except TypeError:
        return None


def _vector(value: Any, field: Field, where: str) -> Any:
    """Return one vector of the right length; what float32 cannot hold comes out as infinity."""
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or not is_float(value.dtype):
            raise InvalidData(
                f"{where}: given a {value.ndim}-d array of {value.dtype}; a vector is a 1-d array of "
                f"{FLOAT_ARRAYS}: convert it with .astype('float32')"
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
        at, bad = next((i, v) for i, v in enumerate(value) if not _fits(v, "d"))
        raise InvalidData(f"{where}: element {at} is {shown(bad)}; every element of a vector is a number") from None


def _to_float32(values: Any) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def check_finite(matrix: FloatArray, field: Field, where: str, first_row: int = 0) -> None:
    """Refuse vectors that hold what is no finite number, or are so long that their distances would be none.

    Args:
        where: what is read, with a place for its number.
        first_row: the number of the first vector.
    Raises: NotFinite: of the first such element, or vector.
    """
    # Quick, and never true where a number is none or the squares overflow.
    flat = np.ascontiguousarray(matrix)
    if faiss.fvec_norm_L2sqr(faiss.swig_ptr(flat), flat.size) <= MAX_LENGTH**2:
        return
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise NotFinite(
            f"{where.format(first_row + row)}: element {column} is NaN, infinite, or too large for float32; "
            f"a vector of field {field.name!r} holds finite numbers only"
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    row = int(np.argmax(lengths > MAX_LENGTH))
    if lengths[row] > MAX_LENGTH:
        raise NotFinite(
            f"{where.format(first_row + row)}: the vector has the length {lengths[row]:.3g}; distances of vectors "
            f"longer than {MAX_LENGTH:.3g} are too large for float32: scale the vectors of field {field.name!r} down"
        )


def check_length(matrix: VectorArray, field: Field, where: str, first_row: int = 0) -> None:
    """Refuse stored vectors, none of them with a number that is not finite, that are too long: see `check_finite`."""
    if field.dtype == DataType.BFLOAT16_VECTOR and matrix.size:
        largest = as_float32(np.max(matrix & np.uint16(0x7FFF), keepdims=True))
        if float(largest.item()) ** 2 * (field.dim or 1) > MAX_LENGTH**2:
            check_finite(as_float32(matrix), field, where, first_row)


def _typed_matrix(field: Field, values: Sequence[Any], where: str) -> VectorArray:
    """Return vectors of a type beside float32 as one array.

    Args:
        where: what is read, with a place for its number.
    """
    shape, dtype = field.row_shape, field.vector_dtype
    size_bytes = shape[0] * dtype.itemsize
    kinds = set(map(type, values))
    matrix: VectorArray
    if kinds == {bytes} and {len(v) for v in values} == {size_bytes}:
        matrix = np.frombuffer(b"".join(values), dtype).reshape(-1, *shape)
    elif kinds == {np.ndarray} and {(v.dtype, v.shape) for v in values} == {(dtype, shape)}:
        matrix = np.stack(values)
    else:
        matrix = np.empty((len(values), *shape), dtype)
        for i, value in enumerate(values):
            matrix[i] = _typed_vector(value, field, where.format(i))
    bad = not_finite(matrix)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise NotFinite(
            f"{where.format(row)}: element {column} is NaN, infinite, or too large for {field.dtype.name}; "
            f"a vector of field {field.name!r} holds finite numbers only"
        )
    check_length(matrix, field, where)
    return matrix


def _typed_vector(value: Any, field: Field, where: str) -> VectorArray:
    """Return one vector of a type beside float32, as it is stored."""
    dtype, length = field.vector_dtype, field.row_shape[0]
    if isinstance(value, (bytes, bytearray)):
        if len(value) != length * dtype.itemsize:
            raise DimensionMismatch(
                f"{where}: given {len(value)} bytes; a vector of field {field.name!r} ({field.dtype.name}, dimension "
                f"{field.dim}) has {length * dtype.itemsize}"
            )
        return np.frombuffer(value, dtype)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        if value.dtype == dtype or (field.dtype == DataType.BFLOAT16_VECTOR and value.dtype.name == "bfloat16"):
            _check_length(value, field, where)
            return np.ascontiguousarray(value).view(dtype)
        if field.dtype in _HALF_TYPES and is_float(value.dtype) and value.dtype.itemsize > 2:
            return _half(_vector(value, field, where), field)
    elif isinstance(value, (list, tuple)):
        if field.dtype in _HALF_TYPES:
            return _half(_vector(value, field, where), field)
        _check_length(value, field, where)
        return _whole_numbers(value, field, where)
    raise InvalidData(f"{where}: given {shown(value)}; a vector of {field.dtype.name} is {_FORMS[field.dtype]}")


def _half(vector: FloatArray, field: Field) -> VectorArray:
    """Return float32 numbers rounded to a type of half the width; those that it cannot hold come out as infinity."""
    if field.dtype == DataType.BFLOAT16_VECTOR:
        return np.where(np.isfinite(vector), to_bfloat16(vector), np.uint16(0x7F80))
    with np.errstate(over="ignore"):
        return vector.astype(np.float16)


def _whole_numbers(value: Sequence[Any], field: Field, where: str) -> VectorArray:
    code = field.vector_dtype.char
    try:
        return np.frombuffer(struct.pack(f"{len(value)}{code}", *value), field.vector_dtype)
    except struct.error:
        at, bad = next((i, v) for i, v in enumerate(value) if not _fits(v, code))
        raise InvalidData(
            f"{where}: element {at} is {shown(bad)}; a vector of {field.dtype.name} is {_FORMS[field.dtype]}"
        ) from None


def _check_length(value: Any, field: Field, where: str) -> None:
    given, length = len(value), field.row_shape[0]
    if given != length:
        raise DimensionMismatch(
            f"{where}: given a vector of {given} numbers; one of field {field.name!r} ({field.dtype.name}, dimension "
            f"{field.dim}) has {length}"
        )


def _fits(value: Any, code: str) -> bool:
    try:
        struct.pack(code, value)
    except struct.error:
        return False
    return True


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
