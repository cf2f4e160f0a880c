"""A live test: two deployments answer the same queries together until one is known to be better.

Every answer of a test interleaves both rankings by team draft. Feedback on a query's hits makes
one outcome a query, and the sequential test may be looked at after each. A query's outcome counts
when it is closed: by feedback that judges the query as a whole, when every hit was judged, or
`FEEDBACK_WINDOW_S` after its first feedback. None of the three depends on who is winning.

A crash loses the outcomes of the last moments and the queries that were not closed.

Where several processes serve one endpoint, each counts the feedback that reaches it. Before a test
is decided it is counted again over the outcomes of all of them, so the promise on false alarms is
that of one test, whoever looks at it.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Draft, Id, Outcome, SequentialTest, judge, team_draft
from roost.lifecycle.recorder import Event, Recorder
from roost.lifecycle.traffic import Answer, Hit, Target, new_query_id

METHODS = ("interleave",)
FEEDBACK_WINDOW_S = 30.0
MAX_OPEN_QUERIES = 10_000

_SEEDS = 2**63
"""The store keeps a seed as a signed integer of 64 bits."""

_LARGEST_LOG = 700.0
"""Its exponential is still a float."""

Decision = Literal["champion", "challenger", "undecided"]
Ending = Literal["decided", "stopped"]


@dataclass(frozen=True, slots=True)
class TestStatus:
    """A live test at one moment.

    Attributes:
        state: "running", "decided" (a side won, or `max_queries` were counted), or "stopped".
        decision: who is better; "undecided" while nobody is known to be.
        p_value: anytime-valid: looking at it as often as one likes keeps its promise.
        evidence: the e-value now; the test decides at 1 / alpha.
        p_values: the p-value after each query.
    """

    __test__ = False

    test_id: int
    state: Literal["running", "decided", "stopped"]
    decision: Decision
    champion: str
    challenger: str
    alpha: float
    n_queries: int
    champion_wins: int
    challenger_wins: int
    ties: int
    p_value: float
    evidence: float
    interval: tuple[float, float]
    p_values: tuple[float, ...] = field(repr=False)

    def as_evidence(self) -> dict[str, Any]:
        """Return what the ledger keeps of a test."""
        names = ("test_id", "decision", "champion", "challenger", "alpha", "n_queries")
        counts = ("champion_wins", "challenger_wins", "ties", "p_value")
        return {name: getattr(self, name) for name in names + counts}


@dataclass(frozen=True, slots=True)
class _OpenQuery:
    draft: Draft
    gains: dict[Id, float] = field(default_factory=dict)


class LiveTest:
    """A live test of an endpoint. Safe to use from any thread."""

    __test__ = False

    def __init__(
        self,
        end: Callable[[LiveTest, Ending, str], None],
        recorder: Recorder,
        test_id: int,
        champion: Target,
        challenger: Target,
        alpha: float,
        max_queries: int | None,
        seed: int | str,
        outcomes: Iterable[Outcome] = (),
    ) -> None:
        """Take a test up.

        Args:
            end: records in the store how the test ended.
            seed: of the coin; another one in every process that takes the test up, for a coin that
                falls the same way twice makes outcomes that are not independent.
            outcomes: those that were counted before the workspace was opened.
        """
        self.id = test_id
        self.champion = champion
        self.challenger = challenger
        self.max_queries = max_queries
        self._end = end
        self._recorder = recorder
        self._seed = seed
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenQuery] = OrderedDict()
        self._closing: deque[tuple[float, str]] = deque()
        self._state: Literal["running", "decided", "stopped"] = "running"
        self._sequential = SequentialTest(alpha=alpha)
        self._p_values: list[float] = []
        for outcome in outcomes:
            self._count(outcome)
        self._numbers = itertools.count()

    @property
    def running(self) -> bool:
        return self._state == "running"

    @property
    def result(self) -> TestStatus | None:
        """How the test ended; None while it is running."""
        return None if self.running else self.status()

    def status(self) -> TestStatus:
        """Return how the test stands; looking changes nothing and may be done at any time."""
        with self._lock:
            statistics = self._sequential
            return TestStatus(
                test_id=self.id,
                state=self._state,
                decision=statistics.decision or "undecided",
                champion=self.champion.deployment.name,
                challenger=self.challenger.deployment.name,
                alpha=statistics.alpha,
                n_queries=statistics.n_queries,
                champion_wins=statistics.n_champion,
                challenger_wins=statistics.n_challenger,
                ties=statistics.n_ties,
                p_value=statistics.p_value,
                evidence=_exp(statistics.log_e),
                interval=statistics.interval,
                p_values=tuple(self._p_values),
            )

    def stop(self, reason: str = "") -> TestStatus:
        """End the test where it stands. It is recorded; the champion stays."""
        self._end(self, "stopped", reason)
        return self.status()

    def interleave(self, champion: tuple[Hit, ...], challenger: tuple[Hit, ...], limit: int) -> Answer:
        """Return one answer made of both sides' hits, and remember it for its feedback."""
        rng = random.Random(f"{self._seed}/{next(self._numbers)}")
        draft = team_draft([hit.id for hit in champion], [hit.id for hit in challenger], limit, rng)
        by_side = {"challenger": {hit.id: hit for hit in challenger}, "champion": {hit.id: hit for hit in champion}}
        hits = []
        for key, origin in zip(draft.ids, draft.origins, strict=True):
            sides = by_side[origin] if origin else {**by_side["challenger"], **by_side["champion"]}
            found = sides[key]
            hits.append(Hit(found.id, found.distance, found.fields, found.deployment, origin))
        answer = Answer(
            query_id=new_query_id(),
            endpoint=self.champion.deployment.endpoint,
            deployment=self.champion.deployment.name,
            model_version=self.champion.deployment.model,
            hits=tuple(hits),
            challenger=self.challenger.deployment.name,
            test_id=self.id,
        )
        with self._lock:
            self._open[answer.query_id] = _OpenQuery(draft)
            if len(self._open) > MAX_OPEN_QUERIES:
                self._open.popitem(last=False)
        return answer

    def credit(self, query_id: str, gains: Mapping[Id, float], whole: bool) -> None:
        """Take feedback, and count the queries that are closed by it or by time.

        Feedback on a query that is not open any more changes nothing.

        Args:
            whole: the feedback judges the query as a whole.
        Raises: InvalidArgument: an item was not among the query's results, or a gain is not finite.
        """
        now = time.monotonic()
        with self._lock:
            query = self._open.get(query_id)
            if query is not None:
                judge(query.draft, gains)
                if not query.gains:
                    self._closing.append((now + FEEDBACK_WINDOW_S, query_id))
                query.gains.update(gains)
                if whole or len(query.gains) == len(query.draft.ids):
                    self._close(query_id)
            while self._closing and self._closing[0][0] <= now:
                self._close(self._closing.popleft()[1])

    def recount(self, outcomes: Iterable[Outcome]) -> bool:
        """Count these outcomes instead of the present ones, and return whether the test is complete by them."""
        with self._lock:
            self._sequential = SequentialTest(alpha=self._sequential.alpha)
            self._p_values = []
            for outcome in outcomes:
                self._count(outcome)
            return self._ended

    def finish(self, state: Ending) -> None:
        """Count nothing more; nothing if the test has ended."""
        with self._lock:
            if self.running:
                self._state = state
            self._open.clear()

    @property
    def complete(self) -> bool:
        """Whether a side has won, or as many queries as allowed were counted."""
        with self._lock:
            return self._ended

    @property
    def _ended(self) -> bool:
        if self._sequential.decision is not None:
            return True
        return self.max_queries is not None and self._sequential.n_queries >= self.max_queries

    def _close(self, query_id: str) -> None:
        query = self._open.pop(query_id, None)
        if query is None or self._ended:
            return
        outcome = judge(query.draft, query.gains)
        self._count(outcome)
        champion = self.champion.deployment
        self._recorder.put(Event("outcome", champion.endpoint, champion.name, query_id, test_id=self.id, value=outcome))

    def _count(self, outcome: Outcome) -> None:
        self._sequential = self._sequential.update(outcome)
        self._p_values.append(self._sequential.p_value)

    def __repr__(self) -> str:
        return (
            f"LiveTest({self.champion.deployment.name!r} against {self.challenger.deployment.name!r}, {self._state}, "
            f"{self._sequential.n_queries} queries)"
        )


def check_test(method: str, max_queries: int | None, seed: int | None) -> None:
    """Check what a test was asked to be.

    Raises: InvalidArgument: the method is not known, max_queries is not positive, or the seed is out of range.
    """
    if method not in METHODS:
        raise InvalidArgument(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    if max_queries is not None and max_queries < 1:
        raise InvalidArgument(f"max_queries must be at least 1, not {max_queries}")
    if seed is not None and not 0 <= seed < _SEEDS:
        raise InvalidArgument(f"seed must be at least 0 and less than 2^63, not {seed}")


def _exp(log: float) -> float:
    return math.exp(min(log, _LARGEST_LOG))
