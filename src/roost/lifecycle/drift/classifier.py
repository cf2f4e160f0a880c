"""Classifier two-sample test: if a model can tell the window from the reference, they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.drift.detector import Detector, Floats, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for, random_windows
from roost.lifecycle.drift.projection import Projection, scale_of

_RIDGE = 0.1
"""Added to the variance of each feature before a direction is solved for."""

_POWER = 1.5
"""Of the features' absolute values, which show a change of spread: between 1, which sees large values too little, and
2, which sees little else."""

_BOUND = 3.0
"""In standard deviations, beyond which a component counts no more: a few rows far out would decide otherwise."""


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


@dataclass(frozen=True)
class CrossFit:
    """Discriminants that are each trained on all folds but one, for many windows at once.

    The matrix to solve with does not depend on which rows are in the window. So a random window is trained for like
    the real one, from the beginning, at the price of a few products of small matrices.

    Attributes:
        folds: each (n_k, n_features).
        inverses: (n_folds, n_features, n_features), of the covariance of the other folds' rows plus ridge.
    """

    folds: tuple[Floats, ...]
    inverses: Floats

    @classmethod
    def fit(cls, folds: Sequence[Floats], ridge: float) -> CrossFit:
        """Return it for two folds or more."""
        n = sum(len(rows) for rows in folds)
        total = np.sum([rows.sum(axis=0) for rows in folds], axis=0)
        gram = np.sum([rows.T @ rows for rows in folds], axis=0)
        inverses = []
        for rows in folds:
            n_train = n - len(rows)
            mean = (total - rows.sum(axis=0)) / n_train
            covariance = (gram - rows.T @ rows) / n_train - np.outer(mean, mean)
            inverses.append(np.linalg.inv(covariance + ridge * np.eye(len(mean))))
        return cls(tuple(folds), np.array(inverses))

    def distances(self, windows: Sequence[Floats]) -> Floats:
        """Return (n_windows,): how much higher rows of a window score than the others in held-out folds, on average.

        It grows with the Mahalanobis distance of the means; where there is none it lies around zero, on either side.

        Args:
            windows: for each fold (n_k, n_windows), ones for the rows of a window; each fold has rows of either side.
        """
        held_out, trained = self._contrasts(windows)
        return np.asarray((held_out * (self.inverses @ trained)).sum(axis=1).mean(axis=0))

    def areas(self, windows: Sequence[Floats]) -> Floats:
        """Return the area under the ROC curve in each fold when it is held out, (n_folds, n_windows)."""
        directions = self.inverses @ self._contrasts(windows)[1]
        scores = [rows @ direction for rows, direction in zip(self.folds, directions, strict=True)]
        return np.array([area_under_curve(s, w) for s, w in zip(scores, windows, strict=True)])

    def _contrasts(self, windows: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Return mean in the window less mean out of it, of each fold and of all others, (n_folds, n_features, n).

        Source: Fisher 1936, whose discriminant is the inverse times the second; the covariance of all rows stands for
        the one within the samples, which changes its length alone.
        """
        inside = np.array([rows.T @ w for rows, w in zip(self.folds, windows, strict=True)])
        outside = np.array([rows.sum(axis=0) for rows in self.folds])[:, :, None] - inside
        n_inside = np.array([w.sum(axis=0) for w in windows])[:, None]
        n_outside = np.array([len(w) for w in windows])[:, None, None] - n_inside
        held_out = inside / n_inside - outside / n_outside
        inside, outside, n_inside, n_outside = (x.sum(axis=0) - x for x in (inside, outside, n_inside, n_outside))
        return held_out, inside / n_inside - outside / n_outside


class Classifier(Detector):
    """Trains a model to tell window from reference and measures how well it does on rows it did not see.

    Without `model` the classifier is a ridge discriminant on the reference's principal components and powers of their
    absolute values, cross-fitted: each fold is scored by the discriminant of the other folds. The statistic is how
    much higher the window's rows score than the reference's. Scores of different folds depend on each other, since
    each fold is in the training data of the others, so treating them as independent, or permuting labels beside
    scores that stay as they are, raises false alarms. Here the classifier is trained again for each random window, on
    the same folds; window and reference change places within folds, which the folds do not notice. Real and random
    windows then stand alike, and the p-value is exact.

    With `model`, a scikit-learn classifier, it is trained once, on half of the rows of either side, and the p-value
    comes from permuting the other half, which is exact too and gives away half of the rows. The statistic is the area
    under the ROC curve: 0.5 where nobody can tell.

    Args:
        n_components: of the reference.
        n_folds: of the cross-fitting.
        model: a scikit-learn classifier with `decision_function` or `predict_proba`; a copy of it is fitted.
        n_permutations: random windows at most; by default enough for alpha.
    Details: n_permutations; area under the ROC curve of rows that were held out; folds, the area of each.
    Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Kim, Ramdas, Singh and
        Wasserman, "Classification accuracy as a proxy for two-sample testing", Annals of Statistics 49(1), 2021;
        Hemerik and Goeman, "Exact testing with random permutations", TEST 27, 2018.
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
        along = self._projection.apply(apart)
        self._centre, self._spread = along.mean(axis=0), scale_of(along)
        features = self._expanded(apart)
        # The square root of a component's deviation: between all alike and each by the variance it stands for.
        weights = np.ones(along.shape[1])
        deviations = self._projection.deviations
        weights[: len(deviations)] = np.sqrt(deviations / deviations.max(initial=0.0))
        self._mean, self._scale = features.mean(axis=0), scale_of(features) / np.tile(weights, 2)
        self._reference = self._features(compared)

    def _expanded(self, rows: Rows) -> Rows:
        along = (self._projection.apply(rows) - self._centre) / self._spread
        bounded = _BOUND * np.tanh(along / _BOUND)
        return np.column_stack([bounded, np.abs(bounded) ** _POWER])

    def _features(self, rows: Rows) -> Rows:
        return np.asarray((self._expanded(rows) - self._mean) / self._scale)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        features = self._features(window)
        if self.model is not None:
            return self._held_out(features, rng)
        return self._cross_fitted(features, rng)

    def _cross_fitted(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        parts = list(
            zip(
                np.array_split(rng.permutation(self._reference), self.n_folds),
                np.array_split(rng.permutation(window), self.n_folds),
                strict=True,
            )
        )
        cross_fit = CrossFit.fit([np.concatenate(part) for part in parts], _RIDGE)
        real = [np.r_[np.zeros(len(r)), np.ones(len(w))][:, None] for r, w in parts]
        observed = float(cross_fit.distances(real)[0])

        def draw(n: int) -> Floats:
            return cross_fit.distances([random_windows(len(r) + len(w), len(w), n, rng) for r, w in parts])

        p, n_drawn = p_value(observed, draw, self.n_permutations)
        folds = [float(area) for area in cross_fit.areas(real)[:, 0]]
        return observed, p, {"n_permutations": n_drawn, "area": float(np.mean(folds)), "folds": folds}

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
        return observed, p, {"n_permutations": n_drawn, "area": observed}
