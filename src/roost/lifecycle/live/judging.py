"""From what a live test did with a query, and what users said, to what the query says about the test.

All of it is pure, and all of it works on what the store keeps: whichever process gets the feedback
can judge, also after the process that answered is gone.

- Interleaving: who earned more of the one mixed answer, the champion or each challenger.
- Split: the value of a user, the mean over the answers that one arm gave to the user in one window. An answer is
  worth its best click or conversion, 0 without one; or the mean of its labels or ratings.
- Shadow: the challenger's score less the champion's on one query. The score of a ranking is the mean gain of its
  items that were judged (Sakai, "Alternatives to Bpref", SIGIR 2007: condensed lists). Users judge what they see,
  which is what the champion found: what a challenger found alone earns nothing and costs nothing, so a challenger
  that finds good items which the champion misses is better than the score says.
- Predictions: whether the class is right; of numbers, in a split the error, and in shadow which one is closer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from roost.lifecycle.live.feedback import Feedback
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.livetest import Draft, Id, MultiDraft, judge, judge_all


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a live test did with one query; the store keeps it with the query.

    Attributes:
        arm: of a split, the deployment that answered.
        shares: of a split, each challenger's share of the traffic of itself and the champion.
        ids: what was shown, best first, as text.
        origins: of an interleaved answer, whose pick each of `ids` is: 0 for the champion, 1 for the
            first challenger and so on, None for nobody's.
        prediction: what was predicted, as text.
        rivals: of a shadow test, what the challengers found or predicted.
    """

    arm: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    origins: tuple[int | None, ...] = ()
    prediction: str | None = None
    rivals: Mapping[str, Rival] = field(default_factory=dict)

    def to_json(self) -> str:
        values = {
            "arm": self.arm,
            "shares": dict(self.shares),
            "ids": self.ids,
            "origins": self.origins,
            "prediction": self.prediction,
        }
        return json.dumps({name: value for name, value in values.items() if value}, separators=(",", ":"))

    def beside(self, rivals: Mapping[str, Rival]) -> Drawn:
        """Return this with what challengers found; what it had of them stays."""
        return replace(self, rivals={**rivals, **self.rivals})

    @classmethod
    def from_json(cls, text: str | None) -> Drawn:
        stored = json.loads(text or "{}")
        if not isinstance(stored, dict):  # a prediction that was no part of a test
            return cls(prediction=str(stored))
        return cls(
            stored.get("arm"),
            stored.get("shares", {}),
            tuple(stored.get("ids", ())),
            tuple(stored.get("origins", ())),
            stored.get("prediction"),
        )


@dataclass(frozen=True, slots=True)
class Rival:
    """What a challenger found or predicted behind the scenes."""

    ids: tuple[str, ...] = ()
    prediction: str | None = None

    def to_json(self) -> str:
        return json.dumps({"ids": self.ids, "prediction": self.prediction}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Rival:
        stored = json.loads(text or "{}")
        return cls(tuple(stored.get("ids", ())), stored.get("prediction"))


@dataclass(slots=True)
class Said:
    """What was said about one answer so far; the first word about an item counts."""

    gains: dict[str, float] = field(default_factory=dict)
    truth: str | None = None
    whole: bool = False

    def take(self, feedback: Feedback) -> None:
        for item, gain in feedback.gains.items():
            self.gains.setdefault(item, gain)
        if self.truth is None:
            self.truth = feedback.truth
        self.whole = self.whole or feedback.whole

    def __bool__(self) -> bool:
        return bool(self.gains) or self.truth is not None or self.whole


def outcome(plan: Plan, champion: str, queries: Sequence[tuple[Drawn, Said]]) -> dict[str, Any] | None:
    """Return what a unit of a test says; None when it says nothing.

    Args:
        queries: of the unit, the first one first; only a split has units of several.
    Returns: of a split the unit's `arm`, `value` and `shares`; otherwise by challenger who won, or the difference.
    """
    if plan.method == "split":
        return _split(plan, queries)
    drawn, said = queries[0]
    if not said:
        return None
    if plan.method == "shadow":
        return _shadow(plan, drawn, said)
    gains: dict[Id, float] = {item: gain for item, gain in said.gains.items() if item in drawn.ids}
    if len(plan.challengers) == 1:
        origins = tuple(None if o is None else "champion" if o == 0 else "challenger" for o in drawn.origins)
        return {plan.challengers[0]: judge(Draft(drawn.ids, origins), gains)}  # type: ignore[arg-type]
    names = (champion, *plan.challengers)
    draft = MultiDraft(drawn.ids, tuple(None if place is None else names[place] for place in drawn.origins))
    return dict(judge_all(draft, gains, champion, plan.challengers))


def _split(plan: Plan, queries: Sequence[tuple[Drawn, Said]]) -> dict[str, Any] | None:
    first = queries[0][0]
    values = [_value(plan, drawn, said) for drawn, said in queries if drawn.arm == first.arm]
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"arm": first.arm, "value": math.fsum(known) / len(known), "shares": dict(first.shares)}


def _value(plan: Plan, drawn: Drawn, said: Said) -> float | None:
    """Return what one answer is worth; None where that is not known."""
    if drawn.prediction is not None and said.truth is not None:
        if plan.task == "regression":
            return -absolute_error(drawn.prediction, said.truth)
        return float(same(drawn.prediction, said.truth))
    if not said.gains:
        return plan.kind.silence
    if plan.kind.silence is not None:
        return max(plan.kind.silence, *said.gains.values())
    return math.fsum(said.gains.values()) / len(said.gains)


def _shadow(plan: Plan, drawn: Drawn, said: Said) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name, rival in drawn.rivals.items():
        difference = _difference(plan, drawn, rival, said)
        if difference is not None:
            found[name] = difference
    return found or None


def _difference(plan: Plan, drawn: Drawn, rival: Rival, said: Said) -> float | None:
    if drawn.prediction is not None or rival.prediction is not None:
        if said.truth is None or drawn.prediction is None or rival.prediction is None:
            return None
        if plan.task == "regression":
            own = absolute_error(drawn.prediction, said.truth)
            theirs = absolute_error(rival.prediction, said.truth)
            return float((own > theirs) - (own < theirs))
        return float(same(rival.prediction, said.truth)) - float(same(drawn.prediction, said.truth))
    own_score, score = mean_gain(drawn.ids, said.gains), mean_gain(rival.ids, said.gains)
    return None if own_score is None or score is None else score - own_score


def mean_gain(ids: Iterable[str], gains: Mapping[str, float]) -> float | None:
    """Return the mean gain of the items that were judged; None where none was."""
    judged = [gains[item] for item in ids if item in gains]
    return math.fsum(judged) / len(judged) if judged else None


def overlap(ids: Sequence[str], others: Sequence[str]) -> float:
    """Return which share of the longer ranking is in both; two empty ones agree."""
    longest = max(len(ids), len(others))
    return len(set(ids) & set(others)) / longest if longest else 1.0


def absolute_error(prediction: str, truth: str) -> float:
    """Return by how much a number was off; both are written as text."""
    return abs(float(prediction) - float(truth))


def same(prediction: str, truth: str) -> bool:
    """Return whether two classes are the same, written as text: 3 is 3.0."""
    if prediction == truth:
        return True
    try:
        return float(prediction) == float(truth)
    except ValueError:
        return False
