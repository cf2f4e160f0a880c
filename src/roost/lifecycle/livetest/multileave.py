"""Team-draft multileaving: one ranking made of several, for a champion and several challengers at once.

Every query compares every challenger with the champion. Each pair is as fair as in team-draft interleaving: the two
pick in every round, in an order that is random, so swapping them swaps their credits in distribution.

Source: Schuth, Sietsma, Whiteson, Lefortier and de Rijke, "Multileaved comparisons for fast online evaluation", CIKM
2014, algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from roost.errors import InvalidArgument
from roost.lifecycle.livetest.interleave import Id, Outcome, check_gains, check_rankings, compare


@dataclass(frozen=True, slots=True)
class MultiDraft:
    """One ranking made of several.

    Attributes:
        ids: what to show, best first, each once.
        origins: the name of the ranking whose pick each of `ids` is, as long as `ids`; None where a pick would say
            nothing: all rankings are equal from the top down to there, or one had nothing left to pick in the round.
    """

    ids: tuple[Id, ...]
    origins: tuple[str | None, ...]


def multileave(rankings: Mapping[str, Sequence[Id]], limit: int, rng: Random) -> MultiDraft:
    """Let the rankings pick in turn, in a new random order every round, each its best result that is not taken yet.

    Args:
        rankings: ids, best first, without repetition, by the ranking's name.
        limit: the most results to show.
        rng: shuffles the order of each round.
    Returns: a draft of min(limit, number of distinct ids) results.
    Raises: InvalidArgument: limit is not positive, there are fewer than two rankings, or one holds an id twice.
    Source: Schuth et al. 2014, algorithm 2.
    """
    if len(rankings) < 2:
        raise InvalidArgument(f"at least two rankings are needed, not {len(rankings)}")
    check_rankings(rankings, limit)
    drafted: dict[Id, str | None] = {}
    for keys in islice(zip(*rankings.values(), strict=False), limit):
        if len(set(keys)) > 1:
            break
        drafted[keys[0]] = None
    left = {name: iter(ranking) for name, ranking in rankings.items()}
    order = list(rankings)
    while len(drafted) < limit:
        rng.shuffle(order)
        picks: dict[Id, str] = {}
        for name in order:
            pick = next((key for key in left[name] if key not in drafted and key not in picks), None)
            if pick is not None:
                picks[pick] = name
        if not picks:
            break
        for key, name in islice(picks.items(), limit - len(drafted)):
            drafted[key] = name if len(picks) == len(rankings) else None
    return MultiDraft(tuple(drafted), tuple(drafted.values()))


def judge_all(
    draft: MultiDraft, gains: Mapping[Id, float], champion: str, challengers: Sequence[str]
) -> dict[str, Outcome]:
    """Return, for each challenger, whether it or the champion earned more by the results that users were shown.

    Args:
        draft: what was shown.
        gains: gain of shown ids, as for `judge`.
        champion: the champion's name in the draft.
        challengers: the names of those to compare with it.
    Raises: InvalidArgument: a gain is for an id that was not shown, or is not finite.
    """
    check_gains(draft.ids, gains)
    credit = {
        name: math.fsum(
            gains.get(key, 0.0) for key, origin in zip(draft.ids, draft.origins, strict=True) if origin == name
        )
        for name in (champion, *challengers)
    }
    return {name: compare(credit[champion], credit[name]) for name in challengers}
