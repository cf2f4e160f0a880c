"""Changing an endpoint's champion, and the aliases that follow it.

Steps of a promotion or rollback:

1. One transaction of the store: the endpoint's row, both deployments' states, the end of a running
   live test, the ledger's entry. A crash before its commit leaves everything as it was.
2. The process's routing is swapped. Searches that have begun end on the old champion, which stays
   loaded and complete.
3. The vector engine's alias, then MLflow's aliases. A crash before or between leaves aliases of the
   old champion; the row remembers that they are behind, and opening the workspace moves them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import CollectionNotFound, InvalidArgument, InvalidTransition
from roost.lifecycle import ledger
from roost.lifecycle.deployments import collections, space
from roost.lifecycle.deployments.deployment import (
    State,
    is_due_to_drop,
    is_kept,
    is_purged,
    move,
    row_named,
    rows_of,
    was_never_ready,
)
from roost.lifecycle.html import properties
from roost.lifecycle.names import PRODUCTION
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LiveTestArmRow, LiveTestRow

if TYPE_CHECKING:
    from roost.lifecycle.context import Context

_log = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"
"""MLflow's aliases of a registered model."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of champion that was made.

    Attributes:
        previous: the deployment that was champion before; None for the first.
        stopped_test: the live test that was running and that the change ended; None without one.
        seconds: from the call until every new search of this process went to the new champion.
        total_seconds: until the aliases had followed too.
    """

    endpoint: str
    previous: str | None
    champion: str
    stopped_test: int | None
    seconds: float
    total_seconds: float

    def __repr__(self) -> str:
        return (
            f"Switch({self.endpoint!r}: {self.previous!r} -> {self.champion!r} in {self.seconds * 1000:.1f} ms, "
            f"aliases after {self.total_seconds * 1000:.1f} ms)"
        )

    def _repr_html_(self) -> str:
        shown = {
            "before": self.previous,
            "champion": self.champion,
            "milliseconds": self.seconds * 1000.0,
            "until the aliases followed": self.total_seconds * 1000.0,
            "live test that it stopped": self.stopped_test,
        }
        return properties(f"Switch of {self.endpoint}", shown)


def write_champion(
    session: Session,
    row: EndpointRow,
    name: str,
    actor: str,
    action: str,
    reason: str,
    evidence: Mapping[str, Any],
    rows: Sequence[DeploymentRow] | None = None,
) -> tuple[str | None, int | None]:
    """Make a deployment the champion within the caller's transaction; the caller has asked for the permit.

    Args:
        rows: the endpoint's deployments, where the caller has read them in this transaction.
    Returns: the previous champion's name, and the number of the live test that this stopped.

    Raises:
        DeploymentNotFound: the endpoint has no such deployment.
        InvalidTransition: it is the champion already, or not ready.
    """
    rows = rows if rows is not None else rows_of(session, row.id)
    chosen = row_named(rows, name)
    if chosen.id == row.champion_id:
        raise InvalidTransition(f"deployment {name!r} is the champion already")
    move(chosen, State.SERVING)
    previous = next((deployment for deployment in rows if deployment.id == row.champion_id), None)
    if previous is not None:
        move(previous, State.READY)
    row.champion_id = chosen.id
    set_policy(row, probation=None)
    stopped = stop_test(session, row, actor, reason_to_stop(action, name))
    previous_name = previous.name if previous is not None else None
    recorded = {**evidence, "previous": previous_name, "model": f"{chosen.model_name}/{chosen.model_version}"}
    ledger.append(session, actor, action, row.name, name, reason, recorded)
    return previous_name, stopped


def running_test(session: Session, endpoint_id: int) -> LiveTestRow | None:
    """Return the row of the endpoint's live test that is running."""
    running = select(LiveTestRow).where(LiveTestRow.endpoint_id == endpoint_id, LiveTestRow.state == "running")
    return session.scalar(running)


def arms_of(session: Session, test_id: int) -> list[LiveTestArmRow]:
    """Return who takes part in a live test, the champion first."""
    query = select(LiveTestArmRow).where(LiveTestArmRow.test_id == test_id).order_by(LiveTestArmRow.position)
    return list(session.scalars(query))


def challenges(session: Session, test: LiveTestRow | None, deployment_id: int) -> bool:
    """Return whether a deployment is a challenger of a live test."""
    return test is not None and deployment_id in {arm.deployment_id for arm in arms_of(session, test.id)[1:]}


def stop_test(session: Session, row: EndpointRow, actor: str, reason: str) -> int | None:
    """End the endpoint's running live test within the caller's transaction, and return its number; None without one."""
    test = running_test(session, row.id)
    if test is None:
        return None
    test.state, test.ended_at, test.reason = "stopped", utc_now(), reason
    ledger.append(session, actor, "test.stop", row.name, f"test {test.id}", reason)
    return test.id


def reason_to_stop(action: str, name: str) -> str:
    """Return why a change of champion ends a live test."""
    return f"{action} of {name}"


def set_policy(row: EndpointRow, **values: Any) -> None:
    """Set values of an endpoint's policy within the caller's transaction; None takes one away, the others are kept."""
    policy = {**json.loads(row.policy or "{}"), **values}
    row.policy = ledger.canonical_json({name: value for name, value in policy.items() if value is not None})


