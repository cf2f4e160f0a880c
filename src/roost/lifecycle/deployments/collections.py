"""Collections that no deployment needs: of one that failed, and of one that never began.

A collection is made before its deployment's row says `building`, for that promises vectors that can be written to.
So that a crash between leaves nothing behind, the endpoint's row notes the collection that is being made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import select, update

from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import was_never_ready
from roost.lifecycle.store.shared_lock import SharedLock
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

if TYPE_CHECKING:
    from roost.lifecycle.context import Context


def deploying(context: Context, endpoint_id: int) -> SharedLock:
    """Return the lock that is held by who makes a deployment of the endpoint, with its collection.

    No transaction waits for the vector engine; so this keeps others away meanwhile.
    """
    return context.store.lock(f"deploy-{endpoint_id}")


def drop_failed(context: Context, deployment_id: int) -> None:
    """Drop the collection of a deployment that was never ready, unless its name was given to a new one meanwhile."""
    with context.store.read() as session:
        endpoint_id = session.scalar(select(DeploymentRow.endpoint_id).where(DeploymentRow.id == deployment_id))
    if endpoint_id is None:
        return
    with deploying(context, endpoint_id):
        with context.store.read() as session:
            row = session.get(DeploymentRow, deployment_id)
        if row is not None and was_never_ready(row):
            space.drop(context.vectors, row.collection)


def plan(context: Context, endpoint_id: int, collection: str) -> str:
    """Note that a collection is about to be made for a deployment that is none yet; the caller is `deploying`.

    Returns: the token that the collection is to carry, so that it is not taken for somebody else's.
    """
    token = uuid4().hex
    _note_planned(context, endpoint_id, f"{collection}:{token}")
    return token


def drop_planned(context: Context, endpoint_id: int) -> None:
    """Drop the collection that was made for a deployment that never began; the caller is `deploying`.

    The note stays where there is no such collection: what a process asked of a server before it was killed may come.
    """
    with context.store.read() as session:
        planned = session.get_one(EndpointRow, endpoint_id).planned_collection
    if planned is None:
        return
    collection, _, token = planned.rpartition(":")
    if space.token_of(context.vectors, collection) == token:
        space.drop(context.vectors, collection)
        _note_planned(context, endpoint_id, None)


def _note_planned(context: Context, endpoint_id: int, planned: str | None) -> None:
    with context.store.write() as session:
        # Not through the row, whose version would grow: it is no change of the endpoint.
        change = update(EndpointRow).where(EndpointRow.id == endpoint_id)
        session.execute(change.values(planned_collection=planned))
