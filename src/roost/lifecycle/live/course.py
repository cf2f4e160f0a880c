"""How a live test begins, is taken up by a process, and ends: its rows in the store and in the ledger."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import Conflict, InvalidTransition, StorageFailure
from roost.lifecycle import ledger
from roost.lifecycle.deployments import promotion
from roost.lifecycle.deployments.deployment import State, row_named, rows_of
from roost.lifecycle.deployments.policy import policy_of
from roost.lifecycle.governance import permits
from roost.lifecycle.live.plan import Plan, check_seed
from roost.lifecycle.live.records import Records, seconds_of
from roost.lifecycle.live.tally import Tally
from roost.lifecycle.live.test import Ending, LiveTest
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LedgerRow, LiveTestArmRow, LiveTestRow

if TYPE_CHECKING:
    from roost.lifecycle.context import Context
    from roost.lifecycle.serving.router import Router
    from roost.lifecycle.serving.traffic import Target

_log = logging.getLogger(__name__)

_REFUSED = "promotion_refused"


def begin(router: Router, plan: Plan, seed: int | None) -> LiveTest:
    """Record a test, and let its deployments take part in the traffic; see `Endpoint.start_test`."""
    check_seed(seed)
    Tally(plan, "")
    chosen_seed = seed if seed is not None else secrets.randbits(31)
    with router.changing:

        def taken_up() -> None:
            router.started_test_id = test.id
            router.refresh()

        with router.change(router.routing.version, then=taken_up) as (session, row):
            subject = f"{router.name}/{', '.join(plan.challengers)}"
            permits.check(session, router.context.actor, "test.start", row.environment, subject)
            if plan.on_win == "promote":
                for name in plan.challengers:
                    subject = f"{router.name}/{name}"
                    permits.check_role(session, router.context.actor, "promote", row.environment, subject)
            arms = _arms(router, session, row, plan)
            test = LiveTestRow(
                endpoint_id=row.id,
                champion_id=arms[0].id,
                method=plan.method,
                max_queries=plan.max_queries,
                seed=chosen_seed,
                alpha=plan.alpha,
                configuration=plan.configuration(),
                state="running",
                started_at=utc_now(),
            )
            session.add(test)
            session.flush()
            for position, (arm, weight) in enumerate(zip(arms, _weights(plan), strict=True)):
                session.add(LiveTestArmRow(test_id=test.id, position=position, deployment_id=arm.id, weight=weight))
            evidence = _asked(plan)
            ledger.append(session, router.context.actor, "test.start", router.name, f"test {test.id}", "", evidence)
        started = router.routing.test
    if started is None:
        raise Conflict(f"the live test of {router.name!r} was ended by another actor at once")
    return started


def take_up(router: Router, row: LiveTestRow, arms: Sequence[int], targets: Mapping[int, Target]) -> LiveTest | None:
    """Return the test of a row for this process; None when a deployment of it cannot be opened here."""
    if any(deployment_id not in targets for deployment_id in arms):
        return None
    present = router.routing.test
    if present is not None and present.id == row.id:
        return present
    taking_part = [targets[deployment_id] for deployment_id in arms]
    champion, *challengers = (target.deployment.name for target in taking_part)
    plan = Plan.of_row(row.method, challengers, row.alpha, row.max_queries, row.configuration)
    context, only = router.context, challengers[0] if len(challengers) == 1 else None
    seed = str(row.seed)
    # A coin that fell the same way again after a restart would tie outcomes to each other.
    of_process = seed if row.id == router.started_test_id else f"{seed}/{secrets.token_hex(8)}"
    test = LiveTest(
        router.end_test,
        Records(context.store, context.recorder, row.id, router.name, champion, only),
        row.id,
        plan,
        taking_part,
        (seed, of_process),
        seconds_of(row.started_at),
    )
    router.started_test_id = None
    return test


def end(router: Router, test: LiveTest, state: Ending, reason: str, by_hand: bool) -> bool:
    """Record how a test ended and answer by the champion alone; return whether this call did it.

    Nothing if it has ended, here or by another process, or if it is to be decided and the
    outcomes of all processes together do not decide it.

    Args:
        by_hand: somebody stops it, who has to be allowed to.
    """
    with router.changing:
        if not test.running:
            return False
        # Read before the transaction: on SQLite it would keep the recorder from writing what waits.
        complete = test.recount()
        if state == "decided" and not complete:
            return False
        result, is_ours = test.standing(), False

        def ended() -> None:
            if is_ours:
                test.finish(state, reason)
            router.refresh()

        with router.change(then=ended) as (session, endpoint):
            row = session.get_one(LiveTestRow, test.id, with_for_update=True)
            if row.state == "running":
                actor = router.context.actor
                if by_hand:
                    permits.check(session, actor, "test.stop", endpoint.environment, f"{router.name}/test {test.id}")
                is_ours = True
                row.state, row.decision, row.ended_at, row.reason = state, result.decision, utc_now(), reason
                row.winner_id = _number(session, endpoint, test.winner)
                action = "test.decide" if state == "decided" else "test.stop"
                ledger.append(session, actor, action, router.name, f"test {test.id}", reason, result.as_evidence())
    return is_ours


def let_go(router: Router, test: LiveTest) -> None:
    """End a test for this process as another one recorded its end; nothing if it has ended here."""
    if not test.running:
        return
    try:
        with router.context.store.read() as session:
            row = session.get_one(LiveTestRow, test.id)
            winner = session.get(DeploymentRow, row.winner_id) if row.winner_id is not None else None
        if row.state != "running":
            test.recount()
    except StorageFailure as error:
        _log.warning("how live test %d of %r ended cannot be read: %s", test.id, router.name, error)
        test.finish("stopped")
        return
    # One that is running has a deployment that cannot be opened here: it goes on elsewhere.
    state: Ending = "decided" if row.state == "decided" else "stopped"
    outcome: Any = row.decision
    test.finish(state, row.reason, outcome, winner.name if winner is not None else None)


def check_promotion(row: EndpointRow) -> None:
    """Raise InvalidTransition where tests may not promote by themselves."""
    if not policy_of(row).promote_winners:
        raise InvalidTransition(
            f"live tests of {row.name!r} may not promote by themselves: allow it by `promote_winners`, "
            "or promote the winner by hand"
        )


@dataclass(frozen=True, slots=True)
class Won:
    """A winner that is to be promoted.

    Attributes:
        starter: who started the test, in whose name it promotes; None where the ledger does not say.
    """

    winner: str
    test_id: int
    starter: str | None


def winner_to_promote(context: Context, endpoint_id: int) -> Won | None:
    """Return the winner of the last test, if it is to be promoted and nobody has changed the champion since it won."""
    query = select(LiveTestRow).where(LiveTestRow.endpoint_id == endpoint_id).order_by(LiveTestRow.id.desc()).limit(1)
    with context.store.read() as session:
        endpoint = session.get_one(EndpointRow, endpoint_id)
        test = session.scalars(query).first()
        if test is None or test.state != "decided" or test.winner_id is None:
            return None
        configured = json.loads(test.configuration)
        if configured.get("on_win") != "promote" or _REFUSED in configured:
            return None
        winner = session.get(DeploymentRow, test.winner_id)
        if winner is None or winner.state != State.READY or endpoint.champion_id != test.champion_id:
            return None
        decided = _entry(session, endpoint, test, "test.decide")
        # The champion of the test again, after the winner was promoted: somebody rolled it back.
        if decided is not None and _changed_champion(session, endpoint, decided.seq):
            return None
        started = _entry(session, endpoint, test, "test.start")
        return Won(winner.name, test.id, started.actor if started is not None else None)


def refuse_promotion(router: Router, test_id: int, winner: str, why: str) -> None:
    """Record that a winner could not be promoted, so that nobody tries again."""
    with router.change() as (session, _):
        row = session.get_one(LiveTestRow, test_id)
        row.configuration = ledger.canonical_json({**json.loads(row.configuration), _REFUSED: why})
        ledger.append(session, router.context.actor, "promote.refuse", router.name, winner, why, {"test_id": test_id})


def _entry(session: Session, endpoint: EndpointRow, test: LiveTestRow, action: str) -> LedgerRow | None:
    """Return the newest ledger entry of an action on a test."""
    query = select(LedgerRow).where(LedgerRow.endpoint == endpoint.name, LedgerRow.action == action)
    own = query.where(LedgerRow.subject == f"test {test.id}").order_by(LedgerRow.seq.desc())
    return session.scalars(own.limit(1)).first()


def _changed_champion(session: Session, endpoint: EndpointRow, since: int) -> bool:
    """Return whether the champion was changed after the ledger's entry of that number."""
    query = select(LedgerRow.seq).where(LedgerRow.endpoint == endpoint.name, LedgerRow.seq > since)
    return session.scalar(query.where(LedgerRow.action.in_(ledger.CHAMPION_ACTIONS)).limit(1)) is not None


