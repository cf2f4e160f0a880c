"""Testing samples of traffic against baselines, and making baselines of the first traffic."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.drift import MIN_ROWS, Detector, make_detector, run_detectors
from roost.lifecycle.monitor import baselines
from roost.lifecycle.monitor.baselines import Baseline, Baselines
from roost.lifecycle.monitor.configuration import TESTS_TOGETHER, Configuration
from roost.lifecycle.monitor.samples import Sample, Samples
from roost.lifecycle.monitor.summary import Drift, FarLimit
from roost.lifecycle.monitor.watched import Watched

FAR_SHARE = 0.99
"""A first hit is far when this share of the baseline's first hits is nearer."""


_log = logging.getLogger(__name__)


class _Question(NamedTuple):
    """A kind of drift: which sample is compared with which baseline.

    Attributes:
        learns: the baseline is made of the first traffic where there is none.
    """

    sample: str
    baseline: str
    learns: bool


_QUESTIONS: Mapping[str, _Question] = {
    "queries": _Question("queries", baselines.QUERIES, True),
    "norms": _Question("queries", baselines.QUERIES, False),
    "training": _Question("served", baselines.TRAINING, False),
    "data": _Question("written", baselines.VECTORS, False),
    "predictions": _Question("predictions", baselines.PREDICTIONS, True),
}


class _Origin(NamedTuple):
    """What detectors were made of; others are made when it changes."""

    digest: str
    detectors: tuple[str, ...]
    alpha: float


class DriftTests:
    """The drift tests of one endpoint in this process. Not safe to use from several threads at once."""

    def __init__(self, endpoint: str, kept: Baselines) -> None:
        self._endpoint = endpoint
        self._kept = kept
        self._detectors: dict[tuple[str, str], tuple[_Origin, list[Detector]]] = {}
        self._far_distances: dict[str, float] = {}

    def learn(self, watched: Watched) -> dict[tuple[str, str], Baseline]:
        """Make baselines of the first traffic, of each season, where there are none, and return all that there are."""
        known = self._kept.latest(self._endpoint)
        n_needed = watched.configuration.baseline_rows
        with watched.locked:
            new = [
                (deployment, baselines.named(kind, season), _rows(sample.take()))
                for deployment, samples in watched.samples().items()
                for kind, season, sample in _learned(samples)
                if len(sample.items) >= n_needed and baselines.compared(known, deployment, kind, season) is None
            ]
            for deployment, samples in watched.samples().items():
                if (deployment, baselines.DISTANCES) in known:
                    samples.distances.take()
        for deployment, kind, rows in new:
            known[deployment, kind] = self._kept.save(self._endpoint, deployment, kind, rows, "first traffic")
        return known

    def test(self, watched: Watched, should_stop: Callable[[], bool] = lambda: False) -> dict[str, dict[str, Drift]]:
        """Test the samples that are large enough, and return the answers by deployment and kind of drift.

        Samples that were tested begin anew. Those whose baseline is still being gathered are left alone.

        Args:
            should_stop: whether to leave out the tests that are not under way.
        """
        known = self.learn(watched)
        chosen = watched.configuration
        with watched.locked:
            taken = [
                (deployment, season, name, _rows(sample.take(chosen.drift_rows)))
                for deployment, samples in watched.samples().items()
                for name, season, sample in _tested(samples)
                if len(sample.items) >= chosen.min_rows and _is_wanted(known, deployment, name, season)
            ]
        found: dict[str, dict[str, Drift]] = {}
        for deployment, season, name, rows in taken:
            for kind, question in _QUESTIONS.items():
                if should_stop():
                    return found
                baseline = baselines.compared(known, deployment, question.baseline, season)
                if question.sample == name and baseline is not None and baseline.n_rows >= 2 * MIN_ROWS:
                    answer = self._answer(kind, baseline, rows, chosen)
                    if answer is not None:
                        of_all = found.setdefault(deployment, {})
                        of_all[kind] = of_all[kind] + answer if kind in of_all else answer
        return found

    def keep_only(self, deployments: Collection[str]) -> None:
        """Free the detectors of all other deployments."""
        self._detectors = {key: made for key, made in self._detectors.items() if key[1] in deployments}

    def far_limits(self, known: Mapping[tuple[str, str], Baseline], larger_is_farther: bool) -> dict[str, FarLimit]:
        """Return from which distance on a first hit is far, by deployment."""
        limits = {}
        for (deployment, kind), baseline in known.items():
            if kind == baselines.DISTANCES:
                if baseline.digest not in self._far_distances:
                    share = FAR_SHARE if larger_is_farther else 1.0 - FAR_SHARE
                    self._far_distances[baseline.digest] = float(np.quantile(self._kept.load(baseline), share))
                limits[deployment] = FarLimit(self._far_distances[baseline.digest], larger_is_farther)
        return limits

    def _answer(self, kind: str, baseline: Baseline, rows: npt.NDArray[Any], chosen: Configuration) -> Drift | None:
        try:
            detectors = self._made(kind, baseline, chosen)
            report = run_detectors(detectors, _seen(kind, rows), alpha=chosen.drift_alpha, subject=kind)
        except (InvalidArgument, InvalidData) as error:
            # As after a change of what is predicted from: the baseline has to be made anew.
            _log.warning("%s of %s cannot be tested for drift: %s", kind, self._endpoint, error.message)
            return None
        p_value, detector = min((p, result.name) for p, result in zip(report.p_values, report.results, strict=True))
        return Drift(float(p_value), 1, len(rows), detector)

    def _made(self, kind: str, baseline: Baseline, chosen: Configuration) -> list[Detector]:
        key = (kind, baseline.deployment)
        origin = _Origin(baseline.digest, chosen.detectors, chosen.drift_alpha)
        known, detectors = self._detectors.get(key, (None, []))
        if known != origin:  # the last one alone is kept: seasons are many, and come one after the other
            reference = _seen(kind, self._kept.load(baseline))
            if kind == "norms":
                names: tuple[str, ...] = ("ks",)
            elif kind == "predictions":
                names = ("ks",) if reference.dtype.kind == "f" else ("chi_square",)
            else:
                names = chosen.detectors
            # So fine that a single detector's alarm survives the correction for their number. No level is refused for
            # predicted classes: their random windows are cheap, and as many as several tests in one window take.
            alpha = chosen.drift_alpha / (TESTS_TOGETHER if names == ("chi_square",) else len(names))
            detectors = [make_detector(name, reference, alpha=alpha) for name in names]
            self._detectors[key] = (origin, detectors)
        return detectors


