"""The right answers, by brute force, and how much of them an answer holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.arrays import IntArray, RealArray
from bench.filters import SIDES, FilterCase
from bench.work import Work

CHUNK = 64
ANSWERED = frozenset({"queries", "recall", "filters"})
"""The steps whose answers are compared."""


@dataclass(frozen=True)
class Truth:
    """The squared distance of each query's k-th nearest row.

    Attributes:
        plain: (queries,) float64, among all rows; nan where the plan's steps ask none.
        under: (filtered_queries,), among those that pass the filters of the first round, by the case's name.
    """

    plain: RealArray
    under: Mapping[str, RealArray]


class _Rows:
    """float64 holds the squared distances of 8-bit images exactly."""

    def __init__(self, work: Work) -> None:
        self.work, self.vectors = work, work.vectors.astype(np.float64)
        self.norms = np.einsum("ij,ij->i", self.vectors, self.vectors)

    def distances(self, numbers: IntArray) -> RealArray:
        """Return the squared distances ((len(numbers), rows)) of some queries."""
        queries = self.work.queries[numbers].astype(np.float64)
        found: RealArray = (
            self.norms - 2 * (queries @ self.vectors.T) + np.einsum("ij,ij->i", queries, queries)[:, None]
        )
        return found


def kth_smallest(distances: RealArray, k: int) -> float:
    return float(np.partition(distances, min(k, len(distances)) - 1)[min(k, len(distances)) - 1])


def brute_force(work: Work) -> Truth:
    """Compare every query with every row."""
    rows, k = _Rows(work), work.plan.k
    plain = np.full(work.plan.queries, np.nan)
    for start in range(0, len(plain), CHUNK) if ANSWERED & set(work.plan.steps) else ():
        numbers = np.arange(start, min(start + CHUNK, len(plain)))
        plain[numbers] = [kth_smallest(row, k) for row in rows.distances(numbers)]
    under: dict[str, RealArray] = {}
    for side in SIDES if "filters" in work.plan.steps else ():
        cases = [case for case in work.filter_cases() if case.side == side]
        by_column = np.argsort(work.column(cases[0].column))
        under |= {case.name: np.empty(len(case.numbers)) for case in cases}
        for start in range(0, len(cases[0].numbers), CHUNK):
            for i, row in enumerate(rows.distances(cases[0].numbers[start : start + CHUNK]), start):
                ordered = row[by_column]
                for case in cases:
                    under[case.name][i] = kth_smallest(ordered[slice(*case.windows[0, i])], k)
    return Truth(plain, under)


def recall(work: Work, ids: IntArray, kth: RealArray, case: FilterCase | None = None) -> float:
    """Return the mean share of right neighbours among the k that each query should have.

    A neighbour is right when it passes the filter and is no further away than the true k-th one, so equal
    distances count whichever row was returned. A row named twice counts once.

    Args:
        ids: (n_queries, k) row numbers, padded with -1.
        kth: (n_queries,) squared distance of the true k-th neighbour.
        case: what was asked under filters; None where the first queries were asked under none.
    Source: Aumueller, Bernhardsson and Faithfull, ANN-Benchmarks, 2020 (distance-based recall).
    """
    shares = []
    for i, row in enumerate(ids):
        named = np.unique(row[row >= 0])
        number, expected = i, min(work.plan.k, work.plan.rows)
        if case is not None:
            number, (low, high) = int(case.numbers[i]), case.windows[0, i]
            column = work.column(case.column)
            named = named[(column[named] >= low) & (column[named] < high)]
            expected = min(expected, int(high - low))
        differences = work.vectors[named].astype(np.float64) - work.queries[number].astype(np.float64)
        distances = np.einsum("ij,ij->i", differences, differences)
        shares.append(np.count_nonzero(distances <= kth[i] * (1 + 1e-6)) / expected)
    return float(np.mean(shares))
