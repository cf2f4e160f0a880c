"""Where one endpoint's traffic goes in this process, and how its row is changed."""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import Conflict, FingerprintMismatch, InvalidTransition, WorkspaceError
from roost.lifecycle import ledger, promotion, space
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import LIVE, State, check_seal, deployment_of, move, row_named, rows_of
from roost.lifecycle.embedders.base import Embedder
from roost.lifecycle.live import Ending, LiveTest, check_test
from roost.lifecycle.livetest import SequentialTest
from roost.lifecycle.model_files import ModelFiles
from roost.lifecycle.space import Payload
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LiveTestArmRow, LiveTestRow
from roost.lifecycle.traffic import Routing, Target

_log = logging.getLogger(__name__)


class Router:
    """The routing of one endpoint. Readers read `routing` once and hold no lock.

    Attributes:
        routing: immutable; replaced as a whole after every change.
        changing: held by whoever changes the endpoint in this process; may be taken again.
        filling: names of the deployments that this process is filling.
        write_gate: held while records are written, so that all deployments see one order.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.context = context
        self.endpoint_id = row.id
        self.name = row.name
        self._configuration = (row.metric, row.fields)
        self.payload = Payload.from_json(row.fields, row.metric)
        self.changing = threading.RLock()
        self.filling: set[str] = set()
        self.write_gate = threading.Lock()
        self.routing = Routing()
        self._embedders: dict[tuple[int, str], Embedder] = {}
        self._started_test_id: int | None = None
        self.refresh()

    @contextmanager
    def change(
        self, expected: int | None = None, then: Callable[[], None] | None = None
    ) -> Iterator[tuple[Session, EndpointRow]]:
        """Give a transaction on the endpoint's row, and route by its outcome afterwards.

        Args:
            expected: the row's version that the caller's decision rests on; None for any.
            then: what to do after the commit instead of routing as the store says.
        Raises: Conflict: another actor changed the endpoint since; the routing is fresh now.
        """
        with self.changing:
            try:
                with self.context.store.write() as session:
                    row = session.get_one(EndpointRow, self.endpoint_id, with_for_update=True)
                    if expected is not None and row.version != expected:
                        raise Conflict(
                            f"endpoint {self.name!r} was changed by another actor (its version is {row.version}, "
                            f"not {expected}): look again and repeat"
                        )
                    yield session, row
                    row.version += 1
            except BaseException:
                self.refresh()
                raise
            (then or self.refresh)()

    def route_to(self, name: str) -> None:
        """Let a live deployment answer from now on, as the store says already; quicker than `refresh`."""
        with self.changing:
            routing = self.routing
            champion = routing.target(name)
            if champion is None:
                self.refresh()
                return
            others = tuple(target for target in routing.live if target is not champion)
            self.routing = Routing(routing.version + 1, champion, (champion, *others), missing=routing.missing)
            if routing.test is not None:
                routing.test.finish("stopped")

    def refresh(self) -> None:
        """Route as the store says.

        A deployment that cannot be opened keeps nobody from the champion: it is left out and remembered as missing.
        """
        with self.changing:
            with self.context.store.read() as session:
                row = session.get_one(EndpointRow, self.endpoint_id)
                live = [deployment for deployment in rows_of(session, row.id) if State(deployment.state) in LIVE]
                test_row = promotion.running_test(session, row.id)
                arms = [] if test_row is None else [a.deployment_id for a in promotion.arms_of(session, test_row.id)]
            live.sort(key=lambda deployment: deployment.id != row.champion_id)
            targets: dict[int, Target] = {}
            missing: dict[str, str] = {}
            for deployment in live:
                try:
                    targets[deployment.id] = self._target(deployment)
                except Exception as error:
                    if deployment.id == row.champion_id:
                        raise
                    missing[deployment.name] = without_secrets(str(error))
                    _log.warning("deployment %r of %r cannot be opened: %s", deployment.name, self.name, error)
            champion = targets.get(row.champion_id) if row.champion_id is not None else None
            test = self._test(test_row, arms, targets) if test_row is not None else None
            ended = self.routing.test
            self.routing = Routing(row.version, champion, tuple(targets.values()), test, missing)
            if ended is not None and ended is not test:
                ended.finish("stopped")

    def check_opened(self, name: str) -> None:
        """Check that this process can use a live deployment.

        Raises: WorkspaceError: it could not be opened.
        """
        reason = self.routing.missing.get(name)
        if reason is not None:
            raise WorkspaceError(f"deployment {name!r} cannot be opened: {reason}")

    def fail(self, name: str, reason: str) -> None:
        """Take a deployment out of the traffic and out of its live test for good; nothing if that was done."""
        with self.change() as (session, endpoint):
            row = row_named(rows_of(session, endpoint.id), name)
            if State(row.state) in LIVE:
                move(row, State.FAILED)
                test = promotion.running_test(session, endpoint.id)
                if promotion.challenges(session, test, row.id):
                    promotion.stop_test(session, endpoint, self.context.actor, f"{name} failed")
                ledger.append(session, self.context.actor, "fail", endpoint.name, name, reason)

    def start_test(self, name: str, method: str, alpha: float, max_queries: int | None, seed: int | None) -> LiveTest:
        """Let a challenger take part in the answers; see `Endpoint.start_test`."""
        check_test(method, max_queries, seed)
        SequentialTest(alpha=alpha)
        chosen_seed = seed if seed is not None else random.SystemRandom().getrandbits(31)
        with self.changing:
            with self.change(self.routing.version) as (session, row):
                running = promotion.running_test(session, row.id)
                if running is not None:
                    raise InvalidTransition(f"live test {running.id} of {self.name!r} is running")
                self.check_opened(name)
                rival = row_named(rows_of(session, row.id), name)
                if row.champion_id is None:
                    raise InvalidTransition(f"endpoint {self.name!r} has no champion to test {name!r} against")
                if rival.state != State.READY:
                    raise InvalidTransition(f"the challenger of a live test must be ready; {name!r} is {rival.state}")
                test = LiveTestRow(
                    endpoint_id=row.id,
                    champion_id=row.champion_id,
                    method=method,
                    max_queries=max_queries,
                    seed=chosen_seed,
                    alpha=alpha,
                    state="running",
                    started_at=utc_now(),
                )
                session.add(test)
                session.flush()
                for position, deployment_id in enumerate((row.champion_id, rival.id)):
                    session.add(
                        LiveTestArmRow(test_id=test.id, position=position, deployment_id=deployment_id, weight=0.5)
                    )
                self._started_test_id = test.id
                evidence = {"challenger": name, "method": method, "alpha": alpha, "max_queries": max_queries}
                ledger.append(
                    session, self.context.actor, "test.start", self.name, f"test {test.id}", evidence=evidence
                )
            started = self.routing.test
        if started is None:
            raise Conflict(f"the live test of {self.name!r} was ended by another actor at once")
        return started

    def end_test(self, test: LiveTest, state: Ending, reason: str) -> None:
        """Record how a live test ended and answer by the champion alone.

        Nothing if it has ended, here or by another process, or if it is to be decided and the
        outcomes of all processes together do not decide it.
        """
        with self.changing:
            if not test.running:
                return
            # Read before the transaction: on SQLite it would keep the recorder from writing what waits.
            complete = test.recount(self.context.recorder.outcomes(test.id))
            if state == "decided" and not complete:
                return
            result, is_ours = test.status(), False

            def ended() -> None:
                if is_ours:
                    test.finish(state)
                self.refresh()

            with self.change(then=ended) as (session, _):
                row = session.get_one(LiveTestRow, test.id)
                if row.state == "running":
                    is_ours = True
                    row.state, row.decision, row.ended_at = state, result.decision, utc_now()
                    action = "test.decide" if state == "decided" else "test.stop"
                    subject, evidence = f"test {test.id}", result.as_evidence()
                    ledger.append(session, self.context.actor, action, self.name, subject, reason, evidence)

    def _target(self, row: DeploymentRow) -> Target:
        deployment = deployment_of(row, self.name)
        # The number alone may be another deployment's by now: that of one that was never ready is given out again.
        key = row.id, row.created_at
        if key not in self._embedders:
            check_seal(row, *self._configuration)
            embedder = self.context.models.load_files(ModelFiles.from_json(row.model_files))
            if embedder.fingerprint != row.fingerprint:
                raise FingerprintMismatch(
                    f"deployment {row.name!r} was made by {row.fingerprint}; its model's files are of "
                    f"{embedder.fingerprint}"
                )
            space.check(self.context.vectors, deployment)
            if deployment.state != State.BUILDING:
                self.context.vectors.load_collection(deployment.collection)
            self._embedders[key] = embedder
        return Target(deployment, self._embedders[key])

    def _test(self, row: LiveTestRow, arms: Sequence[int], targets: dict[int, Target]) -> LiveTest | None:
        if any(deployment_id not in targets for deployment_id in arms):
            return None
        present = self.routing.test
        if present is not None and present.id == row.id:
            return present
        return LiveTest(
            self.end_test,
            self.context.recorder,
            row.id,
            targets[row.champion_id],
            targets[arms[1]],
            row.alpha,
            row.max_queries,
            row.seed if row.id == self._started_test_id else f"{row.seed}/{secrets.token_hex(8)}",
            self.context.recorder.outcomes(row.id),
        )
