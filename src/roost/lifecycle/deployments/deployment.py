"""A deployment: a model version, its vectors, their index and configuration, and its states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import Corruption, DeploymentNotFound, InvalidTransition
from roost.lifecycle.html import properties
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.names import suggestion
from roost.lifecycle.store.tables import DeploymentRow


class State(str, Enum):
    """Where a deployment is in its life.

    `draft` is configured and holds nothing yet; its configuration may still change. `building` is
    being filled, also while its backfill is interrupted. `ready` has all its vectors and takes the
    endpoint's writes; it may become the champion, also again after it was one. `serving` is the
    champion. `retired` takes no writes any more; it can become the champion again while its vectors
    are kept. `failed` could not be built, or missed a write; it can only be retired, or, where it
    was never ready, be replaced by a new one of its name.
    """

    DRAFT = "draft"
    BUILDING = "building"
    READY = "ready"
    SERVING = "serving"
    RETIRED = "retired"
    FAILED = "failed"


_NEXT: Mapping[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.BUILDING, State.RETIRED}),
    State.BUILDING: frozenset({State.READY, State.FAILED, State.RETIRED}),
    State.READY: frozenset({State.SERVING, State.FAILED, State.RETIRED}),
    State.SERVING: frozenset({State.READY}),
    State.FAILED: frozenset({State.RETIRED}),
    State.RETIRED: frozenset({State.SERVING}),
}

LIVE = frozenset({State.BUILDING, State.READY, State.SERVING})
"""The states in which a deployment takes the endpoint's writes."""

_PURGED_AT = "purged_at"
_DROP_AFTER = "drop_after"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it was when it was read; once sealed its configuration never changes, its state does.

    Attributes:
        collection: the collection of the vector engine that holds the vectors; a predictor has none there.
        fingerprint: of the model that made them.
        dim: length of the vectors; 0 for a predictor.
        index: the index type and its parameters.
        n_records: rows in the collection when it was sealed; while it is building, records stored so far.
        n_rejected: records that its building set aside; `SearchEndpoint.rejected` says why.
        seal: digest of the configuration, taken when the deployment became ready; None before.
        configuration: what else was asked for or noted, for example `delivered_from`.
        owner: who answers for it.
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
    configuration: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None

    @property
    def model(self) -> str:
        """Name and version of the model, as in `digits/1`."""
        return f"{self.model_name}/{self.model_version}"

    @property
    def purged(self) -> bool:
        """Whether it is retired for good: its vectors are gone, and nothing leads back to it."""
        return _PURGED_AT in self.configuration

    def __repr__(self) -> str:
        records = f", {self.n_records:,} records" if self.dim else ""
        return f"Deployment({self.name!r} of {self.endpoint!r}, {self.state.value}, model {self.model}{records})"

    def _repr_html_(self) -> str:
        return properties(f"Deployment {self.name}", summary(self))


def summary(deployment: Deployment) -> dict[str, object]:
    """Return what a table shows of a deployment."""
    shown: dict[str, object] = {
        "deployment": deployment.name,
        "state": "purged" if deployment.purged else deployment.state.value,
        "model": deployment.model,
    }
    if deployment.dim:
        shown |= {"records": deployment.n_records, "dimensions": deployment.dim, "index": dict(deployment.index)}
    return {**shown, "fingerprint": deployment.fingerprint, "created": deployment.created_at}


def deployment_of(row: DeploymentRow, endpoint: str) -> Deployment:
    """Return the deployment that a row describes."""
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
        configuration=configuration_of(row),
        owner=row.owner,
    )


def configuration_of(row: DeploymentRow) -> dict[str, Any]:
    """Return what is configured or noted beside the columns."""
    found: dict[str, Any] = json.loads(row.configuration or "{}")
    return found


def note(row: DeploymentRow, **values: Any) -> None:
    """Set values of a deployment's configuration within the caller's transaction, and keep the others."""
    row.configuration = canonical_json({**configuration_of(row), **values})


def is_kept(row: DeploymentRow) -> bool:
    """Return whether a deployment is retired and may become the champion again: its vectors are kept."""
    return row.state == State.RETIRED and row.seal is not None and _PURGED_AT not in configuration_of(row)


def is_purged(row: DeploymentRow) -> bool:
    """Return whether a deployment's vectors were given up."""
    return _PURGED_AT in configuration_of(row)


def is_due_to_drop(row: DeploymentRow, now: str) -> bool:
    """Return whether a deployment's vectors were given up and nobody uses them any more."""
    return is_purged(row) and str(configuration_of(row).get(_DROP_AFTER, "")) <= now


def mark_purged(row: DeploymentRow, moment: str, drop_after: str | None = None) -> None:
    """Note that a retired deployment's vectors are given up, before they are dropped.

    Args:
        drop_after: until when searches may still use them; None where they may be dropped at once.
    Raises: InvalidTransition: it is not retired, or was purged before.
    """
    if row.state != State.RETIRED:
        raise InvalidTransition(f"deployment {row.name!r} is {row.state}: retire it before its vectors are dropped")
    if is_purged(row):
        raise InvalidTransition(f"deployment {row.name!r} was purged already")
    note(row, **{_PURGED_AT: moment}, **({_DROP_AFTER: drop_after} if drop_after is not None else {}))


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
    if is_purged(row):
        raise InvalidTransition(f"deployment {row.name!r} was purged: its vectors are gone, deploy its model again")
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
