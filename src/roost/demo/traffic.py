"""A client that searches without pause, and what it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from types import TracebackType

import numpy as np
import numpy.typing as npt

from roost.demo.images import Pixels

_N_MESSAGES = 5
"""Failures whose text is kept; all are counted."""


@dataclass(frozen=True)
class Trace:
    """What a client saw, query by query in the order in which it sent them.

    Attributes:
        started_s: (n,) float64, seconds on the clock of the client when each query was sent.
        latency_s: (n,) float64, seconds until its answer or its failure.
        deployments: (n,) names of the champion that answered; empty text for a failed query.
        messages: the first few failures in words.
    """

    started_s: npt.NDArray[np.float64]
    latency_s: npt.NDArray[np.float64]
    deployments: npt.NDArray[np.str_]
    messages: tuple[str, ...] = ()

    @property
    def answered_mask(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.deployments != "", dtype=np.bool_)

    @property
    def n_queries(self) -> int:
        return len(self.started_s)

    @property
    def n_failed(self) -> int:
        return int((~self.answered_mask).sum())

    def longest_gap_s(self, begin_s: float, end_s: float) -> float:
        """Return the longest time without an answer, among the gaps that touch [begin_s, end_s].

        Returns: seconds between two answers that followed each other; inf where there were none
            on both sides.
        """
        done = (self.started_s + self.latency_s)[self.answered_mask]
        first = int(np.searchsorted(done, begin_s, side="right")) - 1
        last = int(np.searchsorted(done, end_s, side="left"))
        if first < 0 or last >= len(done):
            return float("inf")
        return float(np.diff(done[first : last + 1]).max(initial=0.0))


class BackgroundClient:
    """Searches with one image after the other, in a thread of its own, until it is closed.

    `search` takes an image and returns the name of the deployment that answered; an exception is a
    failed query.
    """

    def __init__(self, search: Callable[[Pixels], str], images: Pixels) -> None:
        self._search = search
        self._images = images
        self._rows: list[tuple[float, float, str]] = []
        self._messages: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roost-demo-client", daemon=True)

    def __enter__(self) -> BackgroundClient:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the query under way and end the thread."""
        self._stop.set()
        self._thread.join()

    @property
    def n_queries(self) -> int:
        """Queries sent and answered, or failed, until now."""
        return len(self._rows)

    def trace(self) -> Trace:
        """Return what the client has seen until now; may be called while it runs."""
        rows = self._rows[:]
        started, latency, deployments = zip(*rows, strict=True) if rows else ((), (), ())
        return Trace(
            np.asarray(started, dtype=np.float64),
            np.asarray(latency, dtype=np.float64),
            np.asarray(deployments, dtype=np.str_),
            tuple(self._messages),
        )

    def _run(self) -> None:
        for image in cycle(self._images):
            if self._stop.is_set():
                return
            begin = perf_counter()
            deployment = ""
            try:
                deployment = self._search(image)
            except Exception as error:  # whatever it was, a user got no answer
                if len(self._messages) < _N_MESSAGES:
                    self._messages.append(f"{type(error).__name__}: {error}")
            self._rows.append((begin, perf_counter() - begin, deployment))
