"""A histogram whose buckets grow by a fixed factor: quantiles with a known relative error, and exact merging.

Source: Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees". The range is fixed here, so the buckets of all processes are the same and merging adds counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument

Counts: TypeAlias = npt.NDArray[np.int64]

BUCKETS_PER_DECADE = 60
LOWEST_S, N_DECADES = 1e-6, 9
"""One microsecond to a thousand seconds; what lies outside counts in the first or the last bucket."""

N_BUCKETS = BUCKETS_PER_DECADE * N_DECADES + 1

_GROWTH: float = 10.0 ** (1.0 / BUCKETS_PER_DECADE)
RELATIVE_ERROR = (_GROWTH - 1.0) / (_GROWTH + 1.0)
"""Of a quantile: 1.9 %."""

BOUNDS_S: npt.NDArray[np.float64] = LOWEST_S * 10.0 ** (np.arange(N_BUCKETS) / BUCKETS_PER_DECADE)
"""The upper bound of each bucket, which belongs to it."""


def _no_counts() -> Counts:
    return np.zeros(N_BUCKETS, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Durations in seconds, counted in buckets.

    Attributes:
        counts: (N_BUCKETS,) int64.
        total_s: the sum of the durations, exact.
    """

    counts: Counts = field(default_factory=_no_counts)
    total_s: float = 0.0

    @classmethod
    def of(cls, durations_s: Sequence[float] | npt.NDArray[np.float64]) -> Histogram:
        """Count durations."""
        durations = np.asarray(durations_s, dtype=np.float64)
        places = np.minimum(np.searchsorted(BOUNDS_S, durations), N_BUCKETS - 1)
        return cls(np.bincount(places, minlength=N_BUCKETS), float(durations.sum()))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts, self.total_s + other.total_s)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def mean_s(self) -> float | None:
        """The mean, exact; None of nothing."""
        n = self.n
        return self.total_s / n if n else None

    def quantile(self, share: float) -> float | None:
        """Return a quantile in seconds within RELATIVE_ERROR; None of nothing.

        Args:
            share: 0.99 for the 99th percentile.
        Raises: InvalidArgument: the share is not between 0 and 1.
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidArgument(f"a quantile's share is between 0 and 1, not {share}")
        cumulated = np.cumsum(self.counts)
        if cumulated[-1] == 0:
            return None
        place = int(np.searchsorted(cumulated, max(1.0, share * float(cumulated[-1]))))
        return float(BOUNDS_S[place] * 2.0 / (_GROWTH + 1.0))

    def n_up_to(self, places: npt.NDArray[np.int64]) -> Counts:
        """Return how many durations are in the buckets up to each place, for Prometheus."""
        found: Counts = np.cumsum(self.counts)[places]
        return found

    def to_json(self) -> dict[str, object]:
        """Return the buckets that are not empty."""
        places = np.flatnonzero(self.counts)
        return {"total_s": self.total_s, "counts": {str(place): int(self.counts[place]) for place in places}}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> Histogram:
        counts, found = _no_counts(), stored.get("counts", {})
        if isinstance(found, Mapping):
            for place, n in found.items():
                counts[int(place)] = n
        return cls(counts, float(str(stored.get("total_s", 0.0))))
