"""Sample ratio mismatch: are the groups of a split as large as the weights say?

If not, something other than the hash decides who is counted for whom: answers that get lost, a redirect that fails, a
bot. The effect that is measured then means nothing, so a mismatch ends a test without a verdict.

Every counted unit is a draw from the arms with known weights. The test bets on the arms as they came so far, each
weight times the ratio of what was counted to what was expected, and is valid for weights that change. With constant
weights it is the Dirichlet mixture of the source, one draw at a time.

Source: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from roost.errors import InvalidArgument


class SampleRatioTest:
    """A sequential test that units come to the arms by their weights. Not safe for threads.

    Args:
        alpha: the chance of a false alarm, over all time.
        concentration: how many units' worth of the stated weights the bets start from; larger finds smaller
            mismatches, later.
    Raises: InvalidArgument: alpha does not lie between 0 and 1, or concentration is not positive.
    """

    def __init__(self, alpha: float = 0.001, concentration: float = 100.0) -> None:
        if not 0.0 < alpha < 1.0:
            raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
        if not 0.0 < concentration < math.inf:
            raise InvalidArgument(f"concentration must be positive, not {concentration}")
        self.alpha, self.concentration = alpha, concentration
        self.counted: dict[str, int] = {}
        self.expected: dict[str, float] = {}
        self.log_e = self._max_log_e = 0.0

    def add(self, weights: Mapping[str, float], arm: str) -> None:
        """Count a unit.

        Args:
            weights: of all arms, the champion's too, when the unit was assigned; they add up to 1.
            arm: where it was counted.
        Raises: InvalidArgument: the weights do not add up to 1, or arm has no weight.
        """
        if not math.isclose(math.fsum(weights.values()), 1.0, rel_tol=1e-9) or min(weights.values()) < 0.0:
            raise InvalidArgument(f"weights must be at least 0 and add up to 1, not {dict(weights)}")
        if not weights.get(arm, 0.0) > 0.0:
            raise InvalidArgument(f"no unit can be counted for {arm!r}, which has no weight")
        tilts = {name: self._tilt(name, weight) for name, weight in weights.items()}
        mean_tilt = math.fsum(weights[name] * tilt for name, tilt in tilts.items())
        self.log_e += math.log(tilts[arm] / mean_tilt)
        self._max_log_e = max(self._max_log_e, self.log_e)
        self.counted[arm] = self.counted.get(arm, 0) + 1
        for name, weight in weights.items():
            self.expected[name] = self.expected.get(name, 0.0) + weight

    def _tilt(self, arm: str, weight: float) -> float:
        prior = self.concentration * weight
        if prior == 0.0:
            return 1.0
        return (self.counted.get(arm, 0) + prior) / (self.expected.get(arm, 0.0) + prior)

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "the groups are as large as the weights say"; it never grows."""
        return math.exp(-self._max_log_e)

    @property
    def mismatch(self) -> bool:
        """Whether the evidence of a mismatch was ever enough; it stays."""
        return self._max_log_e >= -math.log(self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as values that JSON can hold."""
        own = {"alpha": self.alpha, "concentration": self.concentration, "log_e": self.log_e}
        return {**own, "max_log_e": self._max_log_e, "counted": dict(self.counted), "expected": dict(self.expected)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SampleRatioTest:
        """Return the test that `to_dict` described.

        Raises: InvalidArgument: the state lacks something, or holds what cannot be.
        """
        try:
            test = cls(state["alpha"], state["concentration"])
            test.log_e, test._max_log_e = float(state["log_e"]), float(state["max_log_e"])
            test.counted, test.expected = dict(state["counted"]), dict(state["expected"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"the stored test cannot be read: {error!r}") from error
        return test
