"""A real server in a thread, over a workspace that the tests of a session share."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from starlette.routing import Match

from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.server.rest import address_of, create_app, listen
from roost.server.rest.app import ROUTERS
from roost.workspace import Workspace

N_RECORDS = 100
WAIT_S = 60.0


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application at a free loopback port, and give its address."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + WAIT_S
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def wait_for(client: httpx.Client, job: int) -> dict[str, Any]:
    """Return a job once it has ended."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(client.get(f"/v1/jobs/{job}").json())
        return bool(found["state"] != "running")

    wait_until(has_ended)
    return found


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate of 127.0.0.1 that vouches for itself, and of its key."""

    file: Path
    key: Path
    encrypted_key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "cert.pem", folder / "key.pem", folder / "encrypted.pem")
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    encrypt = ["-in", made.key, "-aes256", "-passout", "pass:secret", "-out", made.encrypted_key]
    for command in (["req", "-x509", *curve, *name, "-keyout", made.key, "-out", made.file], ["ec", *encrypt]):
        subprocess.run([openssl, *command], check=True, capture_output=True)
    return made


@dataclass(frozen=True)
class Digits:
    images: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def records(self) -> list[dict[str, Any]]:
        return [{"id": i, "content": self.images[i], "label": int(self.labels[i])} for i in range(N_RECORDS)]


@pytest.fixture(scope="session")
def digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    return Digits(images, labels)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A directory with a file of digits."""
    folder = tmp_path_factory.mktemp("data")
    images, labels = digits.images[:N_RECORDS], digits.labels[:N_RECORDS]
    content = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), images.shape[1])
    pq.write_table(
        pa.table({"id": np.arange(N_RECORDS), "content": content, "label": labels}), folder / "digits.parquet"
    )
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Iterator[Workspace]:
    """A workspace with two embedders, `digits/1` and `digits/2`, and a predictor, `labels/1`."""
    images = digits.images[:300]
    with Workspace(tmp_path_factory.mktemp("rest") / "workspace", actor="server") as opened:
        data = opened.data.describe(images, name="digits")
        for n_components in (4, 16):
            embedder = SklearnEmbedder(PCA(n_components, svd_solver="full").fit(images))
            opened.models.register("digits", embedder, data=data)
        classifier = LogisticRegression(max_iter=50, tol=0.1).fit(images / 16.0, digits.labels[:300])
        opened.models.register("labels", SklearnPredictor(classifier))
        yield opened


@pytest.fixture(scope="session")
def app(shared: Workspace, data_dir: Path) -> FastAPI:
    """The application without tokens."""
    return create_app(shared, data_dir=data_dir, max_body_bytes=2**20)


@pytest.fixture(scope="session")
def address(app: FastAPI) -> Iterator[str]:
    """A server without tokens."""
    with serving(app) as found:
        yield found


ROUTES = [route for module in ROUTERS for route in module.router.routes if isinstance(route, APIRoute)]


def check_schema(response: httpx.Response) -> None:
    """Hold an answer against what the document says of it: every field is there, and no other."""
    request = response.request
    scope = {"type": "http", "path": request.url.path, "method": request.method, "headers": []}
    route: Any = next((one for one in ROUTES if one.matches(scope)[0] is Match.FULL), None)
    if route is None or not response.is_success or route.path == "/metrics":
        return
    adapter = TypeAdapter(route.responses[response.status_code]["model"])
    found = adapter.validate_json(response.read(), strict=True)
    assert adapter.dump_python(found, mode="json") == response.json(), request.url.path


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    """A client that holds every answer against its schema."""
    with httpx.Client(base_url=address, timeout=WAIT_S, event_hooks={"response": [check_schema]}) as opened:
        yield opened


@pytest.fixture
def make_endpoint(shared: Workspace, digits: Digits) -> Callable[..., SearchEndpoint]:
    """Make an endpoint whose champion is `digits-v1`."""

    def make(environment: str = "production") -> SearchEndpoint:
        endpoint = shared.endpoints.create(f"t-{uuid4().hex[:8]}", environment=environment)
        endpoint.promote(endpoint.deploy(shared.models.get("digits", 1), digits.records(), verify=8), reason="first")
        return endpoint

    return make
