"""What every test of a challenger against the champion can say, whatever it measures."""

from __future__ import annotations

from typing import Protocol


class Evidence(Protocol):
    """Evidence on an effect: the challenger's metric minus the champion's.

    All of it is anytime-valid: it may be read after every event, and the test stopped for any reason.
    """

    @property
    def n_units(self) -> int:
        """Queries or users counted."""

    @property
    def effect(self) -> float | None:
        """The estimate of the effect; None before there is one."""

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "no effect", two-sided: it never grows."""

    def log_e_above(self, bound: float) -> float:
        """Return the log evidence that the effect is larger than `bound`.

        With probability 1 - alpha, no test ever shows log(1 / alpha) or more for a bound that the effect does not
        pass, above and below together.
        """

    def log_e_below(self, bound: float) -> float:
        """Return the log evidence that the effect is smaller than `bound`."""

    def effect_interval(self, alpha: float) -> tuple[float, float]:
        """Return the confidence sequence now: the bounds that the evidence does not exclude at `alpha`.

        With probability 1 - alpha it holds the effect at every moment at once.
        """
