"""Many tests at once or one after the other: what each p-value is worth then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from roost.errors import InvalidArgument
from roost.lifecycle.drift.permutation import checked_alpha

DAY_S = 86_400.0
MONTH_S = 30 * DAY_S


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number: the probability of one or more false alarms stays at alpha.

    It holds however the tests depend on each other.

    Raises: InvalidArgument: there is none, or one is not between 0 and 1.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.
    """
    if not p_values or not all(0 <= p <= 1 for p in p_values):
        raise InvalidArgument(f"p-values lie between 0 and 1, and there is at least one; given {list(p_values)}")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def alpha_for_budget(false_alarms: float, per_s: float = MONTH_S, window_s: float = 3_600.0, n_tests: int = 1) -> float:
    """Return the alpha of each test at which so many false alarms are expected in a span of time.

    Args:
        false_alarms: expected in `per_s` seconds while nothing changes.
        window_s: seconds from one window to the next.
        n_tests: of each window that raise an alarm of their own.
    Raises: InvalidArgument: one is not positive, or the budget is one alarm a test or more.
    """
    if not (false_alarms > 0 and per_s > 0 and window_s > 0 and n_tests >= 1):
        raise InvalidArgument("false_alarms, per_s and window_s are greater than 0, and n_tests is at least 1")
    alpha = false_alarms * window_s / (per_s * n_tests)
    if alpha >= 1:
        raise InvalidArgument(f"{false_alarms:g} false alarms in {per_s:g} s are as many as there are tests")
    return alpha


def _weight(j: int) -> float:
    """Return LORD's weight of the j-th test since a discovery; they sum to at most one."""
    return 0.0722 * math.log(max(j, 2)) / (j * math.exp(math.sqrt(math.log(j))))


@dataclass(frozen=True)
class Lord:
    """Online control of the false discovery rate: of all alarms ever raised, the expected share of false ones.

    Each window's p-value is compared with a level that shrinks while nothing is found and is refilled by each alarm.
    The rate is controlled for p-values that are independent while nothing changes; those of windows that share a
    reference are so only nearly. After a long quiet time the levels are small: the detector's n_permutations must
    reach below them, or it cannot alarm.

    Args:
        alpha: the expected share.
    Attributes:
        n_tests: p-values seen.
        discoveries: the number, from 1, of each test that was an alarm.
    Example:
        lord = Lord(alpha=0.05)
        for p in p_values:
            lord, is_alarm = lord.step(p)
    Source: Javanmard and Montanari, Annals of Statistics 46(2), 2018 (LORD and its weights); Ramdas, Yang, Wainwright
        and Jordan, "Online control of the false discovery rate with decaying memory", NeurIPS 2017 (LORD++).
    """

    alpha: float = 0.05
    n_tests: int = 0
    discoveries: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        checked_alpha(self.alpha)

    @property
    def level(self) -> float:
        """What the next p-value is compared with."""
        t, start = self.n_tests + 1, self.alpha / 2
        level = start * _weight(t)
        for i, discovery in enumerate(self.discoveries):
            level += (self.alpha - start if i == 0 else self.alpha) * _weight(t - discovery)
        return level

    def step(self, p_value: float) -> tuple[Lord, bool]:
        """Return the state after one more p-value, and whether it is an alarm.

        Raises: InvalidArgument: the p-value is not between 0 and 1.
        """
        if not 0 <= p_value <= 1:
            raise InvalidArgument(f"a p-value lies between 0 and 1; given {p_value}")
        is_alarm = p_value <= self.level
        n_tests = self.n_tests + 1
        discoveries = (*self.discoveries, n_tests) if is_alarm else self.discoveries
        return replace(self, n_tests=n_tests, discoveries=discoveries), is_alarm
