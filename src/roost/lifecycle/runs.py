"""Runs: what was trained, from which data, with which code, and how well, in MLflow's tracking."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roost.address import without_secrets
from roost.lifecycle.tracking import Tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PACKAGES = ("roost", "numpy", "scikit-learn", "skops", "torch", "onnxruntime")
_GIT_TIMEOUT_S = 5.0


class Run:
    """A run being recorded; as a context manager it ends as finished, or as failed on an exception."""

    def __init__(self, client: MlflowClient, run_id: str, name: str) -> None:
        self._client = client
        self.id = run_id
        self.name = name

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; a parameter is recorded once."""
        for key, value in params.items():
            self._client.log_param(self.id, key, value)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record measurements; a metric may be recorded again at another step."""
        for key, value in metrics.items():
            self._client.log_metric(self.id, key, float(value), step=step)

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record one measurement."""
        self.log_metrics({name: value}, step)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self.id, key, value)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED"
        if error is not None and status == "FAILED":
            self._client.set_tag(self.id, "roost.error", without_secrets(f"{type(error).__name__}: {error}"))
        self._client.set_terminated(self.id, status)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, id={self.id!r})"


class Runs:
    """The runs of a workspace, in MLflow's experiment `roost`."""

    def __init__(self, tracking: Tracking, actor: str) -> None:
        self._tracking = tracking
        self._actor = actor

    def start(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        data: npt.NDArray[Any] | None = None,
        seed: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a run, and record code version, environment, seed, and a digest of the data.

        Args:
            data: what is trained on; only its digest, shape and type are kept.
            seed: recorded; seeding is the caller's.
        """
        client = self._tracking.client
        recorded = {**_environment(), **_code_version(), **(tags or {}), "mlflow.user": self._actor}
        if data is not None:
            recorded |= {"roost.data.digest": data_digest(data), "roost.data.shape": str(data.shape)}
        if seed is not None:
            recorded["roost.seed"] = str(seed)
        made = client.create_run(self._tracking.experiment_id, run_name=name, tags=recorded)
        run = Run(client, made.info.run_id, name)
        run.log_params(params or {})
        return run


def data_digest(data: npt.NDArray[Any]) -> str:
    """Return `sha256:` and a digest of an array's values, shape and type."""
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    digest.update(np.ascontiguousarray(data).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _environment() -> dict[str, str]:
    found = {
        "roost.env.python": platform.python_version(),
        "roost.env.platform": platform.platform(),
        "roost.env.machine": platform.machine(),
        "roost.env.cpus": str(os.cpu_count()),
    }
    for package in _PACKAGES:
        try:
            found[f"roost.env.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _code_version() -> dict[str, str]:
    tags = {"mlflow.source.name": sys.argv[0] or "python"}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["roost.code.dirty"] = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
