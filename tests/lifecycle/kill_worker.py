"""The process that `test_kill.py` kills: it changes an endpoint step by step, for as long as it lives.

Its log has a line when it begins to open the workspace, and when a step begins and ends.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.tracking  # noqa: F401 - imported once, before the processes are forked
import numpy as np
import skops.io  # noqa: F401
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from roost.errors import EndpointNotFound, InvalidTransition, ModelNotFound
from roost.lifecycle.deployments.deployment import Deployment, State
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace

N_RECORDS = 120
BATCH_SIZE = 20
MODEL = "digits"
DIMS = (4, 8)
MAX_STANDBY = 2
"""Deployments that are ready and not the champion; older ones are retired."""


def records() -> list[dict[str, Any]]:
    images, labels = load_digits(return_X_y=True)
    return [{"id": i, "content": images[i].astype(np.float32), "label": int(labels[i])} for i in range(N_RECORDS)]


def work(arguments: list[str], endpoint: str, first: str, seed: int, log: str) -> None:
    """Open the workspace and go on, with one step first and with any others after it.

    Args:
        arguments: of `Workspace`.
        endpoint: its name; it is made where it is not there.
        first: the name of a step, or "open" for any.
        log: the file to write to.
    """
    with Path(log).open("a", encoding="utf-8", buffering=1) as file:
        file.write("begin open\n")
        started = time.perf_counter()
        with Workspace(*arguments) as workspace:
            worker = Worker(workspace, endpoint, random.Random(seed))
            file.write(f"end open {time.perf_counter() - started}\n")
            step = worker.step_now(first)
            while True:
                file.write(f"begin {step}\n")
                started = time.perf_counter()
                worker.steps[step]()
                file.write(f"end {step} {time.perf_counter() - started}\n")
                step = worker.step_now("open")


class Worker:
    """Does steps with one endpoint."""

    def __init__(self, workspace: Workspace, endpoint: str, rng: random.Random) -> None:
        self._workspace = workspace
        self._name = endpoint
        self._rng = rng
        self._records = records()
        self.steps: dict[str, Callable[[], None]] = {
            "create": self.create,
            "deploy": self.deploy,
            "resume": self.resume,
            "test": self.test,
            "promote": self.promote,
            "rollback": self.rollback,
            "retire": self.retire,
        }

    def step_now(self, wanted: str) -> str:
        """Return the step that is wanted, or one that has to come before it; "open" wants any."""
        try:
            self._endpoint()
            self._models()
        except (EndpointNotFound, ModelNotFound):
            return "create"
        if self._of(State.BUILDING, State.DRAFT):
            return "resume"
        if len(self._of(State.READY)) > MAX_STANDBY:
            return "retire"
        if not self._of(State.READY):
            return "deploy"
        if self._endpoint().champion is None:
            return "promote"
        return wanted if wanted != "open" else self._rng.choice(["deploy", "test", "promote", "rollback"])

    def create(self) -> None:
        try:
            self._workspace.endpoints.get(self._name)
        except EndpointNotFound:
            self._workspace.endpoints.create(self._name)
        images = np.stack([record["content"] for record in self._records])
        for number, dim in enumerate(DIMS, start=1):
            try:
                self._workspace.models.get(MODEL, number)
            except ModelNotFound:
                embedder = SklearnEmbedder(PCA(dim, svd_solver="full").fit(images))
                self._workspace.models.register(MODEL, embedder)

    def deploy(self) -> None:
        endpoint = self._endpoint()
        taken = len(endpoint.deployments())
        endpoint.deploy(
            self._rng.choice(self._models()), self._records, name=f"d{taken}-{os.getpid()}", batch_size=BATCH_SIZE,
            progress=lambda at: self._write() if at.n_done == 3 * BATCH_SIZE else None,
        )  # fmt: skip

    def resume(self) -> None:
        """Go on with what another process has begun."""
        for half_built in self._of(State.DRAFT):
            self._endpoint().deploy(half_built, self._records, batch_size=BATCH_SIZE)
        for half_built in self._of(State.BUILDING):
            self._endpoint().resume(half_built, self._records, batch_size=BATCH_SIZE)

    def test(self) -> None:
        """Test a challenger on live queries; or end the test that another process left running."""
        endpoint = self._endpoint()
        test = endpoint.test or endpoint.start_test(
            self._rng.choice(self._of(State.READY)), seed=self._rng.getrandbits(20)
        )
        for record in self._rng.sample(self._records, 10):
            answer = endpoint.search(record["content"], limit=5, output_fields=["label"])
            endpoint.feedback(answer.query_id, {h.id: float(h.fields["label"] == record["label"]) for h in answer.hits})
        if self._rng.random() < 0.7:
            test.stop("enough")

    def promote(self) -> None:
        self._endpoint().promote(self._rng.choice(self._of(State.READY)), "its turn")

    def rollback(self) -> None:
        try:
            self._endpoint().rollback(reason="back")
        except InvalidTransition:
            self.promote()

    def retire(self) -> None:
        """Retire all but the newest, and give up the vectors of every second one."""
        endpoint = self._endpoint()
        if endpoint.test is not None:
            endpoint.test.stop("a deployment is retired")
        for old in self._of(State.READY)[:-MAX_STANDBY]:
            endpoint.retire(old, "there are newer ones")
            if self._rng.random() < 0.5:
                endpoint.purge(old, "nobody will go back to it")

    def _write(self) -> None:
        """Write through the endpoint what its records have already."""
        if self._endpoint().champion is not None:
            self._endpoint().write(self._records[-3:])

    def _endpoint(self) -> SearchEndpoint:
        found: SearchEndpoint = self._workspace.endpoints.get(self._name)
        return found

    def _models(self) -> list[ModelVersion]:
        return [self._workspace.models.get(MODEL, number) for number in range(1, len(DIMS) + 1)]

    def _of(self, *states: State) -> list[Deployment]:
        return [deployment for deployment in self._endpoint().deployments() if deployment.state in states]
