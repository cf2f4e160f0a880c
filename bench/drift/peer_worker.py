"""Runs in the environment of another tool: its detectors on the windows of a file. It imports nothing of Roost."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.float32]
Test: TypeAlias = Callable[[Rows], bool]

ALPHA = 0.05
SMALL_REFERENCE = 500
"""For Evidently, whose MMD takes a time that grows with its square."""


def alibi_detect(reference: Rows) -> dict[str, Test]:
    from alibi_detect.cd import ClassifierDrift, CVMDrift, KSDrift
    from sklearn.linear_model import LogisticRegression

    def model() -> LogisticRegression:
        return LogisticRegression(max_iter=300)

    detectors: dict[str, Any] = {
        "KSDrift, Bonferroni": KSDrift(reference, p_val=ALPHA),
        "CVMDrift, Bonferroni": CVMDrift(reference, p_val=ALPHA),
        "ClassifierDrift, logistic, hold-out": ClassifierDrift(
            reference, model(), backend="sklearn", p_val=ALPHA, preds_type="probs", seed=0
        ),
        "ClassifierDrift, logistic, 5 folds": ClassifierDrift(
            reference, model(), backend="sklearn", p_val=ALPHA, preds_type="probs", n_folds=5, train_size=None, seed=0
        ),
    }

    def test(detector: Any, window: Rows) -> bool:
        return bool(detector.predict(window)["data"]["is_drift"])

    return {name: partial(test, detector) for name, detector in detectors.items()}


def evidently(reference: Rows) -> dict[str, Test]:
    import pandas as pd
    from evidently.metrics.data_drift import embedding_drift_methods as methods

    few = reference[:SMALL_REFERENCE]
    columns = [f"d{i}" for i in range(reference.shape[1])]
    detectors = {
        "mmd, bootstrap": methods.mmd(bootstrap=True),
        "mmd, bootstrap, quantile_probability=0.95": methods.mmd(bootstrap=True, quantile_probability=0.95),
        "mmd, default threshold": methods.mmd(),
        "model, bootstrap": methods.model(bootstrap=True),
        "ratio, default threshold": methods.ratio(),
    }

    def test(method: Any, window: Rows) -> bool:
        # The methods write into the frames that they are given.
        return bool(method(pd.DataFrame(window, columns=columns), pd.DataFrame(few, columns=columns))[1])

    return {name: partial(test, method) for name, method in detectors.items()}


TOOLS = {"alibi-detect": alibi_detect, "evidently": evidently}


def main(tool: str, source: str, target: str) -> None:
    warnings.simplefilter("ignore")
    arrays = np.load(source)
    found: dict[str, Any] = {}
    for name, test in TOOLS[tool](arrays["reference"]).items():
        alarms: dict[str, float] = {}
        took: list[float] = []
        for group in (key for key in arrays.files if key != "reference"):
            answers = []
            for window in arrays[group]:
                started = time.perf_counter()
                answers.append(test(window))
                took += [time.perf_counter() - started] if group == "null" else []
            alarms[group] = float(np.mean(answers))
        found[name] = {"alarms": alarms, "test_ms": median(took) * 1e3}
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
