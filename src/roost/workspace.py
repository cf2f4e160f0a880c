"""A workspace: vectors, models, endpoints and the ledger of one installation."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from roost.address import without_secrets
from roost.client import connect, embedded_path
from roost.errors import Closed, InvalidArgument
from roost.lifecycle.actor import acting_as
from roost.lifecycle.context import Context
from roost.lifecycle.governance.governance import Governance
from roost.lifecycle.jobs import Jobs
from roost.lifecycle.ledger import Ledger
from roost.lifecycle.models.data_versions import DataVersions
from roost.lifecycle.models.engine_address import EngineAddress
from roost.lifecycle.models.registry import Models
from roost.lifecycle.models.runs import Runs
from roost.lifecycle.models.tracking import Tracking, disable_telemetry
from roost.lifecycle.monitor.monitors import Monitors
from roost.lifecycle.retrain.retraining import Retraining
from roost.lifecycle.serving.endpoints import Endpoints
from roost.lifecycle.serving.recorder import Recorder
from roost.lifecycle.store import Store

if TYPE_CHECKING:
    from roost.client import Client

_VECTORS, _STORE, _ARTIFACTS = "vectors.roost", "store.db", "artifacts"


class Workspace:
    """An open workspace. Safe to use from any thread; close it, or use it as a context manager.

    A directory holds everything (`vectors.roost`, `store.db`, `artifacts/`) and can be copied while
    it is closed:

        with roost.Workspace("./digits") as ws:
            ws.endpoints.get("image-search").search(image)

    A team keeps the vectors in a Milvus cluster and the rest in PostgreSQL:

        ws = roost.Workspace("https://milvus:19530", store="postgresql+psycopg://...", artifacts="/mnt/models")
    """

    def __init__(
        self,
        path_or_uri: str | Path,
        store: str | Path | None = None,
        actor: str | None = None,
        artifacts: str | Path | None = None,
        trusted: Collection[str] = (),
        **connection: Any,
    ) -> None:
        """Open a workspace, making what is not there yet, and repair what a crash left half done.

        Args:
            path_or_uri: a directory, or the address of a Milvus or Roost server.
            store: a directory or a SQLAlchemy URL for everything but the vectors; needed with a server.
            actor: who is acting, for the ledger; by default the system's user.
            artifacts: directory of the models' files; by default `artifacts` beside the store.
            trusted: types and functions, as in "shop.models:embed", that models opened by this process may use, beside
                those that were trusted for a model when it was registered.
            connection: for `roost.connect`, for example token="...", db_name="..." or memory_limit="4GB".
        Raises:
            InvalidArgument: a server without a store, a store's URL without a directory for artifacts, `trusted`
                is one text, or a directory of other things.
            StorageFailure: the store cannot be opened.
        """
        disable_telemetry()
        self.location = without_secrets(str(path_or_uri))
        self._engine = EngineAddress.of(path_or_uri, connection.get("db_name") or "")
        directory = embedded_path(path_or_uri)
        if directory is None and store is None:
            raise InvalidArgument(
                f"with {self.location} say where the rest is kept: store=DIRECTORY or a SQLAlchemy URL"
            )
        if directory is not None:
            _refuse_foreign(directory)
        url, root = _store_url(store if store is not None else str(directory))
        chosen = Path(artifacts) if artifacts is not None else root / _ARTIFACTS if root is not None else None
        if chosen is None:
            raise InvalidArgument("with a store's URL say where the models' files are kept: artifacts=DIRECTORY")
        self.actor = actor if actor is not None else _user()
        self.artifacts = chosen
        self._trusted = trusted
        vectors = connect(path_or_uri if directory is None else directory / _VECTORS, **connection)
        try:
            self._open(vectors, url)
        except BaseException:
            vectors.close()
            raise

    def _open(self, vectors: Client, url: str) -> None:
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._vectors = vectors
        self._store = Store(url)
        self._tracking = Tracking(self._store, self.artifacts)
        self._recorder = Recorder(self._store)
        self._closing = threading.Lock()
        self._closed = False
        try:
            models = Models(self._tracking, self._store, self.actor, self._trusted)
            self._context = Context(self._store, vectors, models, self._recorder, self.actor, self._check_open)
            models.reconcile()
            self._endpoints = Endpoints(self._context)
            runs = Runs(self._tracking, self.actor)
            self._retraining = Retraining(self._context, self._endpoints, runs, self.artifacts)
            self._monitors = Monitors(self._context, self._endpoints, self.artifacts)
        except BaseException:
            self._tracking.close()
            self._store.close()
            raise

    @property
    def vectors(self) -> Client:
        """The vector engine, by the interface of `pymilvus.MilvusClient`."""
        self._check_open()
        return self._vectors

    @property
    def models(self) -> Models:
        """The model registry."""
        self._check_open()
        return self._context.models

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints."""
        self._check_open()
        return self._endpoints

    @property
    def monitors(self) -> Monitors:
        """What watches the endpoints: statistics, recall, drift, alerts."""
        self._check_open()
        return self._monitors

    @property
    def jobs(self) -> Jobs:
        """Long work: how far it has come; pause it, cancel it."""
        self._check_open()
        return Jobs(self._context, self._endpoints.get)

    @property
    def ledger(self) -> Ledger:
        """Who changed what, when, and why."""
        self._check_open()
        return Ledger(self._store)

    @property
    def runs(self) -> Runs:
        """The training runs."""
        self._check_open()
        return Runs(self._tracking, self.actor)

    @property
    def data(self) -> DataVersions:
        """Versions of data: `data.describe` gives the digest of an array, a file or a collection."""
        self._check_open()
        return DataVersions(lambda: self.vectors, self._engine)

    @property
    def governance(self) -> Governance:
        """Who may do what, and who approved it."""
        self._check_open()
        return Governance(self._context, self._engine)

    @property
    def retraining(self) -> Retraining:
        """The plans by which models are trained again."""
        self._check_open()
        return self._retraining

    def acting_as(self, actor: str) -> AbstractContextManager[None]:
        """Let what this thread does in a block be somebody's doing, for the ledger and for their roles.

            with ws.acting_as("bob"):
                ws.endpoints.get("image-search").promote("digits-v2", reason="...")

        What the workspace does by itself meanwhile, in threads of its own, stays its own actor's.

        Raises: InvalidArgument: it is no name.
        """
        self._check_open()
        return acting_as(actor)

    def flush_events(self) -> None:
        """Write the events of live traffic that are waiting to the store."""
        self._check_open()
        self._recorder.flush()

    def close(self) -> None:
        """Write what is waiting and close everything; nothing if it is closed."""
        self._retraining.close()
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._monitors.close()
        self._endpoints.close()
        try:
            self._recorder.close()
        finally:
            self._tracking.close()
            self._store.close()
            self._vectors.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Workspace({self.location!r}{', closed' if self._closed else ''})"

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the workspace {self.location!r} is closed")


def _refuse_foreign(directory: Path) -> None:
    """Keep a workspace out of a directory that holds other things. Hidden files and artifacts alone are none."""
    try:
        found = sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))
        others = [name for name in found if name not in (_ARTIFACTS, "lost+found")]
    except (FileNotFoundError, NotADirectoryError):
        return
    if others and not {_VECTORS, _STORE}.intersection(others):
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise InvalidArgument(
            f"{directory} is not a workspace and holds other things ({shown}): name a directory that is new or empty"
        )


def _store_url(home: str | Path) -> tuple[str, Path | None]:
    """Return the store's SQLAlchemy URL, and the directory beside which artifacts may be kept."""
    if "://" in str(home):
        return str(home), None
    root = Path(home).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(root / _STORE).as_posix()}", root


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
