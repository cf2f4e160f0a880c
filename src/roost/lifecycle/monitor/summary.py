"""What was seen of a deployment in a span of time. Summaries of processes and of windows add up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.monitor import accuracy
from roost.lifecycle.monitor.histogram import Histogram
from roost.lifecycle.serving.tap import Failed, Judged, Labelled, Observation, Predicted, Searched, Written

MAX_CLASSES = 50
"""Of the predictions that are counted; the rest are OTHER."""

OTHER = "(other)"

_LARGEST = 1e150
"""Numbers beyond it, whose squares are near the end of floating point, are left out of sums."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, sum and sum of squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Any) -> Moments:
        array = np.asarray(values, dtype=np.float64)
        return cls(int(array.size), float(array.sum()), float(np.square(array).sum()))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Drift:
    """The answers of a drift test to the windows of a span of time.

    Attributes:
        p_value: the least one, corrected for the number of tests (Bonferroni).
        n_tests: how many there were.
        n_rows: rows that were tested.
        detector: which detector gave the least p-value.
    """

    p_value: float
    n_tests: int
    n_rows: int
    detector: str

    def __add__(self, other: Drift) -> Drift:
        n_tests = self.n_tests + other.n_tests
        least, detector = min((d.p_value / d.n_tests, d.detector) for d in (self, other))
        return Drift(min(1.0, least * n_tests), n_tests, self.n_rows + other.n_rows, detector)


