"""What of a workspace needs no vectors: its models, its ledger, its governance, its jobs and its plans."""

from __future__ import annotations

import getpass
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select

from roost.cli.database import VECTORS_FOLDER
from roost.cli.store import TOKEN_VARIABLE
from roost.errors import EndpointNotFound, InvalidArgument, WorkspaceError
from roost.lifecycle.context import Context
from roost.lifecycle.governance.governance import Governance
from roost.lifecycle.jobs import Jobs
from roost.lifecycle.ledger import Ledger
from roost.lifecycle.models.data_versions import DataVersion, DataVersions
from roost.lifecycle.models.engine_address import EngineAddress
from roost.lifecycle.models.registry import Models
from roost.lifecycle.models.tracking import Tracking, disable_telemetry
from roost.lifecycle.names import suggestion
from roost.lifecycle.serving.recorder import Recorder
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EndpointRow

if TYPE_CHECKING:
    from roost.client import Client
    from roost.lifecycle.retrain.retraining import Retraining
    from roost.lifecycle.serving.endpoints import Endpoints


class Administration:
    """A workspace without its vectors, which another process may have open meanwhile."""

    def __init__(
        self,
        store: Store,
        location: str,
        home: str,
        artifacts: Path | None,
        actor: str | None,
        trusted: Collection[str] = (),
    ) -> None:
        """Look at an open store.

        Args:
            location: the workspace, as the user named it.
            home: the folder or the URL of the store.
            artifacts: folder of the models' files; by default the one beside the store.
            trusted: functions and types that this process trusts in models.
        """
        disable_telemetry()
        self.store = store
        self.location = location
        is_url = "://" in home
        self.artifacts = artifacts if artifacts is not None else Path("." if is_url else home) / "artifacts"
        self._tracking = Tracking(store, self.artifacts)
        self.actor = actor if actor is not None else _user()
        self.models = Models(self._tracking, store, self.actor, trusted)
        self._recorder = Recorder(store)
        self._collections = _Collections(location)
        vectors = cast("Client", self._collections)
        self.context = Context(store, vectors, self.models, self._recorder, self.actor, lambda: None)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    @property
    def governance(self) -> Governance:
        return Governance(self.context, EngineAddress.of(self.location))

    @property
    def jobs(self) -> Jobs:
        """The jobs, to be looked at."""
        return Jobs(self.context, lambda name: cast(Any, _Absent(f"endpoint {name!r}")))

    @property
    def retraining(self) -> Retraining:
        """The plans of retraining, to be looked at, enabled, cancelled and removed."""
        from roost.lifecycle.models.runs import Runs
        from roost.lifecycle.retrain.retraining import Retraining

        endpoints = cast("Endpoints", _Absent("the endpoints"))
        return Retraining(self.context, endpoints, Runs(self._tracking, self.actor), self.artifacts)

    def describe(self, source: str) -> DataVersion:
        """Return the version of a file, a folder or a collection, which is read beside whoever writes it.

        Raises: CollectionNotFound: there is neither a collection nor a file of that name.
        """
        with self._collections.opened() as client:
            found = cast("Client", client if client is not None else self._collections)
            return DataVersions(lambda: found, EngineAddress.of(self.location)).describe(source)

    def endpoint(self, name: str) -> EndpointRow:
        """Return an endpoint's row.

        Raises: EndpointNotFound: there is none of that name.
        """
        with self.store.read() as session:
            row = session.scalar(select(EndpointRow).where(EndpointRow.name == name))
            names = session.scalars(select(EndpointRow.name)).all()
        if row is None:
            raise EndpointNotFound(f"there is no endpoint {name!r} ({suggestion(name, names)})")
        return row

    def close(self) -> None:
        """Write what is waiting, and give up MLflow's connections."""
        self._recorder.close()
        self._tracking.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class _Absent:
    """Stands where something is not open; whoever uses it is told so."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise WorkspaceError(f"{self._what} cannot be used without the workspace's vectors")


class _Collections(_Absent):
    """The vectors of a workspace, which are opened for a moment and only to be read."""

    def __init__(self, location: str) -> None:
        super().__init__("the vectors")
        self._location = location

    def list_collections(self) -> list[str]:
        """Return the names of the collections.

        Raises: InvalidArgument: the workspace was named by its store alone.
        """
        with self.opened() as client:
            return list(client.list_collections()) if client is not None else []

    def has_collection(self, name: str) -> bool:
        """Return whether there is a collection or an alias of that name. Raises: see `list_collections`."""
        with self.opened() as client:
            return client is not None and bool(client.has_collection(name))

    @contextmanager
    def opened(self) -> Iterator[Client | None]:
        """Give a client that reads; None where there are no vectors yet. Raises: see `list_collections`."""
        from roost.client import connect, embedded_path

        try:
            folder = embedded_path(self._location)
        except InvalidArgument as error:
            raise InvalidArgument("name the workspace's folder, or its server with --store") from error
        if folder is not None and not (folder / VECTORS_FOLDER).exists():
            yield None
            return
        token = os.environ.get(TOKEN_VARIABLE, "")
        if folder is not None:
            client = connect(folder / VECTORS_FOLDER, read_only=True)
        else:
            client = connect(self._location, token=token)
        try:
            yield client
        finally:
            client.close()
