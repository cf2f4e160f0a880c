"""Classifier two-sample test: if a model can tell the window from the reference, they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.drift.detector import Detector, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for, random_windows
from roost.lifecycle.drift.projection import Projection, scale_of

_RIDGE = 0.1
"""Added to the variance of each standardised feature before a direction is solved for."""


_POWER = 1.5
"""Of the features' absolute values, which show a change of spread: between 1, which sees large values too little, and
2, which sees little else."""


def area_under_curve(scores: npt.NDArray[Any], windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return how often a row of the window has a higher score than a row of the reference, ties as one half.

    Args:
        scores: (n, n_windows), a column for each window, or (n, 1) for all of them.
        windows: (n, n_windows), ones for the rows of the window.
    Returns: (n_windows,), the area under the ROC curve.
    Source: Mann and Whitney 1947.
    """
    try:
        from scipy.stats import rankdata
    except ImportError as error:
        raise MissingDependency(f"drift detection needs scipy ({error}): pip install 'roost[lifecycle]'") from error
    n_window = windows.sum(axis=0)
    n_reference = len(windows) - n_window
    ranks = rankdata(scores, axis=0)
    sums = (ranks * windows).sum(axis=0) - n_window * (n_window + 1) / 2
    return np.asarray(sums / (n_window * n_reference), dtype=np.float64)


class Classifier(Detector):
    """Trains a model to tell window from reference and measures how well it does on rows it did not see.

    The statistic is the area under the ROC curve: 0.5 where nobody can tell. Without `model` the classifier is a
    regularised linear discriminant on the reference's principal components and powers of their absolute values,
    cross-fitted: each fold is scored by the discriminant of the other folds. Scores of different folds depend on each
    other, since each fold is in the training data of the others, so treating them as independent raises false
    alarms. The p-value comes from permuting window and reference within the folds and training again, which is cheap,
    as the matrix to solve with does not depend on who is in the window.

    With `model`, a scikit-learn classifier, it is trained once, on half of the rows of either side, and the p-value
    comes from permuting the other half, which is exact too and gives away half of the rows.

    Args:
        n_components: of the reference.
        n_folds: of the cross-fitting.
        model: a scikit-learn classifier with `decision_function` or `predict_proba`; a copy of it is fitted.
        n_permutations: random windows at most; by default enough for alpha.
    Details: n_permutations; folds, the area of each.
    Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Kim, Ramdas, Singh and
        Wasserman, "Classification accuracy as a proxy for two-sample testing", Annals of Statistics 49(1), 2021.
    """

    name: ClassVar[str] = "classifier"
    share_set_apart: ClassVar[float] = 0.25

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_components: int = 32,
        n_folds: int = 5,
        model: Any = None,
        n_permutations: int | None = None,
        max_reference: int = 2_000,
        max_window: int = 1_000,
    ) -> None:
        if n_components < 1 or not 2 <= n_folds <= 10:
            raise InvalidArgument(f"n_components is {n_components} and n_folds {n_folds}; at least 1, and 2 to 10")
        self.n_permutations = permutations_for(alpha, n_permutations)
        self.n_components = n_components
        self.n_folds = n_folds
        self.model = model
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._projection = Projection.fit(apart, self.n_components)
        features = self._expanded(apart)
        self._mean, self._scale = features.mean(axis=0), scale_of(features)
        self._reference = self._features(compared)

    def _expanded(self, rows: Rows) -> Rows:
        features = self._projection.apply(rows)
        return np.column_stack([features, np.abs(features) ** _POWER])

    def _features(self, rows: Rows) -> Rows:
        return np.asarray((self._expanded(rows) - self._mean) / self._scale)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        features = self._features(window)
        if self.model is not None:
            return self._held_out(features, rng)
        return self._cross_fitted(features, rng)

    def _cross_fitted(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        folds = [
            (np.concatenate([r, w]), len(w))
            for r, w in zip(
                np.array_split(rng.permutation(self._reference), self.n_folds),
                np.array_split(rng.permutation(window), self.n_folds),
                strict=True,
            )
        ]
        total = sum(rows.sum(axis=0) for rows, _ in folds)
        gram = sum(rows.T @ rows for rows, _ in folds)
        n = sum(len(rows) for rows, _ in folds)
        solved = []
        for rows, _ in folds:
            n_train, mean = n - len(rows), (total - rows.sum(axis=0)) / (n - len(rows))
            covariance = (gram - rows.T @ rows) / n_train - np.outer(mean, mean)
            solved.append(np.linalg.solve(covariance + _RIDGE * np.eye(len(mean)), rows.T).T)

        def areas(windows: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
            inside = [rows.T @ w for (rows, _), w in zip(folds, windows, strict=True)]
            n_inside = [w.sum(axis=0) for w in windows]
            found = []
            for k, (rows, _) in enumerate(folds):
                sums, count = sum(inside) - inside[k], sum(n_inside) - n_inside[k]
                rest = (total - rows.sum(axis=0))[:, None] - sums
                direction = sums / count - rest / (n - len(rows) - count)
                found.append(area_under_curve(solved[k] @ direction, windows[k]))
            return np.array(found)

        real = [np.r_[np.zeros(len(rows) - n_w), np.ones(n_w)][:, None] for rows, n_w in folds]
        by_fold = areas(real)[:, 0]
        observed = float(by_fold.mean())

        def draw(count: int) -> npt.NDArray[np.float64]:
            shuffled = [random_windows(len(rows), n_w, count, rng) for rows, n_w in folds]
            return np.asarray(areas(shuffled).mean(axis=0))

        p, n_drawn = p_value(observed, draw, self.n_permutations)
        return observed, p, {"n_permutations": n_drawn, "folds": [float(area) for area in by_fold]}

    def _held_out(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        from sklearn.base import clone

        (r_train, r_test), (w_train, w_test) = (
            np.array_split(rng.permutation(rows), 2) for rows in (self._reference, window)
        )
        labels = np.r_[np.zeros(len(r_train)), np.ones(len(w_train))]
        model = clone(self.model).fit(np.concatenate([r_train, w_train]), labels)
        rows = np.concatenate([r_test, w_test])
        scores = (
            model.decision_function(rows) if hasattr(model, "decision_function") else model.predict_proba(rows)[:, 1]
        )
        real = np.r_[np.zeros(len(r_test)), np.ones(len(w_test))][:, None]
        column = np.asarray(scores, dtype=np.float64)[:, None]
        observed = float(area_under_curve(column, real)[0])

        def draw(count: int) -> npt.NDArray[np.float64]:
            return area_under_curve(column, random_windows(len(rows), len(w_test), count, rng))

        p, n_drawn = p_value(observed, draw, self.n_permutations)
        return observed, p, {"n_permutations": n_drawn}
