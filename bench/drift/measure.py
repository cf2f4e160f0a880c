"""False alarms, power and time of Roost's detectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.drift.data import Indices, Pool
from roost.lifecycle.drift import ChiSquare, Detector, make_detector

T = TypeVar("T")

NAMES = ("classifier", "mmd", "ks", "psi", "mean", "norm", "chi_square")
ALPHA = 0.05
WINDOWS_OF_ONE_REFERENCE = 10


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        windows: null windows tested against one reference; other tools get the first `peer_windows` of them.
        fresh: null windows tested against references that are drawn anew every ten windows.
        trials: spoiled windows of each size.
    """

    windows: int = 100
    fresh: int = 100
    trials: int = 10
    peer_windows: int = 50
    n_reference: int = 4_000
    n_window: int = 100
    sizes: tuple[int, ...] = (50, 100, 200, 400)


FULL = Plan(windows=2_000, fresh=2_000, trials=20, peer_windows=250)


@dataclass(frozen=True)
class Alarms:
    """What one detector did.

    Attributes:
        p_values: of null windows, by which reference: "one" or "fresh".
        power: share of alarms by corruption and size of the window.
        test_ms: median time of a test of a null window; make_ms of making the detector.
        rule: share of null windows that the rule of thumb would have called drift, for PSI alone.
    """

    p_values: Mapping[str, Sequence[float]]
    power: Mapping[str, Mapping[int, float]]
    test_ms: float
    make_ms: float
    rule: float | None = None

    def rate(self, reference: str) -> float:
        return float(np.mean(np.array(self.p_values[reference]) <= ALPHA))


def rows_of(name: str, pool: Pool, chosen: Indices) -> npt.NDArray[Any]:
    return pool.categories[chosen] if name == ChiSquare.name else pool.vectors[chosen]


def timed(call: Callable[..., T], *arguments: Any, **options: Any) -> tuple[T, float]:
    """Return what the call returned, and the milliseconds that it took."""
    started = time.perf_counter()
    result = call(*arguments, **options)
    return result, (time.perf_counter() - started) * 1e3


def null_windows(pool: Pool, plan: Plan) -> list[Indices]:
    """Return windows without a row of the one reference, which is the pool's first rows.

    The rest of the pool is cut into windows that share no row; when it is used up it is shuffled and cut again.
    """
    rest = np.arange(plan.n_reference, len(pool.vectors))
    rng = np.random.default_rng(13)
    windows: list[Indices] = []
    while len(windows) < plan.windows:
        n = len(rest) // plan.n_window
        windows += np.split(rest[: n * plan.n_window], n)
        rest = rng.permutation(rest)
    return windows[: plan.windows]


def fresh_draws(pool: Pool, plan: Plan, seed: int = 7) -> list[tuple[Indices, list[Indices]]]:
    """Return references with ten windows each, all drawn anew from the pool; none shares a row with its windows."""
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(plan.fresh // WINDOWS_OF_ONE_REFERENCE):
        n = plan.n_reference + WINDOWS_OF_ONE_REFERENCE * plan.n_window
        chosen = rng.choice(len(pool.vectors), n, replace=False)
        draws.append(
            (chosen[: plan.n_reference], np.split(chosen[plan.n_reference :], WINDOWS_OF_ONE_REFERENCE)),
        )
    return draws


def spoiled_windows(pool: Pool, plan: Plan, corruption: str, size: int) -> list[tuple[npt.NDArray[Any], ...]]:
    """Return the vectors and the categories of `trials` spoiled windows, none with a row of the one reference."""
    rng = np.random.default_rng([size, sorted(pool.corruptions).index(corruption)])
    left = np.arange(plan.n_reference, len(pool.vectors))
    spoil = pool.corruptions[corruption].rows
    return [spoil(rng.choice(left, size, replace=False), rng) for _ in range(plan.trials)]


def power_of(detectors: Mapping[str, Detector], pool: Pool, plan: Plan) -> dict[str, dict[str, dict[int, float]]]:
    """Return the share of alarms by detector, corruption and size of the window."""
    found: dict[str, dict[str, dict[int, float]]] = {name: {} for name in detectors}
    for corruption in pool.corruptions:
        for size in plan.sizes:
            windows = spoiled_windows(pool, plan, corruption, size)
            for name, detector in detectors.items():
                alarms = [detector.test(c if name == ChiSquare.name else v).is_drift for v, c in windows]
                found[name].setdefault(corruption, {})[size] = float(np.mean(alarms))
    return found


def measure(pool: Pool, plan: Plan) -> dict[str, Alarms]:
    """Return what each detector does on the pool."""
    reference = np.arange(plan.n_reference)
    made = {name: timed(make_detector, name, rows_of(name, pool, reference), alpha=ALPHA) for name in NAMES}
    detectors: dict[str, Detector] = {name: detector for name, (detector, _) in made.items()}
    windows = null_windows(pool, plan)
    tests = {name: [timed(detectors[name].test, rows_of(name, pool, w)) for w in windows] for name in NAMES}
    fresh: dict[str, list[float]] = {name: [] for name in NAMES}
    for k, (rows, own) in enumerate(fresh_draws(pool, plan)):
        for name in NAMES:
            detector = make_detector(name, rows_of(name, pool, rows), alpha=ALPHA, seed=k)
            fresh[name] += [detector.test(rows_of(name, pool, window)).p_value for window in own]
    power = power_of(detectors, pool, plan)
    rule = float(np.mean([r.details["rule_of_thumb"] != "stable" for r, _ in tests["psi"]]))
    return {
        name: Alarms(
            p_values={"one": [r.p_value for r, _ in tests[name]], "fresh": fresh[name]},
            power=power[name],
            test_ms=median(ms for _, ms in tests[name]),
            make_ms=made[name][1],
            rule=rule if name == "psi" else None,
        )
        for name in NAMES
    }
