"""Running the command line in this process, and something for it to look at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from typer.testing import CliRunner, Result

from roost.cli.app import app
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.workspace import Workspace

N_RECORDS = 120


@pytest.fixture
def roost() -> Callable[..., Result]:
    """Run `roost ARGUMENTS...` and return its exit status and what it printed."""

    def run(*arguments: object, **environment: str) -> Result:
        # A terminal of 200 columns: tables are not folded.
        variables = {"COLUMNS": "200", **environment}
        return CliRunner().invoke(app, [str(a) for a in arguments], env=variables, prog_name="roost")

    return run


@pytest.fixture(scope="session")
def made_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an endpoint that has two deployments, the second of them the champion."""
    path = tmp_path_factory.mktemp("cli") / "workspace"
    images = np.random.default_rng(3).random((N_RECORDS, 16), dtype=np.float32)
    records = [{"id": row, "content": image} for row, image in enumerate(images)]
    with Workspace(path, actor="ada") as workspace:
        endpoint = workspace.endpoints.create("image-search", description="a test")
        for dim in (2, 4):
            model = workspace.models.register("pca", SklearnEmbedder(PCA(dim, random_state=0).fit(images)))
            endpoint.promote(endpoint.deploy(model, records), reason=f"{dim} dimensions")
    return path


@pytest.fixture
def workspace_path(made_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, for the test to change."""
    return Path(shutil.copytree(made_workspace, tmp_path / "workspace"))


SHOP = """
import signal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import roost

images = np.random.default_rng(3).random((120, 16), dtype=np.float32)
labels = (images[:, 0] > 0.5).astype(int)


def model():
    return roost.SklearnEmbedder(PCA(3, random_state=0).fit(images))


def predictor():
    return roost.SklearnPredictor(LogisticRegression().fit(images, labels))


def first_three(rows):
    return np.asarray(rows)[:, :3]


def function():
    return roost.CallableEmbedder(first_three, dim=3)


def records():
    return [{"id": row, "content": image} for row, image in enumerate(images)]


def interrupted():
    for number, record in enumerate(records()):
        if number == 100:
            signal.raise_signal(signal.SIGINT)
        yield record


def with_a_bad_one():
    return [*records()[:20], {"id": 20, "content": None}]


def train(training):
    return roost.SklearnEmbedder(PCA(training.params["n"], random_state=training.seed).fit(images))


def evaluate(model, training):
    return {"dim": float(model.dim)}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a module `cli_shop` in it whose functions commands may name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_shop.py").write_text(SHOP, encoding="utf-8")
    sys.modules.pop("cli_shop", None)
    return tmp_path
