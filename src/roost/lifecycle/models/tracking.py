"""MLflow, opened on the workspace's database: quiet, without telemetry, and only when needed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.errors import MissingDependency
from roost.lifecycle.store import Store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "roost"

NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""Variables of the environment that make MLflow send nothing."""

_CHATTY_LOGGERS = ("mlflow.store.db.utils", "alembic.runtime.migration", "alembic.runtime.plugins")


class Tracking:
    """The MLflow client of a workspace. Safe to use from any thread.

    Attributes:
        turn: held while MLflow asks for something first and makes it afterwards; of two at once, one would fail.
    """

    def __init__(self, store: Store, artifacts: Path) -> None:
        """Remember where MLflow's tables and files are; nothing is imported or opened yet."""
        self.url = store.url
        self.artifacts = artifacts
        self.turn = store.lock("mlflow")
        self._client: MlflowClient | None = None
        self._experiment_id: str | None = None

    @property
    def client(self) -> MlflowClient:
        """The client; the first use imports MLflow and brings its tables up to date.

        Raises: MissingDependency: MLflow is not installed.
        """
        if self._client is None:
            kind = _client_class()  # nobody else shall wait for the import
            with self.turn:
                if self._client is None:
                    self._client = _open(kind, self.url)
        return self._client

    @property
    def experiment_id(self) -> str:
        """MLflow's experiment that holds the workspace's runs."""
        client = self.client
        if self._experiment_id is None:
            location = (self.artifacts / "runs").absolute().as_uri()
            with self.turn:
                found = client.get_experiment_by_name(EXPERIMENT)
                self._experiment_id = (
                    found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=location)
                )
        return self._experiment_id

    def close(self) -> None:
        """Give up MLflow's connections to the database, which it would keep; using the client makes new ones."""
        client: Any = self._client
        if client is not None:
            for store in (client._tracking_client.store, client._get_registry_client().store):
                store.engine.dispose()


def disable_telemetry() -> None:
    """Make MLflow send nothing. It decides when it is imported, so this comes before."""
    os.environ.update(NO_TELEMETRY)


def _client_class() -> type[MlflowClient]:
    """Import MLflow without its telemetry and its chatter.

    Raises: MissingDependency: it is not installed.
    """
    disable_telemetry()
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # MLflow's modules warn about their own use of other libraries, which is not our user's to mend.
        warnings.simplefilter("ignore")
        try:
            from mlflow.telemetry import set_telemetry_client
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingDependency("the model registry needs MLflow: pip install 'roost[lifecycle]'") from error
        # Whoever imported MLflow first has started its telemetry; this ends it.
        end_telemetry: Callable[[], None] = set_telemetry_client
        end_telemetry()
    return MlflowClient


def _open(kind: type[MlflowClient], url: str) -> MlflowClient:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = kind(tracking_uri=url, registry_uri=url)
        client.search_registered_models(max_results=1)
        client.search_experiments(max_results=1)
    return client
