from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidData, NotFinite
from roost.lifecycle.models.predictors.base import Label, Predictions, Predictor, predict_checked


class Scripted(Predictor):
    """Gives what it is told to."""

    kind = "test-scripted-predictor"

    def __init__(self, answer: Predictions | Exception, classes: tuple[Label, ...] | None = None) -> None:
        self.answer = answer
        self._classes = classes

    @property
    def task(self) -> str:
        return "regression" if self._classes is None else "classification"

    @property
    def classes(self) -> tuple[Label, ...] | None:
        return self._classes

    @property
    def fingerprint(self) -> str:
        return "sha256:scripted"

    def predict(self, rows: Any) -> Predictions:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Scripted:
        raise NotImplementedError


HALVES = np.array([[0.5, 0.5]])


def test_good_predictions_pass() -> None:
    made = predict_checked(Scripted(Predictions(np.array(["a"]), HALVES), ("a", "b")), ["row"])
    assert len(made) == 1 and made.values.tolist() == ["a"] and made.probabilities is not None
    assert predict_checked(Scripted(Predictions(np.array(["a"])), ("a", "b")), ["row"]).probabilities is None
    numbers = predict_checked(Scripted(Predictions(np.array([3]))), ["row"])
    assert numbers.values.dtype == np.float64 and numbers.values.tolist() == [3.0]
    assert len(predict_checked(Scripted(Predictions(np.empty(0))), [])) == 0


@pytest.mark.parametrize(
    ("values", "probabilities", "classes", "error", "message"),
    [
        ([1.0, 2.0], None, None, InvalidData, r"shape \(2,\) for 1 rows"),
        ([[1.0]], None, None, InvalidData, r"shape \(1, 1\) for 1 rows"),
        ([np.nan], None, None, NotFinite, "predicted number of row 0"),
        ([np.inf], None, None, NotFinite, "predicted number of row 0"),
        (["a"], None, None, InvalidData, "a regression gives numbers"),
        (["c"], None, ("a", "b"), InvalidData, "the label 'c', which is none of its classes"),
        (["a"], [[1.0]], ("a", "b"), InvalidData, r"shape \(1, 1\); they are of shape \(1, 2\)"),
        (["a"], [[0.5, 0.4]], ("a", "b"), InvalidData, "do not add up to 1"),
        (["a"], [[-0.5, 1.5]], ("a", "b"), InvalidData, "below 0"),
        (["a"], [[np.nan, 1.0]], ("a", "b"), NotFinite, "probability of row 0"),
    ],
)
def test_predictions_that_are_none_are_refused(
    values: Any, probabilities: Any, classes: Any, error: type[Exception], message: str
) -> None:
    given = None if probabilities is None else np.array(probabilities)
    with pytest.raises(error, match=message):
        predict_checked(Scripted(Predictions(np.array(values), given), classes), ["row"])


@pytest.mark.parametrize("error", [ValueError("no such column"), TypeError("no number")])
def test_rows_that_the_model_refuses_are_bad_data(error: Exception) -> None:
    with pytest.raises(InvalidData, match=f"cannot take these rows: {error}"):
        predict_checked(Scripted(error), ["row"])
