"""Team drafts on rankings small enough to enumerate, and the fairness of the credit."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Draft, judge, team_draft


class Coin(random.Random):
    """A coin whose flips are given: 1 lets the champion pick first."""

    def __init__(self, *flips: int) -> None:
        super().__init__(0)
        self.flips = list(flips)

    def getrandbits(self, k: int, /) -> int:
        return self.flips.pop(0)


def test_the_rankings_pick_in_turn():
    draft = team_draft(["a", "b", "c", "d"], ["b", "e", "a", "f"], 4, Coin(1, 0))
    assert draft.ids == ("a", "b", "e", "c")
    assert draft.origins == ("champion", "challenger", "challenger", "champion")


def test_the_coin_decides_who_picks_first():
    draft = team_draft(["a", "b", "c", "d"], ["b", "e", "a", "f"], 4, Coin(0, 0))
    assert draft.ids == ("b", "a", "e", "c")
    assert draft.origins == ("challenger", "champion", "challenger", "champion")


def test_results_that_both_put_first_are_credited_to_nobody():
    draft = team_draft([1, 2, 3, 4], [1, 2, 4, 3], 4, Coin(1, 1))
    assert draft.ids == (1, 2, 3, 4)
    assert draft.origins == (None, None, "champion", "challenger")


def test_the_rest_of_the_longer_ranking_is_shown_and_credited_to_nobody():
    draft = team_draft([1, 2, 3, 4], [5], 10, Coin(0, 0, 0, 0, 0))
    assert draft.ids == (5, 1, 2, 3, 4)
    assert draft.origins == ("challenger", "champion", None, None, None)


@pytest.mark.parametrize("first", [0, 1])
def test_a_last_result_that_both_would_pick_is_credited_to_nobody(first):
    draft = team_draft([2, 1], [3, 1], 3, Coin(first, first))
    assert draft.ids[-1] == 1
    assert draft.origins[-1] is None


def test_an_odd_last_place_goes_to_the_side_that_the_coin_names():
    assert team_draft([1, 2], [3, 4], 3, Coin(1, 0)).ids == (1, 3, 4)
    assert team_draft([1, 2], [3, 4], 3, Coin(1, 1)).ids == (1, 3, 2)


@pytest.mark.parametrize(("champion", "challenger"), [([], []), ([], [1, 2]), ([1, 2], [])])
def test_an_empty_ranking_wins_and_loses_nothing(champion, challenger):
    draft = team_draft(champion, challenger, 10, random.Random(0))
    assert draft.ids == tuple(champion or challenger)
    assert set(draft.origins) <= {None}


rankings = st.lists(st.integers(0, 15), unique=True, max_size=12)


@given(rankings, rankings, st.integers(1, 12), st.integers())
def test_a_draft_holds_the_best_of_both_without_repetition(champion, challenger, limit, seed):
    draft = team_draft(champion, challenger, limit, random.Random(seed))
    assert len(draft.ids) == len(draft.origins) == min(limit, len({*champion, *challenger}))
    assert len(set(draft.ids)) == len(draft.ids)
    credited = Counter(origin for origin in draft.origins if origin)
    assert abs(credited["champion"] - credited["challenger"]) <= 1
    for side, ranking in (("champion", champion), ("challenger", challenger)):
        picks = [key for key, origin in zip(draft.ids, draft.origins, strict=True) if origin == side]
        assert picks == [key for key in ranking if key in picks]


@given(rankings, rankings, st.integers(1, 12), st.integers(0, 2**32), st.data())
def test_swapping_the_rankings_and_the_coin_swaps_the_winner(champion, challenger, limit, seed, data):
    flips = [random.Random(seed).getrandbits(1) for _ in range(24)]
    one = team_draft(champion, challenger, limit, Coin(*flips))
    other = team_draft(challenger, champion, limit, Coin(*(1 - flip for flip in flips)))
    assert one.ids == other.ids
    gains = data.draw(st.fixed_dictionaries({key: st.integers(-3, 3) for key in one.ids}))
    swapped = {"champion": "challenger", "challenger": "champion", "tie": "tie"}
    assert judge(other, gains) == swapped[judge(one, gains)]


@pytest.mark.parametrize(
    ("gains", "outcome"),
    [
        ({}, "tie"),
        ({"a": 1}, "champion"),
        ({"b": 1, "c": 0.5}, "challenger"),
        ({"a": 1, "b": 1}, "tie"),
        ({"a": 0.3, "b": 0.1, "d": 0.2}, "tie"),
        ({"a": -1}, "challenger"),
        ({"x": 5, "a": 1}, "champion"),
    ],
)
def test_the_larger_sum_of_gains_wins(gains, outcome):
    draft = Draft(("x", "a", "b", "c", "d"), (None, "champion", "challenger", "champion", "challenger"))
    assert judge(draft, gains) == outcome


def test_one_ranking_twice_is_always_a_tie():
    rng = random.Random(1)
    draft = team_draft(range(10), range(10), 10, rng)
    assert judge(draft, {key: rng.random() for key in draft.ids}) == "tie"


def test_exchangeable_rankings_win_equally_often():
    rng = random.Random(20)
    outcomes: Counter[str] = Counter()
    for _ in range(4_000):
        relevant = {key: 1.0 for key in rng.sample(range(12), 5)}
        draft = team_draft(rng.sample(range(12), 7), rng.sample(range(12), 7), 7, rng)
        outcomes[judge(draft, {key: gain for key, gain in relevant.items() if key in draft.ids})] += 1
    decisive = outcomes["champion"] + outcomes["challenger"]
    assert decisive > 2_000
    # Three standard deviations of a fair coin.
    assert abs(outcomes["challenger"] - decisive / 2) < 1.5 * decisive**0.5


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_must_be_positive(limit):
    with pytest.raises(InvalidArgument, match="at least 1"):
        team_draft([1], [2], limit, random.Random(0))


@pytest.mark.parametrize(
    ("champion", "challenger", "side"), [([3, 1, 3], [1], "champion"), ([1], [3, 1, 3], "challenger")]
)
def test_a_ranking_must_not_repeat_itself(champion, challenger, side):
    with pytest.raises(InvalidArgument, match=f"the {side}'s ranking holds an id twice: 3"):
        team_draft(champion, challenger, 5, random.Random(0))


def test_feedback_on_a_result_that_was_not_shown_is_refused():
    with pytest.raises(InvalidArgument, match="'z'"):
        judge(Draft(("a",), ("champion",)), {"z": 1.0})


@pytest.mark.parametrize("gain", [float("nan"), float("inf")])
def test_a_gain_must_be_finite(gain):
    with pytest.raises(InvalidArgument, match="finite"):
        judge(Draft(("a",), ("champion",)), {"a": gain})
