"""The live tests of a workspace, past ones too, read from its store: no vectors are opened, nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from sqlalchemy import select

from roost.errors import LiveTestNotFound
from roost.lifecycle.context import Context
from roost.lifecycle.live import TestStatus
from roost.lifecycle.live.guards import Seen
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.records import Records
from roost.lifecycle.live.report import status_of
from roost.lifecycle.live.status import State
from roost.lifecycle.live.tally import Tally
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LiveTestArmRow, LiveTestRow


@dataclass(frozen=True, slots=True)
class StoredTest:
    """A live test as the store has it."""

    id: int
    endpoint: str
    champion: str
    challengers: tuple[str, ...]
    method: str
    metric: str
    state: str
    decision: str | None
    reason: str
    started_at: str
    ended_at: str | None
    plan: Plan


def stored_tests(store: Store, endpoint: str | None = None) -> list[StoredTest]:
    """Return the live tests, newest first: all of them, or one endpoint's."""
    query = select(LiveTestRow, EndpointRow.name).join(EndpointRow, EndpointRow.id == LiveTestRow.endpoint_id)
    if endpoint is not None:
        query = query.where(EndpointRow.name == endpoint)
    arms: dict[int, list[str]] = {}
    with store.read() as session:
        joined = select(LiveTestArmRow.test_id, DeploymentRow.name).join(
            DeploymentRow, DeploymentRow.id == LiveTestArmRow.deployment_id
        )
        for test_id, name in session.execute(joined.order_by(LiveTestArmRow.test_id, LiveTestArmRow.position)):
            arms.setdefault(test_id, []).append(name)
        rows = session.execute(query.order_by(LiveTestRow.id.desc())).all()
        return [_stored(row, name, arms[row.id]) for row, name in rows]


def standing_of(context: Context, endpoint: str, number: int | None) -> TestStatus:
    """Return how a live test stands by what is in the store.

    What a process alone knows of a running test, its latencies and errors, is not there.

    Args:
        number: of the test; None for the endpoint's last one.
    Raises: LiveTestNotFound: there is no such test.
    """
    tests = stored_tests(context.store, endpoint)
    test = next((one for one in tests if number is None or one.id == number), None)
    if test is None:
        raise LiveTestNotFound(f"endpoint {endpoint!r} has no live test{'' if number is None else f' {number}'}")
    plan, only = test.plan, test.challengers[0] if len(test.challengers) == 1 else None
    records = Records(context.store, context.recorder, test.id, endpoint, test.champion, only)
    tally = Tally(plan, test.champion)
    counted: set[str] = set()
    for one in records.outcomes():
        if one.unit not in counted and not _is_over(tally):
            counted.add(one.unit)
            tally.add(one.outcome)
    if test.state != "running" or (plan.deadline is not None and time.time() >= plan.deadline):
        tally.end()
    seen = {name: Seen() for name in (test.champion, *test.challengers)}
    state = cast(State, test.state)
    late, ignored = records.n_late(), records.n_ignored(plan.metric)
    return status_of(test.id, plan, test.champion, state, test.reason, tally, seen, late, 0, ignored)


def _is_over(tally: Tally) -> bool:
    return tally.verdict.outcome is not None or tally.is_full


def _stored(row: LiveTestRow, endpoint: str, arms: list[str]) -> StoredTest:
    champion, *challengers = arms
    plan = Plan.of_row(row.method, challengers, row.alpha, row.max_queries, row.configuration)
    return StoredTest(
        id=row.id,
        endpoint=endpoint,
        champion=champion,
        challengers=tuple(challengers),
        method=row.method,
        metric=plan.metric,
        state=row.state,
        decision=row.decision,
        reason=row.reason,
        started_at=row.started_at,
        ended_at=row.ended_at,
        plan=plan,
    )
