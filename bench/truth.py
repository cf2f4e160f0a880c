"""The right answers, by brute force, and how much of them an answer holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.work import IntArray, Work

CHUNK = 64


@dataclass(frozen=True)
class Truth:
    """The squared distance of each query's k-th nearest row.

    Attributes:
        plain: (queries,) float64, among all rows.
        repeated: (len(keeps), filtered_queries), among the rows of the share's repeated filter.
        fresh: the same for the filters that the first round uses once.
    """

    plain: npt.NDArray[np.float64]
    repeated: npt.NDArray[np.float64]
    fresh: npt.NDArray[np.float64]


def kth_smallest(distances: npt.NDArray[np.float64], k: int) -> float:
    return float(np.partition(distances, min(k, len(distances)) - 1)[min(k, len(distances)) - 1])


def brute_force(work: Work) -> Truth:
    """Compare every query with every row. float64 holds the squared distances of 8-bit images exactly."""
    plan, vectors = work.plan, work.vectors.astype(np.float64)
    norms = np.einsum("ij,ij->i", vectors, vectors)
    by_rank = np.argsort(work.ranks)
    plain = np.empty(plan.queries)
    repeated = np.empty((len(plan.keeps), plan.filtered_queries))
    fresh = np.empty_like(repeated)
    for start in range(0, plan.queries, CHUNK):
        queries = work.queries[start : start + CHUNK].astype(np.float64)
        distances = norms - 2 * (queries @ vectors.T) + np.einsum("ij,ij->i", queries, queries)[:, None]
        for i, row in enumerate(distances, start):
            plain[i] = kth_smallest(row, plan.k)
            if i < plan.filtered_queries:
                ordered = row[by_rank]
                for share, windows in enumerate(work.windows):
                    repeated[share, i] = kth_smallest(ordered[slice(*windows[0])], plan.k)
                    fresh[share, i] = kth_smallest(ordered[slice(*work.fresh(share, 0)[i])], plan.k)
    return Truth(plain, repeated, fresh)


def recall(work: Work, ids: IntArray, kth: npt.NDArray[np.float64], windows: IntArray | None = None) -> float:
    """Return the mean share of right neighbours among the k that each query should have.

    A neighbour is right when it passes the filter and is no further away than the true k-th one, so equal
    distances count whichever row was returned. A row named twice counts once.

    Args:
        ids: (n_queries, k) row numbers, padded with -1.
        kth: (n_queries,) squared distance of the true k-th neighbour.
        windows: (n_queries, 2) the filters, or None.
    Source: Aumueller, Bernhardsson and Faithfull, ANN-Benchmarks, 2020 (distance-based recall).
    """
    shares = []
    for i, row in enumerate(ids):
        named = np.unique(row[row >= 0])
        expected = work.plan.k
        if windows is not None:
            low, high = windows[i]
            named = named[(work.ranks[named] >= low) & (work.ranks[named] < high)]
            expected = min(expected, int(high - low))
        differences = work.vectors[named].astype(np.float64) - work.queries[i].astype(np.float64)
        distances = np.einsum("ij,ij->i", differences, differences)
        shares.append(np.count_nonzero(distances <= kth[i] * (1 + 1e-6)) / expected)
    return float(np.mean(shares))
