"""Measure Roost beside Faiss and other vector databases: python -m bench [--peers "chroma lancedb"]."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.environments import REPOSITORY, find
from bench.figures import Figures, figures_of, ratios_of
from bench.systems import NAMES
from bench.truth import brute_force
from bench.work import Plan, Work, fashion_mnist, make_work, save_work

OWN = ("faiss", "roost")
RESULTS = REPOSITORY / "bench" / "results"
WITHOUT_REOPEN = ("milvus",)
"""Systems that keep their data themselves, where no other process can open it."""


def parse_peers(text: str) -> list[str]:
    """Return the systems that the text names.

    Raises: SystemExit: there is no system of that name.
    """
    peers = [name for name in NAMES if name not in OWN]
    if text == "all":
        return peers
    named = text.replace(",", " ").split()
    unknown = sorted(set(named) - set(peers))
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are: {' '.join(peers)}, or all")
    return [name for name in peers if name in named]


def run_worker(python: Path, task: str, folder: Path, names: Sequence[str]) -> None:
    subprocess.run([python, "-m", "bench.worker", task, folder, *names], check=True, cwd=REPOSITORY)


def measure(work: Work, folder: Path, peers: Sequence[str]) -> dict[str, Figures]:
    """Measure Faiss and Roost in one process, then each peer in its own; return the figures."""
    save_work(work, folder)
    measured: list[str] = []
    for group in (OWN, *((name,) for name in peers)):
        python = find(group[0])
        if python is None:
            continue
        try:
            run_worker(python, "measure", folder, group)
            for name in group:
                if name not in WITHOUT_REOPEN:
                    run_worker(python, "reopen", folder, [name])
        except subprocess.CalledProcessError as error:
            if group is OWN:
                raise SystemExit(f"{' and '.join(OWN)} could not be measured: {error}") from None
            print(f"{group[0]} is left out: {error}", flush=True)
            continue
        measured += group
    print("comparing the answers with brute force", flush=True)
    truth = brute_force(work)
    return {name: figures_of(work, truth, folder, name) for name in measured}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", default="", help=f"{' '.join(n for n in NAMES if n not in OWN)}, or all")
    parser.add_argument("--rows", type=int, default=Plan.rows, help="rows of Fashion-MNIST to store (%(default)s)")
    parser.add_argument("--queries", type=int, default=Plan.queries, help="queries to ask (%(default)s)")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="passes over the queries (%(default)s)")
    options = parser.parse_args(arguments)
    peers = parse_peers(options.peers)
    plan = replace(Plan(), rows=options.rows, queries=options.queries, rounds=options.rounds)
    work = make_work(*fashion_mnist(), plan)
    RESULTS.mkdir(exist_ok=True)
    # Not in the system's temporary folder: that may be in memory, where nothing is ever synced.
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="work-") as name:
        figures = measure(work, Path(name), peers)
        ratios = ratios_of(work, Path(name), figures["roost"])
    tables = [report.speed_table(figures), report.filter_table(figures, work.plan.keeps), report.ratio_table(ratios)]
    text = "\n\n".join(tables)
    path = report.write(RESULTS, work.plan, figures, ratios, text)
    print(f"\n{text}\n\n{path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
