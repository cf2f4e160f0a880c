"""Every part of the benchmark, in order: python -m bench [--peers "chroma lancedb"] [--steps queries mixed indexes].

The first steps measure Roost beside Faiss and the peers on one set of rows; the others are programs of their own
(`python -m bench.indexes` and so on). The last table holds every ratio that Roost is held to.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from bench import report
from bench.comparison import OWN, Progress, compare, parse_peers
from bench.environments import REPOSITORY
from bench.figures import Figures
from bench.limits import ratios_of
from bench.plots import plot_mixed, plot_speed
from bench.ratios import Ratio, read_ratios
from bench.systems import NAMES
from bench.work import STEPS, Plan, fashion_mnist, make_work

RESULTS = REPOSITORY / "bench" / "results"


@dataclass(frozen=True)
class Program:
    """A part that runs by itself.

    Attributes:
        small: arguments that make it quick.
        draws: whether it takes --plots; likewise counts and --ratios.
    """

    module: str
    what: str
    small: tuple[str, ...]
    draws: bool = False
    counts: bool = False


PROGRAMS: Mapping[str, Program] = {
    "indexes": Program(
        "indexes",
        "every index type: recall, speed, size, build time, filters",
        ("--rows", "5000", "--queries", "50", "--rounds", "1", "--types", "HNSW", "IVF_RABITQ"),
        draws=True,
        counts=True,
    ),
    "scalar": Program(
        "scalar_indexes", "filters with and without scalar indexes", ("--rows", "20000", "--rounds", "3")
    ),
    "collections": Program("collections", "many small collections", ("--collections", "50", "--rows", "20")),
    "curve": Program(
        "curve", "the cost of a collection as it grows", ("--rows", "2000", "5000"), draws=True, counts=True
    ),
    "large": Program("large", "a million images", ("--copies", "1"), counts=True),
}

SMALL = Plan(
    rows=5_000,
    queries=200,
    filtered_queries=50,
    single_rows=50,
    rounds=2,
    budget_s=2.0,
    quiet_s=2.0,
    mixed_s=6.0,
    peer_mixed_s=4.0,
)


def run_program(name: str, options: argparse.Namespace, folder: Path, progress: Progress) -> list[Ratio] | None:
    """Run one of PROGRAMS; return its ratios, or None where it failed."""
    program = PROGRAMS[name]
    progress.say(f"{name}: {program.what}")
    command = [sys.executable, "-m", f"bench.{program.module}", *(program.small if options.small else ())]
    if program.draws:
        command += ["--plots", str(options.plots.resolve())]
    if program.counts:
        command += ["--ratios", str(folder / f"{name}.json")]
    if subprocess.run(command, cwd=REPOSITORY).returncode:
        progress.say(f"{name} failed")
        return None
    return read_ratios(folder / f"{name}.json")


def draw(figures: Mapping[str, Figures], plan: Plan, folder: Path) -> None:
    if "recall" in plan.steps:
        plot_speed(figures, plan, folder / "systems.svg")
    mixed = figures["roost"].mixed
    if mixed is not None:
        plot_mixed(mixed, folder / "mixed.svg")


def run_comparison(plan: Plan, peers: Sequence[str], plots: Path, progress: Progress) -> list[Ratio]:
    """Measure the systems, write the figures and the plots down, print the tables, and return the ratios."""
    # Not in the system's temporary folder: that may be in memory, where nothing is ever synced.
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="work-") as name:
        work = make_work(*fashion_mnist(), plan)
        figures = compare(work, Path(name), peers, progress)
        ratios = ratios_of(work, Path(name), figures)
    tables = report.tables(figures, work.plan)
    path = RESULTS / f"{datetime.now(timezone.utc):%Y-%m-%dT%H%M%SZ}.json"
    report.write(path, work.plan, figures, ratios, "\n\n".join([*tables, report.ratio_table(ratios)]))
    draw(figures, work.plan, plots)
    print("\n" + "\n\n".join([*tables, str(path.relative_to(REPOSITORY))]) + "\n", flush=True)
    return ratios


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    every = [*STEPS, *PROGRAMS]
    parser.add_argument("--peers", default="", help=f"{' '.join(n for n in NAMES if n not in OWN)}, or all")
    parser.add_argument("--steps", nargs="+", default=every, choices=every, metavar="STEP", help=" ".join(every))
    parser.add_argument("--small", action="store_true", help="little work, to see that each step runs")
    parser.add_argument("--plots", type=Path, default=RESULTS, help="folder of the plots (%(default)s)")
    parser.add_argument("--rows", type=int, help=f"rows of Fashion-MNIST to store ({Plan.rows:,})")
    parser.add_argument("--queries", type=int, help=f"queries to ask ({Plan.queries:,})")
    parser.add_argument("--rounds", type=int, help=f"passes over the queries ({Plan.rounds})")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    peers, progress = parse_peers(options.peers), Progress()
    given = {name: getattr(options, name) for name in ("rows", "queries", "rounds") if getattr(options, name)}
    steps = tuple(step for step in STEPS if step in options.steps)
    RESULTS.mkdir(exist_ok=True)
    ratios, failed = [], []
    if steps:
        ratios += run_comparison(
            replace(SMALL if options.small else Plan(), steps=steps, **given), peers, options.plots, progress
        )
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="ratios-") as folder:
        for name in (name for name in PROGRAMS if name in options.steps):
            found = run_program(name, options, Path(folder), progress)
            ratios += found or []
            failed += [name] if found is None else []
    progress.say("done")
    if ratios:
        print(f"\n{report.ratio_table(ratios)}", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
