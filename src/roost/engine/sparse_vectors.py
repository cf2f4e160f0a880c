"""Sparse vectors as users give them (dicts, pairs, rows of SciPy) to the bytes that are stored, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from roost.engine.columns import VectorArray
from roost.engine.index.sparse_rows import MAX_INDEX, PAIR, sparse_rows
from roost.engine.schema import Field
from roost.engine.vectors import shown
from roost.errors import InvalidArgument, InvalidData, NotFinite


def sparse_bytes(field: Field, values: Sequence[Any], where: str) -> list[bytes]:
    """Return sparse vectors as the bytes of their pairs, in the order of their indices.

    Args:
        values: per vector a dict from index to number, a list of such pairs, or a SciPy matrix of one row.
        where: what is read, with a place for its number.
    Raises:
        InvalidData: a value is in no such form, an index is not a whole number from 0 to 2**32 - 2, or is there twice.
        NotFinite: a number is NaN, infinite, or too large for float32.
    """
    return [_one(value, field, where.format(i)) for i, value in enumerate(values)]


def sparse_queries(field: Field, data: Any) -> VectorArray:
    """Return query vectors.

    Args:
        data: a list of vectors as `sparse_bytes` takes them, or a SciPy matrix of a row for each.
    Raises: InvalidArgument: it is a single vector, or empty. As `sparse_bytes`; the message names the query.
    """
    if is_sparse_matrix(data):
        matrix = data.tocsr()
        data = [matrix[i : i + 1] for i in range(matrix.shape[0])] if len(matrix.shape) == 2 else []
    if (
        not isinstance(data, list)
        or not data
        or not all(isinstance(v, (dict, list)) or is_sparse_matrix(v) for v in data)
    ):
        raise InvalidArgument(
            f"data= is {shown(data)}; it must be a list of sparse vectors: for one vector pass data=[{{index: number}}]"
        )
    return sparse_rows(sparse_bytes(field, data, "query {}"))


def sparse_map(name: str, matrix: Any) -> pa.Array:
    """Return the rows of a SciPy matrix as a column of Arrow maps from index to number; nothing is copied that fits.

    Args:
        name: of the column, for messages.
    Raises: InvalidData: it has no rows, or more numbers than a column can hold.
    """
    rows = matrix.tocsr()
    if len(rows.shape) != 2 or rows.nnz > np.iinfo(np.int32).max:
        raise InvalidData(
            f"column {name!r}: given a sparse matrix of shape {rows.shape} with {rows.nnz} numbers; it has a row for "
            f"each record, and {np.iinfo(np.int32).max} numbers at most: load the rows in parts"
        )
    numbers = rows.data if rows.data.dtype.kind == "f" else rows.data.astype(np.float64)
    return pa.MapArray.from_arrays(pa.array(rows.indptr, pa.int32()), pa.array(rows.indices), pa.array(numbers))


def sparse_value(stored: bytes) -> dict[int, float]:
    """Return a stored vector as results hold it: a dict from index to number."""
    pairs = np.frombuffer(stored, PAIR)
    return dict(zip(pairs["index"].tolist(), pairs["value"].tolist(), strict=True))


def is_sparse_matrix(value: Any) -> bool:
    """Whether a value is a sparse matrix or array of SciPy, which need not be installed."""
    return hasattr(value, "tocsr") and hasattr(value, "nnz")


def _one(value: Any, field: Field, where: str) -> bytes:
    indices, numbers = _parts(value, field, where)
    pairs = np.empty(len(indices), PAIR)
    order = np.argsort(indices, kind="stable")
    with np.errstate(over="ignore"):
        pairs["index"], pairs["value"] = indices[order], numbers[order]
    twice = np.flatnonzero(np.diff(indices[order]) == 0)
    if len(twice):
        raise InvalidData(f"{where}: index {int(indices[order][twice[0]])} is there twice; each has one number")
    if not np.isfinite(pairs["value"]).all():
        bad = int(pairs["index"][~np.isfinite(pairs["value"])][0])
        raise NotFinite(f"{where}: the number at index {bad} is NaN, infinite, or too large for float32")
    return pairs.tobytes()


def _parts(value: Any, field: Field, where: str) -> tuple[Any, Any]:
    """Return the indices (int64) and the numbers (float64) of a vector."""
    if is_sparse_matrix(value):
        row = value.tocsr()
        if row.shape[:-1] not in ((), (1,)):
            raise InvalidData(f"{where}: given a matrix of shape {row.shape}; a sparse vector is a matrix of one row")
        return row.indices.astype(np.int64), row.data.astype(np.float64)
    if isinstance(value, Mapping):
        keys, numbers = list(value.keys()), list(value.values())
    elif isinstance(value, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in value):
        keys, numbers = [p[0] for p in value], [p[1] for p in value]
    else:
        raise InvalidData(
            f"{where}: given {shown(value)}; a vector of {field.dtype.name} is a dict from index to number, a list of "
            f"such pairs, or a SciPy matrix of one row"
        )
    for key in keys:
        if not isinstance(key, (int, np.integer)) or isinstance(key, bool) or not 0 <= key <= MAX_INDEX:
            raise InvalidData(f"{where}: index {shown(key)} is not allowed; it is a whole number from 0 to {MAX_INDEX}")
    for held in numbers:
        if not isinstance(held, (int, float, np.integer, np.floating)) or isinstance(held, bool):
            raise InvalidData(f"{where}: {shown(held)} is not allowed; a sparse vector holds numbers")
    try:
        return np.array(keys, np.int64), np.array(numbers, np.float64)
    except OverflowError:
        raise NotFinite(f"{where}: a number is too large for float32") from None
