"""Workspaces for the tests of the lifecycle: embedded, or on the Milvus server that ROOST_MILVUS_URI names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from roost.lifecycle.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.registry import ModelVersion
from roost.lifecycle.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store import Store
from roost.lifecycle.tracking import Tracking
from roost.workspace import Workspace

Records: TypeAlias = list[dict[str, Any]]
N_RECORDS = 300


@dataclass(frozen=True)
class Digits:
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def records(self, start: int = 0, stop: int = N_RECORDS) -> Records:
        return [{"id": i, "content": self.images[i], "label": int(self.labels[i])} for i in range(start, stop)]

    def embedder(self, n_components: int) -> SklearnEmbedder:
        return SklearnEmbedder(PCA(n_components, svd_solver="full").fit(self.images[:N_RECORDS]))


@pytest.fixture(scope="session")
def digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    return Digits(images.astype(np.float32), labels.astype(np.int64))


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with Roost's and MLflow's empty tables, whose making takes a second."""
    path = tmp_path_factory.mktemp("blank") / "store.db"
    url = f"sqlite:///{path}"
    Store(url).close()
    Tracking(url, path.parent).client.search_registered_models()
    return path


@dataclass
class Place:
    """Where a test's workspace is. It may be opened again and again."""

    home: Path
    uri: str | None
    endpoint: str = field(default_factory=lambda: f"t-{uuid4().hex[:10]}")

    @property
    def arguments(self) -> list[str]:
        return [self.uri, str(self.home)] if self.uri else [str(self.home)]

    def open(self, **options: Any) -> Workspace:
        return Workspace(*self.arguments, **options)


@pytest.fixture
def place(tmp_path: Path, blank_store: Path) -> Iterator[Place]:
    home = tmp_path / "workspace"
    home.mkdir()
    shutil.copy(blank_store, home / "store.db")
    made = Place(home, os.environ.get("ROOST_MILVUS_URI") or None)
    yield made
    if made.uri:
        _drop_collections(made)


def _drop_collections(place: Place) -> None:
    prefix = place.endpoint.replace("-", "_")
    with place.open() as workspace:
        client = workspace.vectors
        for name in client.list_collections():
            if name.startswith(prefix):
                for alias in client.list_aliases(name)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(name)


@pytest.fixture
def workspace(place: Place) -> Iterator[Workspace]:
    with place.open(actor="tester") as opened:
        yield opened


@pytest.fixture
def weak(workspace: Workspace, digits: Digits) -> ModelVersion:
    """A registered model of 4 dimensions."""
    return workspace.models.register("digits", digits.embedder(4))


@pytest.fixture
def strong(workspace: Workspace, weak: ModelVersion, digits: Digits) -> ModelVersion:
    """The next version of the same model, of 16 dimensions."""
    return workspace.models.register("digits", digits.embedder(16))


@pytest.fixture
def empty_endpoint(place: Place, workspace: Workspace) -> Endpoint:
    return workspace.endpoints.create(place.endpoint)


@pytest.fixture
def endpoint(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> Endpoint:
    """An endpoint whose champion is `digits-v1`."""
    empty_endpoint.promote(empty_endpoint.deploy(weak, digits.records()), reason="first")
    return empty_endpoint


@pytest.fixture
def contested(endpoint: Endpoint, strong: ModelVersion, digits: Digits) -> Endpoint:
    """An endpoint whose champion is `digits-v1`, with `digits-v2` ready beside it."""
    endpoint.deploy(strong, digits.records())
    return endpoint


Child: TypeAlias = Callable[..., int]


@pytest.fixture
def child(place: Place, tmp_path: Path) -> Child:
    """Run a step of `crash_steps.py` on the workspace in a process of its own, and return its exit status."""

    script = Path(__file__).with_name("crash_steps.py")

    def run(step: str) -> int:
        source = str(Path(__file__).parents[2] / "src")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(
            [sys.executable, str(script), step, place.endpoint, *place.arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        (tmp_path / f"{step}.log").write_text(done.stdout + done.stderr)
        return done.returncode

    return run
