"""P-values by drawing random windows from the pooled rows, no more of them than the answer needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument

Floats: TypeAlias = npt.NDArray[np.float64]

BATCH = 200

MAX_PERMUTATIONS = 20_000
"""Random windows that are drawn at most unless alpha takes more: some seconds' work, done only where there is drift."""

ENOUGH = 20
"""Once so many random windows were as far away as the real one, more of them would only make a large p precise."""


def p_value(observed: float, draw: Callable[[int], npt.NDArray[Any]], n_permutations: int) -> tuple[float, int]:
    """Return the p-value of a statistic, and how many random windows it took.

    Random windows are drawn until ENOUGH of them reach the observed statistic, and p is then their share, or until
    there are n_permutations, and p is (1 + those that reach it) / (1 + n_permutations). Either way p is valid: it is
    at most x with a probability of at most x.

    Args:
        draw: gives the statistics (n,) of n windows that were drawn at random.
    Source: Besag and Clifford, "Sequential Monte Carlo p-values", Biometrika 78(2), 1991; Phipson and Smyth,
        "Permutation p-values should never be zero", SAGMB 9(1), 2010.
    """
    # Ties count as reached; sums taken in another order differ in the last bits.
    bar = observed - 1e-9 * max(abs(observed), 1e-9)
    n_drawn = n_reached = 0
    while n_drawn < n_permutations:
        n = min(BATCH, n_permutations - n_drawn)
        reached = n_reached + np.cumsum(draw(n) >= bar)
        if reached[-1] >= ENOUGH:
            n_drawn += int(np.argmax(reached >= ENOUGH)) + 1
            return ENOUGH / n_drawn, n_drawn
        n_reached = int(reached[-1])
        n_drawn += n
    return (1 + n_reached) / (1 + n_drawn), n_drawn


def random_windows(
    n_rows: int, n_window: int, n: int, rng: np.random.Generator, dtype: type[np.floating[Any]] = np.float64
) -> npt.NDArray[Any]:
    """Return n windows as indicators (n_rows, n): a one where a row is in the window, n_window ones a column.

    Source: Fisher and Yates 1938, stopped as soon as the window, or the rest, is complete; all windows step together.
    """
    n_steps = min(n_window, n_rows - n_window)
    order = np.tile(np.arange(n_rows, dtype=np.int32), (n, 1))
    each = np.arange(n)
    others = rng.integers(np.arange(n_steps)[:, None], n_rows, size=(n_steps, n))
    for step, other in enumerate(others):
        chosen = order[each, other]
        order[each, other] = order[:, step]
        order[:, step] = chosen
    masks = np.full((n_rows, n), 0 if n_steps == n_window else 1, dtype=dtype)
    masks[order[:, :n_steps], each[:, None]] = 1 if n_steps == n_window else 0
    return masks


def checked_alpha(alpha: float) -> float:
    """Return it. Raises: InvalidArgument: it is not between 0 and 1."""
    if not 0 < alpha < 1:
        raise InvalidArgument(f"alpha is {alpha}; it lies between 0 and 1")
    return alpha


def permutations_for(alpha: float, n_permutations: int | None) -> int:
    """Return how many random windows to draw at most.

    By default ten times as many as alpha can be told with, so that the p-value can be corrected for other tests, but
    not more than MAX_PERMUTATIONS unless alpha itself takes them.

    Raises: InvalidArgument: so few that no p-value could be as small as alpha, which lies between 0 and 1.
    """
    checked_alpha(alpha)
    if n_permutations is None:
        return max(999, math.ceil(1 / alpha), min(math.ceil(10 / alpha) - 1, MAX_PERMUTATIONS))
    if 1 / (1 + n_permutations) > alpha:
        raise InvalidArgument(
            f"with n_permutations = {n_permutations} no p-value is as small as alpha = {alpha:g}; "
            f"at least {math.ceil(1 / alpha) - 1} are needed"
        )
    return n_permutations
