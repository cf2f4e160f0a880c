"""Limits that a deployment must keep, and when it is known that it does not.

A guardrail turns every observation of a deployment into a loss between 0 and 1 (an error, an empty
answer, an answer slower than the limit, the recall that is missing) and says which mean loss is
allowed. A percentile of the latency is over its limit exactly where more answers than the
percentile leaves are slower than the limit, so it is a mean too.

Whether the mean is over what is allowed is looked at after every observation, by `livetest.limits`.

What `pNN_ratio` compares with is a percentile of the champion that is known from some of its answers alone. The limit
is the upper end of its confidence interval, an order statistic of these answers (David and Nagaraja, "Order
Statistics", 3rd edition, 2003, section 7.1): a share of ALPHA pays for the chance that even that lies below the
percentile, and the rest is left to the sequential test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import LimitTest

ALPHA = 0.01
"""Probability that a guardrail ever stops a deployment that keeps its limit."""

BASELINE_SIZE = 100
"""Answers of the champion that `p95_ratio` waits for before it knows the limit; see `baseline_size`."""

_BASELINE_ALPHA = 0.8 * ALPHA
"""Of ALPHA, what the limit of `pNN_ratio` may cost; so much that BASELINE_SIZE answers are enough for p95."""

_MAX_RATIO_PERCENTILE = 99.9

_FORMS = "error_rate <= 0.01, empty_rate <= 0.05, p95_ms <= 50, p95_ratio <= 1.5, recall >= 0.9, sample_ratio"
_TEXT = re.compile(
    r"(?:(?P<rate>error_rate|empty_rate)|p(?P<percentile>[0-9]+(?:\.[0-9]+)?)_(?P<latency>ms|ratio))"
    r"\s*<=\s*(?P<most>[0-9.eE+-]+)|recall\s*>=\s*(?P<least>[0-9.eE+-]+)|(?P<sample>sample_ratio)"
)

Kind: TypeAlias = Literal["error_rate", "empty_rate", "ms", "ratio", "recall", "sample_ratio"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer of a deployment, as far as it is known.

    Attributes:
        latency_ms: how long the deployment took; None where it failed.
        error: whether it failed.
        n_results: of a search; None where nothing was to be found, as in a prediction.
        recall: of the index against an exact search, between 0 and 1; None where it was not sampled.
    """

    latency_ms: float | None = None
    error: bool = False
    n_results: int | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A limit that a deployment must keep. `Guardrail.parse("p95_ms <= 50")` reads one.

    Attributes:
        kind: what is limited: the rate of errors or empty answers, a percentile of the latency in milliseconds or
            as a ratio to the champion's, the recall of the index, or the shares of a split's traffic.
        limit: the most, and for the recall the least, that is kept.
        percentile: of the latency, between 0 and 100.
    """

    kind: Kind
    limit: float = 0.0
    percentile: float = 95.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit) or self.limit < 0.0:
            raise InvalidArgument(f"the limit of a guardrail must be finite and at least 0, not {self.limit}")
        if self.kind in ("error_rate", "empty_rate", "recall") and self.limit > 1.0:
            raise InvalidArgument(f"the limit of {self.kind} must be at most 1, not {self.limit}")
        if not 0.0 < self.percentile < 100.0:
            raise InvalidArgument(f"a percentile must lie between 0 and 100, not {self.percentile}")
        if self.kind == "ratio" and self.percentile > _MAX_RATIO_PERCENTILE:
            raise InvalidArgument(
                f"a ratio compares percentiles up to {_MAX_RATIO_PERCENTILE}, not {self.percentile}: what lies beyond "
                "is not known of the champion from a few thousand answers"
            )

    @classmethod
    def parse(cls, text: str | Guardrail) -> Guardrail:
        """Return the guardrail that a text writes down; `str` writes it again.

        Raises: InvalidArgument: the text is none; the message lists the forms.
        """
        if isinstance(text, Guardrail):
            return text
        found = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise InvalidArgument(f"{text!r} is not a guardrail; write one of {_FORMS}")
        if found["sample"]:
            return cls("sample_ratio")
        try:
            limit = float(found["least"] or found["most"])
        except ValueError as error:
            raise InvalidArgument(f"the limit of guardrail {text!r} is not a number") from error
        if found["least"]:
            return cls("recall", limit)
        if found["rate"]:
            return cls("error_rate" if found["rate"] == "error_rate" else "empty_rate", limit)
        return cls("ms" if found["latency"] == "ms" else "ratio", limit, float(found["percentile"]))

    def __str__(self) -> str:
        if self.kind == "sample_ratio":
            return self.kind
        if self.kind in ("ms", "ratio"):
            return f"p{self.percentile:g}_{self.kind} <= {self.limit:g}"
        return f"{self.kind} {'>=' if self.kind == 'recall' else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one deployment against its guardrails. Immutable: `observe` returns the next.

    Attributes:
        limits_ms: of the guardrails `pNN_ratio`, once the baseline's latencies are known.
        breach: which guardrail was broken, and how; None while all are kept.
    """

    guardrails: tuple[Guardrail, ...]
    tests: tuple[LimitTest | None, ...] = ()
    limits_ms: Mapping[Guardrail, float] = field(default_factory=dict)
    breach: str | None = None

    @classmethod
    def over(cls, guardrails: Iterable[Guardrail | str], baseline_ms: Sequence[float] = ()) -> Watch:
        """Begin to watch.

        Args:
            baseline_ms: latencies of the deployment to compare with, for `pNN_ratio`; fewer than
                `baseline_size` say nothing, and `with_baseline` may give them later.
        """
        parsed = tuple(Guardrail.parse(guardrail) for guardrail in guardrails)
        return cls(parsed, tuple(_test(guardrail) for guardrail in parsed)).with_baseline(baseline_ms)

    @property
    def waits_for_baseline(self) -> bool:
        """Whether a limit depends on latencies that were not given yet."""
        return any(rail.kind == "ratio" and rail not in self.limits_ms for rail in self.guardrails)

    @property
    def wants_recall(self) -> bool:
        """Whether a guardrail needs answers to be compared with an exact search."""
        return any(rail.kind == "recall" for rail in self.guardrails)

    def with_baseline(self, latencies_ms: Sequence[float]) -> Watch:
        """Return the watch with the limits of `pNN_ratio` fixed by these latencies, where they are enough."""
        waiting = [rail for rail in self.guardrails if rail.kind == "ratio" and rail not in self.limits_ms]
        ready = [rail for rail in waiting if len(latencies_ms) >= baseline_size(rail.percentile)]
        if not ready:
            return self
        ordered = sorted(latencies_ms)
        limits = {rail: rail.limit * _at_most(ordered, rail.percentile / 100.0) for rail in ready}
        return replace(self, limits_ms={**limits, **self.limits_ms})

    def observe(self, seen: Observation) -> Watch:
        """Return what is known after one more answer of the deployment."""
        tests = list(self.tests)
        breach = self.breach
        for place, (rail, test) in enumerate(zip(self.guardrails, self.tests, strict=True)):
            loss = _loss(rail, self.limits_ms.get(rail), seen)
            if test is None or loss is None:
                continue
            tests[place] = after = test.update(loss)
            if after.breached and breach is None:
                breach = _said(rail, after)
        return replace(self, tests=tuple(tests), breach=breach)


