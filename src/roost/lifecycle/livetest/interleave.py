"""Team-draft interleaving of two rankings, and the credit that feedback gives to each.

Source: Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?",
CIKM 2008, algorithm 2. Leaving out the results on which both rankings agree from the top on:
Chapelle, Joachims, Radlinski and Yue, "Large-scale validation and analysis of interleaved search
evaluation", ACM TOIS 30(1), 2012.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal, TypeAlias

from roost.errors import InvalidArgument

Id: TypeAlias = int | str
Side: TypeAlias = Literal["champion", "challenger"]
Outcome: TypeAlias = Literal["champion", "challenger", "tie"]

_SIDES: tuple[Side, Side] = ("champion", "challenger")

_EQUAL = 1e-9
"""Relative difference below which two credits are equal: 0.1 + 0.2 earns what 0.3 earns."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One ranking made of two.

    Attributes:
        ids: what to show, best first, each once.
        origins: whose pick each of `ids` is, as long as `ids`. None where a pick would say nothing
            about which ranking is better: both rankings are equal from the top down to there, or
            the other ranking had nothing left to pick in the round.
    """

    ids: tuple[Id, ...]
    origins: tuple[Side | None, ...]


def team_draft(champion: Sequence[Id], challenger: Sequence[Id], limit: int, rng: Random) -> Draft:
    """Let the two rankings pick in turn, each its best result that is not taken yet.

    A fair coin says who picks first in every round of two picks, so swapping the rankings swaps
    the two credits in distribution: two equally good rankings win equally often.

    Args:
        champion: ids, best first, without repetition.
        challenger: likewise.
        limit: the most results to show.
        rng: the coin; one bit is drawn for each round.
    Returns: a draft of min(limit, number of distinct ids) results.
    Raises: InvalidArgument: limit is not positive, or a ranking holds an id twice.
    Source: Radlinski, Kurup and Joachims 2008, algorithm 2.
    """
    rankings: dict[Side, Sequence[Id]] = {"champion": champion, "challenger": challenger}
    check_rankings({"champion": champion, "challenger": challenger}, limit)
    n_shared = min(_n_equal_from_top(champion, challenger), limit)
    drafted: dict[Id, Side | None] = dict.fromkeys(champion[:n_shared])
    left = {side: iter(ranking) for side, ranking in rankings.items()}
    while len(drafted) < limit:
        picks: dict[Id, Side] = {}
        for side in _SIDES if rng.getrandbits(1) else _SIDES[::-1]:
            pick = next((key for key in left[side] if key not in drafted and key not in picks), None)
            if pick is not None:
                picks[pick] = side
        if not picks:
            break
        for key, side in islice(picks.items(), limit - len(drafted)):
            drafted[key] = side if len(picks) == len(_SIDES) else None
    return Draft(tuple(drafted), tuple(drafted.values()))


def judge(draft: Draft, gains: Mapping[Id, float]) -> Outcome:
    """Return which ranking earned more by the results that users were shown.

    A side's credit is the sum of the gains of its picks: 1 for a click or a right label, or a grade. A shown
    result without a gain earns nothing. Equal credits are a tie.

    Args:
        draft: what was shown.
        gains: gain of shown ids; finite, and negative where a user rejected a result.
    Raises: InvalidArgument: a gain is for an id that was not shown, or is not finite.
    Source: Radlinski, Kurup and Joachims 2008, section 4.2.
    """
    check_gains(draft.ids, gains)
    credit = {
        side: math.fsum(
            gains.get(key, 0.0) for key, origin in zip(draft.ids, draft.origins, strict=True) if origin == side
        )
        for side in _SIDES
    }
    return compare(credit["champion"], credit["challenger"])


def compare(champion: float, challenger: float) -> Outcome:
    """Return who has the larger credit."""
    if math.isclose(champion, challenger, rel_tol=_EQUAL):
        return "tie"
    return "champion" if champion > challenger else "challenger"


def check_gains(shown: Sequence[Id], gains: Mapping[Id, float]) -> None:
    """Check feedback on the ids that were shown.

    Raises: InvalidArgument: a gain is for an id that was not shown, or is not finite.
    """
    unknown = [key for key in gains if key not in shown]
    if unknown:
        raise InvalidArgument(f"feedback names {unknown[0]!r}, which was not among the results shown")
    for key, gain in gains.items():
        if not math.isfinite(gain):
            raise InvalidArgument(f"the gain of {key!r} must be finite, not {gain}")


def check_rankings(rankings: Mapping[str, Sequence[Id]], limit: int) -> None:
    """Check rankings that are to be mixed.

    Raises: InvalidArgument: limit is not positive, or a ranking holds an id twice.
    """
    if limit < 1:
        raise InvalidArgument(f"limit must be at least 1, not {limit}")
    for name, ranking in rankings.items():
        if len(set(ranking)) != len(ranking):
            raise InvalidArgument(f"the {name}'s ranking holds an id twice: {_first_repeated(ranking)!r}")


def _n_equal_from_top(left: Sequence[Id], right: Sequence[Id]) -> int:
    n_equal = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        n_equal += 1
    return n_equal


def _first_repeated(ranking: Sequence[Id]) -> Id:
    return next(key for rank, key in enumerate(ranking) if key in ranking[:rank])
