"""ONNX classifiers and regressors as predictors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models import onnx_session
from roost.lifecycle.models.onnx_session import OnnxSession
from roost.lifecycle.models.predictors.base import CLASSIFICATION, REGRESSION, TASKS, Label, Predictions, Predictor
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.preprocess.steps import Preprocessing, Steps

_CONFIGURATION = "configuration.json"


class OnnxPredictor(Predictor):
    """A classifier or regressor in ONNX's format, run on the CPU by onnxruntime.

    A classifier gives the labels or the probabilities, or both (as skl2onnx and onnxmltools write it; without
    ZipMap). Where it gives probabilities alone, the label is the class of the greatest.
    """

    kind = "onnx-predictor"

    def __init__(
        self,
        model: onnx_session.Source,
        *,
        task: str,
        classes: Sequence[Label] | None = None,
        input: str | None = None,
        values: str | None = None,
        probabilities: str | None = None,
        preprocess: Steps = (),
        n_threads: int | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: the file's path, its content, or an onnx.ModelProto.
            task: `classification` or `regression`.
            classes: of a classification, in the order of the probabilities' columns.
            input: its name, where the model has several.
            values: name of the output with labels or numbers; by default the only output, for a classification the
                one that is not two-dimensional.
            probabilities: name of the output with probabilities; by default the two-dimensional one of numbers.
            preprocess: what is done to rows first, of roost.lifecycle.models.preprocess.
            n_threads: threads of one call; by default onnxruntime's choice.
        Raises:
            InvalidArgument: there is no such file; or task, classes, input or output are not those of the model.
            Corruption: it is not a model that onnxruntime can open.
            MissingDependency: onnxruntime is not installed.
        """
        if task not in TASKS:
            raise InvalidArgument(f"task={task!r} is not known; use one of {', '.join(TASKS)}")
        classes = tuple(classes) if classes is not None else ()
        if (task == CLASSIFICATION) != bool(classes):
            raise InvalidArgument("classes= are needed for a classification, and for nothing else")
        self._task = task
        self._classes = (
            tuple(one.item() if isinstance(one, np.generic) else one for one in classes) if classes else None
        )
        self._session = OnnxSession(model, n_threads)
        self._preprocess = Preprocessing(preprocess)
        self._input = self._session.input(input)
        self._values, self._probabilities = self._find_outputs(values, probabilities)
        if self._classes and self._values is None and self._probabilities is None:
            raise InvalidArgument("the ONNX model has no output of labels or probabilities; a ZipMap cannot be read")

    @property
    def task(self) -> str:
        return self._task

    @property
    def classes(self) -> tuple[Label, ...] | None:
        return self._classes

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._session.digest.encode())
        digest.update(json.dumps(self._options(), sort_keys=True).encode())
        return self._preprocess.fingerprint(f"sha256:{digest.hexdigest()}")

    def predict(self, rows: Batch) -> Predictions:
        content = self._preprocess(rows)
        if len(content) == 0:
            return self._none()
        feeds = {self._input.name: onnx_session.cast(content, self._input)}
        names = [name for name in (self._values, self._probabilities) if name is not None]
        found = dict(zip(names, self._session.run(feeds, names), strict=True))
        if self._classes is None:
            return Predictions(np.asarray(found[names[0]], dtype=np.float64).reshape(len(content), -1).squeeze(axis=1))
        probabilities = self._both_columns(found)
        if self._values is None:
            labels = np.asarray(self._classes)
            if probabilities is None or probabilities.shape[1] != len(labels):
                raise InvalidData(f"the ONNX model does not give a probability for each of {len(labels)} classes")
            return Predictions(labels[probabilities.argmax(axis=1)], probabilities)
        return Predictions(np.asarray(found[self._values].reshape(len(content)).tolist()), probabilities)

    def save(self, directory: Path) -> None:
        (directory / onnx_session.FILE).write_bytes(self._session.content)
        (directory / _CONFIGURATION).write_text(json.dumps(self._options(), sort_keys=True))
        self._preprocess.save(directory)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> OnnxPredictor:
        try:
            options: dict[str, Any] = json.loads((directory / _CONFIGURATION).read_text())
        except ValueError as error:
            raise Corruption(f"the configuration in {directory} cannot be read: {error}") from error
        model = directory / onnx_session.FILE
        return cls(model, **options, preprocess=Preprocessing.load(directory).steps)

    def _options(self) -> dict[str, Any]:
        """Return the options that the predictions depend on."""
        return {
            "task": self._task,
            "classes": list(self._classes) if self._classes else None,
            "input": self._input.name,
            "values": self._values,
            "probabilities": self._probabilities,
        }

    def _find_outputs(self, values: str | None, probabilities: str | None) -> tuple[str | None, str | None]:
        outputs = self._session.outputs
        for name in (values, probabilities):
            if name is not None:
                self._session.output(name)
        if self._task == REGRESSION:
            return self._session.output(values).name, None
        floats = (np.float16, np.float32, np.float64)
        flat = (one.name for one in outputs if one.dtype is not None and one.dtype not in floats)
        tables = (one.name for one in outputs if one.dtype in floats and len(one.shape) == 2)
        chosen = values if values is not None else next(flat, None)
        return chosen, probabilities if probabilities is not None else next(tables, None)

    def _both_columns(self, found: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64] | None:
        """Return the probabilities; a model of two classes may give those of the second alone."""
        if self._probabilities is None:
            return None
        given = np.asarray(found[self._probabilities], dtype=np.float64)
        if given.ndim == 2 and given.shape[1] == 1 and len(self._classes or ()) == 2:
            return np.hstack([1 - given, given])
        return given

    def _none(self) -> Predictions:
        if self._classes is None:
            return Predictions(np.empty(0))
        probabilities = None if self._probabilities is None else np.empty((0, len(self._classes)))
        return Predictions(np.asarray(self._classes)[:0], probabilities)

    def __repr__(self) -> str:
        return f"OnnxPredictor(task={self.task!r}, input={self._input.name!r})"
