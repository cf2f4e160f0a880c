"""Measuring a bridge against keeping the old model, on queries that it was not fitted on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument
from roost.lifecycle.bridge.answers import Bridge
from roost.lifecycle.bridge.maps import SpaceMap
from roost.lifecycle.livetest import MeanTest
from roost.lifecycle.serving.traffic import Hit, Query

Relevance: TypeAlias = Callable[[int, Sequence[Hit]], Sequence[float]]
"""Gives the gain, from 0 to 1, of each hit for the query of that number."""

MIN_QUERIES = 30
_KEPT = ("accepted", "difference", "interval", "n_queries", "old_quality", "bridge_quality", "alpha", "limit")


@dataclass(frozen=True, slots=True)
class BridgeReport:
    """How a bridge did against keeping the old model.

    Attributes:
        accepted: whether the whole interval of the difference is above zero.
        difference: mean over the queries of the bridge's quality minus the old model's.
        interval: of the difference, at the level 1 - alpha.
        old_quality: mean gain of the old model's first `limit` hits, from 0 to 1.
        bridge_quality: likewise of the bridge's.
        old_ms: median time of one query by the old model, in milliseconds.
        bridge_ms: likewise by the bridge, the contents of its candidates fetched and embedded.
        map: what was fitted, and how near each kind of map came.
        bridge: None where it was refused.
    """

    accepted: bool
    difference: float
    interval: tuple[float, float]
    n_queries: int
    old_quality: float
    bridge_quality: float
    old_ms: float
    bridge_ms: float
    alpha: float
    limit: int
    map: SpaceMap
    bridge: Bridge | None

    def as_evidence(self) -> dict[str, Any]:
        """Return what the ledger keeps of the measurement."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return {**kept, "interval": list(self.interval), "map": self.map.kind}

    def __str__(self) -> str:
        low, high = self.interval
        verdict = "is better than" if self.accepted else "is not shown to be better than"
        return (
            f"the bridge {verdict} the old model on {self.n_queries} held-out queries: "
            f"{self.bridge_quality:.3f} against {self.old_quality:.3f}, difference {self.difference:+.3f} "
            f"({1 - self.alpha:.0%} interval {low:+.3f} to {high:+.3f}), {self.bridge_ms:.1f} ms against "
            f"{self.old_ms:.1f} ms a query"
        )


def compare(
    bridge: Bridge,
    search_old: Callable[[Any, Query], tuple[Hit, ...]],
    queries: Sequence[Any] | npt.NDArray[Any],
    relevance: Relevance,
    query: Query,
    alpha: float,
) -> BridgeReport:
    """Ask both every query and compare the quality of what they find.

    Args:
        search_old: answers one content as the endpoint does today.
        queries: contents that the bridge was not fitted on; an independent sample of the traffic.
    Raises: InvalidArgument: there are fewer than `MIN_QUERIES`, or a gain is not between 0 and 1.
    """
    if len(queries) < MIN_QUERIES:
        raise InvalidArgument(f"a bridge is measured on at least {MIN_QUERIES} held-out queries, not {len(queries)}")
    if not 0.0 < alpha < 1.0:
        raise InvalidArgument(f"alpha must lie between 0 and 1, not {alpha}")
    qualities = np.empty((len(queries), 2))
    seconds = np.empty((len(queries), 2))
    for number, content in enumerate(queries):
        started = time.perf_counter()
        old = search_old(content, query)
        middle = time.perf_counter()
        bridged = bridge.search([content], query)[0]
        seconds[number] = middle - started, time.perf_counter() - middle
        qualities[number] = _quality(relevance, number, old, query), _quality(relevance, number, bridged, query)
    difference = qualities[:, 1] - qualities[:, 0]
    interval = _interval(difference, alpha)
    old_ms, bridge_ms = np.median(seconds, axis=0) * 1000.0
    accepted = interval[0] > 0.0
    return BridgeReport(
        accepted=accepted,
        difference=float(difference.mean()),
        interval=interval,
        n_queries=len(queries),
        old_quality=float(qualities[:, 0].mean()),
        bridge_quality=float(qualities[:, 1].mean()),
        old_ms=float(old_ms),
        bridge_ms=float(bridge_ms),
        alpha=alpha,
        limit=query.limit,
        map=bridge.map,
        bridge=bridge if accepted else None,
    )


def _quality(relevance: Relevance, number: int, hits: Sequence[Hit], query: Query) -> float:
    """Return the mean gain of the places that were asked for; an empty place has none."""
    gains = [float(gain) for gain in relevance(number, hits)]
    if len(gains) != len(hits) or not all(0.0 <= gain <= 1.0 for gain in gains):
        raise InvalidArgument(f"relevance must give one gain from 0 to 1 for each of {len(hits)} hits, not {gains}")
    return sum(gains) / query.limit


def _interval(differences: npt.NDArray[np.float64], alpha: float) -> tuple[float, float]:
    """Return an interval for the mean difference that holds at any number of queries, and assumes only its range.

    Source: see `MeanTest`.
    """
    test = MeanTest(low=-1.0, high=1.0)
    for difference in differences:
        test.add(float(difference))
    return test.effect_interval(alpha)
