"""A deployment: a model version, its vectors, their index and configuration, and its states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import Corruption, DeploymentNotFound, InvalidTransition
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.names import suggestion
from roost.lifecycle.store.tables import DeploymentRow


class State(str, Enum):
    """Where a deployment is in its life.

    `building` is being filled, also while its backfill is interrupted. `ready` has all its vectors;
    it may become the champion, also again after it was one. `serving` is the champion. `failed`
    could not be built, or missed a write; it can only be retired, or, where it was never ready, be
    replaced by a new one of its name. `retired` has no vectors any more.
    """

    BUILDING = "building"
    READY = "ready"
    SERVING = "serving"
    RETIRED = "retired"
    FAILED = "failed"


_NEXT: Mapping[State, frozenset[State]] = {
    State.BUILDING: frozenset({State.READY, State.FAILED, State.RETIRED}),
    State.READY: frozenset({State.SERVING, State.FAILED, State.RETIRED}),
    State.SERVING: frozenset({State.READY}),
    State.FAILED: frozenset({State.RETIRED}),
    State.RETIRED: frozenset(),
}

LIVE = frozenset({State.BUILDING, State.READY, State.SERVING})
"""The states in which a deployment takes the endpoint's writes."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it was when it was read; its configuration never changes, its state does.

    Attributes:
        collection: the collection of the vector engine that holds the vectors.
        fingerprint: of the model that made them.
        index: the index type and its parameters.
        n_records: rows in the collection when it was sealed; while it is building, records stored so far.
        n_rejected: records that its building set aside; `Endpoint.rejected` says why.
        seal: digest of the configuration, taken when the deployment became ready; None before.
    """

    id: int
    endpoint: str
    name: str
    collection: str
    state: State
    model_name: str
    model_version: int
    fingerprint: str
    dim: int
    index: Mapping[str, Any]
    search_params: Mapping[str, Any]
    n_records: int
    n_rejected: int
    seal: str | None
    created_at: str

    @property
    def model(self) -> str:
        """Name and version of the model, as in `digits/1`."""
        return f"{self.model_name}/{self.model_version}"


def deployment_of(row: DeploymentRow, endpoint: str) -> Deployment:
    """Return a row as a value."""
    return Deployment(
        id=row.id,
        endpoint=endpoint,
        name=row.name,
        collection=row.collection,
        state=State(row.state),
        model_name=row.model_name,
        model_version=row.model_version,
        fingerprint=row.fingerprint,
        dim=row.dim,
        index=json.loads(row.index_params),
        search_params=json.loads(row.search_params),
        n_records=row.n_stored if row.state == State.BUILDING else row.n_records,
        n_rejected=row.n_rejected,
        seal=row.seal,
        created_at=row.created_at,
    )


def rows_of(session: Session, endpoint_id: int) -> list[DeploymentRow]:
    """Return an endpoint's deployments, oldest first."""
    query = select(DeploymentRow).where(DeploymentRow.endpoint_id == endpoint_id).order_by(DeploymentRow.id)
    return list(session.scalars(query))


def row_named(rows: Sequence[DeploymentRow], name: str) -> DeploymentRow:
    """Return the row of that name among an endpoint's.

    Raises: DeploymentNotFound: the endpoint has no deployment of that name.
    """
    for row in rows:
        if row.name == name:
            return row
    raise DeploymentNotFound(f"the endpoint has no deployment {name!r} ({suggestion(name, [r.name for r in rows])})")


def was_never_ready(row: DeploymentRow) -> bool:
    """Return whether a deployment failed before it was sealed, so that its name is free again."""
    return row.state == State.FAILED and row.seal is None


def move(row: DeploymentRow, state: State) -> None:
    """Bring a deployment into another state.

    Raises: InvalidTransition: its present state does not allow that.
    """
    allowed = _NEXT[State(row.state)]
    if state not in allowed:
        names = ", ".join(sorted(next_state.value for next_state in allowed)) or "nothing"
        raise InvalidTransition(
            f"deployment {row.name!r} is {row.state} and cannot become {state.value}; it can become: {names}"
        )
    row.state = state.value


def check_seal(row: DeploymentRow, metric: str, fields: str) -> None:
    """Check that a deployment is what was sealed; one that was not sealed yet passes.

    Raises: Corruption: its row was changed since.
    """
    if row.seal is not None and row.seal != seal(row, metric, fields):
        raise Corruption(f"deployment {row.name!r} is not what was sealed: its configuration was changed in the store")


def seal(row: DeploymentRow, metric: str, fields: str) -> str:
    """Return the digest of everything about a deployment that may not change any more."""
    content = {
        "collection": row.collection,
        "model": [row.model_name, row.model_version, row.fingerprint, row.dim],
        "index": row.index_params,
        "search": row.search_params,
        "metric": metric,
        "fields": fields,
    }
    return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"
