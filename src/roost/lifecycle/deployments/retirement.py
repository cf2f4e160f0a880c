"""Taking deployments out of use, and giving their vectors up.

A deployment that was complete when it was retired keeps its vectors, so that the endpoint can roll
back to it. It takes no writes from then on; the keys that are written or deleted meanwhile are noted
before the write, so what it misses is known exactly, also after a crash. Its collection is released
from memory `RELEASE_AFTER_S` later, when no process can be answering from it any more.

Steps of giving vectors up: one transaction that notes it; then the collection is dropped, where the endpoint's
policy gave them up not before `RELEASE_AFTER_S` after the retirement. A crash between leaves a collection that is
dropped when the workspace opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from roost.errors import InvalidTransition
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion, space
from roost.lifecycle.deployments.deployment import (
    State,
    configuration_of,
    is_due_to_drop,
    is_kept,
    mark_purged,
    move,
    note,
    row_named,
    rows_of,
)
from roost.lifecycle.deployments.policy import policy_of
from roost.lifecycle.governance import permits
from roost.lifecycle.serving.router import Router, memory_lock
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LiveWriteRow

RELEASE_AFTER_S = 5.0
"""Longer than a search lasts, and than another process needs to see that its champion was replaced."""

_RETIRED_AT = "retired_at"


def retire(router: Router, name: str, reason: str) -> None:
    """Take a deployment out of use. A complete one keeps its vectors, any other's are dropped.

    Raises:
        InvalidTransition: it is the champion, or takes part in a live test.
        InvalidArgument: the reason is empty.
        PermissionDenied: the actor may not.
    """
    promotion.check_reason(reason)
    context = router.context
    with router.change() as (session, endpoint):
        rows = rows_of(session, endpoint.id)
        row = row_named(rows, name)
        permits.check(session, context.actor, "retire", endpoint.environment, f"{endpoint.name}/{name}")
        test = promotion.running_test(session, endpoint.id)
        if test is not None and promotion.challenges(session, test, row.id):
            if name not in router.routing.missing:
                raise InvalidTransition(f"deployment {name!r} takes part in live test {test.id}: stop the test first")
            promotion.stop_test(session, endpoint, context.actor, f"{name} is retired")
        is_complete = row.state == State.READY
        move(row, State.RETIRED)
        ledger.append(session, context.actor, "retire", endpoint.name, name, reason, {"vectors_kept": is_complete})
        if is_complete:
            note(row, **{_RETIRED_AT: utc_now()})
            dropped = _beyond_policy(session, context, endpoint, rows)
        else:
            _give_up(session, row)
            dropped = [row]
    _drop(context, dropped)


def purge(router: Router, name: str, reason: str) -> None:
    """Drop the vectors of a retired deployment for good.

    Raises:
        InvalidTransition: it is not retired, or was purged before.
        InvalidArgument: the reason is empty.
        PermissionDenied: the actor may not.
    """
    promotion.check_reason(reason)
    context = router.context
    with router.change() as (session, endpoint):
        row = row_named(rows_of(session, endpoint.id), name)
        permits.check(session, context.actor, "purge", endpoint.environment, f"{endpoint.name}/{name}")
        _give_up(session, row)
        ledger.append(session, context.actor, "purge", endpoint.name, name, reason)
    _drop(context, [row])


def missed(router: Router, name: str) -> list[str]:
    """Return the keys, as text, that were written or deleted while a deployment was retired."""
    with router.context.store.read() as session:
        row = row_named(rows_of(session, router.endpoint_id), name)
        if row.state == State.BUILDING:
            return []
        query = select(LiveWriteRow.key).where(LiveWriteRow.deployment_id == row.id)
        return list(session.scalars(query.order_by(LiveWriteRow.key)))


def check_complete(session: Session, row: DeploymentRow, accept_missing: bool) -> int:
    """Return how many records a deployment missed while it was retired, 0 for one that was not.

    Raises: InvalidTransition: it was purged; or it missed records and that is not accepted.
    """
    if row.state != State.RETIRED:
        return 0
    if not is_kept(row):
        raise InvalidTransition(f"deployment {row.name!r} was purged: its vectors are gone, deploy its model again")
    # Whoever notes a key shares this lock, so none is noted between here and the end of the transaction.
    session.refresh(row, with_for_update=True)
    own = LiveWriteRow.deployment_id == row.id
    n_missed = session.scalars(select(func.count()).select_from(LiveWriteRow).where(own)).one()
    if n_missed and not accept_missing:
        raise InvalidTransition(
            f"deployment {row.name!r} missed {n_missed} records that were written or deleted while it was retired "
            f"(`missed({row.name!r})` names them): deploy its model again, or accept that with accept_missing=True"
        )
    return n_missed


def release_due(context: Context, released: set[tuple[int, str]]) -> None:
    """Release the collections that were retired long enough ago from memory, and drop those that were given up.

    Args:
        released: what this process has released or dropped already; grows.
    """
    now = datetime.now(timezone.utc)
    due_before = utc_text(now - timedelta(seconds=RELEASE_AFTER_S))
    with context.store.read() as session:
        rows = session.scalars(select(DeploymentRow).where(DeploymentRow.state == State.RETIRED.value)).all()
    for row in rows:
        retired_at = str(configuration_of(row).get(_RETIRED_AT, ""))
        gives_up = is_due_to_drop(row, utc_text(now))
        key = row.id, "dropped" if gives_up else retired_at
        if row.dim == 0 or key in released or not (gives_up or (is_kept(row) and retired_at <= due_before)):
            continue
        # Whoever brings the deployment back holds the lock until it is champion.
        with context.store.lock(memory_lock(row.endpoint_id)):
            with context.store.read() as session:
                present = session.get_one(DeploymentRow, row.id)
            if gives_up:
                space.drop(context.vectors, present.collection)
            elif is_kept(present):
                context.vectors.release_collection(present.collection)
        released.add(key)


def _beyond_policy(
    session: Session, context: Context, endpoint: EndpointRow, rows: Sequence[DeploymentRow]
) -> list[DeploymentRow]:
    """Give up the vectors of the longest retired beyond as many as the endpoint keeps, and return whose."""
    keep = policy_of(endpoint).keep_retired
    kept = sorted((row for row in rows if is_kept(row)), key=lambda row: str(configuration_of(row).get(_RETIRED_AT)))
    given_up = kept[: max(len(kept) - keep, 0)] if keep is not None else []
    for row in given_up:
        retired_at = datetime.fromisoformat(str(configuration_of(row)[_RETIRED_AT]))
        _give_up(session, row, utc_text(retired_at + timedelta(seconds=RELEASE_AFTER_S)))
        reason = f"the endpoint keeps the vectors of {keep} retired deployments"
        ledger.append(session, context.actor, "purge", endpoint.name, row.name, reason)
    return given_up


def _give_up(session: Session, row: DeploymentRow, drop_after: str | None = None) -> None:
    mark_purged(row, utc_now(), drop_after)
    session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))


def _drop(context: Context, rows: Sequence[DeploymentRow]) -> None:
    for row in rows:
        if row.dim > 0 and is_due_to_drop(row, utc_now()):
            space.drop(context.vectors, row.collection)
