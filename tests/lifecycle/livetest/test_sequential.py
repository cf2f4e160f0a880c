"""Known answers of the sequential test, and its error rates on simulated traffic."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import InvalidArgument
from roost.lifecycle.livetest import Outcome, SequentialTest, judge, team_draft

N_TESTS = 400
N_EVENTS = 2_000


def after(outcomes: list[Outcome], **settings: float) -> SequentialTest:
    test = SequentialTest(**settings)
    for outcome in outcomes:
        test = test.update(outcome)
    return test


def flips(rng: random.Random, win_rate: float) -> Iterator[Outcome]:
    while True:
        yield "challenger" if rng.random() < win_rate else "champion"


def queries_until_decision(rng: random.Random, win_rate: float, limit: int) -> tuple[SequentialTest, int]:
    test = SequentialTest()
    for n, outcome in zip(range(1, limit + 1), flips(rng, win_rate), strict=False):
        test = test.update(outcome)
        if test.decision is not None:
            return test, n
    return test, limit


def test_a_uniform_mixture_has_the_closed_form():
    # The integral of p^3 (1 - p) over [0, 1] is 3! 1! / 5! = 1/20, against (1/2)^4.
    test = after(["challenger"] * 3 + ["champion"], concentration=1.0)
    assert math.exp(test.log_e) == pytest.approx(16 / 20)
    # After three wins alone it was 2^3 / 4 = 2, and the smallest p-value stays.
    assert test.p_value == pytest.approx(1 / 2)


@pytest.mark.parametrize("winner", ["champion", "challenger"])
def test_a_run_of_wins_decides_as_soon_as_the_evidence_is_there(winner):
    # With a uniform mixture n wins in a row give 2^n / (n + 1): 128 / 8 = 16, then 256 / 9 = 28.4.
    assert after([winner] * 7, concentration=1.0).decision is None
    assert after([winner] * 8, concentration=1.0).decision == winner


def test_a_new_test_knows_nothing():
    test = SequentialTest()
    assert (test.n_queries, test.log_e, test.p_value, test.win_rate) == (0, 0.0, 1.0, None)
    assert test.interval == (0.0, 1.0)
    assert test.decision is None


def test_ties_are_counted_and_are_no_evidence():
    test = after(["challenger"] * 3)
    tied = test.update("tie").update("tie")
    assert (tied.n_ties, tied.n_queries) == (2, 5)
    assert (tied.log_e, tied.p_value, tied.interval) == (test.log_e, test.p_value, test.interval)


def test_the_evidence_is_a_fair_bet():
    # Under the null hypothesis the expected e-value after one more query is the e-value now.
    for test in (after([]), after(["champion"]), after(["challenger"] * 6 + ["champion"] * 2)):
        following = [math.exp(test.update(outcome).log_e) for outcome in ("champion", "challenger")]
        assert sum(following) / 2 == pytest.approx(math.exp(test.log_e))


def test_a_decision_stays_whatever_follows():
    test = after(["challenger"] * 60)
    assert test.decision == "challenger"
    p_value = test.p_value
    for _ in range(200):
        test = test.update("champion")
    assert test.decision == "challenger"
    assert test.p_value <= p_value
    assert test.win_rate == pytest.approx(60 / 260)


def test_update_leaves_the_old_state_alone():
    test = SequentialTest()
    test.update("challenger")
    assert test == SequentialTest()


outcomes = st.lists(st.sampled_from(["champion", "challenger", "tie"]), max_size=120)


@given(outcomes, st.sampled_from([0.01, 0.05, 0.2]))
def test_a_stored_test_goes_on_where_it_was(history, alpha):
    test = after(history, alpha=alpha)
    resumed = SequentialTest.from_dict(json.loads(json.dumps(test.to_dict())))
    assert resumed == test
    assert resumed.update("challenger") == test.update("challenger")


@given(outcomes, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_test_decides_when_one_half_leaves_the_interval(history, alpha):
    test = SequentialTest(alpha=alpha)
    for outcome in history:
        test = test.update(outcome)
        lower, upper = test.interval
        assert 0.0 <= lower <= upper <= 1.0
        if test.win_rate is not None:
            assert lower <= test.win_rate <= upper
        excluded = not lower <= 0.5 <= upper
        assert excluded == (test.log_e >= -math.log(alpha))
        if test.decision is not None:
            assert test.p_value <= alpha
            break


def test_the_interval_closes_in_on_the_win_rate():
    rng = random.Random(0)
    widths = []
    test = SequentialTest()
    for n, outcome in zip(range(1, 4_001), flips(rng, 0.7), strict=False):
        test = test.update(outcome)
        if n in (40, 400, 4_000):
            lower, upper = test.interval
            assert lower < 0.7 < upper
            widths.append(upper - lower)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def fewest_wins(alpha: float, concentration: float) -> np.ndarray:
    """Return the wins, (N_EVENTS,) int64, with which a side is declared better after 1, 2, ... decisive queries.

    Asked of `update` itself, for a test that was undecided one query before. n + 1 where no number of wins is enough.
    """
    fewest, wins = [], 1
    for n in range(1, N_EVENTS + 1):
        while (
            wins <= n
            and SequentialTest(alpha, concentration, n - wins, wins - 1).update("challenger").decision != "challenger"
        ):
            wins += 1
        fewest.append(wins)
    return np.asarray(fewest)


def chance_of_a_false_alarm(alpha: float, concentration: float) -> float:
    """Return how likely an A/A test decides within N_EVENTS looks, one after each query, exactly."""
    # reached[s]: the chance that a fair coin shows s wins after n flips and no test has decided.
    reached, alarmed = np.ones(1), 0.0
    for n, fewest in enumerate(fewest_wins(alpha, concentration), start=1):
        reached = (np.append(reached, 0.0) + np.append(0.0, reached)) / 2.0
        wins = np.arange(n + 1)
        decided = (wins >= fewest) | (n - wins >= fewest)
        alarmed += float(reached[decided].sum())
        reached[decided] = 0.0
    assert alarmed + reached.sum() == pytest.approx(1.0)
    return alarmed


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("concentration", [1.0, 10.0])
def test_the_exact_chance_of_a_false_alarm_is_at_most_alpha(alpha, concentration):
    # Well above 0: the bound holds because the test is right, not because it never decides.
    assert alpha / 2 < chance_of_a_false_alarm(alpha, concentration) <= alpha


def test_under_the_null_at_most_alpha_of_the_tests_ever_decide():
    """10,000 A/A tests of 2,000 queries each, looked at after every one; the first 400 of them, too.

    The exact chance is 0.036, so of 400 tests 14.4 decide in the mean, give or take 3.7, and 20 are allowed; of
    10,000 tests 360 decide, give or take 19, and 500 are allowed. The seed is 0, as in every simulation here.
    """
    rng = np.random.default_rng(0)
    fewest, n = fewest_wins(0.05, 10.0), np.arange(1, N_EVENTS + 1)
    n_decided = []
    for _ in range(25):
        wins = rng.integers(0, 2, size=(N_TESTS, N_EVENTS), dtype=np.int8).cumsum(axis=1, dtype=np.int32)
        n_decided.append(int(((wins >= fewest) | (n - wins >= fewest)).any(axis=1).sum()))
    n_tests = N_TESTS * len(n_decided)
    assert n_decided[0] <= 0.05 * N_TESTS
    assert sum(n_decided) <= 0.05 * n_tests
    chance = chance_of_a_false_alarm(0.05, 10.0)
    assert sum(n_decided) / n_tests == pytest.approx(chance, abs=3 * math.sqrt(chance * (1 - chance) / n_tests))


def test_a_z_test_with_the_same_looks_decides_far_too_often():
    rng = random.Random(0)
    threshold = NormalDist().inv_cdf(0.975)
    n_decided = 0
    for _ in range(N_TESTS):
        wins = 0
        for n, outcome in zip(range(1, N_EVENTS + 1), flips(rng, 0.5), strict=False):
            wins += outcome == "challenger"
            if n >= 30 and abs(wins - n / 2) > threshold * math.sqrt(n) / 2:
                n_decided += 1
                break
    assert n_decided > 0.25 * N_TESTS


def test_the_interval_covers_the_true_rate_at_every_moment():
    rng = random.Random(0)
    n_missed = 0
    for _ in range(100):
        test = SequentialTest()
        for n, outcome in zip(range(1, 301), flips(rng, 0.65), strict=False):
            test = test.update(outcome)
            lower, upper = test.interval if n % 5 == 0 else (0.0, 1.0)
            if not lower <= 0.65 <= upper:
                n_missed += 1
                break
    assert n_missed <= 5


@pytest.mark.parametrize(("win_rate", "n_queries"), [(0.6, 600), (0.8, 70), (0.4, 600)])
def test_a_real_difference_is_found(win_rate, n_queries):
    rng = random.Random(0)
    better = "challenger" if win_rate > 0.5 else "champion"
    decisions = [queries_until_decision(rng, win_rate, n_queries)[0].decision for _ in range(200)]
    assert decisions.count(better) >= 0.95 * len(decisions)


def test_the_same_model_twice_decides_in_at_most_alpha_of_the_tests():
    # Two noisy orderings of one ranking: equally good, and never the same.
    rng = random.Random(0)
    n_decided = n_decisive = 0
    for _ in range(N_TESTS):
        test = SequentialTest()
        for _ in range(250):
            draft = team_draft(noisy_ranking(rng), noisy_ranking(rng), 5, rng)
            test = test.update(judge(draft, {key: 1.0 for key in draft.ids if key < 3}))
        n_decided += test.decision is not None
        n_decisive += test.n_champion + test.n_challenger
    assert n_decided <= 0.05 * N_TESTS
    assert n_decisive > 50 * N_TESTS


def test_identical_rankings_never_decide():
    rng = random.Random(0)
    test = SequentialTest()
    for _ in range(N_EVENTS):
        draft = team_draft(range(5), range(5), 5, rng)
        test = test.update(judge(draft, {key: 1.0 for key in draft.ids if rng.random() < 0.5}))
    assert test == SequentialTest(n_ties=N_EVENTS)


def noisy_ranking(rng: random.Random) -> list[int]:
    """Eight results, the first three relevant, each moved by a few ranks."""
    return sorted(range(8), key=lambda key: key + 6.0 * rng.random())


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": math.nan},
        {"concentration": 0.0},
        {"concentration": math.inf},
        {"n_champion": -1},
        {"n_challenger": -1},
        {"n_ties": -1},
        {"max_log_e": -0.1},
        {"max_log_e": math.inf},
        {"decision": "tie"},
    ],
)
def test_a_state_that_cannot_be_is_refused(settings):
    with pytest.raises(InvalidArgument):
        SequentialTest(**settings)


def test_an_unknown_outcome_is_refused():
    with pytest.raises(InvalidArgument, match="not 'draw'"):
        SequentialTest().update("draw")


@pytest.mark.parametrize(("state", "message"), [({"beta": 1}, "beta"), ({"alpha": "0.05"}, "wrong type")])
def test_a_stored_state_that_does_not_fit_is_refused(state, message):
    with pytest.raises(InvalidArgument, match=message):
        SequentialTest.from_dict(state)
