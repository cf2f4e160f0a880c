"""The endpoints of a workspace."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pymilvus import FieldSchema
from sqlalchemy import or_, select

from roost.errors import AlreadyExists, EndpointNotFound
from roost.lifecycle import ledger, promotion, space
from roost.lifecycle.context import Context
from roost.lifecycle.follower import Follower
from roost.lifecycle.names import check_name, identifier, suggestion
from roost.lifecycle.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import EndpointRow


class Endpoints:
    """The endpoints of a workspace."""

    def __init__(self, context: Context) -> None:
        """Repair what a crash left half done, and open endpoints when they are asked for."""
        self._context = context
        self._opening = threading.Lock()
        self._open: dict[str, SearchEndpoint] = {}
        promotion.reconcile(context)
        self._follower = Follower(context.store, lambda: dict(self._open))

    def create(
        self,
        name: str,
        metric: str = "L2",
        fields: Sequence[FieldSchema] | None = None,
        description: str = "",
    ) -> SearchEndpoint:
        """Create an endpoint.

        Args:
            name: also the vector engine's alias of its champion, with `_` for `-`.
            metric: "L2", "IP" or "COSINE".
            fields: what is stored of a record, with one primary key; by default an INT64 key `id`.
                Other keys of a record are stored as dynamic fields.
        Raises:
            InvalidName: the name is not allowed.
            AlreadyExists: an endpoint has the name, or one that differs in `-` and `_` alone.
        """
        check_name("endpoint", name)
        payload = space.payload(fields, metric)
        with self._context.store.write() as session:
            same = or_(EndpointRow.name == name, EndpointRow.identifier == identifier(name))
            taken = session.scalar(select(EndpointRow.name).where(same))
            if taken is not None:
                raise AlreadyExists(f"an endpoint {taken!r} exists already")
            row = EndpointRow(
                name=name,
                identifier=identifier(name),
                metric=metric,
                fields=payload.to_json(),
                description=description,
                created_at=utc_now(),
            )
            session.add(row)
            ledger.append(session, self._context.actor, "endpoint.create", name, name)
        return self.get(name)

    def get(self, name: str) -> SearchEndpoint:
        """Return an endpoint; the same object each time.

        Raises: EndpointNotFound: there is none of that name.
        """
        with self._opening:
            if name not in self._open:
                with self._context.store.read() as session:
                    row = session.scalar(select(EndpointRow).where(EndpointRow.name == name))
                if row is None:
                    raise EndpointNotFound(f"there is no endpoint {name!r} ({suggestion(str(name), self.list())})")
                self._open[name] = SearchEndpoint(self._context, row)
            return self._open[name]

    def close(self) -> None:
        """Follow other processes no more; the endpoints keep answering."""
        self._follower.close()

    def list(self) -> list[str]:
        """Return the names of the endpoints."""
        with self._context.store.read() as session:
            return sorted(session.scalars(select(EndpointRow.name)))
