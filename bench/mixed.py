"""Two threads search while a third inserts a batch a second and looks for one of its rows until it is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.arrays import FloatArray, IntArray, RealArray
from bench.filters import COLUMNS
from bench.systems.base import System
from bench.work import Work

SEARCHERS = 2
APART = 500
"""How far apart in the list of queries the threads begin."""

INTERVAL_S = 1.0
LOOK_S = 5.0
"""A row that is not found for so long counts as not found."""


def search_beside(
    ask: Callable[[int], object], seconds: float, each_interval: Callable[[], object] | None = None
) -> RealArray:
    """Search by two threads for some seconds, and do something else every INTERVAL_S in this one.

    What takes longer than the interval is begun again at once.

    Args:
        ask: carries out the search of a number; it is called from both threads at once.
    Returns: (n_searches, 2) the second that each search began in, and how long it took, in the order of beginning.
    """
    began = time.perf_counter()

    def search(number: int) -> list[tuple[float, float]]:
        times = []
        while (before := time.perf_counter() - began) < seconds:
            ask(number)
            times.append((before, time.perf_counter() - began - before))
            number += 1
        return times

    with ThreadPoolExecutor(SEARCHERS) as pool:
        running = [pool.submit(search, APART * i) for i in range(SEARCHERS)]
        due = 0.0
        while each_interval is not None and time.perf_counter() - began < seconds:
            each_interval()
            due += INTERVAL_S
            time.sleep(max(0.0, min(due, seconds) - (time.perf_counter() - began)))
        found = np.array([times for future in running for times in future.result()]).reshape(-1, 2)
    return found[np.argsort(found[:, 0], kind="stable")]


def quantiles_per_second(searches: RealArray, seconds: float) -> RealArray:
    """Return p50 and p99 in milliseconds of the searches that began in each second ((n, 2)); nan where none did."""
    found = np.full((max(1, int(seconds)), 2), np.nan)
    for second in range(len(found)):
        took = searches[(searches[:, 0] >= second) & (searches[:, 0] < second + 1), 1]
        if len(took):
            found[second] = np.quantile(took, (0.5, 0.99)) * 1e3
    return found


class FreshRows:
    """Rows that no query has met: the work's own, shifted by a pixel for each time round."""

    def __init__(self, work: Work) -> None:
        self.work, self.n_given = work, 0
        self.rng = np.random.default_rng(work.plan.seed)

    def next_batch(self) -> tuple[IntArray, FloatArray, Mapping[str, IntArray]]:
        """Return keys that follow those of the work, vectors and columns."""
        plan, start = self.work.plan, self.n_given
        numbers = np.arange(start, start + plan.batch_rows)
        self.n_given += plan.batch_rows
        shifted = np.roll(self.work.vectors[numbers % plan.rows], 1 + start // plan.rows, axis=1)
        return plan.rows + numbers, shifted, {n: self.rng.integers(0, plan.rows, len(numbers)) for n in COLUMNS}


@dataclass
class Inserting:
    """Inserts the next batch when it is called, and looks for its last row.

    Attributes:
        insert_s: of each call.
        found_s: from the return of each insert until a search for the row's own vector has returned it; None where
            that took longer than LOOK_S.
        looks: searches until then.
    """

    system: System
    rows: FreshRows
    insert_s: list[float] = field(default_factory=list)
    found_s: list[float | None] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)

    def __call__(self) -> None:
        keys, vectors, columns = self.rows.next_batch()
        prepared = self.system.prepare(keys, vectors, columns)
        start = time.perf_counter()
        self.system.insert(prepared)
        returned = time.perf_counter()
        self.insert_s.append(returned - start)
        self._look(int(keys[-1]), vectors[-1], returned)

    def _look(self, key: int, vector: FloatArray, returned: float) -> None:
        found, looks, spent = False, 0, 0.0
        while not found and spent < LOOK_S:
            found = key in self.system.search(vector)
            looks, spent = looks + 1, time.perf_counter() - returned
        self.found_s.append(spent if found else None)
        self.looks.append(looks)


@dataclass(frozen=True)
class MixedLoad:
    """What was measured: searches as `search_beside` gives them, and the calls of the inserting thread."""

    quiet: RealArray
    busy: RealArray
    busy_s: float
    inserting: Inserting

    def calls(self) -> dict[str, Any]:
        inserting = self.inserting
        return {
            "busy_s": self.busy_s,
            "rows": inserting.rows.n_given,
            "insert_s": inserting.insert_s,
            "found_s": inserting.found_s,
            "looks": inserting.looks,
        }


def measure_mixed(work: Work, system: System, busy_s: float) -> MixedLoad:
    """Search an open system that holds the work's rows alone, and then beside inserts."""

    def ask(number: int) -> object:
        return system.search(work.queries[number % len(work.queries)])

    search_beside(ask, min(2.0, work.plan.quiet_s))
    quiet = search_beside(ask, work.plan.quiet_s)
    inserting = Inserting(system, FreshRows(work))
    return MixedLoad(quiet, search_beside(ask, busy_s, inserting), busy_s, inserting)