@dataclass(frozen=True, eq=False)
class Summary:
    """What was seen of one deployment.

    Attributes:
        n_requests: calls that were answered; a call may bring many queries.
        n_queries: queries or rows that were answered.
        n_errors: calls that failed, but for those in which the caller was at fault.
        n_written: vectors that were written.
        n_refused: calls in which the caller was at fault: wrong arguments, or content that all ready models refuse.
        n_empty: queries without a hit.
        n_scored: queries whose first hit could be compared with the baseline of distances.
        n_low: those of them whose first hit is farther than the baseline allows.
        n_left_out: requests that the monitor was too slow to take in.
        latency: of the calls that were answered.
        norms: of the query vectors that were sampled.
        feedback: by kind.
        right: of the predicted classes that were labelled, one for each that was right and zero for each other.
        absolute_errors: of the predicted numbers that were labelled.
        classes: number of predictions by class; of numbers there are none.
        predictions: of numbers that were predicted.
        recall: of the queries that were sampled for it; each counts by its share of the true neighbours.
        recall_reference: what recall was measured against: "exact", or "wide" (a wide search, an upper bound).
        drift: by kind.
    """

    n_requests: int = 0
    n_queries: int = 0
    n_errors: int = 0
    n_refused: int = 0
    n_empty: int = 0
    n_scored: int = 0
    n_low: int = 0
    n_written: int = 0
    n_left_out: int = 0
    latency: Histogram = field(default_factory=Histogram)
    norms: Moments = field(default_factory=Moments)
    feedback: Mapping[str, Moments] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    right: Moments = field(default_factory=Moments)
    absolute_errors: Moments = field(default_factory=Moments)
    predictions: Moments = field(default_factory=Moments)
    recall: Moments = field(default_factory=Moments)
    recall_reference: str = ""
    drift: Mapping[str, Drift] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        added: dict[str, Any] = {}
        for name in _ADDED:
            added[name] = getattr(self, name) + getattr(other, name)
        for name in ("feedback", "classes", "drift"):
            added[name] = _joined(getattr(self, name), getattr(other, name))
        references = {self.recall_reference, other.recall_reference} - {""}
        added["recall_reference"] = "wide" if "wide" in references else "".join(references)
        return Summary(**{**added, "classes": _fewer(added["classes"])})

    def followed_by(self, later: Summary) -> Summary:
        """Return what was measured last: recall and drift by kind, of this one and of a later one."""
        has_recall = later if later.recall.n else self
        return Summary(
            recall=has_recall.recall, recall_reference=has_recall.recall_reference, drift={**self.drift, **later.drift}
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen."""
        counts = self.n_requests + self.n_errors + self.n_refused + self.n_written + self.n_left_out
        return counts + self.n_labels + self.recall.n == 0 and not self.feedback and not self.drift

    @property
    def n_labels(self) -> int:
        """How many labels said what would have been right of a prediction."""
        return self.right.n + self.absolute_errors.n

    def to_json(self) -> str:
        stored: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS if getattr(self, name)}
        if self.latency.n:
            stored["latency"] = self.latency.to_json()
        for name in _MOMENTS:
            if getattr(self, name).n:
                stored[name] = _row(getattr(self, name))
        stored |= {"classes": dict(self.classes)} if self.classes else {}
        stored |= {"recall_reference": self.recall_reference} if self.recall_reference else {}
        for name in ("feedback", "drift"):
            if getattr(self, name):
                stored[name] = {kind: _row(value) for kind, value in getattr(self, name).items()}
        return json.dumps(stored, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Summary:
        stored: dict[str, Any] = json.loads(text)
        if "latency" in stored:
            stored["latency"] = Histogram.from_json(stored["latency"])
        for name in _MOMENTS:
            if name in stored:
                stored[name] = Moments(*stored[name])
        if "feedback" in stored:
            stored["feedback"] = {kind: Moments(*row) for kind, row in stored["feedback"].items()}
        if "drift" in stored:
            stored["drift"] = {kind: Drift(*row) for kind, row in stored["drift"].items()}
        known = {column.name for column in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})


@dataclass(frozen=True, eq=False)
class Span:
    """What was seen of one deployment in a span of time; times are seconds since 1970."""

    deployment: str
    started_s: float
    ended_s: float
    summary: Summary

    @property
    def seconds(self) -> float:
        return self.ended_s - self.started_s


_COUNTS = (
    "n_requests",
    "n_queries",
    "n_errors",
    "n_refused",
    "n_empty",
    "n_scored",
    "n_low",
    "n_written",
    "n_left_out",
)
_MOMENTS = ("norms", "right", "absolute_errors", "predictions", "recall")
_ADDED = (*_COUNTS, *_MOMENTS, "latency")


def _row(value: Moments | Drift) -> list[Any]:
    return [getattr(value, column.name) for column in fields(value)]


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(first)
    for key, value in second.items():
        joined[key] = joined[key] + value if key in joined else value
    return joined


def _fewer(classes: Mapping[str, int]) -> dict[str, int]:
    if len(classes) <= MAX_CLASSES:
        return dict(classes)
    named = sorted((name for name in classes if name != OTHER), key=lambda name: -classes[name])[: MAX_CLASSES - 1]
    kept = {name: classes[name] for name in named}
    return {**kept, OTHER: sum(classes.values()) - sum(kept.values())}


@dataclass(frozen=True, slots=True)
class FarLimit:
    """From which distance on a first hit is far, by the metric's own sign.

    Attributes:
        larger_is_farther: True of L2, False of IP and COSINE.
    """

    distance: float
    larger_is_farther: bool


def summarise(observations: Sequence[Observation], far: Mapping[str, FarLimit]) -> dict[str, Summary]:
    """Return the summary of observations by deployment.

    Args:
        far: by deployment, where its baseline of distances is known.
    """
    by_deployment: dict[str, dict[type, list[Any]]] = {}
    for observation in observations:
        by_kind = by_deployment.setdefault(observation.deployment, {})
        by_kind.setdefault(type(observation), []).append(observation)
    return {name: _summary(by_kind, far.get(name)) for name, by_kind in by_deployment.items()}


def _summary(by_kind: Mapping[type, list[Any]], far: FarLimit | None) -> Summary:
    answered = [*by_kind.get(Searched, ()), *by_kind.get(Predicted, ())]
    failed = by_kind.get(Failed, ())
    summary = Summary(
        n_requests=len(answered),
        n_errors=sum(not failure.was_refused for failure in failed),
        n_refused=sum(failure.was_refused for failure in failed),
        n_written=sum(written.n_rows for written in by_kind.get(Written, ())),
        latency=Histogram.of([request.latency_s for request in answered]) if answered else Histogram(),
        feedback=_feedback(by_kind.get(Judged, ())),
        right=Moments.of([label.is_right for label in by_kind.get(Labelled, ()) if label.is_right is not None]),
        absolute_errors=Moments.of(_numbers(label.absolute_error for label in by_kind.get(Labelled, ()))),
    )
    if Searched in by_kind:
        summary = _with_searches(summary, by_kind[Searched], far)
    if Predicted in by_kind:
        summary = _with_predictions(summary, by_kind[Predicted])
    return summary


def _feedback(judged: Sequence[Judged]) -> dict[str, Moments]:
    by_kind: dict[str, list[float]] = {}
    for one in judged:
        by_kind.setdefault(one.kind, []).append(one.value)
    return {kind: Moments.of(values) for kind, values in by_kind.items()}


def _with_searches(summary: Summary, searches: Sequence[Searched], far: FarLimit | None) -> Summary:
    best = np.concatenate([np.asarray(search.best, dtype=np.float64) for search in searches])
    is_found = ~np.isnan(best)
    n_scored = n_low = 0
    if far is not None:
        found = best[is_found]
        n_scored = len(found)
        n_low = int(np.sum(found > far.distance if far.larger_is_farther else found < far.distance))
    sampled = [search.vectors for search in searches if search.vectors is not None]
    norms = Moments.of(np.concatenate([np.linalg.norm(vectors, axis=1) for vectors in sampled])) if sampled else None
    return replace(
        summary,
        n_queries=summary.n_queries + len(best),
        n_empty=int(np.sum(~is_found)),
        n_scored=n_scored,
        n_low=n_low,
        norms=norms or Moments(),
    )


def _with_predictions(summary: Summary, predicted: Sequence[Predicted]) -> Summary:
    values = [value for one in predicted for value in one.values]
    classes: dict[str, int] = {}
    for value in values:
        if not isinstance(value, (float, np.floating)):
            name = str(value)
            classes[name] = classes.get(name, 0) + 1
    return replace(
        summary,
        n_queries=summary.n_queries + len(values),
        classes=_fewer(classes),
        predictions=Moments.of(_numbers(values)),
    )


def _numbers(values: Iterable[Any]) -> list[float]:
    """Return what can be added up; NaN, infinity and what is no number are left out."""
    numbers = [float(value) for value in values if isinstance(value, (float, np.floating))]
    return [number for number in numbers if abs(number) <= _LARGEST]


def check_metric(name: str) -> str:
    """Return the name of a metric.

    Raises: InvalidArgument: there is no such metric.
    """
    family, _, kind = name.partition(".")
    if name not in _METRICS and not (family in _FAMILIES and kind):
        families = ", ".join(f"{family}.KIND" for family in _FAMILIES)
        raise InvalidArgument(f"there is no metric {name!r}; there are {', '.join(_METRICS)}, {families}")
    return name


def metric(summary: Summary, name: str, seconds: float) -> float | None:
    """Return one figure of a summary; None where nothing was seen that it could be computed from.

    Args:
        name: see `METRICS`.
        seconds: the length of the span of time.
    Raises: InvalidArgument: there is no such metric.
    """
    check_metric(name)
    family, _, kind = name.partition(".")
    if name in _METRICS:
        return _METRICS[name](summary, seconds)
    return _FAMILIES[family](summary, kind)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0


_METRICS: Mapping[str, Callable[[Summary, float], float | None]] = {
    "requests": lambda s, _: float(s.n_requests),
    "queries": lambda s, _: float(s.n_queries),
    "rate": lambda s, seconds: s.n_queries / seconds if seconds > 0 else None,
    "latency_p50_ms": lambda s, _: _milliseconds(s.latency.quantile(0.5)),
    "latency_p95_ms": lambda s, _: _milliseconds(s.latency.quantile(0.95)),
    "latency_p99_ms": lambda s, _: _milliseconds(s.latency.quantile(0.99)),
    "latency_mean_ms": lambda s, _: _milliseconds(s.latency.mean_s),
    "errors": lambda s, _: float(s.n_errors),
    "error_rate": lambda s, _: _share(s.n_errors, s.n_requests + s.n_errors),
    "refused": lambda s, _: float(s.n_refused),
    "empty_rate": lambda s, _: _share(s.n_empty, s.n_queries),
    "low_score_rate": lambda s, _: _share(s.n_low, s.n_scored),
    "norm_mean": lambda s, _: s.norms.mean,
    "prediction_mean": lambda s, _: s.predictions.mean,
    "labels": lambda s, _: float(s.n_labels),
    "accuracy": lambda s, _: s.right.mean,
    "accuracy_upper": lambda s, _: accuracy.interval(int(s.right.total), s.right.n)[1] if s.right.n else None,
    "mean_absolute_error": lambda s, _: s.absolute_errors.mean,
    "recall": lambda s, _: s.recall.mean,
    "written": lambda s, _: float(s.n_written),
}

_FAMILIES: Mapping[str, Callable[[Summary, str], float | None]] = {
    "feedback": lambda s, kind: s.feedback[kind].mean if kind in s.feedback else None,
    "feedback_rate": lambda s, kind: _share(s.feedback[kind].n if kind in s.feedback else 0, s.n_queries),
    "class_share": lambda s, kind: _share(s.classes.get(kind, 0), sum(s.classes.values())),
    "drift": lambda s, kind: s.drift[kind].p_value if kind in s.drift else None,
}

COUNTS = ("requests", "queries", "errors", "refused", "labels", "written")
"""The metrics that grow with the length of the span."""

METRICS = tuple(_METRICS)
"""The names of all metrics but the families feedback.KIND (mean value), feedback_rate.KIND (a query),
class_share.CLASS and drift.KIND (p-value)."""
