"""The threads of monitoring: one takes traffic in and never waits, one stores, judges and tells, one measures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from roost.lifecycle.context import Context
from roost.lifecycle.monitor import retention
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.baselines import Baselines
from roost.lifecycle.monitor.checks import Checks
from roost.lifecycle.monitor.configuration import Configuration
from roost.lifecycle.monitor.watched import Watched
from roost.lifecycle.serving.endpoints import Endpoints
from roost.lifecycle.store.monitoring_tables import MonitorRow

COLLECT_EVERY_S = 0.25
CHECK_EVERY_S = 1.0
FOLLOW_EVERY_S = 5.0
RETENTION_EVERY_S = 3_600.0

_log = logging.getLogger(__name__)


class Worker:
    """The endpoints that this process watches, and the threads that do it. Safe to use from any thread."""

    def __init__(
        self,
        context: Context,
        endpoints: Endpoints,
        artifacts: Path,
        process: str,
        clock: Callable[[], float],
        tell: Callable[[Alert], None],
    ) -> None:
        """Take up every endpoint that is watched.

        Args:
            clock: seconds since 1970.
            tell: called with every alert that this process opens or resolves.
        """
        self.baselines = Baselines(context.store, artifacts / "baselines")
        self._store = context.store
        self._context = context
        self._endpoints = endpoints
        self._process = process
        self._clock = clock
        self._tell = tell
        self._checks: dict[str, Checks] = {}
        self._collects = False
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._next_retention_s = clock() + RETENTION_EVERY_S
        self._next_follow_s = clock() + FOLLOW_EVERY_S
        self._threads: list[threading.Thread] = []
        self.follow()
        self._start(self._judge, "roost-monitor-judge")

    def follow(self) -> None:
        """Watch what the store says is to be watched, and nothing else."""
        with self._changing:
            with self._store.read() as session:
                rows = session.execute(select(MonitorRow.endpoint, MonitorRow.configuration)).all()
            wanted = {endpoint: Configuration.from_json(stored) for endpoint, stored in rows}
            for endpoint in set(self._checks) - set(wanted):
                self._context.tap.close(endpoint)
                del self._checks[endpoint]
            for endpoint, configuration in wanted.items():
                if endpoint not in self._checks:
                    self._checks[endpoint] = self._begin(endpoint, configuration)
                elif self._checks[endpoint].watched.configuration != configuration:
                    self._checks[endpoint].watched.reconfigure(configuration)
            if self._checks and not self._collects:
                self._collects = True
                self._start(self._collect, "roost-monitor")
                self._start(self._measure, "roost-monitor-measure")

    def checks(self) -> dict[str, Checks]:
        """Return what is watched, by endpoint."""
        return dict(self._checks)

    def close(self) -> None:
        """End the threads and store what was seen."""
        self._closed.set()
        for thread in self._threads:
            thread.join()
        for checks in self._checks.values():
            try:
                checks.close(self._clock())
            except Exception as error:  # closing goes on with the others
                _log.warning("the last window of %s could not be stored: %s", checks.watched.endpoint, error)
            self._context.tap.close(checks.watched.endpoint)

    def _begin(self, endpoint: str, configuration: Configuration) -> Checks:
        rate = configuration.sample_rate if configuration.sample_rate is not None else 1.0
        stream = self._context.tap.open(endpoint, rate)
        watched = Watched(endpoint, configuration, stream, self._clock())
        return Checks(
            self._store,
            self._context,
            self._endpoints,
            watched,
            self.baselines,
            self._process,
            self._tell,
            self._closed.is_set,
        )

    def _start(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _collect(self) -> None:
        while not self._closed.wait(COLLECT_EVERY_S):
            for checks in self.checks().values():
                try:
                    checks.watched.drain(self._clock())
                except Exception as error:  # a thread that ended would blind the monitor
                    _log.warning("traffic of %s could not be taken in: %s", checks.watched.endpoint, error)

    def _measure(self) -> None:
        while not self._closed.wait(CHECK_EVERY_S):
            self._each(Checks.measure)

    def _judge(self) -> None:
        while not self._closed.wait(CHECK_EVERY_S):
            try:
                self._keep_up(self._clock())
            except Exception as error:
                _log.warning("monitoring cannot follow the store: %s", error)
            self._each(Checks.judge)

    def _each(self, do: Callable[[Checks, float], None]) -> None:
        for checks in self.checks().values():
            if self._closed.is_set():
                return
            try:
                do(checks, self._clock())
            except Exception as error:  # one endpoint's trouble is not the others'
                _log.warning("monitoring of %s: %s", checks.watched.endpoint, error)

    def _keep_up(self, now_s: float) -> None:
        if now_s >= self._next_follow_s:
            self._next_follow_s = now_s + FOLLOW_EVERY_S
            self.follow()
        if now_s >= self._next_retention_s and self._checks:
            self._next_retention_s = now_s + RETENTION_EVERY_S
            retention.carry_out(self._store, retention.load(self._store), now_s)
