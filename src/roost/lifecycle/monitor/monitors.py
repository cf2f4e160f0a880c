"""The monitors of a workspace: what a user calls."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from roost.errors import DeploymentNotFound, InvalidArgument, InvalidTransition, MonitorNotFound
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.governance import permits
from roost.lifecycle.monitor import alerts, baselines, exposition, report, retention, windows
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.baselines import Baseline
from roost.lifecycle.monitor.checks import Checks
from roost.lifecycle.monitor.configuration import OPTIONS, Configuration, configuration
from roost.lifecycle.monitor.exposition import Figures, MetricsServer
from roost.lifecycle.monitor.notify import Channel
from roost.lifecycle.monitor.report import Point, Report
from roost.lifecycle.monitor.retention import Retention
from roost.lifecycle.monitor.rules import Rule
from roost.lifecycle.monitor.summary import Span, check_metric
from roost.lifecycle.monitor.worker import Worker
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.endpoints import Endpoints
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.monitoring_tables import AlertRow, MonitorRow
from roost.lifecycle.store.tables import EndpointRow

When: TypeAlias = datetime | timedelta | str | None

DEFAULT_SPAN_S = 86_400.0
_ALL_TIME_S = 1e12
UNCHANGED: Any = object()

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitorStatus:
    """How an endpoint is watched.

    Attributes:
        judge: the process that judges the rules; None between two.
        judged_until: the end of the last window that was judged, ISO 8601 in UTC.
        baselines: the reference samples that windows are compared with.
    """

    endpoint: str
    configuration: Configuration
    judge: str | None
    judged_until: str
    n_open_alerts: int
    baselines: tuple[Baseline, ...]

    def __repr__(self) -> str:
        chosen = self.configuration
        rules = "; ".join(f"{rule.name}: {rule} ({rule.severity})" for rule in chosen.rules)
        options = ", ".join(f"{name}={_as_text(getattr(chosen, name))}" for name in OPTIONS)
        kinds = [(one.kind.partition("@"), one) for one in self.baselines]
        plain = [f"{one.kind} of {one.deployment} ({one.n_rows} rows)" for (_, _, season), one in kinds if not season]
        by_season = Counter((kind, one.deployment) for (kind, _, season), one in kinds if season)
        kept = ", ".join([*plain, *(f"{kind} of {name} ({n} seasons)" for (kind, name), n in by_season.items())])
        drift = f"{chosen.false_alarms_a_month:.2g} false alarms a month expected of each kind and deployment"
        return (
            f"monitor of {self.endpoint!r}: windows of {chosen.window_s:g} s, judged until {self.judged_until[:19]}, "
            f"{self.n_open_alerts} open alerts\n  rules: {rules or 'none'}\n"
            f"  told: {', '.join(map(repr, chosen.notify)) or 'nobody'}\n  options: {options}\n"
            f"  drift: {drift if chosen.drift_every_s > 0 else 'not tested'}\n"
            f"  baselines: {kept or 'none yet'}"
        )


def _as_text(option: Any) -> str:
    if isinstance(option, tuple):
        return "+".join(option)
    return f"{option:.6g}" if isinstance(option, float) else str(option)


class Monitors:
    """The monitors of a workspace. Safe to use from any thread.

        ws.monitors.watch("image-search", rules=[Rule("latency_p95_ms", ">", 50, for_windows=3)], notify=[Log()])
        ws.monitors.report("image-search")

    Whoever opens the workspace goes on watching; each process adds what it sees, and one of them judges.
    """

    def __init__(
        self, context: Context, endpoints: Endpoints, artifacts: Path, clock: Callable[[], float] = time.time
    ) -> None:
        """Go on watching what is watched.

        Args:
            artifacts: the workspace's directory of files; baselines are kept in it.
            clock: seconds since 1970.
        """
        self._context = context
        self._endpoints = endpoints
        self._clock = clock
        self._subscribers: list[Callable[[Alert], None]] = []
        self._subscribing = threading.Lock()
        process = f"{socket.gethostname()[:200]}:{os.getpid()}:{secrets.token_hex(3)}"
        self._worker = Worker(context, endpoints, artifacts, process, clock, self._tell)

    def watch(
        self,
        endpoint: str,
        rules: Sequence[Rule | str] | None = None,
        notify: Sequence[Channel] | None = None,
        *,
        defaults: bool = False,
        **options: Any,
    ) -> MonitorStatus:
        """Watch an endpoint from now on, in every process that has the workspace open; or watch it differently.

        Of an endpoint that is watched already, what is not given stays as it is.

        Args:
            rules: all of them, or texts, as in "recall < 0.9 critical"; by default on errors, empty answers, far
                answers, recall and drift.
            notify: all who are told of alerts; by default the log.
            defaults: what is not given goes back to its default instead.
            options: the other fields of `Configuration`, for example window_s=60 or sample_rate=0.1.
        Raises:
            EndpointNotFound: there is no such endpoint.
            InvalidArgument: a rule, a channel or an option is not allowed.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        opened = self._endpoints.get(endpoint)
        with self._context.store.write() as session:
            row = session.scalar(select(MonitorRow).where(MonitorRow.endpoint == opened.name).with_for_update())
            present = None if row is None or defaults else Configuration.from_json(row.configuration)
            chosen = configuration(rules, notify, options, present)
            evidence = {
                "window_s": chosen.window_s,
                "rules": [str(rule) for rule in chosen.rules],
                "notify": [channel.kind for channel in chosen.notify],
            }
            self._permit(session, "monitor.watch", opened.name, evidence)
            if row is None:
                now = utc_now()
                at = windows.to_text(self._clock())
                row = MonitorRow(endpoint=opened.name, judged_until=at, progress="{}", created_at=now)
                session.add(row)
            row.configuration = chosen.to_json()
        self._worker.follow()
        return self.status(endpoint)

    def unwatch(self, endpoint: str) -> None:
        """Watch an endpoint no more; its history, alerts and baselines stay.

        Raises:
            MonitorNotFound: it is not watched.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        checks = self._worker.checks().get(endpoint)
        with self._context.store.write() as session:
            row = self._row(session, endpoint)
            self._permit(session, "monitor.unwatch", endpoint)
            session.execute(delete(MonitorRow).where(MonitorRow.id == row.id))
        if checks is not None:
            checks.close(self._clock())
        self._worker.follow()

    def watched(self) -> list[str]:
        """Return the names of the endpoints that are watched."""
        with self._context.store.read() as session:
            return sorted(session.scalars(select(MonitorRow.endpoint)))

    def status(self, endpoint: str) -> MonitorStatus:
        """Return how an endpoint is watched.

        Raises: MonitorNotFound: it is not watched.
        """
        with self._context.store.read() as session:
            row = self._row(session, endpoint)
            is_open = (AlertRow.endpoint == endpoint, AlertRow.state == "open")
            n_open = session.scalar(select(func.count()).select_from(AlertRow).where(*is_open)) or 0
        kept = self._worker.baselines.latest(endpoint)
        chosen = Configuration.from_json(row.configuration)
        return MonitorStatus(endpoint, chosen, row.holder, row.judged_until, n_open, tuple(kept.values()))

    def baseline(
        self,
        endpoint: str,
        kind: str = baselines.TRAINING,
        data: Any = None,
        vectors: Any = None,
        deployment: str | None = None,
    ) -> Baseline:
        """Keep a reference that windows are compared with from now on.

        Without it, the first traffic is the reference of queries, distances and predictions, and a sample of the
        collection that of written vectors. Training-serving skew needs a reference of kind "training".

        Args:
            kind: "training", "queries", "vectors", "distances" or "predictions".
            data: contents, which the deployment's model embeds; rows, for an endpoint that predicts.
            vectors: (n, dim), what the model makes of them, instead of `data`; or (n,) distances or predictions.
            deployment: by default the champion.
        Raises:
            InvalidArgument: neither or both of data and vectors are given, or they cannot be a reference.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        baselines.check_kind(kind)
        if (data is None) == (vectors is None):
            raise InvalidArgument("a baseline takes either data= or vectors=")
        opened = self._endpoints.get(endpoint)
        name = deployment if deployment is not None else self._champion(endpoint)
        target = opened._router.routing.target(name)
        if target is None:
            raise DeploymentNotFound(f"endpoint {endpoint!r} has no live deployment {name!r}")
        is_embedded = data is not None and isinstance(opened, SearchEndpoint) and kind != baselines.DISTANCES
        rows = traffic.embed(target, data) if is_embedded else np.asarray(data if vectors is None else vectors)
        is_flat = kind in (baselines.DISTANCES, baselines.PREDICTIONS)
        if rows.ndim != (1 if is_flat else 2):
            raise InvalidArgument(
                f"a baseline of {kind} has {'one dimension' if is_flat else 'rows'}, not {rows.shape}"
            )

        def noted(session: Session, kept: Baseline) -> None:
            evidence = {"deployment": name, "kind": kind, "digest": kept.digest, "n_rows": kept.n_rows}
            self._permit(session, "monitor.baseline", endpoint, evidence)

        return self._worker.baselines.save(endpoint, name, kind, rows, "given", noted)

    def history(
        self,
        endpoint: str,
        metric: str,
        since: When = None,
        deployment: str | None = None,
        bucket_s: float | None = None,
    ) -> list[Point]:
        """Return one figure over time, all processes together.

        Args:
            metric: one of `METRICS`, or feedback.KIND, feedback_rate.KIND, class_share.CLASS, drift.KIND.
            since: a time, or how long ago; by default a day ago.
            bucket_s: one figure for each span of this length; by default for each window.
        Raises:
            InvalidArgument: there is no such metric.
            EndpointNotFound: there is no such endpoint.
        """
        check_metric(metric)
        return report.points(self._spans(endpoint, since, deployment, bucket_s), metric)

    def report(self, endpoint: str, since: When = None) -> Report:
        """Return all figures over a span of time, by default the last day; a notebook shows tables.

        The window that is not over yet counts for what this process has seen.

        Raises: EndpointNotFound: there is no such endpoint.
        """
        found = self._spans(endpoint, since, None, None)
        since_s, now_s = self._since_s(since), self._clock()
        whole = windows.merged(found, _ALL_TIME_S)
        return Report(
            endpoint,
            windows.to_text(since_s),
            windows.to_text(now_s),
            tuple(report.figures_of(span) for span in whole),
            tuple(self.alerts(endpoint, open_only=True)),
            tuple(found),
        )

    def alerts(self, endpoint: str | None = None, open_only: bool = False) -> list[Alert]:
        """Return alerts, the newest first.

        Raises: EndpointNotFound: there is no such endpoint.
        """
        if endpoint is not None:
            self._endpoints.check(endpoint)
        return alerts.listed(self._context.store, endpoint, open_only)

    def check_now(self, endpoint: str) -> list[Alert]:
        """Measure recall and drift, close the present window, judge the rules and tell, all before this returns.

        Returns: the alerts that were opened or resolved by it.
        Raises: MonitorNotFound: the endpoint is not watched.
        """
        self._endpoints.get(endpoint)
        return self._checks(endpoint).at_once(self._clock())

    def subscribe(self, callback: Callable[[Alert], None]) -> Callable[[], None]:
        """Have a function called with every alert that this process opens or resolves, and return what ends that.

        It is called in the monitor's thread. The alerts of other processes are found by `alerts`.
        """
        with self._subscribing:
            self._subscribers = [*self._subscribers, callback]

        def end() -> None:
            with self._subscribing:
                self._subscribers = [known for known in self._subscribers if known is not callback]

        return end

    def prometheus(self) -> str:
        """Return the figures of this process in the format of Prometheus.

        Raises: MissingDependency: prometheus_client is not installed.
        """
        return exposition.text(self._figures)

    def serve_metrics(self, port: int, host: str = "127.0.0.1") -> MetricsServer:
        """Serve `prometheus()` over HTTP until the server is closed; to this machine alone unless told otherwise.

        Raises:
            MissingDependency: prometheus_client is not installed.
            InvalidArgument: the port cannot be had.
        """
        return exposition.serve(self._figures, port, host)

    def retention(
        self,
        events_days: int | None = UNCHANGED,
        windows_days: int | None = UNCHANGED,
        history_days: int | None = UNCHANGED,
    ) -> Retention:
        """Return how long what was recorded is kept, after setting what is given; None keeps for ever.

        It is carried out every hour by whoever has the workspace open and watches an endpoint.
        """
        present = retention.load(self._context.store)
        given = {"events_days": events_days, "windows_days": windows_days, "history_days": history_days}
        changed = {name: days for name, days in given.items() if days is not UNCHANGED}
        if changed:
            present = replace(present, **changed)
            with self._context.store.write() as session:
                self._permit(session, "monitor.retention", None, asdict(present))
                retention.save(session, present)
        return present

    def clean(self) -> int:
        """Carry out the retention now, and return how many rows are gone."""
        present = retention.load(self._context.store)
        with self._context.store.write() as session:
            self._permit(session, "monitor.clean", None, asdict(present))
        return retention.carry_out(self._context.store, present, self._clock())

    def close(self) -> None:
        """End the threads; what was seen is stored."""
        self._worker.close()

    def _permit(
        self, session: Session, action: str, endpoint: str | None, evidence: Mapping[str, Any] | None = None
    ) -> None:
        """Ask whether the actor may do something, and write into the ledger that it was done."""
        actor, subject = self._context.actor, endpoint or "retention"
        environment = session.scalar(select(EndpointRow.environment).where(EndpointRow.name == endpoint))
        permits.check(session, actor, action, environment, subject)
        ledger.append(session, actor, action, endpoint, subject, evidence=evidence)

    def _tell(self, alert: Alert) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(alert)
            except Exception as error:  # a subscriber's fault is not the next one's, nor the monitor's
                _log.warning("a subscriber to alerts raised %s: %s", type(error).__name__, error)

    def _row(self, session: Any, endpoint: str) -> MonitorRow:
        row: MonitorRow | None = session.scalar(select(MonitorRow).where(MonitorRow.endpoint == endpoint))
        if row is None:
            self._endpoints.check(endpoint)
            raise MonitorNotFound(f"endpoint {endpoint!r} is not watched: call ws.monitors.watch({endpoint!r})")
        return row

    def _checks(self, endpoint: str) -> Checks:
        if endpoint not in self._worker.checks():
            self._worker.follow()
        checks = self._worker.checks().get(endpoint)
        if checks is None:
            raise MonitorNotFound(f"endpoint {endpoint!r} is not watched: call ws.monitors.watch({endpoint!r})")
        return checks

    def _champion(self, endpoint: str) -> str:
        champion = self._endpoints.get(endpoint).champion
        if champion is None:
            raise InvalidTransition(f"endpoint {endpoint!r} has no champion yet")
        return str(champion.name)

    def _figures(self) -> Figures:
        checks = self._worker.checks()
        for one in checks.values():
            one.watched.drain(self._clock())
        return Figures(
            {name: dict(one.watched.totals) for name, one in checks.items()},
            {name: dict(one.watched.measured) for name, one in checks.items()},
            alerts.listed(self._context.store, None, open_only=True),
        )

    def _spans(self, endpoint: str, since: When, deployment: str | None, bucket_s: float | None) -> list[Span]:
        self._endpoints.check(endpoint)
        since_s = self._since_s(since)
        report.check_since(since_s, self._clock())
        with self._context.store.read() as session:
            found = windows.spans(session, endpoint, since_s, None, deployment)
        checks = self._worker.checks().get(endpoint)
        if checks is not None:
            self._context.recorder.flush_feedback()
            found += [span for span in checks.watched.unstored(self._clock()) if deployment in (None, span.deployment)]
        return windows.merged(found, bucket_s)

    def _since_s(self, since: When) -> float:
        if since is None:
            return self._clock() - DEFAULT_SPAN_S
        if isinstance(since, timedelta):
            return self._clock() - since.total_seconds()
        if isinstance(since, datetime):
            return windows.to_seconds(utc_text(since))
        try:
            return windows.to_seconds(since)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"since={since!r} is not a time: give ISO 8601, a datetime or a timedelta") from error
