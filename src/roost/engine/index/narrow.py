"""Vectors in fewer bits than float32: how each stored type is computed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from roost.engine.columns import FloatArray, IntArray, VectorArray

FLOAT32: Final = np.dtype(np.float32)
FLOAT16: Final = np.dtype(np.float16)
BFLOAT16: Final = np.dtype(np.uint16)
"""The bits of a bfloat16, which NumPy does not have: the upper half of a float32."""
BITS: Final = np.dtype(np.uint8)
"""Eight numbers of a binary vector."""

SCALARS: Final[Mapping[np.dtype[Any], int]] = {
    FLOAT16: faiss.ScalarQuantizer.QT_fp16,
    BFLOAT16: faiss.ScalarQuantizer.QT_bf16,
    np.dtype(np.int8): faiss.ScalarQuantizer.QT_8bit_direct_signed,
}
"""Faiss's code that holds the numbers of a stored type exactly, in the same width."""

BLOCK_FLOATS: Final = 1 << 20
"""Numbers that are converted at once: 4 MiB of float32."""

_EXPONENTS_APART: Final = np.float32(2.0**112)
_HALF_IN_PLACE: Final = np.int32(-0x70002000)  # 0x8FFFE000: the sign, and exponent and fraction behind it


def as_float32(vectors: VectorArray) -> FloatArray:
    """Return vectors of a stored type (not binary ones) as float32, exactly; float32 is returned as it is.

    Numbers of 16 bits are moved to where float32 has them, which takes a third of the time of NumPy's own conversion.
    """
    if vectors.dtype == FLOAT32:
        return vectors
    out = np.empty(vectors.shape, np.float32)
    if vectors.dtype == FLOAT16:
        bits = out.view(np.int32)
        np.left_shift(vectors.view(np.int16), 13, out=bits, dtype=np.int32)
        bits &= _HALF_IN_PLACE
        out *= _EXPONENTS_APART  # right for subnormal numbers too; infinities are not stored
    elif vectors.dtype == BFLOAT16:
        np.left_shift(vectors, 16, out=out.view(np.uint32), dtype=np.uint32)
    else:
        out[...] = vectors
    return out


def to_bfloat16(vectors: FloatArray) -> npt.NDArray[np.uint16]:
    """Return finite float32 numbers rounded to the nearest bfloat16, ties to even; too large ones become infinite."""
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def not_finite(vectors: VectorArray) -> npt.NDArray[np.bool_]:
    """Return which stored numbers are NaN or infinite."""
    if vectors.dtype == BFLOAT16:
        largest: npt.NDArray[np.bool_] = (vectors & np.uint16(0x7F80)) == np.uint16(0x7F80)
        return largest
    if vectors.dtype.kind == "f":
        return ~np.isfinite(vectors)
    return np.zeros(vectors.shape, np.bool_)


def blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Return runs of rows of so many numbers each that are converted at once."""
    step = max(256, BLOCK_FLOATS // max(1, width))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def drawn(n_rows: int, most: int) -> IntArray:
    """Return the numbers of all rows, or of so many of them, drawn at random but the same each time; ascending."""
    if n_rows <= most:
        return np.arange(n_rows)
    picked = np.random.default_rng(n_rows).choice(n_rows, most, replace=False)
    picked.sort()
    return picked
