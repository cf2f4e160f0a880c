from __future__ import annotations

from typing import Any

import pytest

from roost.lifecycle.live.feedback import Feedback
from roost.lifecycle.live.judging import Drawn, Rival, Said, mean_gain, outcome, overlap, same
from roost.lifecycle.live.plan import Plan, make_plan


def plan(method: str, *challengers: str, **options: Any) -> Plan:
    return make_plan(challengers or ("b",), now=0.0, method=method, **options)


def said(gains: dict[str, float] | None = None, truth: str | None = None, whole: bool = False) -> Said:
    return Said(dict(gains or {}), truth, whole)


MIXED = Drawn(ids=("1", "2", "3"), origins=(0, 1, None))


def test_an_interleaved_answer_is_won_by_whose_pick_was_liked() -> None:
    asked = plan("interleave")
    assert outcome(asked, "a", [(MIXED, said({"2": 1.0}))]) == {"b": "challenger"}
    assert outcome(asked, "a", [(MIXED, said({"1": 1.0}))]) == {"b": "champion"}
    assert outcome(asked, "a", [(MIXED, said({"3": 1.0}))]) == {"b": "tie"}
    assert outcome(asked, "a", [(MIXED, said({"1": 1.0, "2": 1.0}))]) == {"b": "tie"}


def test_silence_says_nothing_of_a_ranking() -> None:
    assert outcome(plan("interleave"), "a", [(MIXED, said())]) is None
    assert outcome(plan("interleave"), "a", [(MIXED, said(whole=True))]) == {"b": "tie"}


def test_every_challenger_is_compared_with_the_champion() -> None:
    drawn = Drawn(ids=("1", "2", "3"), origins=(0, 1, 2))
    assert outcome(plan("interleave", "b", "c"), "a", [(drawn, said({"2": 1.0}))]) == {"b": "challenger", "c": "tie"}
    assert outcome(plan("interleave", "b", "c"), "a", [(drawn, said({"1": 1.0}))]) == {"b": "champion", "c": "champion"}


def split(arm: str = "b") -> Drawn:
    return Drawn(arm=arm, shares={"b": 0.5}, ids=("1", "2"))


def test_a_user_of_a_split_is_worth_the_mean_of_its_answers() -> None:
    found = outcome(plan("split"), "a", [(split(), said({"1": 1.0, "2": 0.0})), (split(), said())])
    assert found == {"arm": "b", "value": 0.5, "shares": {"b": 0.5}}


def test_a_user_who_does_not_click_has_said_so_and_one_who_does_not_rate_has_not() -> None:
    silent = [(split(), said())]
    assert outcome(plan("split"), "a", silent) == {"arm": "b", "value": 0.0, "shares": {"b": 0.5}}
    assert outcome(plan("split", metric="rating"), "a", silent) is None
    rated = outcome(plan("split", metric="rating"), "a", [(split(), said({"1": 4.0, "2": 5.0}))])
    assert rated is not None and rated["value"] == 4.5


def test_a_user_who_moved_counts_for_the_first_arm() -> None:
    found = outcome(plan("split"), "a", [(split("a"), said()), (split("b"), said({"1": 1.0}))])
    assert found is not None and (found["arm"], found["value"]) == ("a", 0.0)


def test_a_shadowed_ranking_is_scored_by_what_was_judged() -> None:
    drawn = Drawn(ids=("1", "2", "3"), rivals={"b": Rival(("3", "9", "1")), "c": Rival(("8", "9"))})
    asked = plan("shadow", "b", "c", metric="label")
    found = outcome(asked, "a", [(drawn, said({"1": 1.0, "2": 0.0, "3": 1.0}))])
    assert found == {"b": pytest.approx(1.0 - 2.0 / 3.0)}
    assert outcome(asked, "a", [(Drawn(ids=("1",)), said({"1": 1.0}))]) is None


def predicted(value: str, rival: str) -> Drawn:
    return Drawn(prediction=value, rivals={"b": Rival(prediction=rival)})


@pytest.mark.parametrize(("value", "rival", "difference"), [("3", "3", 0.0), ("3", "4", -1.0), ("4", "3.0", 1.0)])
def test_of_two_classes_the_right_one_wins(value: str, rival: str, difference: float) -> None:
    asked = plan("shadow", task="classification", metric="label")
    assert outcome(asked, "a", [(predicted(value, rival), said(truth="3"))]) == {"b": difference}
    assert outcome(asked, "a", [(predicted(value, rival), said({"": 1.0}))]) is None


def test_of_two_numbers_the_closer_one_wins() -> None:
    asked = plan("shadow", task="regression", metric="label")
    assert outcome(asked, "a", [(predicted("1.0", "2.5"), said(truth="2.0"))]) == {"b": 1.0}
    assert outcome(asked, "a", [(predicted("2.0", "2.5"), said(truth="2.0"))]) == {"b": -1.0}


def test_a_split_of_predictions_is_worth_what_is_right_or_how_wrong_it_is() -> None:
    drawn = Drawn(arm="b", shares={"b": 0.5}, prediction="2.5")
    right = outcome(plan("split", task="classification", metric="label"), "a", [(drawn, said(truth="2.5"))])
    wrong = outcome(plan("split", task="regression", metric="label"), "a", [(drawn, said(truth="2.0"))])
    assert right is not None and right["value"] == 1.0
    assert wrong is not None and wrong["value"] == -0.5


def test_the_first_word_about_an_item_counts() -> None:
    heard = Said()
    for gain in (1.0, 0.0):
        heard.take(Feedback("q", "click", {"1": gain}, False, 0.0, str(gain)))
    assert heard.gains == {"1": 1.0}


@pytest.mark.parametrize(
    "drawn",
    [
        MIXED,
        split(),
        Drawn(ids=("1",), origins=(None,)),
        Drawn(prediction="3"),
    ],
)
def test_what_is_drawn_is_read_as_it_was_written(drawn: Drawn) -> None:
    assert Drawn.from_json(drawn.to_json()) == drawn


def test_a_prediction_outside_of_a_test_is_read_too() -> None:
    assert Drawn.from_json("3").prediction == "3" and Drawn.from_json(None) == Drawn()
    assert Rival.from_json(Rival(("1",)).to_json()) == Rival(("1",))


def test_overlap_mean_gain_and_classes() -> None:
    assert overlap((), ()) == 1.0 and overlap(("1", "2"), ("2",)) == 0.5
    assert mean_gain(("1",), {}) is None
    assert same("3", "3.0") and same("cat", "cat") and not same("cat", "3")