def _seen(kind: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.linalg.norm(rows, axis=1) if kind == "norms" and rows.ndim == 2 else rows


def _learned(samples: Samples) -> Iterator[tuple[str, str, Sample[Any]]]:
    """Yield what baselines are made of: the baseline's kind, the season, the sample."""
    yield baselines.DISTANCES, "", samples.distances
    for kind, of_seasons in ((baselines.QUERIES, samples.queries), (baselines.PREDICTIONS, samples.predictions)):
        for season, sample in of_seasons.items():
            yield kind, season, sample


def _tested(samples: Samples) -> Iterator[tuple[str, str, Sample[Any]]]:
    """Yield what is tested: the sample's name, the season, the sample."""
    yield "written", "", samples.written
    yield "served", "", samples.served
    for name, of_seasons in (("queries", samples.queries), ("predictions", samples.predictions)):
        for season, sample in of_seasons.items():
            yield name, season, sample


def _is_wanted(known: Mapping[tuple[str, str], Baseline], deployment: str, sample: str, season: str) -> bool:
    """Return whether a sample may be used up: a baseline that is still to be made of it comes first."""
    asked = [question for question in _QUESTIONS.values() if question.sample == sample]
    learnt = [question.baseline for question in asked if question.learns]
    return all(baselines.compared(known, deployment, kind, season) is not None for kind in learnt)


def _rows(items: list[Any]) -> npt.NDArray[Any]:
    """Return items as an array; predictions that are not numbers become text."""
    if items and not isinstance(items[0], (np.ndarray, float, np.floating)):
        return np.asarray([str(item) for item in items])
    return np.asarray(items)
