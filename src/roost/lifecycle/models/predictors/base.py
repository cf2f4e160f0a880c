"""What predicts a class or a number for each row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidData, NotFinite
from roost.lifecycle.models.model import Model

Label: TypeAlias = str | int | float | bool

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)

_SUM_TOLERANCE = 1e-3
"""Models that calculate in float16 give rows that add up to 1 this well."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a predictor says about n rows.

    Attributes:
        values: (n,), labels for a classification, float64 for a regression.
        probabilities: (n, n_classes) float64 in the order of the predictor's classes; None where it gives none.
    """

    values: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.values)


class Predictor(Model):
    """A model that predicts a class or a number for each row.

    It does not change after it was made. `predict` may be called from any number of threads at once.
    """

    @property
    @abstractmethod
    def task(self) -> str:
        """`classification` or `regression`."""

    @property
    @abstractmethod
    def classes(self) -> tuple[Label, ...] | None:
        """The labels of a classification, in the order of the probabilities' columns; None for a regression."""

    @abstractmethod
    def predict(self, rows: Sequence[Any] | npt.NDArray[Any]) -> Predictions:
        """Return the predictions for n rows, in their order."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Predictor:
        """Return the predictor that `save` wrote; see `Model.load`."""


def predict_checked(predictor: Predictor, rows: Sequence[Any] | npt.NDArray[Any]) -> Predictions:
    """Return the predictions for rows after checking that they are predictions.

    Raises:
        InvalidData: the predictor refused the rows, gave another number of predictions, labels that are not
            its classes, or probabilities that are none.
        NotFinite: a predicted number or a probability is NaN or infinite.
    """
    try:
        found = predictor.predict(rows)
    except (ValueError, TypeError) as error:
        raise InvalidData(f"the predictor cannot take these rows: {error}") from error
    values = np.asarray(found.values)
    if values.shape != (len(rows),):
        raise InvalidData(f"the predictor gave an array of shape {values.shape} for {len(rows)} rows")
    if predictor.task == CLASSIFICATION:
        classes = predictor.classes or ()
        unknown = set(values.tolist()) - set(classes)
        if unknown:
            raise InvalidData(f"the predictor gave the label {min(map(repr, unknown))}, which is none of its classes")
        return Predictions(values, _checked_probabilities(found.probabilities, (len(rows), len(classes))))
    try:
        numbers = values.astype(np.float64, casting="same_kind")
    except TypeError as error:
        raise InvalidData(f"the predictor gave values of type {values.dtype}; a regression gives numbers") from error
    _check_finite(numbers, "predicted number")
    return Predictions(numbers)


def _checked_probabilities(
    probabilities: npt.NDArray[Any] | None, shape: tuple[int, int]
) -> npt.NDArray[np.float64] | None:
    if probabilities is None:
        return None
    checked = np.asarray(probabilities, dtype=np.float64)
    if checked.shape != shape:
        raise InvalidData(f"the predictor gave probabilities of shape {checked.shape}; they are of shape {shape}")
    _check_finite(checked, "probability")
    off = np.abs(checked.sum(axis=1) - 1.0) > _SUM_TOLERANCE
    if (checked < 0).any() or off.any():
        raise InvalidData("the predictor gave probabilities below 0, or rows of them that do not add up to 1")
    return checked


def _check_finite(numbers: npt.NDArray[np.float64], what: str) -> None:
    bad = ~np.isfinite(numbers).all(axis=tuple(range(1, numbers.ndim)))
    if bad.any():
        raise NotFinite(f"the {what} of row {int(np.flatnonzero(bad)[0])} is NaN or infinite")
