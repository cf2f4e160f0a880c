"""Detectors of other tools on the same windows, each tool in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.drift.data import Pool
from bench.drift.measure import Plan, null_windows, spoiled_windows
from bench.environments import make

REQUIREMENTS = {
    "alibi-detect": ("alibi-detect==0.13.0",),
    "evidently": ("evidently==0.6.7", "numpy<2.1", "pandas<3"),
}
WORKER = Path(__file__).with_name("peer_worker.py")


@dataclass(frozen=True)
class PeerAlarms:
    """What one detector of another tool did: shares of alarms on null and on spoiled windows, and its time."""

    null: float
    n_null: int
    power: dict[str, float]
    test_ms: float


def python_of(tool: str) -> Path | None:
    """Return the tool's Python: the one that ROOST_BENCH_PYTHON_<TOOL> names, or one that is installed for it."""
    named = os.environ.get("ROOST_BENCH_PYTHON_" + tool.upper().replace("-", "_"))
    if named:
        return Path(named)
    try:
        return make(tool, REQUIREMENTS)
    except subprocess.CalledProcessError as error:
        print(f"{tool} is left out: {error}")
        return None


def measure_peer(tool: str, pool: Pool, plan: Plan, n_null: int, n_spoiled: int) -> dict[str, PeerAlarms]:
    """Run a tool's detectors on the first of the windows that Roost's were run on; none where it cannot run."""
    python = python_of(tool)
    if python is None:
        return {}
    arrays = {
        "reference": pool.vectors[: plan.n_reference],
        "null": np.array([pool.vectors[window] for window in null_windows(pool, plan)[:n_null]]),
    }
    for name in pool.corruptions:
        windows = spoiled_windows(pool, plan, name, plan.n_window)[:n_spoiled]
        arrays[name] = np.array([vectors for vectors, _ in windows])
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "windows.npz"), Path(folder, "alarms.json")
        np.savez(source, **arrays)  # type: ignore[arg-type]
        try:
            subprocess.run([python, WORKER, tool, source, target], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{tool} is left out: {error}")
            return {}
        found = json.loads(target.read_text())
    return {
        f"{tool}: {name}": PeerAlarms(
            null=alarms["alarms"].pop("null"),
            n_null=len(arrays["null"]),
            power=alarms["alarms"],
            test_ms=alarms["test_ms"],
        )
        for name, alarms in found.items()
    }


def parse_peers(text: str) -> Sequence[str]:
    """Return the tools that the text names. Raises: SystemExit: there is no tool of that name."""
    named = list(REQUIREMENTS) if text == "all" else text.replace(",", " ").split()
    unknown = sorted(set(named) - set(REQUIREMENTS))
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are: {' '.join(REQUIREMENTS)}, or all")
    return named
