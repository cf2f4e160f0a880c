"""Random parts of what an endpoint was asked, kept until they are tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from roost.lifecycle.monitor.recall import Asked
from roost.lifecycle.serving.tap import Observation, Predicted, Searched, Written

MAX_RECALL_LIMIT = 1_000
"""Queries that ask for more neighbours are not sampled for recall."""

MAX_ROWS_OF_A_BATCH = 64
"""Rows that a sample looks at of one request, so that large ones take no longer."""

SAMPLED = (Searched, Predicted, Written)
"""The observations that bring something to sample."""

_T = TypeVar("_T")


class Sample(Generic[_T]):
    """A uniform sample of all that was added since it was emptied.

    Source: Vitter 1985, algorithm R.
    """

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self.capacity = capacity
        self.n_seen = 0
        self.items: list[_T] = []
        self._rng = rng

    def add(self, items: Sequence[_T]) -> None:
        n_free = self.capacity - len(self.items)
        if n_free > 0:
            self.items.extend(items[:n_free])
            self.n_seen += len(items[:n_free])
            items = items[n_free:]
        if items:
            places = self._rng.integers(np.arange(self.n_seen + 1, self.n_seen + len(items) + 1))
            for number in np.flatnonzero(places < self.capacity):
                self.items[int(places[number])] = items[int(number)]
            self.n_seen += len(items)

    def take(self, n: int | None = None) -> list[_T]:
        """Return the items, or `n` of them at random, and begin anew."""
        taken, self.items, self.n_seen = self.items, [], 0
        if n is None or len(taken) <= n:
            return taken
        return [taken[int(place)] for place in self._rng.choice(len(taken), n, replace=False)]


class Samples:
    """What was sampled of one deployment's traffic.

    Attributes:
        queries: query vectors, or rows to predict, by season of drift.
        predictions: classes or numbers, by season of drift.
        served: the query vectors, or rows to predict, of all seasons; what the model was trained on has none.
        written: vectors that were written.
        distances: of first hits.
        asked: queries with what they asked for, for recall.
    """

    def __init__(self, capacity: int, drift_rows: int, recall_queries: int, rng: np.random.Generator) -> None:
        self._capacity = capacity
        self._rng = rng
        self.queries: dict[str, Sample[npt.NDArray[Any]]] = {}
        self.predictions: dict[str, Sample[Any]] = {}
        self.served: Sample[npt.NDArray[Any]] = Sample(drift_rows, rng)
        self.written: Sample[npt.NDArray[Any]] = Sample(capacity, rng)
        self.distances: Sample[float] = Sample(capacity, rng)
        self.asked: Sample[Asked] = Sample(recall_queries, rng)

    def add(self, observations: Sequence[Observation], season: str = "") -> None:
        """Take observations of the deployment in, which are of one season of drift."""
        best: list[float] = []
        asked: list[Asked] = []
        rows: list[npt.NDArray[Any]] = []
        predictions: list[Any] = []
        for observation in observations:
            if isinstance(observation, Searched):
                best += observation.best
                if observation.vectors is not None:
                    copies = self._copies(observation.vectors)
                    rows += copies
                    if 1 <= observation.query.limit <= MAX_RECALL_LIMIT:
                        asked += [Asked(vector, observation.query) for vector in copies]
            elif isinstance(observation, Predicted):
                predictions += list(observation.values)
                if (
                    observation.rows is not None
                    and observation.rows.ndim == 2
                    and observation.rows.dtype.kind in "fiub"
                ):
                    rows += self._copies(observation.rows)
            elif isinstance(observation, Written):
                self.written.add(self._copies(observation.vectors))
        for of_seasons, items in ((self.queries, rows), (self.predictions, predictions)):
            if items:
                of_seasons.setdefault(season, Sample(self._capacity, self._rng)).add(items)
        self.served.add(rows)
        self.asked.add(asked)
        self.distances.add([distance for distance in best if distance == distance])

    def _copies(self, rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return rows of a batch as arrays of their own: a view would keep the whole batch in memory."""
        if len(rows) > MAX_ROWS_OF_A_BATCH:
            rows = rows[self._rng.choice(len(rows), MAX_ROWS_OF_A_BATCH, replace=False)]
        return [row.copy() for row in rows]
