"""Recipes that the tests of retraining run in processes of their own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from roost.lifecycle.models.embedders.callable import CallableEmbedder
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.retrain import Training

N_RECORDS = 120


def images() -> Any:
    return load_digits(return_X_y=True)[0].astype(np.float32)


def train(training: Training) -> SklearnEmbedder:
    rows = training.used(images()[:300], name="digits")
    training.log_metrics({"loss": 0.5}, step=1)
    return SklearnEmbedder(PCA(training.params.get("n_components", 16), random_state=training.seed).fit(rows))


def evaluate(model: SklearnEmbedder, training: Training) -> dict[str, float]:
    """Share of the rows whose nearest other row has the same label."""
    rows, labels = load_digits(return_X_y=True)
    vectors = model.embed(training.used(rows[1000:1300], name="digits held out", role="evaluation"))
    distances = np.square(vectors[:, None] - vectors[None]).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    same = labels[1000:1300][distances.argmin(axis=1)] == labels[1000:1300]
    return {"precision": float(same.mean())}


def records() -> Iterator[dict[str, Any]]:
    for number, image in enumerate(images()[:N_RECORDS]):
        yield {"id": number, "content": image}


def train_reader(training: Training) -> SklearnPredictor:
    rows, labels = load_digits(return_X_y=True)
    used = training.used(rows[:400], name="scans")
    return SklearnPredictor(LogisticRegression(C=1e-3, max_iter=200).fit(used, labels[:400]))


def evaluate_reader(model: SklearnPredictor, training: Training) -> dict[str, float]:
    rows, labels = load_digits(return_X_y=True)
    return {"accuracy": float((model.predict(rows[1000:1300]).values == labels[1000:1300]).mean())}


def tells_about_its_process(training: Training) -> SklearnEmbedder:
    """Log what of MLflow is in this process, and what it would send."""
    training.log_metrics({"mlflow_loaded": float("mlflow" in sys.modules)})
    from mlflow.telemetry import get_telemetry_client

    training.log_metrics({"telemetry": float(get_telemetry_client() is not None)})
    return train(training)


def corners(images: Any) -> Any:
    return np.asarray(images)[:, [2, 3, 20, 21]]


def middle(images: Any) -> Any:
    return np.asarray(images)[:, 20:44]


def train_function(training: Training) -> CallableEmbedder:
    assert isinstance(training.champion, CallableEmbedder)
    return CallableEmbedder(middle, dim=24)


def dies(training: Training) -> SklearnEmbedder:
    """End as a process does that the system takes for too large."""
    print("epoch 1 of 10", flush=True)
    os.kill(os.getpid(), 9)
    raise AssertionError


def fails(training: Training) -> SklearnEmbedder:
    raise ValueError("there is no fresh data")


def never_ends(training: Training) -> SklearnEmbedder:
    (training.directory / "pid").write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError


def gives_nothing(training: Training) -> None:
    return None


def gives_a_list(model: SklearnEmbedder, training: Training) -> list[float]:
    return [0.9]


NOT_A_FUNCTION = 3
