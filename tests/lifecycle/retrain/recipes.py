"""Recipes that the tests of retraining run in processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from roost.lifecycle.embedders.sklearn import SklearnEmbedder
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
    vectors = model.embed(rows[1000:1300])
    distances = np.square(vectors[:, None] - vectors[None]).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    same = labels[1000:1300][distances.argmin(axis=1)] == labels[1000:1300]
    return {"precision": float(same.mean())}


def records() -> Iterator[dict[str, Any]]:
    for number, image in enumerate(images()[:N_RECORDS]):
        yield {"id": number, "content": image}


def fails(training: Training) -> SklearnEmbedder:
    raise ValueError("there is no fresh data")


def never_ends(training: Training) -> SklearnEmbedder:
    (training.directory / "pid").write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError


def gives_nothing(training: Training) -> None:
    return None


def measures_nothing(model: SklearnEmbedder, training: Training) -> dict[str, float]:
    return {}


NOT_A_FUNCTION = 3
