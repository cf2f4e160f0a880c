"""The status of a live test from what was counted and what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping

from roost.lifecycle.live.guards import Seen
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.status import ArmStatus, State, TestStatus
from roost.lifecycle.live.tally import Tally
from roost.lifecycle.livetest import Evidence, SequentialTest

_LARGEST_LOG = 700.0
"""Its exponential is still a float."""


def status_of(
    test_id: int,
    plan: Plan,
    champion: str,
    state: State,
    reason: str,
    tally: Tally,
    seen: Mapping[str, Seen],
    n_late: int,
    n_left_out: int,
    n_ignored: int = 0,
) -> TestStatus:
    """Return how a test stands."""
    challenger = tally.verdict.challenger or plan.challengers[0]
    side, evidence = tally.sides[challenger], tally.evidence[challenger]
    low, high = _interval(plan, tally, challenger)
    middle = 0.5 if plan.interleaves else 0.0
    return TestStatus(
        test_id=test_id,
        state=state,
        decision=tally.verdict.outcome or "undecided",
        champion=champion,
        challenger=challenger,
        alpha=plan.alpha,
        n_queries=tally.n_units,
        champion_wins=side.n_lost,
        challenger_wins=side.n_won,
        ties=0 if plan.method == "split" else side.n - side.n_won - side.n_lost,
        p_value=tally.p_value(challenger),
        evidence=math.exp(min(_log_e(evidence), _LARGEST_LOG)),
        interval=(middle + low, middle + high),
        p_values=tuple(min(1.0, p * len(plan.challengers)) for p in side.p_values),
        method=plan.method,
        metric=plan.metric,
        margin=plan.margin,
        reason=reason,
        arms=(
            _champion(plan, champion, tally, seen[champion]),
            *(_challenger(plan, name, tally, seen[name]) for name in plan.challengers),
        ),
        n_late=n_late,
        n_left_out=n_left_out,
        n_ignored=n_ignored,
    )


def _log_e(evidence: Evidence) -> float:
    if isinstance(evidence, SequentialTest):
        return evidence.log_e
    return max(evidence.log_e_above(0.0), evidence.log_e_below(0.0))


def _interval(plan: Plan, tally: Tally, name: str) -> tuple[float, float]:
    return tally.evidence[name].effect_interval(plan.alpha / len(plan.challengers))


def _champion(plan: Plan, name: str, tally: Tally, seen: Seen) -> ArmStatus:
    side = tally.sides[name]
    is_split = plan.method == "split"
    return ArmStatus(
        deployment=name,
        n=side.n if is_split else tally.n_units,
        mean=side.mean if is_split else None,
        deviation=side.deviation if is_split else None,
        n_answers=seen.n,
        n_errors=seen.n_errors,
        n_empty=seen.n_empty,
        latency_ms=seen.latency_ms,
    )


def _challenger(plan: Plan, name: str, tally: Tally, seen: Seen) -> ArmStatus:
    side, evidence = tally.sides[name], tally.evidence[name]
    is_split = plan.method == "split"
    return ArmStatus(
        deployment=name,
        n=side.n,
        mean=None if plan.interleaves else side.mean,
        deviation=None if plan.interleaves else side.deviation,
        n_won=None if is_split else side.n_won,
        n_lost=None if is_split else side.n_lost,
        effect=evidence.effect,
        interval=_interval(plan, tally, name),
        p_value=tally.p_value(name),
        standing=tally.verdict.sides.get(name),
        n_answers=seen.n,
        n_errors=seen.n_errors,
        n_empty=seen.n_empty,
        latency_ms=seen.latency_ms,
        agreement=seen.mean_agreement,
    )
