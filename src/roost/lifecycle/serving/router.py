"""Where one endpoint's traffic goes in this process, and how its row is changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import CollectionNotFound, Conflict, FingerprintMismatch, WorkspaceError
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import promotion, space
from roost.lifecycle.deployments.deployment import (
    LIVE,
    Deployment,
    State,
    check_seal,
    deployment_of,
    is_kept,
    move,
    row_named,
    rows_of,
)
from roost.lifecycle.deployments.space import Payload
from roost.lifecycle.live import Ending, LiveTest, course
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.model_files import ModelFiles
from roost.lifecycle.models.predictors.base import Predictor
from roost.lifecycle.serving.traffic import Routing, Target
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

SEARCH, PREDICT = "search", "predict"
"""The kinds of endpoints."""

GRACE_S = 1.0
"""How long writes wait after a process was killed in the middle of one, for what it had sent to a server."""

_log = logging.getLogger(__name__)


def memory_lock(endpoint_id: int) -> str:
    """Return the name of the lock under which an endpoint's retired collections leave the memory or come back."""
    return f"memory-{endpoint_id}"


class Router:
    """The routing of one endpoint. Readers read `routing` once and hold no lock.

    Attributes:
        routing: immutable; replaced as a whole after every change.
        changing: held by whoever changes the endpoint in this process; may be taken again.
        write_gate: held while records are written, by one thread of all processes, so that all deployments see one
            order of the writes.
    """

    def __init__(self, context: Context, row: EndpointRow) -> None:
        self.context = context
        self.endpoint_id = row.id
        self.name = row.name
        self.kind = row.kind
        self.task = row.task
        self.environment = row.environment
        self._configuration = (row.metric, row.fields)
        self.payload = Payload.from_json(row.fields, row.metric)
        self.changing = threading.RLock()
        self.write_gate = context.store.lock(f"writes-{row.id}", GRACE_S)
        self.routing = Routing()
        self._opened: dict[tuple[int, str], Embedder | Predictor] = {}
        self.started_test_id: int | None = None
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
                            f"not {expected}): call the endpoint's refresh(), look at its champion and repeat"
                        )
                    yield session, row
                    row.version += 1
            except BaseException:
                self.refresh()
                raise
            (then or self.refresh)()

    def route_to(self, name: str, reason: str) -> None:
        """Let a live deployment answer from now on, as the store says already; quicker than `refresh`.

        Args:
            reason: why a live test that is running ends by that.
        """
        with self.changing:
            routing = self.routing
            champion = routing.target(name)
            if champion is None:
                self.refresh()
                return
            others = tuple(target for target in routing.live if target is not champion)
            self.routing = Routing(
                routing.version + 1,
                champion,
                (champion, *others),
                missing=routing.missing,
                retired=routing.retired,
            )
            if routing.test is not None:
                routing.test.finish("stopped", reason)

    def catch_up(self) -> None:
        """Route as the store says, where another process has changed it since."""
        with self.context.store.read() as session:
            version = session.scalars(select(EndpointRow.version).where(EndpointRow.id == self.endpoint_id)).one()
        if version != self.routing.version:
            self.refresh()

    def refresh(self) -> None:
        """Route as the store says.

        A deployment that cannot be opened keeps nobody from the champion: it is left out and remembered as missing.
        When the champion's collection is not its own any more, the endpoint refuses to answer and to take writes.

        Raises: RoostError: the champion cannot be opened for another reason, or was never open in this process.
        """
        with self.changing:
            with self.context.store.read() as session:
                row = session.get_one(EndpointRow, self.endpoint_id)
                rows = rows_of(session, row.id)
                test_row = promotion.running_test(session, row.id)
                arms = [] if test_row is None else [a.deployment_id for a in promotion.arms_of(session, test_row.id)]
            live = [deployment for deployment in rows if State(deployment.state) in LIVE]
            live.sort(key=lambda deployment: deployment.id != row.champion_id)
            targets, missing, refused = self._open_all(live, row.champion_id)
            champion = targets.get(row.champion_id) if row.champion_id is not None else None
            test = (
                course.take_up(self, test_row, arms, targets) if test_row is not None and champion is not None else None
            )
            retired = tuple(deployment.id for deployment in rows if is_kept(deployment))
            ended = self.routing.test
            self.routing = Routing(
                row.version, champion, tuple(targets.values()), test, missing, retired=retired, refused=refused
            )
            if ended is not None and ended is not test:
                course.let_go(self, ended)

    def verify(self) -> None:
        """Look whether the open collections are still those that their models filled, and route by the outcome.

        Raises: pymilvus.MilvusException: the vector engine did not answer; nothing was changed.
        """
        if self.kind != SEARCH:
            return
        routing, is_wrong = self.routing, self.routing.refused is not None
        for target in routing.live:
            try:
                space.check(self.context.vectors, target.deployment)
            except (FingerprintMismatch, CollectionNotFound):
                is_wrong = True
                with self.changing:
                    self._opened.pop((target.deployment.id, target.deployment.created_at), None)
        if is_wrong:
            self.refresh()

    @contextmanager
    def prepared(self, name: str) -> Iterator[None]:
        """Open a retired deployment whose vectors are kept, so that it can answer at once when it is champion again.

        Nobody releases a collection of the endpoint from memory during the block.

        Raises:
            DeploymentNotFound: there is none of that name.
            RoostError: it cannot be opened.
        """
        with self.context.store.lock(memory_lock(self.endpoint_id)):
            with self.context.store.read() as session:
                row = row_named(rows_of(session, self.endpoint_id), name)
            if is_kept(row):
                with self.changing:
                    self._opened.pop((row.id, row.created_at), None)
                    self._target(row)
            yield

    def adopt(self, row: DeploymentRow, model: Embedder | Predictor) -> None:
        """Use a model that the caller has loaded already for a new deployment."""
        self._opened[row.id, row.created_at] = model

    def opened(self, row: DeploymentRow) -> Target:
        """Return a deployment with its model.

        Raises: RoostError: it cannot be opened.
        """
        with self.changing:
            return self._target(row)

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

    def end_test(self, test: LiveTest, state: Ending, reason: str, by_hand: bool = False) -> bool:
        """Record how a live test ended and answer by the champion alone; return whether this call did it."""
        return course.end(self, test, state, reason, by_hand)

    def _open_all(
        self, live: Sequence[DeploymentRow], champion_id: int | None
    ) -> tuple[dict[int, Target], dict[str, str], str | None]:
        """Return what can be opened, why the others cannot, and why the champion must not answer."""
        targets: dict[int, Target] = {}
        missing: dict[str, str] = {}
        refused = None
        for row in live:
            try:
                targets[row.id] = self._target(row)
            except Exception as error:
                reason = without_secrets(str(error))
                if row.id == champion_id:
                    was_open = self.routing.champion is not None or self.routing.refused is not None
                    if not was_open or not isinstance(error, (FingerprintMismatch, CollectionNotFound)):
                        raise
                    refused = reason
                    _log.error("the champion %r of %r must not answer: %s", row.name, self.name, reason)
                else:
                    missing[row.name] = reason
                    _log.warning("deployment %r of %r cannot be opened: %s", row.name, self.name, error)
        kept = {(row.id, row.created_at) for row in live}
        self._opened = {key: model for key, model in self._opened.items() if key in kept}
        return targets, missing, refused

    def _target(self, row: DeploymentRow) -> Target:
        deployment = deployment_of(row, self.name)
        # The number alone may be another deployment's by now: that of one that was never ready is given out again.
        key = row.id, row.created_at
        if key not in self._opened:
            check_seal(row, *self._configuration)
            model = self.load(ModelFiles.from_json(row.model_files), deployment)
            if self.kind == SEARCH:
                space.check(self.context.vectors, deployment)
                if deployment.state != State.BUILDING:
                    self.context.vectors.load_collection(deployment.collection)
            self._opened[key] = model
        return Target(deployment, self._opened[key])

    def load(self, files: ModelFiles, deployment: Deployment) -> Embedder | Predictor:
        """Return a deployment's model, after checking its files.

        Raises:
            FingerprintMismatch: it is not the model of which the deployment is.
            RoostError: it cannot be loaded.
        """
        models = self.context.models
        model = models.load_files(files) if self.kind == SEARCH else models.load_predictor(files)
        if model.fingerprint != deployment.fingerprint:
            raise FingerprintMismatch(
                f"deployment {deployment.name!r} was made by {deployment.fingerprint}; its model's files are of "
                f"{model.fingerprint}"
            )
        return model
