"""Whether the mean of the vectors, or of their lengths, has moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument
from roost.lifecycle.drift.detector import Detector, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for, random_windows
from roost.lifecycle.drift.projection import Projection, scale_of


class _Means(Detector):
    """Distance between the means of some features, its p-value by permutation.

    Args:
        n_permutations: random windows at most; by default enough for alpha.
    """

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_permutations: int | None = None,
        max_reference: int = 10_000,
        max_window: int = 5_000,
    ) -> None:
        self.n_permutations = permutations_for(alpha, n_permutations)
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _p_value(self, features: Rows, n_window: int, rng: np.random.Generator) -> tuple[float, float, int]:
        """Return the distance of the means of the last n_window rows from the others', its p-value, and the draws."""
        features = features - features.mean(axis=0)
        total, n_reference = features.sum(axis=0)[:, None], len(features) - n_window

        def distances(sums: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            apart = sums / n_window - (total - sums) / n_reference
            return np.asarray(np.sqrt((apart**2).sum(axis=0)), dtype=np.float64)

        observed = float(distances(features[n_reference:].sum(axis=0)[:, None])[0])

        def draw(n: int) -> npt.NDArray[np.float64]:
            return distances(features.T @ random_windows(len(features), n_window, n, rng))

        return observed, *p_value(observed, draw, self.n_permutations)


class MeanShift(_Means):
    """Distance between the mean vectors, in standard deviations along the reference's principal components.

    Args:
        n_components: of the reference; the distance from their span counts as one more.
    Details: n_permutations.
    Source: Hotelling, "The generalization of Student's ratio", 1931, with the covariance of the part of the reference
        that is set apart, and permutation in place of the normal law.
    """

    name: ClassVar[str] = "mean"
    share_set_apart: ClassVar[float] = 0.25

    def __init__(self, reference: npt.ArrayLike, *, n_components: int = 32, **options: Any) -> None:
        if n_components < 1:
            raise InvalidArgument(f"n_components is {n_components}; it is at least 1")
        self.n_components = n_components
        super().__init__(reference, **options)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._projection = Projection.fit(apart, self.n_components)
        self._scale = scale_of(self._projection.apply(apart))
        self._reference = self._features(compared)

    def _features(self, rows: Rows) -> Rows:
        return np.asarray(self._projection.apply(rows) / self._scale)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        features = np.concatenate([self._reference, self._features(window)])
        observed, p, n_drawn = self._p_value(features, len(window), rng)
        return observed, p, {"n_permutations": n_drawn}


class NormShift(_Means):
    """Difference between the mean lengths of the vectors, in the reference's units.

    Many models answer content that they do not know with short vectors.

    Details: mean_reference, mean_window, n_permutations.
    Source: Fisher, "The Design of Experiments", 1935, section 21 (permutation of a difference of means).
    """

    name: ClassVar[str] = "norm"

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._reference = self._features(compared)

    def _features(self, rows: Rows) -> Rows:
        return np.asarray(np.linalg.norm(rows, axis=1)[:, None])

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        lengths = self._features(window)
        observed, p, n_drawn = self._p_value(np.concatenate([self._reference, lengths]), len(window), rng)
        details = {
            "mean_reference": float(self._reference.mean()),
            "mean_window": float(lengths.mean()),
            "n_permutations": n_drawn,
        }
        return observed, p, details
