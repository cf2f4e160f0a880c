"""Collections that no deployment needs: of one that failed, and of one that never began.

A collection is made before its deployment's row says `building`, for that promises vectors that can be written to.
So that a crash between leaves nothing behind, the endpoint's row names the collection that is being made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import State, was_never_ready
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


def plan(context: Context, endpoint_id: int, collection: str) -> None:
    """Note that a collection is about to be made for a deployment that is none yet; the caller is `deploying`."""
    drop_planned(context, endpoint_id)
    _note_planned(context, endpoint_id, collection)


def drop_planned(context: Context, endpoint_id: int) -> None:
    """Drop the collection that was made for a deployment that never began; the caller is `deploying`."""
    with context.store.read() as session:
        planned = session.get_one(EndpointRow, endpoint_id).planned_collection
        begun = (DeploymentRow.collection == planned) & (DeploymentRow.state != State.DRAFT)
        needed = session.scalar(select(DeploymentRow.id).where(begun))
    if planned is None:
        return
    # One with rows is not what was left behind: another workspace on the same server has the name.
    if needed is None and space.is_empty(context.vectors, planned):
        space.drop(context.vectors, planned)
    _note_planned(context, endpoint_id, None)


def _note_planned(context: Context, endpoint_id: int, collection: str | None) -> None:
    with context.store.write() as session:
        # Not through the row, whose version would grow: it is no change of the endpoint.
        change = update(EndpointRow).where(EndpointRow.id == endpoint_id)
        session.execute(change.values(planned_collection=collection))
