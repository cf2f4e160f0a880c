"""Population stability index, with a threshold that keeps its rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument
from roost.lifecycle.drift.detector import Detector, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for, random_windows
from roost.lifecycle.drift.projection import Projection

MODERATE, LARGE = 0.1, 0.25
"""The rule of thumb: from 0.1 on a feature has moved, from 0.25 on it has moved a lot. It knows nothing of the number
of rows: below about a hundred rows for each bin, rows that did not move at all exceed it."""


def population_stability(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the index of each pair of histograms: the sum of (a - e) ln(a / e) over the bins' shares.

    Half a row is added to each bin that either side has rows in, so that an empty one does not make it infinite.

    Args:
        expected: (..., n_bins) counts of the reference.
        actual: (..., n_bins) counts of the window.
    Source: Siddiqi, "Credit Risk Scorecards", Wiley 2006; it is Jeffreys's divergence (1946).
    """
    half = 0.5 * (expected + actual > 0)
    e = (expected + half) / (expected + half).sum(axis=-1, keepdims=True)
    a = (actual + half) / (actual + half).sum(axis=-1, keepdims=True)
    ratios = np.where(half > 0, a, 1.0) / np.where(half > 0, e, 1.0)
    return np.asarray(((a - e) * np.log(ratios)).sum(axis=-1), dtype=np.float64)


def verdict(index: float) -> str:
    """Return what the rule of thumb says: "stable", "moderate" or "large"."""
    return "stable" if index < MODERATE else "moderate" if index < LARGE else "large"


class Psi(Detector):
    """The largest population stability index of the reference's principal components.

    The bins hold equal shares of the part of the reference that is set apart. Whether an index is an alarm is not
    decided by the rule of thumb but by permutation, for all components at once, whatever they have in common.

    Args:
        n_components: components to compare; None takes the columns as they are.
        n_bins: of each component.
        n_permutations: random windows at most; by default enough for alpha.
    Details: feature, the one that moved most; indices by feature; threshold, which the statistic exceeds in a share
        alpha of all windows that did not move; rule_of_thumb: "stable", "moderate" or "large"; n_permutations.
    Source: Siddiqi, "Credit Risk Scorecards", Wiley 2006; Westfall and Young, "Resampling-Based Multiple Testing",
        Wiley 1993 (the largest of several statistics, by permutation).
    """

    name: ClassVar[str] = "psi"
    share_set_apart: ClassVar[float] = 0.25

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_components: int | None = 16,
        n_bins: int = 10,
        n_permutations: int | None = None,
        max_reference: int = 4_000,
        max_window: int = 2_000,
    ) -> None:
        if (n_components is not None and n_components < 1) or n_bins < 2:
            raise InvalidArgument(f"n_components is {n_components} and n_bins {n_bins}; at least 1 and 2")
        self.n_permutations = permutations_for(alpha, n_permutations)
        self.n_components = n_components
        self.n_bins = n_bins
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._projection = None if self.n_components is None else Projection.fit(apart, self.n_components)
        inner = np.linspace(0, 1, self.n_bins + 1)[1:-1]
        edges = np.quantile(self._features(apart), inner, axis=0)
        # A value that is as frequent as several bins gets one of its own, closed at both ends.
        edges[1:] = np.where(edges[1:] == edges[:-1], np.nextafter(edges[1:], np.inf), edges[1:])
        self._edges = edges
        self._reference = self._binned(compared)

    def _features(self, rows: Rows) -> Rows:
        return rows if self._projection is None else self._projection.apply(rows)

    def _binned(self, rows: Rows) -> Rows:
        """Return (n, n_features * n_bins), a one in the bin of each feature."""
        features = self._features(rows)
        n_features = features.shape[1]
        hits = np.zeros((len(rows), n_features, self.n_bins), dtype=np.float32)
        for i in range(n_features):
            hits[np.arange(len(rows)), i, np.searchsorted(self._edges[:, i], features[:, i], side="right")] = 1
        return hits.reshape(len(rows), -1)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        hits = np.concatenate([self._reference, self._binned(window)])
        total = hits.sum(axis=0, dtype=np.float64)

        def indices(windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            actual = (windows.T @ hits).reshape(windows.shape[1], -1, self.n_bins)
            return population_stability(total.reshape(-1, self.n_bins) - actual, actual)

        real = np.zeros((len(hits), 1), dtype=np.float32)
        real[len(self._reference) :] = 1
        by_feature = indices(real)[0]
        moved = int(np.argmax(by_feature))
        at_random: list[npt.NDArray[np.float64]] = []

        def draw(n: int) -> npt.NDArray[np.float64]:
            at_random.append(indices(random_windows(len(hits), len(window), n, rng, np.float32)).max(axis=1))
            return at_random[-1]

        p, n_drawn = p_value(float(by_feature[moved]), draw, self.n_permutations)
        details = {
            "feature": moved,
            "indices": [float(index) for index in by_feature],
            "threshold": float(np.quantile(np.concatenate(at_random), 1 - self.alpha)),
            "rule_of_thumb": verdict(float(by_feature[moved])),
            "n_permutations": n_drawn,
        }
        return float(by_feature[moved]), p, details