def baseline_size(percentile: float) -> int:
    """Return how many answers of the champion are needed to know the most that a percentile of its latency can be."""
    return max(BASELINE_SIZE, math.ceil(math.log(_BASELINE_ALPHA) / math.log(percentile / 100.0)))


def _at_most(ordered: Sequence[float], share: float) -> float:
    """Return the least order statistic that lies below the quantile of that share with at most `_BASELINE_ALPHA`.

    The one with j values above it lies below only if at most j of all n do not: P(Binomial(n, 1 - share) <= j).

    Args:
        ordered: at least `baseline_size` values, ascending.
    """
    n, below = len(ordered), 0.0
    for above in range(n):
        ways = math.lgamma(n + 1) - math.lgamma(above + 1) - math.lgamma(n - above + 1)
        below += math.exp(ways + (n - above) * math.log(share) + above * math.log1p(-share))
        if below > _BASELINE_ALPHA:
            return ordered[min(n - above, n - 1)]
    return ordered[0]


def _test(guardrail: Guardrail) -> LimitTest | None:
    if guardrail.kind == "sample_ratio":
        return None
    if guardrail.kind in ("ms", "ratio"):
        alpha = ALPHA if guardrail.kind == "ms" else ALPHA - _BASELINE_ALPHA
        return LimitTest(1.0 - guardrail.percentile / 100.0, alpha)
    return LimitTest(1.0 - guardrail.limit if guardrail.kind == "recall" else guardrail.limit, ALPHA)


def _loss(guardrail: Guardrail, limit_ms: float | None, seen: Observation) -> float | None:
    """Return the loss, between 0 and 1, that an observation is to a guardrail; None where it says nothing."""
    if guardrail.kind == "error_rate":
        return float(seen.error)
    if guardrail.kind == "empty_rate":
        return float(seen.n_results == 0) if seen.n_results is not None else None
    if guardrail.kind == "recall":
        return 1.0 - min(max(seen.recall, 0.0), 1.0) if seen.recall is not None else None
    most = guardrail.limit if guardrail.kind == "ms" else limit_ms
    if most is None or seen.latency_ms is None:
        return None
    return float(seen.latency_ms > most)


def _said(guardrail: Guardrail, test: LimitTest) -> str:
    mean, answers = test.mean or 0.0, f"{test.n} answers"
    if mean <= test.allowed:
        mean, answers = test.block_total / test.n_in_block, f"the last {test.n_in_block} answers"
    if guardrail.kind == "recall":
        return f"{guardrail}: it is {1.0 - mean:.3g} over {answers}"
    if guardrail.kind in ("ms", "ratio"):
        return f"{guardrail}: {mean:.1%} of {answers} are slower"
    return f"{guardrail}: it is {mean:.3g} over {answers}"
