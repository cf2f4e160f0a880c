"""The decision over the evidence on every challenger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import MeanTest, RatioTest, SequentialTest, SplitTest, Verdict, decide


@dataclass
class Known:
    """Evidence of a stated size: that the effect is above any bound below `effect`, and below any above it."""

    effect: float
    log_e: float = 10.0
    n_units: int = 100
    p_value: float = 1.0

    def log_e_above(self, bound: float) -> float:
        return self.log_e if self.effect > bound else -math.inf

    def log_e_below(self, bound: float) -> float:
        return self.log_e if self.effect < bound else -math.inf

    def effect_interval(self, alpha: float) -> tuple[float, float]:
        return self.effect, self.effect


OPEN = Known(0.1, log_e=0.0)


@pytest.mark.parametrize(
    ("evidence", "settings", "outcome", "winner"),
    [
        ({"a": Known(0.1)}, {}, "challenger", "a"),
        ({"a": Known(-0.1)}, {}, "champion", None),
        ({"a": Known(-0.1)}, {"higher_is_better": False}, "challenger", "a"),
        ({"a": Known(0.1)}, {"higher_is_better": False}, "champion", None),
        ({"a": OPEN}, {}, None, None),
        ({"a": OPEN}, {"ended": True}, "undecided", None),
        ({"a": Known(0.0)}, {}, None, None),
        ({"a": Known(0.0)}, {"margin": 0.05}, "no difference", None),
        ({"a": Known(0.0)}, {"margin": 0.05, "ended": True}, "no difference", None),
        ({"a": Known(0.1), "b": Known(0.2)}, {}, "challenger", "b"),
        ({"a": Known(-0.1), "b": Known(-0.2)}, {"higher_is_better": False}, "challenger", "b"),
        ({"a": Known(0.1), "b": OPEN}, {}, "challenger", "a"),
        ({"a": Known(-0.1), "b": OPEN}, {}, None, None),
        ({"a": Known(-0.1), "b": OPEN}, {"ended": True}, "undecided", None),
        ({"a": Known(-0.1), "b": Known(-0.1)}, {}, "champion", None),
        ({"a": Known(-0.1), "b": Known(0.0)}, {"margin": 0.05}, "no difference", None),
    ],
)
def test_every_outcome(evidence, settings, outcome, winner):
    verdict = decide(evidence, **settings)
    assert (verdict.outcome, verdict.challenger) == (outcome, winner)
    assert set(verdict.sides) == set(evidence)


def test_more_challengers_need_more_evidence():
    enough_for_one = Known(0.1, log_e=math.log(20.0) + 1e-9)
    assert decide({"a": enough_for_one}).outcome == "challenger"
    assert decide({"a": enough_for_one, "b": OPEN}).outcome is None
    assert decide({"a": enough_for_one, "b": OPEN}, alpha=0.1).outcome == "challenger"


def test_what_was_known_stays_known():
    first = decide({"a": Known(-0.1), "b": OPEN})
    assert first.sides == {"a": "worse", "b": None}
    second = decide({"a": OPEN, "b": OPEN}, earlier=first)
    assert second.sides == {"a": "worse", "b": None}
    last = decide({"a": OPEN, "b": Known(-0.1)}, earlier=second)
    assert last.outcome == "champion"
    assert decide({"a": Known(0.1), "b": Known(0.1)}, earlier=last).outcome == "champion"


def test_an_effect_beyond_the_margin_is_a_difference_first():
    # Both "better" and "within the margin" are true of a small effect: better it is.
    assert decide({"a": Known(0.01)}, margin=0.05).outcome == "challenger"


def test_real_tests_of_every_kind_can_be_decided_on():
    rng = np.random.default_rng(0)
    rate, mean, split, ratio = SequentialTest(), MeanTest(margin=0.2), SplitTest(margin=0.2), RatioTest()
    for _ in range(1_000):
        better = rng.random() < 0.8
        rate = rate.update("challenger" if better else "champion")
        mean.add(0.5 if better else -0.5)
        side = "challenger" if rng.random() < 0.5 else "champion"
        split.add(side, float(better if side == "challenger" else not better))
        ratio.add(side, float(better if side == "challenger" else not better))
    for test in (rate, mean, split, ratio):
        assert decide({"new": test}, margin=0.2) == Verdict("challenger", "new", {"new": "better"})


def test_equal_sides_are_the_same_within_the_margin():
    rng = np.random.default_rng(0)
    rate, mean = SequentialTest(), MeanTest(margin=0.1)
    for _ in range(3_000):
        rate = rate.update("challenger" if rng.random() < 0.5 else "champion")
        mean.add(float(rng.choice([-0.5, 0.5])))
    for test in (rate, mean):
        assert decide({"new": test}, margin=0.1).outcome == "no difference"
        assert decide({"new": test}).outcome is None


@pytest.mark.parametrize(
    ("evidence", "settings", "message"),
    [
        ({}, {}, "at least one challenger"),
        ({"a": OPEN}, {"alpha": 0.0}, "alpha"),
        ({"a": OPEN}, {"margin": 0.0}, "margin"),
        ({"a": OPEN}, {"margin": math.inf}, "margin"),
    ],
)
def test_what_cannot_be_decided_on_is_refused(evidence, settings, message):
    with pytest.raises(InvalidArgument, match=message):
        decide(evidence, **settings)


def test_with_four_challengers_alpha_bounds_any_false_statement():
    # 80 tests of four challengers as good as the champion, looked at after every query.
    rng = np.random.default_rng(0)
    n_false = 0
    for _ in range(80):
        tests = {name: SequentialTest() for name in "abcd"}
        verdict = Verdict(None)
        for flips in rng.random((150, 4)):
            for name, flip in zip("abcd", flips, strict=True):
                tests[name] = tests[name].update("challenger" if flip < 0.5 else "champion")
            verdict = decide(tests, earlier=verdict)
            if any(verdict.sides.values()):
                n_false += 1
                break
    assert n_false <= 0.05 * 80
