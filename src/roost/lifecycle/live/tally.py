"""The count of a live test: every challenger's evidence against the champion, and the outcome by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from roost.errors import InvalidArgument
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.livetest import MeanTest, RatioTest, SequentialTest, SplitTest, TestOutcome, Verdict, decide
from roost.lifecycle.livetest.evidence import Evidence

_SIDES = ("champion", "challenger", "tie")


@dataclass(slots=True)
class Side:
    """One arm's count: the sums of its values (of a split) or of its differences to the champion (of a shadow test)."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    n_won: int = 0
    n_lost: int = 0
    p_values: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation; None before there are two."""
        if self.n < 2:
            return None
        return math.sqrt(max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1))


class Tally:
    """Counts outcomes one by one. Not safe to use from two threads at once."""

    def __init__(self, plan: Plan, champion: str) -> None:
        self._plan = plan
        self._champion = champion
        self.evidence: dict[str, Evidence] = {name: _evidence(plan) for name in plan.challengers}
        self.sides = {name: Side() for name in (champion, *plan.challengers)}
        self.n_units = 0
        self.verdict = self._decided(False, None)

    def add(self, outcome: Mapping[str, Any]) -> None:
        """Count one unit.

        Raises: InvalidArgument: the outcome is not one of this test.
        """
        if self._plan.method == "split":
            self._add_split(outcome)
        else:
            for name in self._plan.challengers:
                if name in outcome:
                    self._add_pair(name, outcome[name])
        self.n_units += 1
        self.verdict = self._decided(False, self.verdict)

    def end(self, outcome: TestOutcome | None = None, challenger: str | None = None) -> None:
        """Decide for good: what is not known by now is undecided.

        Args:
            outcome: what was recorded as the outcome, where that is known; with the challenger that won.
        """
        self.verdict = self._decided(True, self.verdict)
        if outcome is not None:
            self.verdict = replace(self.verdict, outcome=outcome, challenger=challenger)

    @property
    def is_full(self) -> bool:
        """Whether as many units as allowed were counted."""
        return self._plan.max_queries is not None and self.n_units >= self._plan.max_queries

    def p_value(self, challenger: str) -> float:
        """Return the p-value of one challenger, corrected for their number."""
        return min(1.0, self.evidence[challenger].p_value * len(self._plan.challengers))

    def _add_split(self, outcome: Mapping[str, Any]) -> None:
        arm, value, shares = str(outcome["arm"]), float(outcome["value"]), outcome["shares"]
        if arm not in self.sides:
            raise InvalidArgument(f"an outcome names the arm {arm!r}, which is none of this test")
        side = self.sides[arm]
        side.n += 1
        side.total += value
        side.squares += value * value
        for name in self._plan.challengers if arm == self._champion else (arm,):
            share = float(shares[name])
            if not 0.0 < share < 1.0:
                continue
            test: Any = self.evidence[name]
            if isinstance(test, RatioTest):
                test.add("champion" if arm == self._champion else "challenger", value, weight=share)
            else:
                test.add("champion" if arm == self._champion else "challenger", value, share)
            self.sides[name].p_values.append(test.p_value)

    def _add_pair(self, name: str, result: Any) -> None:
        side, test = self.sides[name], self.evidence[name]
        if isinstance(test, SequentialTest):
            self.evidence[name] = test = test.update(result)
            won = _SIDES.index(result)
            side.n_won += won == 1
            side.n_lost += won == 0
        else:
            difference: Any = test
            difference.add(float(result))
            side.total += float(result)
            side.squares += float(result) ** 2
            side.n_won += result > 0
            side.n_lost += result < 0
        side.n += 1
        side.p_values.append(self.evidence[name].p_value)

    def _decided(self, ended: bool, earlier: Verdict | None) -> Verdict:
        plan = self._plan
        return decide(self.evidence, alpha=plan.alpha, margin=plan.margin, ended=ended, earlier=earlier)


def _evidence(plan: Plan) -> Evidence:
    if plan.interleaves:
        return SequentialTest(alpha=plan.alpha)
    if plan.task == "regression":
        return RatioTest() if plan.method == "split" else MeanTest(-1.0, 1.0, margin=plan.margin)
    low, high = (0.0, 1.0) if plan.task is not None and plan.metric == "label" else (plan.kind.low, plan.kind.high)
    if plan.method == "split":
        return SplitTest(low, high, margin=plan.margin)
    return MeanTest(low - high, high - low, margin=plan.margin)
