from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.drift.permutation import BATCH, ENOUGH, MAX_PERMUTATIONS, p_value, permutations_for, random_windows


def test_a_statistic_that_no_window_reaches_has_the_smallest_p_value() -> None:
    assert p_value(2.0, np.zeros, 999) == (1 / 1000, 999)


def test_drawing_stops_once_the_answer_is_clear() -> None:
    assert p_value(0.0, np.zeros, 999) == (1.0, ENOUGH)
    every_tenth = np.arange(BATCH) % 10 == 9
    assert p_value(1.0, lambda n: every_tenth[:n].astype(float), 999) == (0.1, 10 * ENOUGH)


def test_equal_sums_that_differ_in_the_last_bits_count_as_equal() -> None:
    assert p_value(0.3, lambda n: np.full(n, 0.1 + 0.2 - 1e-16), 99)[0] == 1.0


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_p_values_are_as_small_as_alpha_at_that_rate(alpha: float) -> None:
    rng = np.random.default_rng(0)
    n = 4_000
    small = sum(p_value(rng.random(), rng.random, 999)[0] <= alpha for _ in range(n))
    assert abs(small - n * alpha) < 4 * np.sqrt(n * alpha * (1 - alpha))


@pytest.mark.parametrize("n_window", [5, 15])
def test_random_windows_hold_each_row_and_each_pair_equally_often(n_window: int) -> None:
    windows: npt.NDArray[np.float64] = random_windows(20, n_window, 4_000, np.random.default_rng(0))
    share, pair = n_window / 20, n_window * (n_window - 1) / (20 * 19)
    assert windows.shape == (20, 4_000) and set(np.unique(windows)) == {0, 1}
    assert (windows.sum(axis=0) == n_window).all()
    assert np.abs(windows.mean(axis=1) - share).max() < 4 * np.sqrt(share * (1 - share) / 4_000)
    pairs = (windows @ windows.T / 4_000)[np.triu_indices(20, 1)]
    assert np.abs(pairs - pair).max() < 4.5 * np.sqrt(pair * (1 - pair) / 4_000)


def test_enough_permutations_for_alpha() -> None:
    assert permutations_for(0.05, None) == 999
    assert permutations_for(0.001, None) == 9_999
    assert permutations_for(0.0002, None) == MAX_PERMUTATIONS, "the work is bounded"
    assert permutations_for(1e-6, None) == 1_000_000, "but alpha can always be told"
    assert permutations_for(0.05, 19) == 19
    with pytest.raises(InvalidArgument, match="at least 19 are needed"):
        permutations_for(0.05, 18)
