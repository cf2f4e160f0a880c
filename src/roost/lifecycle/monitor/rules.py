"""Rules: which figure of a window is bad, for how many windows in a row, and how bad that is."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from roost.errors import InvalidArgument
from roost.lifecycle.monitor.seasons import SEASONS, Season
from roost.lifecycle.monitor.summary import COUNTS, check_metric
from roost.lifecycle.names import check_name

Comparison: TypeAlias = Literal["<", "<=", ">", ">="]
Event: TypeAlias = Literal["open", "resolved"]

SEVERITIES = ("info", "warning", "critical")
_TEXT = re.compile(
    r"(?P<metric>\S+)(?:\s*/\s*(?P<season>\w+))?\s*(?P<comparison><=|>=|<|>)\s*(?P<threshold>\S+)"
    r"(?:\s+for\s+(?P<n>\d+)\s+windows?)?(?:\s+(?P<severity>\w+))?"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Rule:
    """A rule over the windows of each deployment.

        Rule("latency_p95_ms", ">", 50, for_windows=3)
        Rule("recall", "<", 0.9, severity="critical")
        Rule("rate", "<", 0.5, relative_to="hour_of_week")      # half of what it is at this hour of the week
        Rule("drift.queries", "<", 0.001)                        # a p-value
        Rule.parse("latency_p95_ms > 50 for 3 windows critical")

    A window without the figure (no traffic, no sample yet) changes nothing.

    Attributes:
        metric: one of `METRICS`, or feedback.KIND, feedback_rate.KIND, class_share.CLASS, drift.KIND.
        comparison: what is bad: the figure `comparison` the threshold.
        for_windows: windows in a row that must be bad before an alert opens, and good before it is resolved.
        severity: "info", "warning" or "critical".
        relative_to: compare the figure's ratio to its median in the last `n_seasons` windows of the same season.
        name: of the rule, one of its kind an endpoint; by default made of the metric.
    """

    metric: str
    comparison: Comparison
    threshold: float
    for_windows: int = 1
    severity: str = "warning"
    relative_to: Season | None = None
    n_seasons: int = 4
    name: str = ""

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.comparison not in _COMPARE:
            raise InvalidArgument(f"comparison {self.comparison!r} is not known; use one of {', '.join(_COMPARE)}")
        if self.severity not in SEVERITIES:
            raise InvalidArgument(f"severity {self.severity!r} is not known; use one of {', '.join(SEVERITIES)}")
        if self.relative_to is not None and self.relative_to not in SEASONS:
            raise InvalidArgument(f"relative_to {self.relative_to!r} is not known; use one of {', '.join(SEASONS)}")
        if self.relative_to is not None and self.metric in COUNTS:
            raise InvalidArgument(f"{self.metric} is a count, which grows with the time: compare a rate with its past")
        if self.for_windows < 1 or self.n_seasons < 1:
            raise InvalidArgument("for_windows and n_seasons are at least 1")
        if not isinstance(self.threshold, (int, float)) or self.threshold != self.threshold:
            raise InvalidArgument(f"a threshold is a number, not {self.threshold!r}")
        if not self.name:
            object.__setattr__(self, "name", self.metric.replace(".", "-").replace("_", "-"))
        check_name("rule", self.name)

    def is_broken_by(self, value: float) -> bool:
        """Return whether a figure is bad."""
        return _COMPARE[self.comparison](value, self.threshold)

    def __str__(self) -> str:
        ratio = f" / {self.relative_to}" if self.relative_to else ""
        windows = f" for {self.for_windows} windows" if self.for_windows > 1 else ""
        return f"{self.metric}{ratio} {self.comparison} {self.threshold:g}{windows}"

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Return the rule that a text such as `rate / hour_of_week < 0.5 for 3 windows critical` writes down.

        Raises: InvalidArgument: it is none.
        """
        found = _TEXT.fullmatch(text.strip())
        threshold = _number(found["threshold"]) if found else None
        if found is None or threshold is None:
            raise InvalidArgument(
                f"{text!r} is not a rule; write METRIC > NUMBER, as in 'latency_p95_ms > 50 for 3 windows critical'"
            )
        comparison: Any = found["comparison"]
        season: Any = found["season"]
        n_windows, severity = int(found["n"] or 1), found["severity"] or "warning"
        return cls(found["metric"], comparison, threshold, n_windows, severity, relative_to=season)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Rule:
        """Raises: InvalidArgument: the mapping is not that of a rule."""
        try:
            return cls(**stored)
        except TypeError as error:
            raise InvalidArgument(f"this is not a rule: {error}") from error


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def rules_of(given: Sequence[Rule | str]) -> tuple[Rule, ...]:
    """Return rules, of which some may be written as text.

    Raises: InvalidArgument: it is no list, one of them is no rule, or a text does not write one down.
    """
    if isinstance(given, (str, Rule)) or not isinstance(given, Sequence):
        raise InvalidArgument(f"rules= takes a list of rules, as in ['recall < 0.9 critical'], not {given!r}")
    for one in given:
        if not isinstance(one, (str, Rule)):
            raise InvalidArgument(f"a rule is a Rule(...) or a text such as 'recall < 0.9 critical', not {one!r}")
    return tuple(Rule.parse(one) if isinstance(one, str) else one for one in given)


def check_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return rules whose names differ.

    Raises: InvalidArgument: two have the same name.
    """
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidArgument(f"two rules are called {twice[0]!r}: give one of them a name=")
    return tuple(rules)


@dataclass(frozen=True, slots=True)
class Progress:
    """How a rule stands with a deployment.

    Attributes:
        is_open: whether an alert is open.
        n_against: windows in a row that spoke against the present state.
    """

    is_open: bool = False
    n_against: int = 0


def step(progress: Progress, rule: Rule, value: float | None) -> tuple[Progress, Event | None]:
    """Return how a rule stands after one more window, and what happened.

    Args:
        value: the figure of the window; None where there is none.
    """
    if value is None:
        return progress, None
    if rule.is_broken_by(value) == progress.is_open:
        return replace(progress, n_against=0), None
    if progress.n_against + 1 < rule.for_windows:
        return replace(progress, n_against=progress.n_against + 1), None
    return Progress(not progress.is_open), "resolved" if progress.is_open else "open"
