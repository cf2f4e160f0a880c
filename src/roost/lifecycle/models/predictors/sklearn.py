"""scikit-learn classifiers and regressors as predictors."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models import skops_file
from roost.lifecycle.models.predictors.base import CLASSIFICATION, REGRESSION, Label, Predictions, Predictor
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.preprocess.steps import Preprocessing, Steps


class SklearnPredictor(Predictor):
    """A fitted scikit-learn classifier or regressor, stored with skops, never with pickle."""

    kind = "sklearn-predictor"

    def __init__(
        self,
        model: Any,
        *,
        trusted: Collection[str] = (),
        preprocess: Steps = (),
        _stored: bytes | None = None,
    ) -> None:
        """Wrap a fitted model of one output.

        Args:
            model: has `predict`, and is not changed afterwards; with `classes_` it is a classifier.
            trusted: names of the types of yours that it holds; scikit-learn's, NumPy's and SciPy's
                are known to be safe.
            preprocess: what is done to rows first; rows that are dictionaries need Columns(...).
        Raises:
            UnsafeModel: it holds other types; the message names them.
            InvalidArgument: it is not a fitted model of one output.
            MissingDependency: skops is not installed.
        """
        self._preprocess = Preprocessing(preprocess)
        name = type(model).__name__
        classes = getattr(model, "classes_", None)
        fitted = hasattr(model, "n_features_in_") or classes is not None
        if not hasattr(model, "predict") or not (fitted or self._preprocess):
            raise InvalidArgument(f"{name} is not a fitted scikit-learn classifier or regressor: fit it first")
        if isinstance(classes, list) or getattr(model, "n_outputs_", 1) != 1:
            raise InvalidArgument(f"{name} has several outputs; a predictor has one: register a model for each")
        self._model = model
        self._classes: tuple[Label, ...] | None = None if classes is None else tuple(np.asarray(classes).tolist())
        self._stored = _stored if _stored is not None else skops_file.dump(model, trusted)
        example = self._preprocess.example()
        if example is None and hasattr(model, "n_features_in_"):
            example = np.zeros((1, model.n_features_in_))
        if example is not None:
            self._check(example)

    def _check(self, example: Batch) -> None:
        name = type(self._model).__name__
        try:
            values = self._predict(example).values
        except (ValueError, TypeError) as error:
            raise InvalidArgument(f"{name} does not predict from what it is given, fit it first: {error}") from error
        if values.shape != (len(example),):
            raise InvalidArgument(f"{name} has several outputs; a predictor has one: register a model for each")

    @property
    def task(self) -> str:
        return REGRESSION if self._classes is None else CLASSIFICATION

    @property
    def classes(self) -> tuple[Label, ...] | None:
        return self._classes

    @cached_property
    def fingerprint(self) -> str:
        return self._preprocess.fingerprint(f"sha256:{skops_file.digest(self._stored)}")

    def predict(self, rows: Batch) -> Predictions:
        """Return the predictions for rows.

        Raises: InvalidData: the model does not take these rows.
        """
        try:
            return self._predict(rows) if len(rows) else self._none()
        except (ValueError, TypeError) as error:
            raise InvalidData(f"the predictor cannot take these rows: {error}") from error

    def _none(self) -> Predictions:
        if self._classes is None:
            return Predictions(np.empty(0))
        probabilities = np.empty((0, len(self._classes))) if hasattr(self._model, "predict_proba") else None
        return Predictions(np.asarray(self._classes)[:0], probabilities)

    def _predict(self, rows: Batch) -> Predictions:
        matrix = np.asarray(self._preprocess(rows))
        if matrix.dtype != object:
            matrix = matrix.reshape(len(matrix), -1)
        if self._classes is None or not hasattr(self._model, "predict_proba"):
            return Predictions(np.asarray(self._model.predict(matrix)))
        return Predictions(np.asarray(self._model.predict(matrix)), np.asarray(self._model.predict_proba(matrix)))

    def save(self, directory: Path) -> None:
        (directory / skops_file.FILE).write_bytes(self._stored)
        self._preprocess.save(directory)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> SklearnPredictor:
        model, stored = skops_file.read(directory, trusted)
        steps = Preprocessing.load(directory).steps
        return cls(model, trusted=trusted, preprocess=steps, _stored=stored)

    def __repr__(self) -> str:
        return f"SklearnPredictor({type(self._model).__name__}, task={self.task!r})"
