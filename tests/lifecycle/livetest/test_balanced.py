"""Debiased balanced interleaving: the merge, and credit that is fair whatever places users prefer."""

from __future__ import annotations

import random
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Draft, balanced_draft, judge

rankings = st.permutations(range(7)).flatmap(lambda ids: st.integers(0, 7).map(lambda n: ids[:n]))


class Coin(Random):
    """A coin that falls as it is told."""

    def __init__(self, side: int) -> None:
        super().__init__(0)
        self.side = side

    def getrandbits(self, k: int) -> int:
        return self.side


def both(champion, challenger, limit) -> tuple[Draft, Draft]:
    first, second = (balanced_draft(champion, challenger, limit, Coin(side)) for side in (0, 1))
    return first, second


def credit(draft: Draft, place: int) -> float:
    return {"champion": 1.0, "challenger": -1.0, None: 0.0}[draft.origins[place]]


def test_the_lists_take_turns_and_the_coin_says_who_begins():
    first, second = both([1, 2, 3], [4, 5, 6], 6)
    assert first.ids == (1, 4, 2, 5, 3, 6)
    assert second.ids == (4, 1, 5, 2, 6, 3)
    assert first.origins == ("champion", "challenger") * 3


def test_a_place_that_only_one_ranking_can_fill_gives_no_credit():
    # Below the first two places both lists go on alike, and the challenger has every result higher.
    first, second = both("abcd", "bcda", 4)
    assert (first.ids, second.ids) == (tuple("abcd"), tuple("bacd"))
    assert first.origins == ("champion", "challenger", None, None)
    assert second.origins == ("challenger", "champion", None, None)


def test_users_who_click_at_random_prefer_nobody():
    # Without the correction the challenger wins three of four clicks.
    rng = random.Random(0)
    outcomes = Counter()
    for _ in range(4_000):
        draft = balanced_draft("abcd", "bcda", 4, rng)
        outcomes[judge(draft, {rng.choice(draft.ids): 1.0})] += 1
    assert outcomes["champion"] + outcomes["challenger"] > 1_500
    assert outcomes["challenger"] / (outcomes["champion"] + outcomes["challenger"]) == pytest.approx(0.5, abs=0.04)


@given(rankings, rankings, st.integers(1, 9))
def test_each_place_gives_both_the_same_credit_over_the_coin(champion, challenger, limit):
    first, second = both(champion, challenger, limit)
    assert len(first.ids) == len(second.ids) == min(limit, len(set(champion) | set(challenger)))
    assert len(set(first.ids)) == len(first.ids) == len(first.origins)
    for place in range(len(first.ids)):
        assert credit(first, place) + credit(second, place) == pytest.approx(0.0)


@given(rankings, rankings, st.integers(1, 9))
def test_changing_the_sides_round_changes_the_credit_round(champion, challenger, limit):
    first, _ = both(champion, challenger, limit)
    _, mirrored = both(challenger, champion, limit)
    assert first.ids == mirrored.ids
    for place in range(len(first.ids)):
        assert credit(first, place) == pytest.approx(-credit(mirrored, place))


@given(rankings, st.integers(1, 9))
def test_identical_rankings_are_shown_as_they_are_and_credit_nobody(ranking, limit):
    first, second = both(ranking, ranking, limit)
    assert first == second
    assert first.ids == tuple(ranking[:limit])
    assert set(first.origins) <= {None}


@given(rankings, rankings, st.integers(1, 9))
def test_the_best_of_both_are_shown(champion, challenger, limit):
    # Balanced: what is shown is the top of both rankings, equally deep to within one while neither has ended.
    depths = [
        (deep, other)
        for deep in range(len(champion) + 1)
        for other in range(len(challenger) + 1)
        if abs(deep - other) <= 1 or deep == len(champion) or other == len(challenger)
    ]
    for draft in both(champion, challenger, limit):
        assert any(set(draft.ids) == {*champion[:deep], *challenger[:other]} for deep, other in depths)


@given(rankings, rankings, st.integers(1, 9))
def test_a_result_is_credited_to_the_ranking_that_placed_it_higher(champion, challenger, limit):
    for draft in both(champion, challenger, limit):
        for key, origin in zip(draft.ids, draft.origins, strict=True):
            if origin is not None:
                mine, other = (champion, challenger) if origin == "champion" else (challenger, champion)
                assert key in mine
                assert key not in other or mine.index(key) < other.index(key)


def test_what_cannot_be_merged_is_refused():
    with pytest.raises(InvalidArgument, match="at least 1"):
        balanced_draft([1], [2], 0, Random(0))
    with pytest.raises(InvalidArgument, match="the challenger's ranking holds an id twice: 3"):
        balanced_draft([1], [3, 3], 5, Random(0))
