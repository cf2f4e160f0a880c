"""Drift: whether a window of rows still comes from where the reference came from. Arrays in, results out."""

from roost.lifecycle.drift.chi_square import ChiSquare
from roost.lifecycle.drift.classifier import Classifier
from roost.lifecycle.drift.corrections import Lord, alpha_for_budget, holm
from roost.lifecycle.drift.detector import MIN_ROWS, Detector, DriftResult
from roost.lifecycle.drift.ks import KolmogorovSmirnov
from roost.lifecycle.drift.mmd import Mmd
from roost.lifecycle.drift.psi import Psi
from roost.lifecycle.drift.registry import detector_names, exact_detector_names, make_detector, register_detector
from roost.lifecycle.drift.report import DriftReport, combine, run_detectors, training_serving_skew
from roost.lifecycle.drift.reservoir import Reservoir
from roost.lifecycle.drift.shift import MeanShift, NormShift
from roost.lifecycle.drift.text import TEXT_FEATURES, text_features

__all__ = [
    "MIN_ROWS",
    "TEXT_FEATURES",
    "ChiSquare",
    "Classifier",
    "Detector",
    "DriftReport",
    "DriftResult",
    "KolmogorovSmirnov",
    "Lord",
    "MeanShift",
    "Mmd",
    "NormShift",
    "Psi",
    "Reservoir",
    "alpha_for_budget",
    "combine",
    "detector_names",
    "exact_detector_names",
    "holm",
    "make_detector",
    "register_detector",
    "run_detectors",
    "text_features",
    "training_serving_skew",
]
