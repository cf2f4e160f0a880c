"""The outcome of a live test, as one pure decision over the evidence on every challenger.

All statements are read off one family of confidence sequences, each at alpha / (number of challengers): with
probability 1 - alpha all of them hold the true effects at every moment, and then every statement that was ever made
is true, the one on "no difference" included. So alpha bounds the chance that anything false is said at all.

Why Bonferroni: Holm's procedure would ask a little less of the last challengers (log 2 of evidence with two), but it
has no intervals, and its promise covers "different" alone, not "no difference" beside it. The e-BH procedure promises
a share of false discoveries, where one false promotion is what costs. The mean of the e-values tests "no challenger
differs" and does not say which one does.

Sources: Robbins 1970 and Howard, Ramdas, McAuliffe and Sekhon 2021 (time-uniform coverage is what makes looking after
every event free); Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", Journal of
Pharmacokinetics and Biopharmaceutics 15(6), 1987 (no difference: both bounds of the margin are excluded).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from roost.errors import InvalidArgument
from roost.lifecycle.livetest.evidence import Evidence

TestOutcome: TypeAlias = Literal["champion", "challenger", "no difference", "undecided"]
Standing: TypeAlias = Literal["better", "worse", "same"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a test at one moment.

    Attributes:
        outcome: "challenger": one is better than the champion; "champion": all are worse; "no difference": none is
            better and at least one is as good within the margin; "undecided": it ended before; None: it goes on.
        challenger: the one that won: of those that are better, the one with the largest effect.
        sides: what is known of each challenger against the champion; None where it is open. What was once known
            stays known.
    """

    outcome: TestOutcome | None
    challenger: str | None = None
    sides: Mapping[str, Standing | None] = field(default_factory=dict)


def decide(
    evidence: Mapping[str, Evidence],
    alpha: float = 0.05,
    margin: float | None = None,
    higher_is_better: bool = True,
    ended: bool = False,
    earlier: Verdict | None = None,
) -> Verdict:
    """Return the verdict on a test; call it after every event, it costs next to nothing.

    The test is over as soon as one challenger is better: the others may be better still, which is another test.

    Args:
        evidence: of each challenger against the champion, by the challenger's name.
        alpha: the chance that anything false is said, over all challengers and all time.
        margin: an effect of at most this size makes no difference; None: "no difference" is never an outcome.
        higher_is_better: False for a metric such as latency.
        ended: the deadline passed or no more queries are allowed.
        earlier: the verdict before this event; what it knew, stays.
    Raises: InvalidArgument: there is no challenger, alpha does not lie between 0 and 1, or margin is not positive.
    """
    if not evidence:
        raise InvalidArgument("a test needs at least one challenger")
    if not 0.0 < alpha < 1.0:
        raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
    if margin is not None and not 0.0 < margin < math.inf:
        raise InvalidArgument(f"margin must be positive, not {margin}")
    known = {} if earlier is None else earlier.sides
    enough = math.log(len(evidence) / alpha)
    sides: dict[str, Standing | None] = {
        name: known.get(name) or _standing(test, enough, margin, higher_is_better) for name, test in evidence.items()
    }
    if earlier is not None and earlier.outcome is not None:
        return Verdict(earlier.outcome, earlier.challenger, sides)
    better = [name for name, side in sides.items() if side == "better"]
    if better:
        return Verdict("challenger", max(better, key=lambda name: _gain(evidence[name], higher_is_better)), sides)
    if all(side == "worse" for side in sides.values()):
        return Verdict("champion", None, sides)
    if None not in sides.values():
        return Verdict("no difference", None, sides)
    return Verdict("undecided" if ended else None, None, sides)


def _standing(test: Evidence, enough: float, margin: float | None, higher_is_better: bool) -> Standing | None:
    if test.log_e_above(0.0) >= enough:
        return "better" if higher_is_better else "worse"
    if test.log_e_below(0.0) >= enough:
        return "worse" if higher_is_better else "better"
    if margin is not None and test.log_e_below(margin) >= enough and test.log_e_above(-margin) >= enough:
        return "same"
    return None


def _gain(test: Evidence, higher_is_better: bool) -> float:
    effect = 0.0 if test.effect is None else test.effect
    return effect if higher_is_better else -effect
