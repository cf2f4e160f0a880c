"""Kolmogorov-Smirnov tests of each principal component, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.drift.corrections import holm
from roost.lifecycle.drift.detector import Detector, Floats, Rows
from roost.lifecycle.drift.projection import Projection


def ks_statistic(reference: Floats, window: Floats) -> float:
    """Return the largest difference between the two distribution functions.

    Args:
        reference: (n_reference,), sorted; window (n_window,), in any order.
    """
    window = np.sort(window)
    points = np.concatenate([reference, window])
    below = np.searchsorted(reference, points, side="right") / len(reference)
    return float(np.abs(below - np.searchsorted(window, points, side="right") / len(window)).max())


def ks_p_values(statistics: npt.ArrayLike, n_reference: int, n_window: int) -> list[float]:
    """Return the probabilities of differences so large between samples of one continuous distribution.

    Source: Simard and L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution", JSS 39(11), 2011, for
        the effective size n m / (n + m); too large where values are tied, so never an alarm too many.
    """
    try:
        from scipy.stats import kstwo
    except ImportError as error:
        raise MissingDependency(f"drift detection needs scipy ({error}): pip install 'roost[lifecycle]'") from error
    effective = round(n_reference * n_window / (n_reference + n_window))
    return [float(p) for p in kstwo.sf(statistics, max(effective, 1))]


class KolmogorovSmirnov(Detector):
    """A Kolmogorov-Smirnov test of each feature, with Holm's correction over them.

    The features are the principal components of the part of the reference that is set apart, and the distance from
    their span. The statistic is the largest of the features', the p-value the smallest after the correction.

    Args:
        n_components: components to test; None tests the columns as they are. Columns that say nearly the same make
            the correction strict: there are fewer false alarms than alpha says, and fewer true ones.
    Details: feature, the one that moved most; statistics and p_values by feature, the latter corrected.
    Source: Smirnov 1948; Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.
    """

    name: ClassVar[str] = "ks"
    is_exact: ClassVar[bool] = True
    share_set_apart: ClassVar[float] = 0.25

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_components: int | None = 16,
        max_reference: int = 10_000,
        max_window: int = 5_000,
    ) -> None:
        if n_components is not None and n_components < 1:
            raise InvalidArgument(f"n_components is {n_components}; it is at least 1, or None")
        self.n_components = n_components
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._projection = None if self.n_components is None else Projection.fit(apart, self.n_components)
        self._reference = np.sort(self._features(compared), axis=0)

    def _features(self, rows: Rows) -> Rows:
        return rows if self._projection is None else self._projection.apply(rows)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        features = self._features(window)
        n_reference, n_features = self._reference.shape
        statistics = [ks_statistic(self._reference[:, i], features[:, i]) for i in range(n_features)]
        corrected = holm(ks_p_values(statistics, n_reference, len(window)))
        moved = int(np.argmax(statistics))
        return statistics[moved], min(corrected), {"feature": moved, "statistics": statistics, "p_values": corrected}
