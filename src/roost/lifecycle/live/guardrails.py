"""Limits that a deployment must keep, and when it is known that it does not.

A guardrail turns every observation of a deployment into a loss between 0 and 1 (an error, an empty
answer, an answer slower than the limit, the recall that is missing) and says which mean loss is
allowed. A percentile of the latency is over its limit exactly where more answers than the
percentile leaves are slower than the limit, so it is a mean too.

Whether the mean is over what is allowed is looked at after every observation. Under the hypothesis
that it is not, the wealth of whoever bets against it

    W <- W (1 + b (loss - allowed)),   b = (m - allowed) / (allowed (1 - allowed)),

is a supermartingale as long as b >= 0 depends on earlier losses alone; m is their mean, with half
a loss in one observation before the first. It ever reaches 1 / alpha with probability at most
alpha. A second bet begins anew every `_BLOCK` observations, so that a deployment that breaks after
a long good time is found out as soon; its share of alpha is spent over the blocks.

Sources: Ville 1939; Krichevsky and Trofimov, "The performance of universal encoding", IEEE
Transactions on Information Theory 27(2), 1981 (the half); Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", JRSS B 86(1), 2024, section 4; Lindon and Malek, "Anytime-valid inference for
multinomial count data", NeurIPS 2022 (the ratio of the samples).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from roost.errors import InvalidArgument

ALPHA = 0.01
"""Probability that a guardrail ever stops a deployment that keeps its limit."""

BASELINE_SIZE = 100
"""Answers of the champion that `p95_ratio` waits for before it knows the limit."""

_BLOCK = 50
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
class Bet:
    """The evidence that a mean loss is over what is allowed.

    Attributes:
        allowed: the largest mean loss that is kept, between 0 and 1.
        log_e: logarithm of the wealth since the first loss.
        block_log_e: since the present block began.
        breached: stays once it is true.
    """

    allowed: float
    alpha: float = ALPHA
    n: int = 0
    total: float = 0.0
    log_e: float = 0.0
    block_total: float = 0.0
    block_log_e: float = 0.0
    breached: bool = False

    @property
    def mean(self) -> float | None:
        """The mean loss so far; None before the first."""
        return self.total / self.n if self.n else None

    def update(self, loss: float) -> Bet:
        """Return the evidence with one more loss, between 0 and 1."""
        if self.breached:
            return replace(self, n=self.n + 1, total=self.total + loss)
        in_block = self.n % _BLOCK
        block_total, block_log_e = (self.block_total, self.block_log_e) if in_block else (0.0, 0.0)
        log_e = self.log_e + self._gain(loss, self.total, self.n)
        block_log_e += self._gain(loss, block_total, in_block)
        share = math.log(2.0 / self.alpha)
        spent = share + math.log((self.n // _BLOCK + 1) ** 2 * math.pi**2 / 6.0)
        return Bet(
            self.allowed,
            self.alpha,
            self.n + 1,
            self.total + loss,
            log_e,
            block_total + loss,
            block_log_e,
            log_e >= share or block_log_e >= spent,
        )

    def _gain(self, loss: float, total: float, n: int) -> float:
        if self.allowed >= 1.0:
            return 0.0
        if self.allowed <= 0.0:
            return math.inf if loss > 0.0 else 0.0
        guess = (total + 0.5) / (n + 1.0)
        if guess <= self.allowed:
            return 0.0
        stake = (guess - self.allowed) / (self.allowed * (1.0 - self.allowed))
        return math.log1p(stake * (loss - self.allowed))


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one deployment against its guardrails. Immutable: `observe` returns the next.

    Attributes:
        limits_ms: of the guardrails `pNN_ratio`, once the baseline's latencies are known.
        breach: which guardrail was broken, and how; None while all are kept.
    """

    guardrails: tuple[Guardrail, ...]
    bets: tuple[Bet | None, ...] = ()
    limits_ms: Mapping[Guardrail, float] = field(default_factory=dict)
    breach: str | None = None

    @classmethod
    def over(cls, guardrails: Iterable[Guardrail | str], baseline_ms: Sequence[float] = ()) -> Watch:
        """Begin to watch.

        Args:
            baseline_ms: latencies of the deployment to compare with, for `pNN_ratio`; fewer than
                `BASELINE_SIZE` say nothing, and `with_baseline` may give them later.
        """
        parsed = tuple(Guardrail.parse(guardrail) for guardrail in guardrails)
        return cls(parsed, tuple(_bet(guardrail) for guardrail in parsed)).with_baseline(baseline_ms)

    @property
    def waits_for_baseline(self) -> bool:
        """Whether a limit depends on latencies that were not given yet."""
        return any(rail.kind == "ratio" and rail not in self.limits_ms for rail in self.guardrails)

    @property
    def wants_recall(self) -> bool:
        """Whether a guardrail needs answers to be compared with an exact search."""
        return any(rail.kind == "recall" for rail in self.guardrails)

    def with_baseline(self, latencies_ms: Sequence[float]) -> Watch:
        """Return the watch with the limits of `pNN_ratio` fixed by these latencies, if they are enough."""
        if len(latencies_ms) < BASELINE_SIZE or not self.waits_for_baseline:
            return self
        ordered = sorted(latencies_ms)
        limits = {
            rail: rail.limit * ordered[min(int(len(ordered) * rail.percentile / 100.0), len(ordered) - 1)]
            for rail in self.guardrails
            if rail.kind == "ratio"
        }
        return replace(self, limits_ms={**limits, **self.limits_ms})

    def observe(self, seen: Observation) -> Watch:
        """Return what is known after one more answer of the deployment."""
        bets = list(self.bets)
        breach = self.breach
        for place, (rail, bet) in enumerate(zip(self.guardrails, self.bets, strict=True)):
            loss = _loss(rail, self.limits_ms.get(rail), seen)
            if bet is None or loss is None:
                continue
            bets[place] = after = bet.update(loss)
            if after.breached and breach is None:
                breach = _said(rail, after)
        return replace(self, bets=tuple(bets), breach=breach)


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The evidence that the arms of a split do not get the shares that they should.

    Attributes:
        counts: units of each arm so far.
        log_e: of the shares that the earlier units have (each arm with half a unit more) against the wanted shares.
    """

    counts: tuple[int, ...]
    alpha: float = ALPHA
    log_e: float = 0.0
    breached: bool = False

    def update(self, arm: int, shares: Sequence[float]) -> SampleRatio:
        """Return the evidence with one more unit.

        Args:
            arm: where the unit went.
            shares: of the arms at that moment; they sum to 1.
        """
        counts = tuple(count + (place == arm) for place, count in enumerate(self.counts))
        if shares[arm] <= 0.0:
            return replace(self, counts=counts, log_e=math.inf, breached=True)
        guess = (self.counts[arm] + 0.5) / (sum(self.counts) + 0.5 * len(self.counts))
        log_e = self.log_e + math.log(guess / shares[arm])
        return replace(self, counts=counts, log_e=log_e, breached=self.breached or log_e >= -math.log(self.alpha))

    @property
    def breach(self) -> str | None:
        return f"sample_ratio: the arms have {', '.join(map(str, self.counts))} units" if self.breached else None


def _bet(guardrail: Guardrail) -> Bet | None:
    if guardrail.kind == "sample_ratio":
        return None
    if guardrail.kind in ("ms", "ratio"):
        return Bet(1.0 - guardrail.percentile / 100.0)
    return Bet(1.0 - guardrail.limit if guardrail.kind == "recall" else guardrail.limit)


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


def _said(guardrail: Guardrail, bet: Bet) -> str:
    mean, answers = bet.mean or 0.0, f"{bet.n} answers"
    if mean <= bet.allowed:
        n_last = bet.n % _BLOCK or _BLOCK
        mean, answers = bet.block_total / n_last, f"the last {n_last} answers"
    if guardrail.kind == "recall":
        return f"{guardrail}: it is {1.0 - mean:.3g} over {answers}"
    if guardrail.kind in ("ms", "ratio"):
        return f"{guardrail}: {mean:.1%} of {answers} are slower"
    return f"{guardrail}: it is {mean:.3g} over {answers}"
