"""Measure the drift detectors: python -m bench.drift [--full] [--peers all] [--plots FOLDER]."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.drift import report
from bench.drift.data import POOLS
from bench.drift.measure import FULL, Alarms, Plan, measure
from bench.drift.peers import PeerAlarms, measure_peer, parse_peers
from bench.environments import REPOSITORY

RESULTS = REPOSITORY / "bench" / "results"
SLOW = frozenset({"evidently"})
"""Tools that take seconds for a window and get fewer of them."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="2,000 null windows of each kind, 20 of each corruption and size"
    )
    parser.add_argument("--peers", default="", help="alibi-detect, evidently, or all")
    parser.add_argument("--data", default=" ".join(POOLS), help="images, texts (%(default)s)")
    parser.add_argument("--plots", type=Path, default=RESULTS, help="folder to write the plots into (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the rows, and so of all that is drawn")
    options = parser.parse_args(arguments)
    tools, plan = parse_peers(options.peers), FULL if options.full else Plan()
    options.plots.mkdir(parents=True, exist_ok=True)
    pools = {name: POOLS[name](options.seed) for name in options.data.replace(",", " ").split()}
    found: dict[str, dict[str, Alarms]] = {}
    peers: dict[str, dict[str, PeerAlarms]] = {}
    for name, pool in pools.items():
        print(f"{name}: {len(pool.vectors)} rows", flush=True)
        found[name] = measure(pool, plan)
        peers[name] = {}
        for tool in tools:
            n_null = plan.peer_windows * 2 // 5 if tool in SLOW else plan.peer_windows
            n_spoiled = plan.trials // 4 if tool in SLOW else plan.trials
            peers[name] |= measure_peer(tool, pool, plan, n_null, n_spoiled)
    tables = [report.null_table(found, peers)]
    for name, pool in pools.items():
        tables += [
            report.power_table(pool, found[name], peers[name], plan.n_window),
            report.queries_table(pool, found[name]),
        ]
        rule = found[name]["psi"].rule
        tables.append(f"PSI over 0.1, the rule of thumb, on null windows of {plan.n_window} {name}: {rule:.0%}")
    print("\n" + "\n\n".join(tables))
    report.plot_false_alarms(found, peers, options.plots / "drift-false-alarms.svg")
    report.plot_power(pools, found, options.plots / "drift-power.svg")
    RESULTS.mkdir(exist_ok=True)
    figures = {
        n: {d: asdict(a) for d, a in found[n].items()} | {d: asdict(a) for d, a in peers[n].items()} for n in pools
    }
    (RESULTS / "drift.json").write_text(json.dumps({"seed": options.seed, "plan": asdict(plan), "figures": figures}))


if __name__ == "__main__":
    main()
