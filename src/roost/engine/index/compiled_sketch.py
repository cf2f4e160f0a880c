"""One query answered from a sketch in a single call, compiled from `compiled_sketch.c`.

It lists the rows that seem nearest, compares the first of them and judges whether these will do, all without the
interpreter and its lock. Where nothing is compiled (the install found no compiler, or the processor has no AVX2),
`scan.py` takes these steps with Faiss.
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

from roost.engine.columns import Bitmap, Bytes, FloatArray, IntArray, Neighbours, aligned
from roost.engine.plan import (
    DISTINCT_FROM,
    EARLY_FROM,
    EARLY_SHARE,
    GROWTH_PER_LOOK,
    LARGEST_EXPONENT,
    LISTED_PER_COMPARED,
    LOOKS_AFTER_FIRST,
    MISSED_SHARE,
    Task,
    first_look,
    most_compared,
)

MAX_LISTED, MAX_NUMBERS, MAX_ROWS = 8_192, 64, 2**32
"""What `compiled_sketch.c` has room for: rows in a list, numbers of a row, rows of a sketch."""

_BLOCK, _ROOM, _MAX_LOOKS = 32, 4 * MAX_LISTED, 16
_UNORDERED, _ALL_ROWS = -1, -2
_METRICS = {"L2": 0, "IP": 1, "COSINE": 2}
_POINTER, _INTEGER, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


def _fields(**names: str) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a structure, in the order of the keywords: pointers, whole numbers, and other numbers."""
    kinds = {"pointers": _POINTER, "integers": _INTEGER, "reals": _REAL}
    return tuple((name, kinds[kind]) for kind, of_kind in names.items() for name in of_kind.split())


class _Sketch(ctypes.Structure):
    """`Sketch` in `compiled_sketch.c`."""

    _fields_: ClassVar[Any] = _fields(
        integers="n_rows dim n_axes n_numbers metric is_wide",
        pointers="axes mean moved levels blocks rows",
        reals="rest shared",
    )


class Judge(ctypes.Structure):
    """How the rows that a scan compares are judged: `Judge` in `compiled_sketch.c`."""

    _fields_: ClassVar[Any] = _fields(
        integers="k n_allowed n_first n_listed n_unbounded n_most distinct_from early_from looks_after_first",
        reals="early_share most_missed growth_per_look largest_exponent",
    )

    @classmethod
    def of(cls, task: Task, n_known: int = 0) -> Judge:
        """Return the judge of a task's rows, for one query. It may serve any number of scans, at once too.

        Args:
            task: of one query, with more allowed rows than it asks for.
            n_known: rows that were searched before for the same neighbours.
        """
        n_first, missed = first_look(task, n_known), MISSED_SHARE * task.k
        n_listed = min(LISTED_PER_COMPARED * n_first, task.n_allowed)
        n_most = min(most_compared(task), MAX_LISTED)
        counts = (task.k, task.n_allowed, n_first, n_listed, first_look(task), n_most)
        when = (DISTINCT_FROM, EARLY_FROM, LOOKS_AFTER_FIRST)
        return cls(*counts, *when, EARLY_SHARE, missed, GROWTH_PER_LOOK, LARGEST_EXPONENT)

    def among(self, n_allowed: int) -> Judge:
        """Return the judge of a few more rows, of which the same number is listed and compared."""
        found = Judge.from_buffer_copy(self)
        found.n_allowed = n_allowed
        return found

    @property
    def fits(self) -> bool:
        """Whether there are more rows than neighbours, and room for those that are listed first."""
        return bool(0 < self.n_first <= self.n_listed <= min(MAX_LISTED, self.n_allowed) and self.k < self.n_allowed)


class _Query(ctypes.Structure):
    """`Query` in `compiled_sketch.c`."""

    _fields_: ClassVar[Any] = _fields(pointers="query vectors inverse_norms allowed", reals="bound")


class _Answer(ctypes.Structure):
    """`Room` in `compiled_sketch.c`."""

    _fields_: ClassVar[Any] = (
        *_fields(pointers="keys rows seeming found places ids distances", integers="n_looks"),
        ("looks", _INTEGER * _MAX_LOOKS),
    )


class Scanned(NamedTuple):
    """What a scan of a sketch has found.

    Attributes:
        looks: how many rows were compared by the end of each look.
        neighbours: the nearest rows, (1, up to k); None where all rows have to be compared.
    """

    looks: list[int]
    neighbours: Neighbours | None


