"""What monitoring costs a search: queries through an endpoint with its monitor on and off, in turns, in one process.

    python -m bench.monitoring

Prints the ratio of the two, the median over the pairs of turns, on the clock and in processor time of all threads:
the second says more on a machine that does other work. Recall and drift, which are measured now and then, are apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

import roost
from roost.lifecycle.serving.search_endpoint import SearchEndpoint

Queries: TypeAlias = npt.NDArray[np.float32]

ENDPOINT = "bench"
N_ROWS, DIM = 10_000, 32
SETTLED_S = 1.5
"""After this the thread has done what it does once, when an endpoint begins to be watched."""


def endpoint_of(ws: roost.Workspace, rng: np.random.Generator) -> tuple[SearchEndpoint, Queries]:
    """Return an endpoint over random rows, and queries."""
    rows = rng.normal(size=(N_ROWS, 2 * DIM)).astype(np.float32)
    model = ws.models.register("bench", roost.SklearnEmbedder(PCA(DIM).fit(rows[:2_000])))
    endpoint = ws.endpoints.create(ENDPOINT)
    endpoint.promote(endpoint.deploy(model, ({"id": i, "content": row} for i, row in enumerate(rows))), reason="bench")
    return endpoint, rng.normal(size=(1_000, 2 * DIM)).astype(np.float32)


@dataclass(frozen=True)
class Turn:
    """What some queries took, one after the other: on the clock, and of the processor in all threads together."""

    wall_s: float
    cpu_s: float


def turn(endpoint: SearchEndpoint, queries: Queries, n_queries: int) -> Turn:
    """Ask so many queries."""
    wall, cpu = time.perf_counter(), time.process_time()
    for place in range(n_queries):
        endpoint.search(queries[place % len(queries)])
    return Turn(time.perf_counter() - wall, time.process_time() - cpu)


def pair(ws: roost.Workspace, endpoint: SearchEndpoint, queries: Queries, n_queries: int, first: bool) -> list[Turn]:
    """Return a turn without a monitor and one with it, taken in either order."""
    turns = {}
    for is_on in (first, not first):
        if is_on:
            ws.monitors.watch(ENDPOINT)
            time.sleep(SETTLED_S)
        turns[is_on] = turn(endpoint, queries, n_queries)
        if is_on:
            ws.monitors.unwatch(ENDPOINT)
    return [turns[False], turns[True]]


def cost_of_checks(ws: roost.Workspace, endpoint: SearchEndpoint, queries: Queries) -> float:
    """Return the processor seconds of one measurement of recall on 50 queries and one drift test."""
    ws.monitors.watch(ENDPOINT, baseline_rows=500, sample_rate=1.0)
    for _ in range(2):
        turn(endpoint, queries, 600)
        started = time.process_time()
        ws.monitors.check_now(ENDPOINT)
        spent = time.process_time() - started
    ws.monitors.unwatch(ENDPOINT)
    return spent


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--queries", type=int, default=1000, help="of each turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, roost.Workspace(Path(home)) as ws:
        endpoint, queries = endpoint_of(ws, np.random.default_rng(0))
        turn(endpoint, queries, options.queries)
        pairs = [pair(ws, endpoint, queries, options.queries, bool(n % 2)) for n in range(options.pairs)]
        checks_s = cost_of_checks(ws, endpoint, queries)
    print(f"one query without a monitor: {median(off.cpu_s for off, _ in pairs) / options.queries * 1e6:.0f} us of CPU")
    for name in ("cpu_s", "wall_s"):
        ratios = [getattr(on, name) / getattr(off, name) for off, on in pairs]
        low, high = np.quantile(ratios, [0.25, 0.75])
        print(
            f"with a monitor, {name}: {median(ratios):.3f} of that (middle half of the pairs: {low:.3f} to {high:.3f})"
        )
    print(f"one measurement of recall on 50 queries and one drift test: {checks_s:.2f} s of CPU in the background")


if __name__ == "__main__":
    main()
