"""Balanced interleaving with debiased credit.

Balanced interleaving shows as nearly as many of the best results of one ranking as of the other at any depth. A coin
decides who begins, and that is all there is to chance: two lists are possible. Crediting a click to the ranking that
had placed the result higher is biased: of `a b c d` and `b c d a`, users who click at random prefer the second three
times in four. So a click is weighted by the inverse of the probability, over the coin, that its place shows a result
of that ranking. Where only one ranking's results can stand at a place there is nothing to compare, and the place
gives no credit; everywhere else the probability is one half for either ranking, and the weights are all alike. Users
who click on places without looking then give both rankings the same credit in expectation, whatever places they
prefer; no model of where they look is needed.

Sources: Joachims, "Evaluating retrieval performance using clickthrough data", 2003 (the merge); Chapelle, Joachims,
Radlinski and Yue 2012, section 3.1 (its bias); Bi, Castells, Gilbert, Galperin, Tardif and Ahuja, "Debiased balanced
interleaving at Amazon Search", CIKM 2022 (credit by inverse probability). A result counts as the ranking's that
placed it higher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from roost.lifecycle.livetest.interleave import Draft, Id, Side, check_rankings


def balanced_draft(champion: Sequence[Id], challenger: Sequence[Id], limit: int, rng: Random) -> Draft:
    """Merge two rankings evenly, and credit the places that are fair.

    Args:
        champion: ids, best first, without repetition.
        challenger: likewise.
        limit: the most results to show.
        rng: the coin; one bit is drawn.
    Returns: a draft of min(limit, number of distinct ids) results; the origin of a result is the ranking that placed
        it higher, or None where the place could not have shown a result of the other ranking.
    Raises: InvalidArgument: limit is not positive, or a ranking holds an id twice.
    Source: Bi et al. 2022; Joachims 2003.
    """
    check_rankings({"champion": champion, "challenger": challenger}, limit)
    lists = (_merge(champion, challenger, limit), _merge(challenger, champion, limit))
    shown, other = lists[::-1] if rng.getrandbits(1) else lists
    owners = _owners(champion, challenger)
    origins = (
        owners[key] if None not in (owners[key], owners[instead]) and owners[key] != owners[instead] else None
        for key, instead in zip(shown, other, strict=True)
    )
    return Draft(tuple(shown), tuple(origins))


def _merge(first: Sequence[Id], second: Sequence[Id], limit: int) -> list[Id]:
    """Return the list of the coin that lets `first` begin."""
    merged: dict[Id, None] = {}
    n_first = n_second = 0
    while len(merged) < limit and (n_first < len(first) or n_second < len(second)):
        if n_second >= len(second) or (n_first <= n_second and n_first < len(first)):
            merged.setdefault(first[n_first])
            n_first += 1
        else:
            merged.setdefault(second[n_second])
            n_second += 1
    return list(merged)


def _owners(champion: Sequence[Id], challenger: Sequence[Id]) -> Mapping[Id, Side | None]:
    """Return the ranking that placed each id higher; None where they placed it alike."""
    owners: dict[Id, Side | None] = {}
    ranks = {key: rank for rank, key in enumerate(challenger)}
    for rank, key in enumerate(champion):
        other = ranks.pop(key, len(champion))
        owners[key] = None if rank == other else "champion" if rank < other else "challenger"
    owners.update(dict.fromkeys(ranks, "challenger"))
    return owners
