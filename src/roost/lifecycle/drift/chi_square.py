"""Chi-square test of categories: labels, predicted classes, languages, tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidData
from roost.lifecycle.drift.detector import Detector, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for
from roost.lifecycle.drift.psi import population_stability

_MOST_SHOWN = 20


def chi_square(reference: npt.NDArray[Any], windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return Pearson's statistic of the table of two rows, for each of several windows.

    Args:
        reference: (..., n_categories) counts; windows likewise. A category that neither has counts nothing.
    Source: Pearson 1900.
    """
    total = reference + windows
    n_reference, n_window = reference.sum(axis=-1, keepdims=True), windows.sum(axis=-1, keepdims=True)
    n = n_reference + n_window
    seen = np.where(total > 0, total, 1)
    apart = (windows - total * n_window / n) ** 2
    return np.asarray((apart / seen).sum(axis=-1) * (n * n / (n_window * n_reference))[..., 0], dtype=np.float64)


class ChiSquare(Detector):
    """Chi-square test of two samples of categories, its p-value by permutation.

    Permutation holds the rate of false alarms for rare categories too, where the chi-square law does not. A category
    that the reference never had counts as one with no rows.

    Args:
        n_permutations: random windows at most; by default enough for alpha.
    Details: category, the one that moved most; shares_reference and shares_window of the largest categories; psi, the
        population stability index; n_permutations.
    Source: Pearson 1900; Hope, "A simplified Monte Carlo significance test procedure", JRSS B 30(3), 1968.
    """

    name: ClassVar[str] = "chi_square"

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_permutations: int | None = None,
        max_reference: int = 1_000_000,
        max_window: int = 1_000_000,
    ) -> None:
        self.n_permutations = permutations_for(alpha, n_permutations)
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _checked(self, rows: npt.ArrayLike, what: str) -> Rows:
        """Return the categories as text, (n,)."""
        try:
            array = np.asarray(rows)
        except ValueError as error:
            raise InvalidData(f"the {what} is not an array of categories: {error}") from error
        if array.ndim != 1:
            raise InvalidData(f"the {what} has the shape {array.shape}; categories have the shape (n,)")
        if array.dtype.kind not in "biuUSO":
            raise InvalidData(f"the {what} holds {array.dtype}; categories are integers, booleans or text")
        return array.astype(str)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._names, self._counts = np.unique(compared, return_counts=True)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        names = np.union1d(self._names, window)
        reference, counts = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
        reference[np.searchsorted(names, self._names)] = self._counts
        present, n_present = np.unique(window, return_counts=True)
        counts[np.searchsorted(names, present)] = n_present
        observed = float(chi_square(reference, counts))
        total = reference + counts

        def draw(n: int) -> npt.NDArray[np.float64]:
            drawn = rng.multivariate_hypergeometric(total, len(window), size=n, method="marginals")
            return chi_square(total - drawn, drawn)

        p, n_drawn = p_value(observed, draw, self.n_permutations)
        shares = reference / reference.sum(), counts / counts.sum()
        expected = total * len(window) / total.sum()
        largest = np.argsort(-total, kind="stable")[:_MOST_SHOWN]
        details = {
            "category": str(names[np.argmax((counts - expected) ** 2 / total)]),
            "shares_reference": {str(names[i]): float(shares[0][i]) for i in largest},
            "shares_window": {str(names[i]): float(shares[1][i]) for i in largest},
            "psi": float(population_stability(reference, counts)),
            "n_permutations": n_drawn,
        }
        return observed, p, details
