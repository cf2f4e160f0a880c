"""What a live test was asked to be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, cast

from roost.errors import InvalidArgument
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.live.feedback import KINDS, Kind, moment
from roost.lifecycle.live.guardrails import Guardrail
from roost.lifecycle.livetest import Ramp, SequentialTest, Stage

Method: TypeAlias = Literal["interleave", "balanced", "split", "shadow"]
OnWin: TypeAlias = Literal["nothing", "promote"]

METHODS: tuple[Method, ...] = ("interleave", "balanced", "split", "shadow")
PREDICT_METHODS: tuple[Method, ...] = ("split", "shadow")
"""Predictions are no rankings: there is nothing to interleave."""

WINDOW_S = 30.0
SEEDS = 2**63
"""The store keeps a seed as a signed integer of 64 bits."""

RampStage: TypeAlias = "tuple[float, float | Mapping[str, float]]"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a live test is carried out; it does not change while the test runs.

    Attributes:
        metric: the kind of feedback that counts.
        alpha: probability of naming a better side although there is none, over all challengers and looks.
        margin: a difference of at most this is none; None asks for the better side however small the difference.
        stages: of a split: seconds since the start, and the challengers' shares of the traffic from then on.
        deadline: when the test ends, decided or not, in seconds since 1970.
        task: of a predict endpoint, "classification" or "regression"; None for a search endpoint.
        window_s: seconds after an answer (of a split by user: after the user's first) in which feedback counts.
    """

    method: Method
    challengers: tuple[str, ...]
    metric: str = "click"
    alpha: float = 0.05
    margin: float | None = None
    stages: tuple[tuple[float, Mapping[str, float]], ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    max_queries: int | None = None
    deadline: float | None = None
    on_win: OnWin = "nothing"
    window_s: float = WINDOW_S
    task: str | None = None

    @property
    def interleaves(self) -> bool:
        return self.method in ("interleave", "balanced")

    @property
    def kind(self) -> Kind:
        """The kind of feedback that counts."""
        return KINDS[self.metric]

    @property
    def silence_counts(self) -> bool:
        """Whether an answer without feedback is an observation."""
        return self.method == "split" and self.kind.silence is not None

    @property
    def ramp(self) -> Ramp:
        """The shares of a split."""
        return Ramp(tuple(Stage(after, dict(weights)) for after, weights in self.stages))

    def configuration(self) -> str:
        """Return as JSON what the store's columns do not hold."""
        return canonical_json(
            {
                "metric": self.metric,
                "margin": self.margin,
                "stages": [[after, dict(weights)] for after, weights in self.stages],
                "guardrails": [str(guardrail) for guardrail in self.guardrails],
                "deadline": self.deadline,
                "on_win": self.on_win,
                "window_s": self.window_s,
                "task": self.task,
            }
        )

    @classmethod
    def of_row(
        cls, method: str, challengers: Sequence[str], alpha: float, max_queries: int | None, configuration: str
    ) -> Plan:
        """Return the plan that the store holds."""
        stored = json.loads(configuration or "{}")
        return cls(
            cast(Method, method),
            tuple(challengers),
            stored.get("metric", "click"),
            alpha,
            stored.get("margin"),
            tuple((after, weights) for after, weights in stored.get("stages", ())),
            tuple(Guardrail.parse(text) for text in stored.get("guardrails", ())),
            max_queries,
            stored.get("deadline"),
            stored.get("on_win", "nothing"),
            stored.get("window_s", WINDOW_S),
            stored.get("task"),
        )


def make_plan(
    challengers: Sequence[str],
    *,
    now: float,
    task: str | None = None,
    method: str = "interleave",
    metric: str = "click",
    alpha: float = 0.05,
    margin: float | None = None,
    weights: float | Mapping[str, float] | None = None,
    ramp: Sequence[RampStage] | None = None,
    guardrails: Sequence[Guardrail | str] = (),
    max_queries: int | None = None,
    deadline: datetime | timedelta | str | None = None,
    on_win: str = "nothing",
    window_s: float = WINDOW_S,
) -> Plan:
    """Check what a test is asked to be; see `Endpoint.start_test`.

    Args:
        now: in seconds since 1970.
        task: of a predict endpoint; None for a search endpoint.
    Raises: InvalidArgument: a value is not allowed, or values do not fit together.
    """
    allowed = PREDICT_METHODS if task is not None else METHODS
    _check_one_of("method", method, allowed)
    _check_one_of("metric", metric, tuple(KINDS))
    _check_one_of("on_win", on_win, ("nothing", "promote"))
    SequentialTest(alpha=alpha)
    if not challengers or len(set(challengers)) != len(challengers):
        raise InvalidArgument(f"name each challenger once; {list(challengers)!r} were given")
    if method == "balanced" and len(challengers) > 1:
        raise InvalidArgument(
            "balanced interleaving mixes two rankings: use method='interleave' for several challengers"
        )
    if max_queries is not None and max_queries < 1:
        raise InvalidArgument(f"max_queries must be at least 1, not {max_queries}")
    most = math.inf if method in PREDICT_METHODS else 0.5
    if margin is not None and not 0.0 < margin < most:
        raise InvalidArgument(f"margin must be positive and less than {most:g}, not {margin}")
    if not 0.0 <= window_s < math.inf:
        raise InvalidArgument(f"window_s must be finite and at least 0, not {window_s}")
    if method != "split" and (weights is not None or ramp is not None):
        raise InvalidArgument(f"weights and ramp say how a split shares its traffic; method {method!r} has none")
    parsed = tuple(Guardrail.parse(guardrail) for guardrail in guardrails)
    if method != "split" and any(rail.kind == "sample_ratio" for rail in parsed):
        raise InvalidArgument("sample_ratio watches the shares of a split's traffic")
    if task is not None and any(rail.kind in ("recall", "empty_rate") for rail in parsed):
        raise InvalidArgument("recall and empty_rate watch searches; this endpoint predicts")
    plan = Plan(
        cast(Method, method),
        tuple(challengers),
        metric,
        alpha,
        margin,
        _stages(challengers, weights, ramp) if method == "split" else (),
        parsed,
        max_queries,
        _deadline(deadline, now),
        cast(OnWin, on_win),
        float(window_s),
        task,
    )
    if method == "split":
        _check_split(plan, now)
    return plan


def _check_split(plan: Plan, now: float) -> None:
    _ = plan.ramp
    if plan.deadline is not None and plan.deadline < now + plan.window_s:
        raise InvalidArgument(
            f"a split counts a user when the window of {plan.window_s:g} s for feedback is over; the deadline is "
            "earlier: give a later one, or a smaller window_s"
        )


def check_seed(seed: int | None) -> None:
    """Raise InvalidArgument for a seed that the store cannot keep."""
    if seed is not None and not 0 <= seed < SEEDS:
        raise InvalidArgument(f"seed must be at least 0 and less than 2^63, not {seed}")


def _check_one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidArgument(f"{name} {value!r} is not known; use one of {', '.join(allowed)}")


def _stages(
    challengers: Sequence[str], weights: float | Mapping[str, float] | None, ramp: Sequence[RampStage] | None
) -> tuple[tuple[float, Mapping[str, float]], ...]:
    if weights is not None and ramp is not None:
        raise InvalidArgument("give weights or a ramp, not both: the last stage of a ramp holds until the end")
    if ramp is not None:
        return tuple((float(after), _shares(challengers, shares)) for after, shares in ramp)
    equal = 1.0 / (len(challengers) + 1)
    return ((0.0, _shares(challengers, weights if weights is not None else equal)),)


def _shares(challengers: Sequence[str], weights: float | Mapping[str, float]) -> dict[str, float]:
    named = weights if isinstance(weights, Mapping) else dict.fromkeys(challengers, weights)
    if set(named) != set(challengers):
        raise InvalidArgument(f"weights name {', '.join(named)}; the challengers are {', '.join(challengers)}")
    try:
        return {name: float(named[name]) for name in sorted(challengers)}
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"weights must be numbers, not {dict(named)!r}") from error


def _deadline(deadline: datetime | timedelta | str | None, now: float) -> float | None:
    if deadline is None:
        return None
    ends = now + deadline.total_seconds() if isinstance(deadline, timedelta) else moment(cast(Any, deadline), now)
    if ends <= now:
        raise InvalidArgument(f"the deadline {deadline} is over already")
    return ends
