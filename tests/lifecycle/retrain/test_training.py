from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models.model_files import ModelFiles, load_model
from roost.lifecycle.retrain import Training
from roost.lifecycle.retrain.training import REQUEST, Request, imported, read_result, run

RECIPES = "tests.lifecycle.retrain.recipes"


def request(**changes: Any) -> Request:
    asked: dict[str, Any] = {
        "plan": "digits-again",
        "endpoint": "shop",
        "train": f"{RECIPES}:train",
        "evaluate": f"{RECIPES}:evaluate",
        "params": {"n_components": 3},
        "seed": 0,
        "max_seconds": 60.0,
        "artifacts": "",
        "champion": None,
        "trusted": (),
        "trusted_here": (),
    }
    return Request(**{**asked, **changes})


def carried_out(directory: Path, **changes: Any) -> None:
    (directory / REQUEST).write_text(json.dumps(asdict(request(**changes))))
    run(directory)


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training("p", "e", {}, 0, tmp_path, None, 60.0)


def test_the_result_has_the_model_its_metrics_and_its_data(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    carried_out(tmp_path)
    result = read_result(tmp_path)
    assert result is not None
    assert load_model(tmp_path, ModelFiles.from_json(result.files)).dim == 3
    assert result.logged == [("loss", 0.5, 1)] and result.champion is None
    assert 0.3 < result.challenger["precision"] < 1.0
    assert [(one.name, one.n_rows) for one in result.used_for("train")] == [("digits", 300)]
    assert [one.name for one in result.used_for("evaluation")] == ["digits held out"]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"train": f"{RECIPES}:gives_nothing"}, InvalidData, "a recipe gives an Embedder or a Predictor"),
        ({"evaluate": f"{RECIPES}:images"}, TypeError, "positional"),
        ({"evaluate": f"{RECIPES}:gives_a_list"}, InvalidData, "gives metrics by their names"),
    ],
)
def test_what_a_recipe_must_give(tmp_path: Path, changes: dict[str, str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        carried_out(tmp_path, **changes)
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (f"{RECIPES}:absent", "cannot be imported"),
        ("no_such_module:train", "cannot be imported"),
        (f"{RECIPES}:NOT_A_FUNCTION", "not a function"),
    ],
)
def test_what_cannot_be_called_is_refused(path: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        imported(path)


def test_arrays_lists_and_files_are_recorded(training: Training, tmp_path: Path) -> None:
    rows = np.zeros((4, 2))
    assert training.used(rows, name="rows") is rows
    training.used([{"text": "a"}], name="texts")
    file = tmp_path / "rows.npy"
    np.save(file, rows)
    training.used(file, name="file", role="evaluation")
    assert [(role, one.kind, one.n_rows) for role, one in training._data] == [
        ("train", "array", 4),
        ("train", "array", 1),
        ("evaluation", "file", 4),
    ]
    for wrong, role in ((rows, "test"), ("rows.npy", "train"), (7, "train"), (tmp_path / "absent", "train")):
        with pytest.raises(InvalidArgument):
            training.used(wrong, name="wrong", role=role)  # type: ignore[type-var]


def test_what_is_left_of_the_budget(training: Training) -> None:
    assert 0.0 < training.seconds_left <= 60.0
    training._started = time.monotonic() - 61.0
    assert training.seconds_left == 0.0
