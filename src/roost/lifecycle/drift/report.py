"""Several detectors on one window, and serving beside training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy.typing as npt

from roost.errors import InvalidArgument
from roost.lifecycle.drift.corrections import holm
from roost.lifecycle.drift.detector import Detector, DriftResult
from roost.lifecycle.drift.permutation import checked_alpha
from roost.lifecycle.drift.registry import make_detector

SKEW = "training-serving skew"


@dataclass(frozen=True)
class DriftReport:
    """What several detectors say together.

    Attributes:
        subject: what was compared.
        alpha: the probability that any of them raises an alarm although nothing has changed.
        results: of each detector, as it would say alone.
        p_values: likewise, corrected for their number by Holm's method.
    """

    subject: str
    alpha: float
    results: tuple[DriftResult, ...]
    p_values: tuple[float, ...]

    @property
    def is_drift(self) -> bool:
        return min(self.p_values) <= self.alpha

    @property
    def alarms(self) -> tuple[DriftResult, ...]:
        """The results that are alarms after the correction."""
        return tuple(r for r, p in zip(self.results, self.p_values, strict=True) if p <= self.alpha)

    def __str__(self) -> str:
        verdict = f"found by {', '.join(r.name for r in self.alarms)}" if self.is_drift else "none found"
        lines = [f"{self.subject}: {verdict} (alpha {self.alpha:g} for all detectors together)"]
        lines += [
            f"  {r.name}: statistic {r.statistic:.4g}, p {r.p_value:.4g}, corrected {p:.4g}"
            for r, p in zip(self.results, self.p_values, strict=True)
        ]
        return "\n".join(lines)


def combine(results: Iterable[DriftResult], alpha: float = 0.05, subject: str = "drift") -> DriftReport:
    """Return what the results say together.

    Raises: InvalidArgument: there is none, or alpha is not between 0 and 1.
    """
    found = tuple(results)
    if not found:
        raise InvalidArgument("there are no results to combine")
    return DriftReport(subject, checked_alpha(alpha), found, tuple(holm([r.p_value for r in found])))


def run_detectors(
    detectors: Iterable[Detector], window: npt.ArrayLike, alpha: float = 0.05, subject: str = "drift"
) -> DriftReport:
    """Run detectors of the same kind of rows on one window.

    Raises: InvalidArgument, DimensionMismatch, InvalidData, NotFinite: as Detector.test.
    """
    return combine([detector.test(window) for detector in detectors], alpha, subject)


def training_serving_skew(
    training: npt.ArrayLike,
    serving: npt.ArrayLike,
    detectors: Sequence[str] = ("classifier", "mmd", "ks"),
    alpha: float = 0.05,
    seed: int = 0,
) -> DriftReport:
    """Compare what a model sees in production with what it was trained on.

    Both sides go through the same code (the same preparation, the same embedder), or the code is what is compared.
    The training rows are a sample of all: rows that come sorted by class or by date are no reference.

    Args:
        training: (n_training, dim) vectors or features of the training snapshot, or categories (n_training,) for the
            detector "chi_square".
        serving: (n_serving, dim) of the same from production.
        detectors: names of the table.
    Raises: InvalidArgument, DimensionMismatch, InvalidData, NotFinite: as Detector.
    """
    found = [make_detector(name, training, alpha=alpha, seed=seed).test(serving) for name in detectors]
    return combine(found, alpha, SKEW)
