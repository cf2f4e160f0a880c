"""Running the command line in this process, and something for it to look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from typer.testing import CliRunner, Result

from roost.cli.app import app
from roost.lifecycle.embedders.sklearn import SklearnEmbedder
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
