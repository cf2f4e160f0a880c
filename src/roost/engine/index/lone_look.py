"""One query's look at a sketch in a single call, compiled from `lone_look.c`.

It lists the rows that seem nearest and compares the first of them, without the interpreter and its lock. Where nothing
is compiled (the install found no compiler, or the processor has no AVX2), `lone_scan.py` takes these steps with Faiss.
"""

from __future__ import annotations

import ctypes
import logging
import zlib
from copy import copy
from pathlib import Path
from threading import local
from typing import Any, ClassVar, NamedTuple

import numpy as np

from roost.engine.columns import Bitmap, Bytes, FloatArray, IntArray

MAX_LISTED, MAX_NUMBERS, MAX_ROWS = 2_048, 64, 2**32
"""What `lone_look.c` has room for."""

_BLOCK, _ROOM = 32, 4 * MAX_LISTED
_METRICS = {"L2": 0, "IP": 1, "COSINE": 2}


class Look(NamedTuple):
    """What a look at a sketch shows of one query. The arrays may be written again by the next look of the thread.

    Attributes:
        rows: (n_listed,) int64, the rows that seem nearest, nearest first.
        seeming: (n_listed,) float32, their distances by the sketch, off by what is the same for all.
        found: (n_compared,) float32, the distances of the first of them.
        mean: of the distances less what they seem to be.
        spread: standard deviation of that.
    """

    rows: IntArray
    seeming: FloatArray
    found: FloatArray
    mean: float
    spread: float


class _Sketch(ctypes.Structure):
    """`Sketch` in `lone_look.c`."""

    _fields_: ClassVar[Any] = (
        *((name, ctypes.c_int64) for name in ("n_rows", "dim", "n_axes", "n_numbers", "metric")),
        *((name, ctypes.c_void_p) for name in ("axes", "mean", "moved", "levels", "blocks", "rows")),
        *((name, ctypes.c_double) for name in ("rest", "shared")),
    )


def _load(path: Path) -> Any:
    """Return the compiled library; None where there is none of the source beside it that fits this processor."""
    try:
        library = ctypes.CDLL(str(path))
        library.roost_source.restype = ctypes.c_uint32
        source = zlib.crc32(path.with_name("lone_look.c").read_bytes())
        if library.roost_source() != source or not library.roost_is_supported():
            return None
    except (OSError, AttributeError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.roost_pack.argtypes, library.roost_pack.restype = (pointer, number, number, pointer), None
    library.roost_look.argtypes = (*[pointer] * 5, number, number, *[pointer] * 5)
    library.roost_look.restype = number
    return library


LIBRARY: Any = _load(Path(__file__).with_name("_lone_look.so"))
if LIBRARY is None:
    logging.getLogger(__name__).info("no compiled library fits: lone queries beside writes take the longer way")


class _Room(local):
    """Where the looks of a thread put what they find."""

    def __init__(self) -> None:
        self.keys = np.empty(2 * _ROOM, np.uint64)
        self.rows = np.empty(MAX_LISTED, np.int64)
        self.seeming = np.empty(MAX_LISTED, np.float32)
        self.found = np.empty(MAX_LISTED, np.float32)
        self.off = np.empty(2)
        self.places = tuple(a.ctypes.data for a in (self.keys, self.rows, self.seeming, self.found, self.off))


_room = _Room()


class CompiledSketch:
    """The rows of a sketch as the library reads them. Any number of threads may look at once."""

    def __init__(
        self,
        codes: Bytes,
        levels: FloatArray,
        axes: FloatArray,
        mean: FloatArray,
        moved: FloatArray,
        metric: str,
        rest: float,
        shared: float,
    ) -> None:
        """Copy the codes of rows.

        Args:
            codes: (n_rows, ceil(n_numbers / 2)), as in `Sketch`.
            levels: (n_numbers, 16).
            axes: (n_axes, dim); of n_numbers, one may be the length of what lies beyond the axes.
            mean: (dim,), from where that is measured.
            moved: (n_numbers,), added to the product of the axes with a query.
            rest: a query is strange that lies farther from the axes (see `Sketch.turned`).
            shared: the share of its way beyond the axes that is kept of a query which is not.
        """
        self._described = tuple(np.ascontiguousarray(a, np.float32) for a in (axes, mean, moved, levels))
        self._sizes = (axes.shape[1], len(axes), len(levels), _METRICS[metric])
        self._rests = (rest, shared)
        self._hold(codes, None)

    def _hold(self, codes: Bytes, rows: IntArray | None) -> None:
        n_numbers = self._sizes[2]
        codes = np.ascontiguousarray(codes)
        blocks = np.empty((-(-len(codes) // _BLOCK), 2 * codes.shape[1], _BLOCK // 2), np.uint8)
        LIBRARY.roost_pack(codes.ctypes.data, len(codes), n_numbers, blocks.ctypes.data)
        self._held = blocks, rows
        places = (
            *(a.ctypes.data for a in self._described),
            blocks.ctypes.data,
            None if rows is None else rows.ctypes.data,
        )
        self._sketch = _Sketch(len(codes), *self._sizes, *places, *self._rests)
        self._place = ctypes.addressof(self._sketch)

    def excerpt(self, codes: Bytes, rows: IntArray) -> CompiledSketch:
        """Return the sketch of some rows.

        Args:
            codes: of these.
            rows: (m,) int64, C-contiguous, their numbers among the vectors, which a look lists; not modified, and kept.
        """
        made = copy(self)
        made._hold(codes, rows)
        return made

    def look(
        self,
        query: FloatArray,
        vectors: FloatArray,
        inverse_norms: FloatArray | None,
        allowed: Bitmap | None,
        n_listed: int,
        n_compared: int,
    ) -> Look | None:
        """List the rows that seem nearest to a query, and compare the first of them.

        Args:
            query: (1, dim) float32, C-contiguous; normalised for a cosine.
            vectors: (n_rows, dim) float32, C-contiguous; of an excerpt all rows, of which it lists its own.
            inverse_norms: (n_rows,) float32, for a cosine, and for that alone.
            allowed: (ceil(n_rows / 8),), the rows that may be listed; None for all, and of an excerpt.
            n_listed: up to `MAX_LISTED` and the number of allowed rows.
            n_compared: from 1 to n_listed.
        Returns: None where rows cannot be ordered by the sketch, or too many of them seem equally far.
        Raises: ValueError: an array or a number is not as it should be.
        """
        if not (1 <= n_compared <= n_listed <= MAX_LISTED and _fits(query) and _fits(vectors)):
            raise ValueError(f"a look needs contiguous float32, and 1 <= {n_compared} <= {n_listed} <= {MAX_LISTED}")
        room = _room
        n = LIBRARY.roost_look(
            self._place,
            query.ctypes.data,
            vectors.ctypes.data,
            None if inverse_norms is None else inverse_norms.ctypes.data,
            None if allowed is None else allowed.ctypes.data,
            n_listed,
            n_compared,
            *room.places,
        )
        if n < n_listed:
            return None
        mean, spread = room.off.tolist()
        return Look(room.rows[:n], room.seeming[:n], room.found[:n_compared], mean, spread)


def _fits(array: FloatArray) -> bool:
    return array.dtype == np.float32 and array.flags.c_contiguous
