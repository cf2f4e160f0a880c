"""What `bench.indexes` stores and asks: images as dense, binary and sparse vectors, filters, and the right answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.arrays import IntArray
from bench.opened import K
from bench.vector_kinds import Kind
from roost.demo.images import load_images

STEPS = 1_000
"""Steps of the columns that filters look at."""

CHUNK = 50


FILTERS = {
    "50 %": ("random", 500),
    "10 %": ("random", 100),
    "1 %": ("random", 10),
    "0.1 %": ("random", 1),
    "half space": ("upper", 500),
    "ball, 10 %": ("near", 100),
}
"""A column, and the step that the rows stay below."""


class Rows:
    """Images of one kind, and how far each is from each query.

    Attributes:
        columns: what filters look at: a random one, how bright the upper half is, how far the first query's image is.
    """

    def __init__(self, kind: Kind, n_rows: int, n_queries: int) -> None:
        found = load_images("fashion-mnist")
        images, asked = found.gallery[:n_rows], found.held_out[:n_queries]
        self.kind, self.dim = kind, images.shape[1]
        self.vectors, self.queries = kind.of_images(images), kind.of_images(asked)
        rng, half = np.random.default_rng(0), images.shape[1] // 2
        self.columns = {
            "random": _steps(rng.random(len(images))),
            "upper": _steps(images[:, :half].sum(axis=1)),
            "near": _steps(np.square(images - asked[0]).sum(axis=1)),
        }
        parts = range(0, len(asked), CHUNK)
        self.distances = np.concatenate(
            [kind.distances(self.vectors, self.queries[start : start + CHUNK]) for start in parts]
        )

    def passing(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which rows pass a filter of FILTERS; all do where the name is empty."""
        if not name:
            return np.ones(len(self.vectors), np.bool_)
        column, below = FILTERS[name]
        return np.asarray(self.columns[column] < below)

    def recall(self, found: Sequence[Sequence[int]], name: str = "") -> float:
        """Return the share of right neighbours, those that pass and are no further than the true K-th.

        Source: Aumueller, Bernhardsson and Faithfull, ANN-Benchmarks, 2020 (distance-based recall).
        """
        passes, right = self.passing(name), 0
        expected = min(K, int(passes.sum()))
        for ids, distances in zip(found, self.distances, strict=True):
            kth = np.partition(distances[passes], expected - 1)[expected - 1]
            named = np.unique(np.asarray(ids, np.int64))
            right += int(np.count_nonzero(passes[named] & (distances[named] <= kth + 1e-6 * max(1.0, abs(kth)))))
        return right / (expected * len(found))


def _steps(values: npt.NDArray[Any]) -> IntArray:
    """Return the values' ranks, cut into STEPS of equal size."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values)] = np.arange(len(values))
    return ranks * STEPS // len(values)
