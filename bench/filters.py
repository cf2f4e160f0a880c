"""The filters that searches are made under: a range of one of two columns, drawn at random or related to the query.

One column is a random order of the rows. The other is their order along the first principal axis, so that a filter on
it keeps a slab of space: `near` queries lie in the slab, and `far` ones at the other end of the axis, where a graph
meets no row that passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.arrays import FloatArray, IntArray

COLUMNS = ("rank", "axis")
SIDES = ("random", "near", "far")
KINDS = ("repeated", "fresh")
COLUMN_OF = {"random": "rank", "near": "axis", "far": "axis"}
FAR_END = 0.2
"""Filters of `far` queries begin in this part of the axis."""


class Window(NamedTuple):
    """A filter that keeps the rows with low <= column < high."""

    column: str
    low: int
    high: int


@dataclass(frozen=True)
class FilterCase:
    """Queries, and the filter of each.

    Attributes:
        side: of SIDES.
        keep: the share of the rows that each filter keeps.
        kind: `repeated` asks under one filter, `fresh` under a filter that is new.
        numbers: (n,) the queries that are asked.
        windows: (rounds + 1, n, 2) low and high; the last round warms up.
    """

    side: str
    keep: float
    kind: str
    numbers: IntArray
    windows: IntArray

    @property
    def name(self) -> str:
        return name_of(self.side, self.keep, self.kind)

    @property
    def column(self) -> str:
        return COLUMN_OF[self.side]

    def of_round(self, number: int) -> list[Window]:
        return [Window(self.column, low, high) for low, high in self.windows[number].tolist()]


def name_of(side: str, keep: float, kind: str) -> str:
    return f"{side} {kind} {keep:g}"


def places_on_axis(vectors: FloatArray, queries: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows' order along their first principal axis, and where the queries would stand in it.

    Source: Pearson 1901 (principal components).
    """
    centred = vectors - vectors.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1].astype(np.float32)
    along = centred @ axis
    places = np.empty(len(vectors), np.int64)
    order = np.argsort(along, kind="stable")
    places[order] = np.arange(len(vectors))
    asked = np.searchsorted(along[order], (queries - vectors.mean(axis=0)) @ axis)
    return places, np.minimum(asked, len(vectors) - 1).astype(np.int64)


def draw_asked(query_places: IntArray, count: int) -> IntArray:
    """Return (3, count) queries: the first ones, those at the low end of the axis, and those at the high end."""
    order = np.argsort(query_places, kind="stable")
    return np.stack([np.arange(count), order[:count], order[::-1][:count]])


def draw_windows(
    asked: IntArray,
    query_places: IntArray,
    n_rows: int,
    keeps: Sequence[float],
    n_rounds: int,
    rng: np.random.Generator,
) -> IntArray:
    """Return the filters of every side and share.

    Args:
        asked: (3, n) the queries of each side.
        n_rounds: the warm-up included.
    Returns: (3, len(keeps), 1 + n_rounds * n, 2) int64; the first is the filter that is repeated, the others are used
        once each, and differ as far as there are filters enough.
    """
    widths = [max(1, round(keep * n_rows)) for keep in keeps]
    n = asked.shape[1]
    found = np.empty((len(SIDES), len(keeps), 1 + n_rounds * n, 2), np.int64)
    for share, width in enumerate(widths):
        n_lows = n_rows - width + 1
        far = min(n_lows, max(1, round(FAR_END * n_rows)))
        own = query_places[asked[1]]
        lows = (
            _different(n_lows, 1 + n_rounds * n, rng),
            np.concatenate([[0], _around(own, width, n_rows, n_rounds, rng)]),
            np.concatenate([[0], _different(far, n_rounds * n, rng)]),
        )
        found[:, share, :, 0] = np.stack(lows)
        found[:, share, :, 1] = found[:, share, :, 0] + width
    return found


def _different(n_lows: int, count: int, rng: np.random.Generator) -> IntArray:
    """Return numbers below n_lows, each as often as the others or once more."""
    found: IntArray = rng.permutation(n_lows)[rng.permutation(count) % n_lows]
    return found


def _around(places: IntArray, width: int, n_rows: int, n_rounds: int, rng: np.random.Generator) -> IntArray:
    """Return, round by round, where a filter may begin that keeps each place; the rounds share the choices out."""
    first = np.maximum(0, places - width + 1)
    choices = np.minimum(places, n_rows - width) - first + 1
    parts: npt.NDArray[np.float64] = (np.arange(n_rounds)[:, None] + rng.random((n_rounds, len(places)))) / n_rounds
    lows: IntArray = first + (parts * choices).astype(np.int64)
    return lows.ravel()
