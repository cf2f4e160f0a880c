"""Workspaces for the tests of the lifecycle.

They are embedded, or on the Milvus server that ROOST_MILVUS_URI names; their store is SQLite, or a
database of its own on the PostgreSQL server that ROOST_POSTGRES_URL names.
"""

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
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.models.tracking import Tracking
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store import Store
from roost.workspace import Workspace
from tests import postgres

Records: TypeAlias = list[dict[str, Any]]
N_RECORDS = 300


ABOUT_VECTORS = (
    "backfill",
    "bridge",
    "deployments",
    "live/test_methods",
    "live/test_processes",
    "monitor/test_recall",
    "serving",
    "test_kill",
    "test_live",
    "test_migration",
    "test_restore",
    "test_two_operators",
)
"""Where the vector engine matters: these tests run on the Milvus server where there is one, the others embedded."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "place" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.workspace)


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
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a store with Roost's and MLflow's empty tables, whose making takes seconds."""
    folder = tmp_path_factory.mktemp("blank")
    server = os.environ.get("ROOST_POSTGRES_URL")
    url = postgres.create(server) if server else f"sqlite:///{folder / 'store.db'}"
    store = Store(url)
    tracking = Tracking(store, folder)
    tracking.client.search_registered_models()
    tracking.close()
    store.close()
    yield url
    if server:
        postgres.drop(url)


@dataclass
class Place:
    """Where a test's workspace is. It may be opened again and again.

    Attributes:
        uri: of the Milvus server; None for the embedded engine.
        store: the URL of the workspace's store.
    """

    home: Path
    uri: str | None
    store: str
    endpoint: str = field(default_factory=lambda: f"t-{uuid4().hex[:10]}")

    @property
    def arguments(self) -> list[str]:
        """What a child process gives to `Workspace`."""
        if not self.store.startswith("sqlite"):
            return [self.uri or str(self.home), self.store, "tester", str(self.home / "artifacts")]
        return [self.uri, str(self.home)] if self.uri else [str(self.home)]

    def open(self, **options: Any) -> Workspace:
        location, *others = self.arguments
        return Workspace(location, **dict(zip(("store", "actor", "artifacts"), others, strict=False)) | options)

    def execute(self, *statements: str) -> None:
        """Change the store as somebody would who has its password, or its file."""
        engine = create_engine(self.store, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


def _engine(test: Path) -> str | None:
    """Return the address of the vector engine for a test; None for the embedded one."""
    name = test.relative_to(Path(__file__).parent).with_suffix("").as_posix()
    return os.environ.get("ROOST_MILVUS_URI") or None if name.startswith(ABOUT_VECTORS) else None


@pytest.fixture
def places(tmp_path: Path, blank_store: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Place]]:
    """Make places for workspaces, which are gone afterwards."""
    server, made = os.environ.get("ROOST_POSTGRES_URL"), []

    def make() -> Place:
        home = tmp_path / (f"workspace-{len(made)}" if made else "workspace")
        home.mkdir()
        store = f"sqlite:///{home / 'store.db'}"
        if server:
            store = postgres.create(server, template=blank_store)
        else:
            shutil.copy(blank_store.removeprefix("sqlite:///"), home / "store.db")
        made.append(Place(home, _engine(request.path), store))
        return made[-1]

    yield make
    for place in made:
        if place.uri:
            _drop_collections(place)
        if server:
            postgres.drop(place.store)


@pytest.fixture
def place(places: Callable[[], Place]) -> Place:
    return places()


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
