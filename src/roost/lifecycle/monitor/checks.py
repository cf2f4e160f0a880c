"""What is done about one endpoint from time to time: measure, store, judge, tell.

Two things go on side by side, so that no measurement holds an alert up. Recall and drift are measured when it is their
time, and noted in the window that is then open. And windows that ended are stored; what was stored is judged in one
transaction; what is due is told. A crash before storing loses this process's last window; a crash after it loses
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import select

from roost.lifecycle.context import Context
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.monitor import alerts, baselines, exact, judge, recall, windows
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.baselines import Baselines
from roost.lifecycle.monitor.drifting import DriftTests
from roost.lifecycle.monitor.samples import Sample
from roost.lifecycle.monitor.summary import Summary
from roost.lifecycle.monitor.watched import Watched
from roost.lifecycle.serving.endpoints import Endpoints
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow

LEARN_EVERY_S = 10.0
DELIVER_EVERY_S = 5.0

_log = logging.getLogger(__name__)


class Checks:
    """What is done about one endpoint in this process. Safe to use from any thread.

    Measurements take turns with each other, and so does judging; neither waits for the other.
    """

    def __init__(
        self,
        store: Store,
        context: Context,
        endpoints: Endpoints,
        watched: Watched,
        kept: Baselines,
        process: str,
        tell: Callable[[Alert], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Begin.

        Args:
            store: used also while the workspace is being closed.
            process: this process's name, by which its windows are known.
            tell: called with every alert that this process opens or resolves.
            should_stop: whether long work is to end.
        """
        self._store = store
        self._endpoints = endpoints
        self._should_stop = should_stop
        self.watched = watched
        self._context = context
        self._kept = kept
        self._process = process
        self._tell = tell
        self._measuring = threading.Lock()
        self._judging = threading.Lock()
        self._drift = DriftTests(watched.endpoint, kept)
        now_s = watched.since_s
        self._next = {"recall": now_s, "drift": now_s, "learn": now_s, "judge": now_s, "deliver": now_s}

    def measure(self, now_s: float) -> None:
        """Learn and measure what it is time for; this may take long."""
        chosen = self.watched.configuration
        with self._measuring:
            if self._is_time("learn", now_s, LEARN_EVERY_S):
                self._try(self._learn)
            if chosen.recall_every_s > 0 and self._is_time("recall", now_s, chosen.recall_every_s):
                self._try(self._measure_recall)
            if chosen.drift_every_s > 0 and self._is_time("drift", now_s, chosen.drift_every_s):
                self._try(self._test_drift)

    def judge(self, now_s: float) -> None:
        """Store what is over, and judge and tell what it is time for."""
        chosen = self.watched.configuration
        with self._judging:
            self._write()
            if now_s >= self._next["judge"]:
                self._next["judge"] = (now_s // chosen.window_s + 1) * chosen.window_s + judge.GRACE_S
                self._judge(now_s, at_once=False)
            if self._is_time("deliver", now_s, DELIVER_EVERY_S) and self._is_judge:
                alerts.deliver(self._store, self.watched.endpoint, lambda: now_s)

    def at_once(self, now_s: float) -> list[Alert]:
        """Measure, close the window, judge and tell now; return the alerts that were opened or resolved."""
        self._context.recorder.flush_feedback()
        with self._measuring:
            self.watched.drain(now_s)
            self._try(self._learn)
            self._try(self._measure_recall)
            self._try(self._test_drift)
        with self._judging:
            self.watched.close_window(now_s)
            self._write()
            changed = self._judge(now_s, at_once=True)
            alerts.deliver(self._store, self.watched.endpoint, lambda: now_s)
        as_told = {alert.id: alert for alert in alerts.listed(self._store, self.watched.endpoint, open_only=False)}
        return [as_told[alert.id] for alert in changed]

    def close(self, now_s: float) -> None:
        """Store the window that is not over yet, and let another process judge."""
        self._context.recorder.flush_feedback()
        with self._judging:
            self.watched.close_window(now_s)
            self._write()
            judge.release(self._store, self.watched.endpoint, self._process)

    _is_judge = False

    def _is_time(self, what: str, now_s: float, every_s: float) -> bool:
        if now_s < self._next[what]:
            return False
        self._next[what] = now_s + every_s
        return True

    def _try(self, measure: Callable[[], None]) -> None:
        try:
            measure()
        except Exception as error:  # also from the vector engine or a model: the other figures are still good
            _log.warning("monitoring of %s: %s: %s", self.watched.endpoint, measure.__name__.strip("_"), error)

    def _write(self) -> None:
        closed = self.watched.closed()
        try:
            windows.append(self._store, self.watched.endpoint, self._process, closed)
        except BaseException:
            self.watched.put_back(closed)
            raise

    def _judge(self, now_s: float, at_once: bool) -> list[Alert]:
        verdict = judge.judge(
            self._store,
            self.watched.endpoint,
            self._process,
            self.watched.configuration,
            _champion(self._store, self.watched.endpoint),
            now_s,
            self.watched.since_s,
            at_once,
        )
        self._is_judge = verdict.is_holder
        for alert in verdict.changed:
            self._tell(alert)
        return list(verdict.changed)

    def _learn(self) -> None:
        endpoint = self._endpoints.opened(self.watched.endpoint)
        if endpoint is None:
            return
        live = {target.deployment.name for target in endpoint._router.routing.live}
        self.watched.keep_only(live)
        self._drift.keep_only(live)
        known = self._drift.learn(self.watched)
        self.watched.set_far(self._drift.far_limits(known, larger_is_farther=endpoint.metric == "L2"))
        if isinstance(endpoint, SearchEndpoint):
            for target in endpoint._router.routing.live:
                deployment = target.deployment
                if deployment.state != State.BUILDING and (deployment.name, baselines.VECTORS) not in known:
                    self._sample_collection(endpoint, deployment.collection, deployment.name, deployment.dim)

    def _sample_collection(self, endpoint: SearchEndpoint, collection: str, name: str, dim: int) -> None:
        chosen = self.watched.configuration
        sample: Sample[Any] = Sample(chosen.baseline_rows, np.random.default_rng())
        key = endpoint._router.payload.key
        for _, vectors in exact.pages(
            self._context.vectors, collection, key, dim, max_rows=chosen.recall_max_rows, should_stop=self._should_stop
        ):
            sample.add(list(vectors))
        if sample.items:
            self._kept.save(endpoint.name, name, baselines.VECTORS, np.asarray(sample.items), "collection")

    def _measure_recall(self) -> None:
        endpoint = self._endpoints.opened(self.watched.endpoint)
        if not isinstance(endpoint, SearchEndpoint):
            return
        router = endpoint._router
        with self.watched.locked:
            asked = {name: samples.asked.take() for name, samples in self.watched.samples().items()}
        for name, queries in asked.items():
            target = router.routing.target(name)
            if target is None or not queries:
                continue
            rows = self._context.vectors.query(
                target.deployment.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
            )
            found = recall.measure(
                self._context.vectors,
                target,
                endpoint.metric,
                router.payload.key,
                queries,
                int(rows[0]["count(*)"]),
                self.watched.configuration.recall_max_rows,
                self._should_stop,
            )
            self.watched.note(name, Summary(recall=found.shares, recall_reference=found.reference))

    def _test_drift(self) -> None:
        for name, answers in self._drift.test(self.watched, self._should_stop).items():
            self.watched.note(name, Summary(drift=answers))


def _champion(store: Store, endpoint: str) -> str | None:
    query = (
        select(DeploymentRow.name)
        .join(EndpointRow, EndpointRow.champion_id == DeploymentRow.id)
        .where(EndpointRow.name == endpoint)
    )
    with store.read() as session:
        return session.scalar(query)