def rollback_target(session: Session, row: EndpointRow, to: str | None) -> str:
    """Return the deployment to roll back to, always one that was champion before.

    Args:
        to: the one that is asked for, also a retired one; None for the last one before the present that is ready.
    Raises:
        DeploymentNotFound: the endpoint has no such deployment.
        InvalidTransition: there is no earlier champion, or the one that is asked for was none.
    """
    rows = rows_of(session, row.id)
    changes = ledger.champion_changes(session, row.name)
    if to is not None:
        if row_named(rows, to).id == row.champion_id:
            raise InvalidTransition(f"deployment {to!r} is the champion already")
        if to not in {champion for _, champion in changes}:
            raise InvalidTransition(f"deployment {to!r} was never champion: promote it instead")
        return to
    ready = {deployment.name for deployment in rows if deployment.state == State.READY}
    earlier = champion_line(changes)[:-1]
    target = next((name for name in reversed(earlier) if name in ready), None)
    if target is None:
        kept = [deployment.name for deployment in rows if is_kept(deployment) and deployment.name in earlier]
        advice = f"; retired, and reached by `to`: {', '.join(kept)}" if kept else ""
        raise InvalidTransition(f"endpoint {row.name!r} has no earlier champion to roll back to that is ready{advice}")
    return target


def champion_line(changes: Iterable[tuple[str, str]]) -> list[str]:
    """Return the champions that led to the present one, which is the last.

    A rollback takes everything after its target off the line, so what was rolled back is not led to
    again. A target that is not on the line takes the place of the champion that it replaces.

    Args:
        changes: action and champion of every promotion and rollback, oldest first.
    """
    line: list[str] = []
    for action, champion in changes:
        if action == "rollback":
            del line[line.index(champion) + 1 if champion in line else -1 :]
        if not line or line[-1] != champion:
            line.append(champion)
    return line


def check_reason(reason: object) -> None:
    """Check that a change says why it is made.

    Raises: InvalidArgument: it is not a text, or an empty one.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidArgument(f"say why in `reason`, for the ledger; it is {reason!r}")


def follow(context: Context, endpoint_id: int) -> None:
    """Bring the aliases to where the endpoint's row says, and note that they are there.

    One process at a time does so: MLflow refuses an alias that another one sets at the same moment.
    """
    with context.store.lock("aliases"):
        while not _follow_once(context, endpoint_id):
            pass


def _follow_once(context: Context, endpoint_id: int) -> bool:
    """Return whether the row is still the one that the aliases were brought to.

    Two who follow at once may finish in either order; the later one then sees the newer row and goes again.
    """
    with context.store.read() as session:
        row = session.get_one(EndpointRow, endpoint_id)
        deployments = rows_of(session, endpoint_id)
    champion = next((d for d in deployments if d.id == row.champion_id), None)
    if champion is not None and holds_vectors(champion):
        present = [d.collection for d in deployments if holds_vectors(d) and d.id != champion.id]
        space.point_alias(context.vectors, row.identifier, champion.collection, present)
    for model in sorted({d.model_name for d in deployments}):
        named = {
            model_alias(CHAMPION, row.environment): champion,
            model_alias(CHALLENGER, row.environment): _challenger(deployments, champion),
        }
        versions = {
            alias: chosen.model_version if chosen is not None and chosen.model_name == model else None
            for alias, chosen in named.items()
        }
        context.models.point_aliases(model, versions, row.identifier)
    with context.store.write() as session:
        now = session.get_one(EndpointRow, endpoint_id, with_for_update=True)
        now.followed_version = row.version
        return now.version == row.version


def reconcile(context: Context) -> None:
    """Repair what a crash left half done: aliases that are behind, collections of ended deployments."""
    with context.store.read() as session:
        endpoints = session.scalars(select(EndpointRow)).all()
        deployments = session.scalars(select(DeploymentRow)).all()
    now = utc_now()
    for row in endpoints:
        if row.followed_version != row.version:
            try:
                follow(context, row.id)
            except CollectionNotFound as error:  # an endpoint that cannot answer shall not keep the others closed
                _log.warning("the alias of endpoint %r stays as it was: %s", row.name, error.message)
        if row.planned_collection is not None:
            with collections.deploying(context, row.id).hold(wait=False) as is_idle:
                if is_idle:
                    collections.drop_planned(context, row.id)
    for deployment in deployments:
        if deployment.dim == 0:
            continue
        if is_due_to_drop(deployment, now):
            space.drop(context.vectors, deployment.collection)
        elif was_never_ready(deployment):
            collections.drop_failed(context, deployment.id)


def _challenger(deployments: Sequence[DeploymentRow], champion: DeploymentRow | None) -> DeploymentRow | None:
    """Return the newest deployment that is ready and newer than the champion."""
    since = champion.id if champion is not None else 0
    ready = [d for d in deployments if d.state == State.READY and d.id > since]
    return ready[-1] if ready else None


def holds_vectors(row: DeploymentRow) -> bool:
    """Return whether the vector engine has a collection of the deployment."""
    return row.dim > 0 and row.state != State.DRAFT and not is_purged(row) and not was_never_ready(row)


def model_alias(role: str, environment: str) -> str:
    """Return MLflow's alias of a role: `champion` in production, elsewhere as in `champion-staging`."""
    return role if environment == PRODUCTION else f"{role}-{environment}"
