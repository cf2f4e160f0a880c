"""The endpoints of a workspace."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, overload

from pymilvus import FieldSchema
from sqlalchemy import or_, select

from roost.errors import AlreadyExists, EndpointNotFound, InvalidArgument
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion, space
from roost.lifecycle.governance import permits
from roost.lifecycle.models.predictors.base import TASKS
from roost.lifecycle.names import PRODUCTION, identifier, qualified, suggestion
from roost.lifecycle.serving.follower import Follower
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.lifecycle.serving.router import PREDICT, SEARCH
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import EndpointRow

AnyEndpoint: TypeAlias = SearchEndpoint | PredictEndpoint


class Endpoints:
    """The endpoints of a workspace."""

    def __init__(self, context: Context) -> None:
        """Repair what a crash left half done, and open endpoints when they are asked for."""
        self._context = context
        self._opening = threading.Lock()
        self._open: dict[str, AnyEndpoint] = {}
        promotion.reconcile(context)
        self._follower = Follower(context, lambda: dict(self._open))

    @overload
    def create(
        self,
        name: str,
        metric: str = "L2",
        fields: Sequence[FieldSchema] | None = None,
        description: str = "",
        *,
        kind: Literal["search"] = "search",
        environment: str = PRODUCTION,
        owner: str | None = None,
    ) -> SearchEndpoint: ...

    @overload
    def create(
        self,
        name: str,
        *,
        kind: Literal["predict"],
        task: str,
        description: str = "",
        environment: str = PRODUCTION,
        owner: str | None = None,
    ) -> PredictEndpoint: ...

    def create(
        self,
        name: str,
        metric: str | None = None,
        fields: Sequence[FieldSchema] | None = None,
        description: str = "",
        *,
        kind: str = SEARCH,
        task: str | None = None,
        environment: str = PRODUCTION,
        owner: str | None = None,
    ) -> AnyEndpoint:
        """Create an endpoint.

        Args:
            name: also the vector engine's alias of its champion, with `_` for `-`.
            metric: of a search endpoint: "L2", which is the default, "IP" or "COSINE".
            fields: what a search endpoint stores of a record, with one primary key; by default an
                INT64 key `id`. Other keys of a record are stored as dynamic fields.
            kind: "search", which finds records by vectors, or "predict", which predicts from rows.
            task: of a predict endpoint: "classification" or "regression".
            environment: outside of "production" the endpoint is called as in `image-search@staging`.
            owner: who answers for it.
        Raises:
            InvalidName: the name or the environment is not allowed.
            InvalidArgument: the kind or the task is not known, or the arguments are another kind's.
            AlreadyExists: an endpoint has the name, or one that differs in `-`, `_` and `@` alone.
            PermissionDenied: the actor may not.
        """
        full = qualified(name, environment)
        payload = _payload(kind, metric, fields, task)
        with self._context.store.write() as session:
            permits.check(session, self._context.actor, "endpoint.create", environment, full)
            same = or_(EndpointRow.name == full, EndpointRow.identifier == identifier(full))
            taken = session.scalar(select(EndpointRow.name).where(same))
            if taken is not None:
                raise AlreadyExists(f"an endpoint {taken!r} exists already")
            row = EndpointRow(
                name=full,
                identifier=identifier(full),
                kind=kind,
                task=task,
                environment=environment,
                owner=owner,
                metric=payload.metric,
                fields=payload.to_json(),
                description=description,
                created_at=utc_now(),
            )
            session.add(row)
            evidence = {"kind": kind, "environment": environment}
            ledger.append(session, self._context.actor, "endpoint.create", full, full, evidence=evidence)
        made: AnyEndpoint = self.get(full)
        return made

    def get(self, name: str) -> Any:
        """Return an endpoint, a `SearchEndpoint` or a `PredictEndpoint`; the same object each time.

        Args:
            name: outside of production with its environment, as in `image-search@staging`.
        Raises: EndpointNotFound: there is none of that name.
        """
        with self._opening:
            if name not in self._open:
                with self._context.store.read() as session:
                    row = session.scalar(select(EndpointRow).where(EndpointRow.name == name))
                if row is None:
                    raise EndpointNotFound(f"there is no endpoint {name!r} ({suggestion(str(name), self.list())})")
                kind = SearchEndpoint if row.kind == SEARCH else PredictEndpoint
                self._open[name] = kind(self._context, row)
            return self._open[name]

    def check(self, name: str) -> None:
        """Raise EndpointNotFound where there is no endpoint of that name; without opening it."""
        known = self.list()
        if name not in known:
            raise EndpointNotFound(f"there is no endpoint {name!r} ({suggestion(str(name), known)})")

    def opened(self, name: str) -> AnyEndpoint | None:
        """Return an endpoint that was opened in this process already; None otherwise."""
        return self._open.get(name)

    def close(self) -> None:
        """Follow other processes no more, and end the threads of live tests; the endpoints keep answering."""
        self._follower.close()
        for endpoint in list(self._open.values()):
            endpoint.close()

    def list(self, environment: str | None = None) -> list[str]:
        """Return the names of the endpoints: of all, or of one environment."""
        query = select(EndpointRow.name)
        if environment is not None:
            query = query.where(EndpointRow.environment == environment)
        with self._context.store.read() as session:
            return sorted(session.scalars(query))


def _payload(kind: str, metric: str | None, fields: Sequence[FieldSchema] | None, task: str | None) -> space.Payload:
    """Return what an endpoint of the kind stores; nothing for one that predicts."""
    if kind == SEARCH:
        if task is not None:
            raise InvalidArgument(f"a search endpoint has no task; {task!r} is one of a predict endpoint")
        return space.payload(fields, metric if metric is not None else "L2")
    if kind != PREDICT:
        raise InvalidArgument(f"kind {kind!r} is not known; use {SEARCH} or {PREDICT}")
    if task not in TASKS:
        raise InvalidArgument(f"a predict endpoint needs a task: {' or '.join(TASKS)}; it is {task!r}")
    if metric is not None or fields is not None:
        raise InvalidArgument("a predict endpoint stores no records: it has no metric and no fields")
    return space.Payload((), "")
