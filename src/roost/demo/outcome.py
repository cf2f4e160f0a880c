"""What the demo measured, and whether it kept its promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from roost.demo.images import ImageSet
from roost.demo.traffic import Trace
from roost.lifecycle.ledger import Entry
from roost.lifecycle.livetest import Side

MAX_SWITCH_S = 0.050
"""The longest that a promotion or a rollback may take, in seconds."""

AFTERWARDS_S = 1.0
"""How long after a switch the background client is looked at for a pause, in seconds."""

K = 10
"""Results per search."""

EMBEDDED = "embedded"
"""What stands in the place of a server's URI where the vectors are in this process."""


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step of the demo; `started_s` is on the clock of the trace."""

    name: str
    result: str
    started_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one deployment's answers to the held-out images are.

    Attributes:
        precision: the mean share of the K results that show the same class as the image.
        by_class: class to the mean over its images.
    """

    side: Side
    deployment: str
    model: str
    dim: int
    precision: float
    by_class: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Look:
    """The state of the live test after one query."""

    n_queries: int
    champion_wins: int
    challenger_wins: int
    ties: int
    p_value: float


@dataclass(frozen=True, slots=True)
class LiveTestResult:
    """The whole live test: its state before the first query, and after each."""

    alpha: float
    decision: str
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class SwitchTiming:
    """One change of champion.

    Attributes:
        action: what was done, in words.
        champion: the deployment that answers afterwards.
        started_s: when it was asked for, on the clock of the trace.
        seconds: from then until every new search goes to the new champion.
        call_s: duration of the call; in the rest of it the names of the new champion in the vector
            engine and in the model registry follow.
        longest_gap_s: the longest time that the background client waited for an answer, from the call
            until `AFTERWARDS_S` after its end.
        n_stale: queries sent after `seconds`, and before the next switch, that another deployment
            answered.
    """

    action: str
    champion: str
    started_s: float
    seconds: float
    call_s: float
    longest_gap_s: float = float("inf")
    n_stale: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One held-out image and the answers of both deployments.

    Attributes:
        query: row in `ImageSet.held_out`.
        answers: the rows in `ImageSet.gallery` that each side found, nearest first.
    """

    query: int
    answers: Mapping[Side, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that the demo says will hold, and what was measured."""

    text: str
    kept: bool
    measured: str


@dataclass(frozen=True)
class Outcome:
    """Everything that one run of the demo measured.

    Attributes:
        uri: of the server that held the vectors, or `EMBEDDED`.
        examples: the pictures to show.
        seconds: duration of the whole run.
    """

    images: ImageSet
    uri: str
    endpoint: str
    steps: tuple[Step, ...]
    qualities: tuple[Quality, ...]
    live_test: LiveTestResult
    switches: tuple[SwitchTiming, ...]
    trace: Trace
    ledger: tuple[Entry, ...]
    ledger_error: str | None
    examples: tuple[Example, ...]
    seconds: float

    @property
    def promises(self) -> tuple[Promise, ...]:
        return (
            promise_of_no_failures(self.trace),
            promise_of_fast_switches(self.switches),
            promise_of_no_stale_answers(self.switches),
            promise_of_a_decision(self.live_test),
            promise_of_a_whole_ledger(len(self.ledger), self.ledger_error),
        )

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the trace and the pictures, as values that JSON can hold."""
        return {
            "kept": self.kept,
            "promises": [asdict(promise) for promise in self.promises],
            "data": self.images.name,
            "uri": self.uri,
            "endpoint": self.endpoint,
            "seconds": round(self.seconds, 3),
            "steps": [asdict(step) for step in self.steps],
            "precision_at_10": {quality.deployment: quality.precision for quality in self.qualities},
            "live_test": {
                "alpha": self.live_test.alpha,
                "decision": self.live_test.decision,
                **asdict(self.live_test.looks[-1]),
            },
            "switches": [
                {**asdict(s), "longest_gap_s": s.longest_gap_s if isfinite(s.longest_gap_s) else None}
                for s in self.switches
            ],
            "background": {
                "n_queries": self.trace.n_queries,
                "n_failed": self.trace.n_failed,
                "failures": list(self.trace.messages),
            },
            "ledger": {"n_entries": len(self.ledger), "error": self.ledger_error},
        }


def promise_of_no_failures(trace: Trace) -> Promise:
    """No background query failed, and there were some."""
    measured = f"{trace.n_failed} of {trace.n_queries:,} failed"
    if trace.messages:
        measured += f"; the first: {trace.messages[0]}"
    return Promise("No search fails", trace.n_failed == 0 and trace.n_queries > 0, measured)


def promise_of_fast_switches(switches: tuple[SwitchTiming, ...]) -> Promise:
    """Every promotion and rollback took less than `MAX_SWITCH_S`."""
    slowest = max((switch.seconds for switch in switches), default=float("inf"))
    measured = ", ".join(f"{switch.action} {in_milliseconds(switch.seconds)}" for switch in switches)
    return Promise(
        f"Each switch takes less than {in_milliseconds(MAX_SWITCH_S)}", slowest < MAX_SWITCH_S, measured or "none"
    )


def promise_of_no_stale_answers(switches: tuple[SwitchTiming, ...]) -> Promise:
    """After a switch the new champion answers, from the first query on."""
    n_stale = sum(switch.n_stale for switch in switches)
    return Promise(
        "The new champion answers at once", n_stale == 0, f"{n_stale} later queries were answered by another one"
    )


def promise_of_a_decision(test: LiveTestResult) -> Promise:
    """The live test found that the challenger is better."""
    last = test.looks[-1]
    measured = f"{test.decision} after {last.n_queries} queries, p = {last.p_value:.2g}"
    return Promise("The live test decides for the challenger", test.decision == "challenger", measured)


def promise_of_a_whole_ledger(n_entries: int, error: str | None) -> Promise:
    """The ledger's chain of hashes is whole, and it is not empty."""
    kept = error is None and n_entries > 0
    return Promise("The ledger verifies", kept, error or f"{n_entries} entries, each chained to the one before")


def in_milliseconds(seconds: float) -> str:
    """Return the duration with its unit, as a table shows it."""
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"
