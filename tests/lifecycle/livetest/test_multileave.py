"""Team-draft multileaving: every pair is as fair as with two rankings."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import MultiDraft, judge_all, multileave

NAMES = ("champ", "a", "b")
ranking = st.permutations(range(8)).flatmap(lambda ids: st.integers(1, 8).map(lambda n: ids[:n]))
several = st.tuples(ranking, ranking, ranking).map(lambda found: dict(zip(NAMES, found, strict=True)))


@given(several, st.integers(1, 10), st.integers(0, 1_000))
def test_a_draft_shows_distinct_results_and_as_many_as_it_may(rankings, limit, seed):
    draft = multileave(rankings, limit, random.Random(seed))
    distinct = set().union(*rankings.values())
    assert len(draft.ids) == len(set(draft.ids)) == len(draft.origins) == min(limit, len(distinct))
    for key, origin in zip(draft.ids, draft.origins, strict=True):
        assert origin is None or key in rankings[origin]


@given(several, st.integers(1, 10), st.integers(0, 1_000))
def test_in_every_whole_round_each_ranking_picks_once(rankings, limit, seed):
    draft = multileave(rankings, limit, random.Random(seed))
    picked = [origin for origin in draft.origins if origin is not None]
    for start in range(0, len(picked) - len(NAMES) + 1, len(NAMES)):
        assert set(picked[start : start + len(NAMES)]) == set(NAMES)


def test_rankings_that_agree_from_the_top_credit_nobody_down_to_there():
    draft = multileave({"champ": [1, 2, 3], "a": [1, 2, 4], "b": [1, 2, 5]}, 5, random.Random(0))
    assert draft.ids[:2] == (1, 2)
    assert draft.origins[:2] == (None, None)
    assert set(draft.origins[2:]) == set(NAMES)


def test_each_challenger_is_judged_against_the_champion():
    draft = MultiDraft((1, 2, 3, 4), ("champ", "a", "b", None))
    assert judge_all(draft, {1: 1.0, 2: 2.0, 4: 5.0}, "champ", ["a", "b"]) == {"a": "challenger", "b": "champion"}
    assert judge_all(draft, {}, "champ", ["a", "b"]) == {"a": "tie", "b": "tie"}


def test_users_who_click_at_random_prefer_nobody():
    rng = random.Random(0)
    rankings = {"champ": "abcd", "a": "bcda", "b": "badc"}
    outcomes = {"a": Counter(), "b": Counter()}
    for _ in range(4_000):
        draft = multileave(rankings, 4, rng)
        for name, outcome in judge_all(draft, {rng.choice(draft.ids): 1.0}, "champ", ["a", "b"]).items():
            outcomes[name][outcome] += 1
    for found in outcomes.values():
        decisive = found["champion"] + found["challenger"]
        assert decisive > 1_000
        assert found["challenger"] / decisive == pytest.approx(0.5, abs=2.5 * 0.5 / decisive**0.5 + 0.01)


def test_the_better_challenger_wins_more_often():
    rng = random.Random(0)
    wins = Counter()
    for _ in range(400):
        draft = multileave({"champ": [5, 6, 7, 1, 2], "good": [1, 2, 5, 6, 7], "bad": [7, 8, 9, 5, 6]}, 5, rng)
        gains = {key: 1.0 for key in draft.ids if key in (1, 2)}
        for name, outcome in judge_all(draft, gains, "champ", ["good", "bad"]).items():
            wins[name, outcome] += 1
    assert wins["good", "challenger"] > 5 * wins["good", "champion"]
    assert wins["bad", "challenger"] == 0


@pytest.mark.parametrize(
    ("rankings", "limit", "message"),
    [
        ({"champ": [1]}, 5, "at least two"),
        ({"champ": [1], "a": [2, 2]}, 5, "the a's ranking holds an id twice"),
        ({"champ": [1], "a": [2]}, 0, "at least 1"),
    ],
)
def test_what_cannot_be_mixed_is_refused(rankings, limit, message):
    with pytest.raises(InvalidArgument, match=message):
        multileave(rankings, limit, random.Random(0))


def test_feedback_on_a_result_that_was_not_shown_is_refused():
    with pytest.raises(InvalidArgument, match="'z'"):
        judge_all(MultiDraft((1,), ("champ",)), {"z": 1.0}, "champ", ["a"])
