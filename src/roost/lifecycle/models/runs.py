"""Runs: what was trained, from which data, with which code, and how well, in MLflow's tracking."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from roost.address import without_secrets
from roost.errors import InvalidArgument
from roost.lifecycle.actor import acting
from roost.lifecycle.models.data_versions import (
    DataVersion,
    array_version,
    data_versions_from_json,
    data_versions_to_json,
)
from roost.lifecycle.models.tracking import Tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PACKAGES = ("roost", "numpy", "scikit-learn", "skops", "torch", "onnxruntime")
_GIT_TIMEOUT_S = 5.0

COMMIT, DIRTY, DATA = "mlflow.source.git.commit", "roost.code.dirty", "roost.data"
"""Tags of a run."""


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
        data: npt.NDArray[Any] | DataVersion | None = None,
        seed: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a run, and record code version, environment, seed, and a digest of the data.

        Args:
            data: what is trained on, or its version as `workspace.data.describe` gives it; of an array only the
                digest and the shape are kept.
            seed: recorded; seeding is the caller's.
        """
        client = self._tracking.client
        recorded = {**_environment(), **_code_tags(), **(tags or {}), "mlflow.user": acting(self._actor)}
        if data is not None:
            described = data if isinstance(data, DataVersion) else array_version(data)
            recorded |= {DATA: data_versions_to_json([described]), "roost.data.digest": described.digest}
        if data is not None and not isinstance(data, DataVersion):
            recorded["roost.data.shape"] = str(data.shape)
        if seed is not None:
            recorded["roost.seed"] = str(seed)
        made = client.create_run(self._tracking.experiment_id, run_name=name, tags=recorded)
        run = Run(client, made.info.run_id, name)
        run.log_params(params or {})
        return run


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


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The version of the code in the current directory.

    Attributes:
        commit: Git's; None outside a repository.
        is_dirty: whether files that Git knows differ from the commit.
    """

    commit: str | None
    is_dirty: bool = False


def code_version() -> CodeVersion:
    """Return the version of the code in the current directory, as Git says it."""
    commit = _git("rev-parse", "HEAD")
    return CodeVersion(commit, bool(commit and _git("status", "--porcelain", "--untracked-files=no")))


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """What a run was made from: the version of the code, and of the data."""

    code: CodeVersion
    data: tuple[DataVersion, ...]


def origin_of(client: MlflowClient, run_id: str) -> RunOrigin:
    """Return what a run was made from, as it was recorded.

    Raises: InvalidArgument: there is no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        raise InvalidArgument(f"there is no run {run_id!r} in this workspace") from error
    tags = found.data.tags
    code = CodeVersion(tags.get(COMMIT), tags.get(DIRTY) == "true")
    return RunOrigin(code, data_versions_from_json(tags.get(DATA, "[]")))


def _code_tags() -> dict[str, str]:
    code = code_version()
    tags = {"mlflow.source.name": sys.argv[0] or "python"}
    if code.commit:
        tags |= {COMMIT: code.commit, DIRTY: str(code.is_dirty).lower()}
    return tags


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
