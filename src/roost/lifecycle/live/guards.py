"""What this process sees of a test's deployments, and whether they keep the test's guardrails.

Every process watches its own traffic: a test is stopped as soon as one of them sees a guardrail
broken, without waiting for the store.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from roost.address import without_secrets
from roost.lifecycle.live.guardrails import Observation, Watch, baseline_size
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.livetest import SampleRatioTest

if TYPE_CHECKING:
    from roost.lifecycle.serving.traffic import Target

_log = logging.getLogger(__name__)

_LATENCIES_KEPT = 500


@dataclass(slots=True)
class Seen:
    """What was seen of one deployment; latencies in milliseconds, the last ones alone."""

    n: int = 0
    n_errors: int = 0
    n_empty: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))
    agreement: float = 0.0
    n_compared: int = 0

    @property
    def latency_ms(self) -> float | None:
        return median(self.latencies_ms) if self.latencies_ms else None

    @property
    def mean_agreement(self) -> float | None:
        return self.agreement / self.n_compared if self.n_compared else None


class Guards:
    """Watches the deployments of one test in this process. Safe to use from any thread."""

    def __init__(self, plan: Plan, champion: str) -> None:
        self._champion = champion
        self._lock = threading.Lock()
        self._seen = {name: Seen() for name in (champion, *plan.challengers)}
        rails = [rail for rail in plan.guardrails if rail.kind != "sample_ratio"]
        self._watches = {name: Watch.over(rails) for name in plan.challengers} if rails else {}
        needed = [baseline_size(rail.percentile) for rail in rails if rail.kind == "ratio"]
        self._seen[champion].latencies_ms = deque(maxlen=max(_LATENCIES_KEPT, *needed, 0))
        self._ratio = SampleRatioTest() if len(rails) < len(plan.guardrails) else None
        self._assigned: set[str] = set()
        self._logged: set[tuple[str, type[Exception]]] = set()
        self.breach: str | None = None
        """Who broke which guardrail, and how; None while all are kept."""

    @property
    def wants_recall(self) -> bool:
        """Whether answers are to be compared with an exact search now and then."""
        return any(watch.wants_recall for watch in self._watches.values())

    def see(self, name: str, observation: Observation) -> None:
        """Take an observation of a deployment."""
        with self._lock:
            seen = self._seen[name]
            if observation.recall is None:
                seen.n += 1
                seen.n_errors += observation.error
                seen.n_empty += observation.n_results == 0
                if observation.latency_ms is not None:
                    seen.latencies_ms.append(observation.latency_ms)
            watch = self._watches.get(name)
            if watch is None:
                return
            if watch.waits_for_baseline:
                watch = watch.with_baseline(self._seen[self._champion].latencies_ms)
            self._watches[name] = watch = watch.observe(observation)
            if watch.breach is not None and self.breach is None:
                self.breach = f"{name} broke {watch.breach}"

    def failed(self, target: Target, n_queries: int, error: Exception) -> None:
        """Take queries that the champion answered and a challenger did not, whatever its error.

        The first error of each kind is logged.
        """
        deployment = target.deployment
        kind = (deployment.name, type(error))
        with self._lock:
            is_new = kind not in self._logged
            self._logged.add(kind)
        if is_new:
            _log.warning(
                "challenger %r of %r cannot answer what the champion answers; more of the kind is only counted: %s",
                deployment.name,
                deployment.endpoint,
                without_secrets(str(error)),
            )
        for _ in range(n_queries):
            self.see(deployment.name, Observation(error=True))

    def compare(self, name: str, agreement: float) -> None:
        """Take the share of a challenger's results that the champion has too."""
        with self._lock:
            seen = self._seen[name]
            seen.agreement += agreement
            seen.n_compared += 1

    def assigned(self, weights: Mapping[str, float], arm: str, user: str | None = None) -> None:
        """Take a unit that came to an arm, with the weights under which it was assigned.

        Args:
            user: who keeps the arm on coming back, and is one draw however often that is; None for a query alone.
        """
        if self._ratio is None:
            return
        with self._lock:
            if user is not None:
                if user in self._assigned:
                    return
                self._assigned.add(user)
            self._ratio.add(weights, arm)
            if self._ratio.mismatch and self.breach is None:
                counts = ", ".join(f"{name} {count}" for name, count in self._ratio.counted.items())
                self.breach = f"the split broke sample_ratio: its units are {counts}"

    def seen(self) -> dict[str, Seen]:
        """Return what was seen of each deployment."""
        with self._lock:
            return {
                name: Seen(s.n, s.n_errors, s.n_empty, s.latencies_ms.copy(), s.agreement, s.n_compared)
                for name, s in self._seen.items()
            }
