"""What a report shows: figures by deployment, alerts, and a history to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle import html
from roost.lifecycle.monitor import accuracy
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.recall import interval
from roost.lifecycle.monitor.summary import METRICS, Span, Summary, check_metric, metric
from roost.lifecycle.monitor.windows import to_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = (
    "requests",
    "refused",
    "rate",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "error_rate",
    "empty_rate",
    "low_score_rate",
    "recall",
    "accuracy",
    "mean_absolute_error",
    "norm_mean",
)


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at one time.

    Attributes:
        at: the beginning of the window, ISO 8601 in UTC.
        seconds: its length.
        value: None where nothing was seen that the figure could be computed from.
    """

    at: str
    seconds: float
    deployment: str
    value: float | None

    def to_dict(self) -> dict[str, Any]:
        return {"at": self.at, "seconds": self.seconds, "deployment": self.deployment, "value": self.value}


def points(spans: Sequence[Span], name: str) -> list[Point]:
    """Return the history of one figure."""
    return [Point(to_text(s.started_s), s.seconds, s.deployment, metric(s.summary, name, s.seconds)) for s in spans]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one deployment.

    Attributes:
        metrics: by name; None where nothing was seen.
        recall_interval: 95 %, by Wilson's method on the number of queries; None without a measurement.
        recall_reference: "exact", or "wide": the figure is an upper bound.
        accuracy_interval: 95 %, exact, as if the labels were a random sample; None without a label of a class.
    """

    deployment: str
    metrics: Mapping[str, float | None]
    recall_interval: tuple[float, float] | None
    recall_reference: str
    accuracy_interval: tuple[float, float] | None = None


def figures_of(span: Span) -> Figures:
    """Return all figures of a span."""
    summary = span.summary
    names = [*METRICS, *_kinds(summary)]
    return Figures(
        span.deployment,
        {name: metric(summary, name, span.seconds) for name in names},
        interval(summary.recall) if summary.recall.n else None,
        summary.recall_reference,
        accuracy.interval(int(summary.right.total), summary.right.n) if summary.right.n else None,
    )


def _kinds(summary: Summary) -> list[str]:
    feedback = [f"{family}.{kind}" for kind in sorted(summary.feedback) for family in ("feedback", "feedback_rate")]
    classes = [f"class_share.{name}" for name in sorted(summary.classes)]
    return [*feedback, *classes, *(f"drift.{kind}" for kind in sorted(summary.drift))]


@dataclass(frozen=True)
class Report:
    """An endpoint over a span of time; a notebook shows it as tables.

    Attributes:
        figures: by deployment, those with traffic.
        alerts: open ones, the newest first.
    """

    endpoint: str
    since: str
    until: str
    figures: tuple[Figures, ...]
    alerts: tuple[Alert, ...]
    spans: tuple[Span, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return {
            "endpoint": self.endpoint,
            "since": self.since,
            "until": self.until,
            "deployments": [
                {
                    "deployment": one.deployment,
                    "metrics": dict(one.metrics),
                    "recall_interval": list(one.recall_interval) if one.recall_interval else None,
                    "recall_reference": one.recall_reference,
                    "accuracy_interval": list(one.accuracy_interval) if one.accuracy_interval else None,
                }
                for one in self.figures
            ],
            "alerts": [alert.to_dict() for alert in self.alerts],
        }

    def __repr__(self) -> str:
        lines = [f"{self.endpoint} from {self.since[:19]} to {self.until[:19]} UTC"]
        for one in self.figures:
            lines.append(f"  {one.deployment}")
            lines += [f"    {name:<24} {text}" for name, text in _rows(one).items()]
        lines += [f"  no traffic{'' if self.figures else ' was seen'}"] if not self.figures else []
        lines += [f"  [{alert.severity}] {alert.message}, since {alert.opened_at[:19]}" for alert in self.alerts]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        tables = [html.properties(f"{self.endpoint}: {one.deployment}", _rows(one)) for one in self.figures]
        columns = ("severity", "rule", "deployment", "message", "opened_at")
        if self.alerts:
            tables.append(html.table([alert.to_dict() for alert in self.alerts], columns, "Open alerts"))
        return "".join(tables) or html.properties(self.endpoint, {"traffic": "none"})

    def plot(self, name: str = "latency_p95_ms") -> Figure:
        """Return a plot of one figure over time, a line a deployment.

        Raises:
            InvalidArgument: there is no such metric.
            MissingDependency: matplotlib is not installed.
        """
        check_metric(name)
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependency("plots need matplotlib: pip install 'roost[demo]'") from error
        found = [point for point in points(self.spans, name) if point.value is not None]
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        start = min((span.started_s for span in self.spans), default=0.0)
        by_start = {to_text(span.started_s): (span.started_s - start) / 60.0 for span in self.spans}
        for deployment in sorted({point.deployment for point in found}):
            own = [point for point in found if point.deployment == deployment]
            values = [point.value for point in own if point.value is not None]
            axes.plot([by_start[point.at] for point in own], values, marker=".", label=deployment)
        axes.set_xlabel(f"minutes since {self.since[:19]} UTC")
        axes.set_ylabel(name)
        if found:
            axes.legend()
        return figure


def _rows(one: Figures) -> dict[str, str]:
    rows = {name: f"{value:.4g}" for name in _SHOWN if (value := one.metrics.get(name)) is not None}
    if one.recall_interval is not None:
        low, high = one.recall_interval
        bound = ", an upper bound" if one.recall_reference == "wide" else ""
        rows["recall"] = f"{rows['recall']} (95 %: {low:.3f} to {high:.3f}{bound})"
    n_labels = f"{one.metrics.get('labels') or 0:.0f} labels"
    if one.accuracy_interval is not None:
        low, high = one.accuracy_interval
        rows["accuracy"] = f"{rows['accuracy']} (95 %: {low:.3f} to {high:.3f}, {n_labels})"
    if "mean_absolute_error" in rows:
        rows["mean_absolute_error"] = f"{rows['mean_absolute_error']} ({n_labels})"
    others = {name: value for name, value in one.metrics.items() if "." in name and value is not None}
    return {**rows, **{name: f"{value:.4g}" for name, value in others.items()}}


def check_since(since_s: float, until_s: float) -> None:
    """Raises: InvalidArgument: the span of time is not one."""
    if not since_s < until_s:
        raise InvalidArgument("since= lies in the past")
