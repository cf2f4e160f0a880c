"""The figures of this process in the format of Prometheus. A scraper adds up the processes by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.histogram import BOUNDS_S, BUCKETS_PER_DECADE, LOWEST_S
from roost.lifecycle.monitor.rules import SEVERITIES
from roost.lifecycle.monitor.summary import Summary

LABELS = ("endpoint", "deployment")

_FIRST_S, _N_DECADES, _PER_DECADE = 1e-4, 5, 3
_PLACES = (
    round(np.log10(_FIRST_S / LOWEST_S)) * BUCKETS_PER_DECADE
    + np.arange(_N_DECADES * _PER_DECADE + 1) * (BUCKETS_PER_DECADE // _PER_DECADE)
).astype(np.int64)
"""Bounds that are bounds of the histogram too, so that the counts are exact: 0.1 ms to 10 s, three a decade."""

_COUNTERS: Mapping[str, tuple[str, str]] = {
    "requests": ("n_requests", "Requests that were answered."),
    "queries": ("n_queries", "Queries or rows that were answered."),
    "errors": ("n_errors", "Requests that failed."),
    "refused": ("n_refused", "Requests whose arguments, other than the content, were wrong."),
    "empty_answers": ("n_empty", "Queries without a result."),
    "labels": ("n_labels", "Labels that said what would have been right."),
    "low_score_answers": ("n_low", "Queries whose first result is farther than the baseline allows."),
    "written_vectors": ("n_written", "Vectors that were written."),
    "unobserved_requests": ("n_left_out", "Requests that the monitor was too slow to take in."),
}


@dataclass(frozen=True)
class Figures:
    """What is shown.

    Attributes:
        totals: by endpoint and deployment, since the process began to watch.
        measured: the last recall and drift, likewise.
        alerts: that are open.
    """

    totals: Mapping[str, Mapping[str, Summary]]
    measured: Mapping[str, Mapping[str, Summary]]
    alerts: Sequence[Alert]


def text(read: Callable[[], Figures]) -> str:
    """Return all figures as text.

    Raises: MissingDependency: prometheus_client is not installed.
    """
    try:
        from prometheus_client import generate_latest
    except ImportError as error:
        raise _missing() from error
    return generate_latest(_registry(read)).decode()


def serve(read: Callable[[], Figures], port: int, host: str) -> MetricsServer:
    """Serve the figures over HTTP.

    Raises:
        MissingDependency: prometheus_client is not installed.
        InvalidArgument: the port cannot be had.
    """
    try:
        from prometheus_client import start_http_server
    except ImportError as error:
        raise _missing() from error
    try:
        server, thread = start_http_server(port, addr=host, registry=_registry(read))
    except OSError as error:
        raise InvalidArgument(f"metrics cannot be served at {host}:{port}: {error}") from error
    return MetricsServer(server, thread)


def _missing() -> MissingDependency:
    return MissingDependency("Prometheus needs its client: pip install 'roost[monitoring]'")


def _registry(read: Callable[[], Figures]) -> Any:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposition(read))
    return registry


class _Exposition:
    """A collector of the figures as they are at each scrape."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        shown = self._read()
        for name, (attribute, help) in _COUNTERS.items():
            counter = CounterMetricFamily(f"roost_endpoint_{name}", help, labels=LABELS)
            for labels, summary in _each(shown.totals):
                counter.add_metric(labels, float(getattr(summary, attribute)))
            yield counter
        latency = HistogramMetricFamily("roost_endpoint_latency_seconds", "Time to answer a request.", labels=LABELS)
        for labels, summary in _each(shown.totals):
            latency.add_metric(labels, _buckets(summary), summary.latency.total_s)
        yield latency
        feedback = CounterMetricFamily("roost_endpoint_feedback", "Feedback that came.", labels=(*LABELS, "kind"))
        value = GaugeMetricFamily("roost_endpoint_feedback_mean", "Mean value of it.", labels=(*LABELS, "kind"))
        for labels, summary in _each(shown.totals):
            for kind, moments in summary.feedback.items():
                feedback.add_metric([*labels, kind], float(moments.n))
                value.add_metric([*labels, kind], moments.mean or 0.0)
        yield feedback
        yield value
        yield from _labels(shown)
        yield from _measurements(shown)


def _labels(shown: Figures) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    accuracy = GaugeMetricFamily("roost_endpoint_accuracy", "Share of labels that agreed.", labels=LABELS)
    error = GaugeMetricFamily("roost_endpoint_mean_absolute_error", "Of labelled predictions.", labels=LABELS)
    for labels, summary in _each(shown.totals):
        if summary.right.mean is not None:
            accuracy.add_metric(labels, summary.right.mean)
        if summary.absolute_errors.mean is not None:
            error.add_metric(labels, summary.absolute_errors.mean)
    yield accuracy
    yield error


def _measurements(shown: Figures) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    recall = GaugeMetricFamily("roost_endpoint_recall", "Recall of the index, last measured.", labels=LABELS)
    drift = GaugeMetricFamily(
        "roost_endpoint_drift_p_value", "p-value of the last drift test.", labels=(*LABELS, "kind")
    )
    for labels, summary in _each(shown.measured):
        if summary.recall.mean is not None:
            recall.add_metric(labels, summary.recall.mean)
        for kind, answer in summary.drift.items():
            drift.add_metric([*labels, kind], answer.p_value)
    yield recall
    yield drift
    opened = GaugeMetricFamily("roost_endpoint_alerts", "Alerts that are open.", labels=("endpoint", "severity"))
    for endpoint in shown.totals:
        for severity in SEVERITIES:
            n = sum(alert.endpoint == endpoint and alert.severity == severity for alert in shown.alerts)
            opened.add_metric([endpoint, severity], float(n))
    yield opened


def _each(figures: Mapping[str, Mapping[str, Summary]]) -> Iterable[tuple[list[str], Summary]]:
    for endpoint in sorted(figures):
        for deployment in sorted(figures[endpoint]):
            yield [endpoint, deployment], figures[endpoint][deployment]


def _buckets(summary: Summary) -> list[tuple[str, float]]:
    counts = summary.latency.n_up_to(_PLACES)
    bounded = [(f"{BOUNDS_S[place]:.4g}", float(count)) for place, count in zip(_PLACES, counts, strict=True)]
    return [*bounded, ("+Inf", float(summary.latency.n))]


class MetricsServer:
    """Serves the figures to a scraper until it is closed."""

    def __init__(self, server: Any, thread: Any) -> None:
        self._server = server
        self._thread = thread

    @property
    def port(self) -> int:
        port: int = self._server.server_port
        return port

    def close(self) -> None:
        """Serve no more; nothing if it is closed."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