def _load(path: Path) -> Any:
    """Return the compiled library; None where there is none of the source beside it that fits this processor."""
    try:
        library = ctypes.CDLL(str(path))
        library.roost_source.restype = ctypes.c_uint32
        source = zlib.crc32(path.with_name("compiled_sketch.c").read_bytes())
        if library.roost_source() != source or not library.roost_is_supported():
            return None
    except (OSError, AttributeError):
        return None
    library.roost_block_bytes.argtypes, library.roost_block_bytes.restype = (_INTEGER,) * 2, _INTEGER
    library.roost_pack.argtypes, library.roost_pack.restype = (_POINTER, *(_INTEGER,) * 3, _POINTER), None
    library.roost_scan.argtypes, library.roost_scan.restype = (_POINTER,) * 4, _INTEGER
    return library


LIBRARY: Any = _load(Path(__file__).with_name("_compiled_sketch.so"))
IS_WIDE: bool = LIBRARY is not None and bool(LIBRARY.roost_is_wide())
"""Whether the processor reads rows that are packed for registers of 512 bits, which is quicker."""
if LIBRARY is None:
    logging.getLogger(__name__).info("no compiled library fits: lone queries beside writes take the longer way")


class _Room(local):
    """Where the scans of a thread put what they find."""

    def __init__(self) -> None:
        self.ids = np.empty((1, MAX_LISTED), np.int64)
        self.distances = np.empty((1, MAX_LISTED), np.float32)
        keys, rows, places = np.empty(2 * _ROOM, np.uint64), np.empty_like(self.ids), np.empty_like(self.ids)
        seeming, found = np.empty_like(self.distances), np.empty_like(self.distances)
        self._held = (keys, rows, seeming, found, places)
        self.answer = _Answer(*(a.ctypes.data for a in (*self._held, self.ids, self.distances)))
        self.place = ctypes.addressof(self.answer)


_room = _Room()


class CompiledSketch:
    """The rows of a sketch as the library reads them. Any number of threads may scan at once."""

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
        n_blocks, n_bytes = -(-len(codes) // _BLOCK), LIBRARY.roost_block_bytes(n_numbers, IS_WIDE)
        blocks = aligned((n_blocks, n_bytes), np.uint8)
        LIBRARY.roost_pack(codes.ctypes.data, len(codes), n_numbers, IS_WIDE, blocks.ctypes.data)
        self._held = blocks, rows
        places = (
            *(a.ctypes.data for a in self._described),
            blocks.ctypes.data,
            None if rows is None else rows.ctypes.data,
        )
        self._sketch = _Sketch(len(codes), *self._sizes, IS_WIDE, *places, *self._rests)
        self._place = ctypes.addressof(self._sketch)

    def excerpt(self, codes: Bytes, rows: IntArray) -> CompiledSketch:
        """Return the sketch of some rows.

        Args:
            codes: of these.
            rows: (m,) int64, C-contiguous, their numbers among the vectors, which a scan finds; not modified, and kept.
        """
        made = copy(self)
        made._hold(codes, rows)
        return made

    def scan(
        self,
        query: FloatArray,
        vectors: FloatArray,
        inverse_norms: FloatArray | None,
        allowed: Bitmap | None,
        judge: Judge,
        bound: float,
    ) -> Scanned | None:
        """Find the nearest rows to a query.

        Args:
            query: (1, dim) float32, C-contiguous; normalised for a cosine.
            vectors: (n_rows, dim) float32, C-contiguous; of an excerpt all rows, of which it lists its own.
            inverse_norms: (n_rows,) float32, for a cosine, and for that alone.
            allowed: (ceil(n_rows / 8),), the rows that may be listed; None for all, and of an excerpt.
            judge: that `fits`.
            bound: rows at this distance and beyond are not found; inf for none.
        Returns: None where rows cannot be ordered by the sketch, or too many of them seem equally far.
        Raises: ValueError: the query or the vectors are not of these types and dimensions, or the judge does not fit.
        """
        if not (judge.fits and self._takes(query) and self._takes(vectors)):
            raise ValueError(
                "a scan needs contiguous float32, and a judge of more than k rows that lists no more than fit"
            )
        asked = _Query(
            query.ctypes.data,
            vectors.ctypes.data,
            None if inverse_norms is None else inverse_norms.ctypes.data,
            None if allowed is None else allowed.ctypes.data,
            bound,
        )
        room, at = _room, ctypes.addressof
        n_found, answer = LIBRARY.roost_scan(self._place, at(judge), at(asked), room.place), room.answer
        if n_found == _UNORDERED:
            return None
        looks = answer.looks[: answer.n_looks]
        if n_found == _ALL_ROWS:
            return Scanned(looks, None)
        return Scanned(looks, Neighbours(room.ids[:, :n_found].copy(), room.distances[:, :n_found].copy()))

    def _takes(self, array: FloatArray) -> bool:
        return array.dtype == np.float32 and array.flags.c_contiguous and array.shape[1] == self._sizes[0]
