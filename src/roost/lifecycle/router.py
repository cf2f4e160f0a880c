"""Where one endpoint's traffic goes in this process, and how its row is changed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from roost.errors import Conflict, InvalidTransition
from roost.lifecycle import ledger, promotion, space
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import LIVE, State, deployment_of, row_named, rows_of
from roost.lifecycle.embedder import Embedder
from roost.lifecycle.live import Ending, LiveTest, check_test
from roost.lifecycle.livetest import SequentialTest
from roost.lifecycle.model_files import ModelFiles
from roost.lifecycle.space import Payload
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, LiveTestRow
from roost.lifecycle.traffic import Routing, Target


class Router:
    """The routing of one endpoint. Readers read `routing` once and hold no lock.

    Attributes:
        routing: immutable; replaced as a whole after every change.
        changing: held by whoever changes the endpoint in this process; may be taken again.
        write_gate: held while records are written, so that all deployments see one order.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.context = context
        self.endpoint_id = row.id
        self.name = row.name
        self.payload = Payload.from_json(row.fields, row.metric)
        self.changing = threading.RLock()
        self.write_gate = threading.Lock()
        self.routing = Routing()
        self._embedders: dict[int, Embedder] = {}
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
            self.routing = Routing(routing.version + 1, champion, (champion, *others))
            if routing.test is not None:
                routing.test.finish("stopped")

    def refresh(self) -> None:
        """Route as the store says."""
        with self.changing:
            with self.context.store.read() as session:
                row = session.get_one(EndpointRow, self.endpoint_id)
                live = [deployment for deployment in rows_of(session, row.id) if State(deployment.state) in LIVE]
                test_row = promotion.running_test(session, row.id)
            targets = {deployment.id: self._target(deployment) for deployment in live}
            champion = targets.get(row.champion_id) if row.champion_id is not None else None
            ordered = sorted(targets.values(), key=lambda target: target is not champion)
            test = self._test(test_row, targets) if test_row is not None else None
            ended = self.routing.test
            self.routing = Routing(row.version, champion, tuple(ordered), test)
            if ended is not None and ended is not test:
                ended.finish("stopped")

    def start_test(self, name: str, method: str, alpha: float, max_queries: int | None, seed: int | None) -> LiveTest:
        """Let a challenger take part in the answers; see `Endpoint.start_test`."""
        check_test(method, max_queries)
        SequentialTest(alpha=alpha)
        chosen_seed = seed if seed is not None else random.SystemRandom().getrandbits(31)
        with self.changing:
            with self.change(self.routing.version) as (session, row):
                if self.routing.test is not None:
                    raise InvalidTransition(f"live test {self.routing.test.id} of {self.name!r} is running")
                rival = row_named(rows_of(session, row.id), name)
                if row.champion_id is None:
                    raise InvalidTransition(f"endpoint {self.name!r} has no champion to test {name!r} against")
                if rival.state != State.READY:
                    raise InvalidTransition(f"the challenger of a live test must be ready; {name!r} is {rival.state}")
                test = LiveTestRow(
                    endpoint_id=row.id,
                    champion_id=row.champion_id,
                    challenger_id=rival.id,
                    method=method,
                    max_queries=max_queries,
                    seed=chosen_seed,
                    alpha=alpha,
                    state="running",
                    started_at=utc_now(),
                )
                session.add(test)
                session.flush()
                evidence = {"challenger": name, "method": method, "alpha": alpha, "max_queries": max_queries}
                ledger.append(
                    session, self.context.actor, "test.start", self.name, f"test {test.id}", evidence=evidence
                )
            started = self.routing.test
        if started is None:
            raise Conflict(f"the live test of {self.name!r} was ended by another actor at once")
        return started

    def end_test(self, test: LiveTest, state: Ending, reason: str) -> None:
        """Record how a live test ended and answer by the champion alone; nothing if it has ended."""
        with self.changing:
            if not test.running:
                return
            test.finish(state)
            # On SQLite an open transaction of ours would keep the recorder from writing.
            self.context.recorder.flush_feedback()
            result = test.status()
            with self.change() as (session, _):
                row = session.get_one(LiveTestRow, test.id)
                row.state, row.decision, row.ended_at = state, result.decision, utc_now()
                action = "test.decide" if state == "decided" else "test.stop"
                subject, evidence = f"test {test.id}", result.as_evidence()
                ledger.append(session, self.context.actor, action, self.name, subject, reason, evidence)

    def _target(self, row: DeploymentRow) -> Target:
        deployment = deployment_of(row, self.name)
        if row.id not in self._embedders:
            embedder = self.context.models.load_files(ModelFiles.from_json(row.model_files))
            if deployment.state != State.BUILDING:
                space.check(self.context.vectors, deployment)
                self.context.vectors.load_collection(deployment.collection)
            self._embedders[row.id] = embedder
        return Target(deployment, self._embedders[row.id])

    def _test(self, row: LiveTestRow, targets: dict[int, Target]) -> LiveTest:
        present = self.routing.test
        if present is not None and present.id == row.id:
            return present
        return LiveTest(
            self.end_test,
            self.context.recorder,
            row.id,
            targets[row.champion_id],
            targets[row.challenger_id],
            row.alpha,
            row.max_queries,
            row.seed,
            self.context.recorder.outcomes(row.id),
        )
