"""The table of detectors."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from roost.errors import AlreadyExists, InvalidArgument
from roost.lifecycle.drift.chi_square import ChiSquare
from roost.lifecycle.drift.classifier import Classifier
from roost.lifecycle.drift.detector import Detector
from roost.lifecycle.drift.ks import KolmogorovSmirnov
from roost.lifecycle.drift.mmd import Mmd
from roost.lifecycle.drift.psi import Psi
from roost.lifecycle.drift.shift import MeanShift, NormShift

_DETECTORS: dict[str, type[Detector]] = {
    detector.name: detector for detector in (Classifier, Mmd, KolmogorovSmirnov, Psi, MeanShift, NormShift, ChiSquare)
}


def register_detector(detector: type[Detector]) -> type[Detector]:
    """Add a detector to the table under its name; usable as a decorator.

    Raises: AlreadyExists: the name is taken by another class.
    """
    if _DETECTORS.setdefault(detector.name, detector) is not detector:
        raise AlreadyExists(f"there is a drift detector {detector.name!r} already")
    return detector


def detector_names() -> tuple[str, ...]:
    """Return the names in the table, sorted."""
    return tuple(sorted(_DETECTORS))


def exact_detector_names() -> tuple[str, ...]:
    """Return the names of those that tell any level, sorted."""
    return tuple(name for name in detector_names() if _DETECTORS[name].is_exact)


def make_detector(name: str, reference: npt.ArrayLike, **options: Any) -> Detector:
    """Return a detector of that name over a reference.

    Args:
        options: the detector's own.
    Raises: InvalidArgument: there is no such detector, or it has no such option.
    """
    if name not in _DETECTORS:
        raise InvalidArgument(f"there is no drift detector {name!r}; there are: {', '.join(detector_names())}")
    try:
        return _DETECTORS[name](reference, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InvalidArgument(f"drift detector {name!r}: {error}") from error
