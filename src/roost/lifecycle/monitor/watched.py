"""An endpoint that is watched, as this process sees it: its stream, its present window, its samples."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from roost.lifecycle.monitor.configuration import Configuration
from roost.lifecycle.monitor.samples import SAMPLED, Samples
from roost.lifecycle.monitor.seasons import season_of
from roost.lifecycle.monitor.summary import FarLimit, Span, Summary, summarise
from roost.lifecycle.serving.tap import Observation, Predicted, Searched, Stream

VECTORS_PER_S = 50.0
"""With an automatic sample rate, about so many requests a second leave their vectors."""

MAX_CLOSED = 1_000
"""Windows that wait to be stored; the oldest beyond are lost while the store cannot be written."""


class Watched:
    """One endpoint in this process. Safe to use from any thread."""

    def __init__(self, endpoint: str, configuration: Configuration, stream: Stream, now_s: float) -> None:
        self.endpoint = endpoint
        self.configuration = configuration
        self.since_s = now_s
        self.totals: dict[str, Summary] = {}
        self.measured: dict[str, Summary] = {}
        self._stream = stream
        self._lock = threading.Lock()
        self._rng = np.random.default_rng()
        self._far: Mapping[str, FarLimit] = {}
        self._present: dict[str, Summary] = {}
        self._closed: deque[Span] = deque(maxlen=MAX_CLOSED)
        self._samples: dict[str, Samples] = {}
        self._n_left_out = 0
        self._started_s = self._drained_s = now_s

    def set_far(self, far: Mapping[str, FarLimit]) -> None:
        """Say from which distance on a first hit is far, by deployment."""
        self._far = far

    def drain(self, now_s: float) -> None:
        """Take in what the stream holds, and close the window when its time is over."""
        with self._lock:
            self._take_in(now_s)
            if now_s >= self._ends_s:
                self._close(self._ends_s)
                self._started_s = np.floor(now_s / self.configuration.window_s) * self.configuration.window_s

    def close_window(self, now_s: float) -> None:
        """Take in what the stream holds, and close the window before its time."""
        with self._lock:
            self._take_in(now_s)
            self._close(now_s)
            self._started_s = now_s

    def note(self, deployment: str, measured: Summary) -> None:
        """Add what was measured, recall or drift, to the present window."""
        with self._lock:
            self._present[deployment] = self._present.get(deployment, Summary()) + measured
            self.measured[deployment] = self.measured.get(deployment, Summary()).followed_by(measured)

    def closed(self) -> list[Span]:
        """Take out the windows that are to be stored."""
        with self._lock:
            return [self._closed.popleft() for _ in range(len(self._closed))]

    def unstored(self, now_s: float) -> list[Span]:
        """Return what is not stored yet, the present window included, and leave it where it is."""
        with self._lock:
            self._take_in(now_s)
            present = [Span(name, self._started_s, now_s, found) for name, found in self._present.items()]
            return [*self._closed, *present]

    def put_back(self, windows: list[Span]) -> None:
        """Keep windows that could not be stored for the next time."""
        with self._lock:
            room = MAX_CLOSED - len(self._closed)
            self._closed.extendleft(reversed(windows[max(0, len(windows) - room) :]))

    def samples(self) -> dict[str, Samples]:
        """Return the samples by deployment; hold `locked` while they are used."""
        return self._samples

    def keep_only(self, deployments: Collection[str]) -> None:
        """Free the samples of all other deployments."""
        with self._lock:
            self._samples = {name: samples for name, samples in self._samples.items() if name in deployments}

    @property
    def locked(self) -> threading.Lock:
        return self._lock

    @property
    def _ends_s(self) -> float:
        length = self.configuration.window_s
        return float((np.floor(self._started_s / length) + 1) * length)

    def _take_in(self, now_s: float) -> None:
        observations = self._stream.fetch()
        found = summarise(observations, self._far)
        left_out = self._stream.n_left_out - self._n_left_out
        if left_out:
            self._n_left_out += left_out
            name = next(iter(found), "")
            found[name] = found.get(name, Summary()) + Summary(n_left_out=left_out)
        for deployment, summary in found.items():
            self._present[deployment] = self._present.get(deployment, Summary()) + summary
            self.totals[deployment] = self.totals.get(deployment, Summary()) + summary
        by_deployment: dict[str, list[Observation]] = {}
        for observation in observations:
            if isinstance(observation, SAMPLED):
                by_deployment.setdefault(observation.deployment, []).append(observation)
        season = season_of(now_s, self.configuration.drift_season)
        for deployment, own in by_deployment.items():
            self._samples_of(deployment).add(own, season)
        if self.configuration.sample_rate is None and now_s > self._drained_s:
            n_requests = sum(isinstance(one, (Searched, Predicted)) for one in observations)
            per_s = n_requests / (now_s - self._drained_s)
            self._stream.sample_rate = min(1.0, VECTORS_PER_S / per_s) if per_s > 0 else 1.0
        self._drained_s = now_s

    def _close(self, ended_s: float) -> None:
        for deployment, summary in self._present.items():
            if not summary.is_empty:
                self._closed.append(Span(deployment, self._started_s, ended_s, summary))
        self._present = {}

    def _samples_of(self, deployment: str) -> Samples:
        if deployment not in self._samples:
            chosen = self.configuration
            capacity = max(chosen.drift_rows, chosen.baseline_rows)
            self._samples[deployment] = Samples(capacity, chosen.drift_rows, chosen.recall_queries, self._rng)
        return self._samples[deployment]

    def reconfigure(self, configuration: Configuration) -> None:
        """Watch differently from now on; samples that wait are kept where their sizes and seasons are."""
        with self._lock:
            kept_by = ("drift_rows", "baseline_rows", "recall_queries", "drift_season")
            if any(getattr(configuration, name) != getattr(self.configuration, name) for name in kept_by):
                self._samples = {}
            if configuration.sample_rate is not None:
                self._stream.sample_rate = configuration.sample_rate
            self.configuration = replace(configuration)
