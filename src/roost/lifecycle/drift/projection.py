"""Rows seen along the main directions of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roost.lifecycle.drift.detector import Floats


def scale_of(features: Floats) -> Floats:
    """Return the standard deviation of each column, and one where it is no more than rounding."""
    deviations = features.std(axis=0)
    return np.where(deviations > 1e-9 * (1 + np.abs(features).max(axis=0)), deviations, 1.0)


@dataclass(frozen=True)
class Projection:
    """Principal components, each of unit variance, and how far a row lies from all of them.

    Attributes:
        mean: (dim,) of the rows that it was fitted on.
        components: (n_components, dim), orthogonal, each over the standard deviation along it.
        directions: (n_components, dim), the same of unit length.
    """

    mean: Floats
    components: Floats
    directions: Floats

    @classmethod
    def fit(cls, rows: Floats, n_components: int) -> Projection:
        """Return the projection to at most so many components; directions in which the rows do not vary are left out.

        Args:
            rows: (n, dim).
        """
        mean = rows.mean(axis=0)
        _, spread, directions = np.linalg.svd(rows - mean, full_matrices=False)
        deviations = spread / np.sqrt(max(len(rows) - 1, 1))
        keep = deviations[:n_components] > 1e-7 * max(float(deviations.max(initial=0.0)), 1e-300)
        directions = directions[:n_components][keep]
        return cls(mean, directions / deviations[:n_components][keep, None], directions)

    @property
    def n_features(self) -> int:
        """Columns that `apply` returns."""
        n_components, dim = self.components.shape
        return int(n_components + (n_components < dim))

    @property
    def deviations(self) -> Floats:
        """(n_components,) of the rows that it was fitted on, along each component."""
        return np.asarray(1 / np.linalg.norm(self.components, axis=1))

    def apply(self, rows: Floats) -> Floats:
        """Return (n, n_features): the components, then the log of the distance from their span where there is one.

        Without the last column a change outside the span, such as noise in all pixels, would not be seen.
        """
        centred = rows - self.mean
        along = centred @ self.components.T
        if self.n_features == len(self.components):
            return along
        rest = (centred**2).sum(axis=1) - ((centred @ self.directions.T) ** 2).sum(axis=1)
        floor = 1e-12 * max(float((self.mean**2).sum()), 1.0)
        return np.column_stack([along, 0.5 * np.log(np.maximum(rest, 0.0) + floor)])