def _arms(router: Router, session: Session, row: EndpointRow, plan: Plan) -> list[DeploymentRow]:
    """Return the rows of who takes part, the champion first.

    Raises:
        InvalidTransition: a test is running, there is no champion, or a challenger is not ready.
        WorkspaceError: a challenger cannot be opened.
    """
    running = promotion.running_test(session, row.id)
    if running is not None:
        raise InvalidTransition(f"live test {running.id} of {router.name!r} is running")
    if plan.on_win == "promote":
        check_promotion(row)
    rows = rows_of(session, row.id)
    for name in plan.challengers:
        router.check_opened(name)
    rivals = [row_named(rows, name) for name in plan.challengers]
    champion = next((one for one in rows if one.id == row.champion_id), None)
    if champion is None:
        raise InvalidTransition(f"endpoint {router.name!r} has no champion to test {plan.challengers[0]!r} against")
    for rival in rivals:
        if rival.state != State.READY:
            raise InvalidTransition(f"the challenger of a live test must be ready; {rival.name!r} is {rival.state}")
    return [champion, *rivals]


def _weights(plan: Plan) -> list[float]:
    """Return the arms' shares of the traffic at the start."""
    n_arms = len(plan.challengers) + 1
    if plan.method == "shadow":
        return [1.0] + [0.0] * (n_arms - 1)
    if plan.method != "split":
        return [1.0 / n_arms] * n_arms
    weights = plan.ramp.weights(0.0)
    return [1.0 - sum(weights.values()), *(weights[name] for name in plan.challengers)]


def _asked(plan: Plan) -> dict[str, Any]:
    values = json.loads(plan.configuration())
    challengers = plan.challengers[0] if len(plan.challengers) == 1 else list(plan.challengers)
    own = {"challenger": challengers, "method": plan.method, "alpha": plan.alpha, "max_queries": plan.max_queries}
    return own | {name: value for name, value in values.items() if value not in (None, [], "nothing")}


def _number(session: Session, endpoint: EndpointRow, name: str | None) -> int | None:
    return None if name is None else row_named(rows_of(session, endpoint.id), name).id
