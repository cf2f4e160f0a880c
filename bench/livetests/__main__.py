"""Print the tables of docs/live-tests.md and draw its plots; some minutes on one core.

python -m bench.livetests [--tests 400] [--plots docs/plots]
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np

from bench.livetests import runs
from bench.livetests.bets import compare
from bench.livetests.plots import plot_false_decisions, plot_speed
from bench.livetests.users import FloatArray, Users, World, interleaved_outcomes, make_world, split_clicks
from roost.lifecycle.livetest import MeanTest, RatioTest, SequentialTest, SplitTest, power, team_draft

N_EVENTS = 2_000
RAMP = np.repeat([0.05, 0.2, 0.5], (600, 600, N_EVENTS - 1_200))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m bench.livetests", description=__doc__)
    parser.add_argument("--tests", type=int, default=400, help="simulated tests of each kind")
    parser.add_argument("--plots", type=Path, default=Path("docs/plots"), help="folder of the plots")
    asked = parser.parse_args()
    asked.plots.mkdir(parents=True, exist_ok=True)
    world, users = make_world(), Users()
    false_decisions(world, users, asked.tests, asked.plots)
    speed(world, users, asked.tests // 2, asked.plots)
    settings()
    bet()
    cost()


def bet() -> None:
    """Print how long other bets on the same observations take."""
    print("\nMean events until the decision, and the share of runs that has decided\n")
    for name, found in compare().items():
        cells = " | ".join(f"{mean:,.0f} ({share:.0%})" for mean, share in found.values())
        print(f"| {name} | {cells} |", flush=True)


def false_decisions(world: World, users: Users, n_tests: int, plots: Path) -> None:
    """Test sides that are equally good, and count the tests that decide."""
    equal = world.equal()
    ends = {}
    for metric in runs.SHADOW_METRICS:
        ends[f"shadow, {metric}"] = runs.shadow_ends(equal, metric, n_tests, N_EVENTS, np.random.default_rng(2))
    for metric in runs.SPLIT_METRICS:
        ends[f"split, {metric}"] = runs.split_ends(equal, users, metric, n_tests, N_EVENTS, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    ends["split with a ramp, a click"] = runs.split_ends(equal, users, "a click", n_tests, N_EVENTS, rng, RAMP)
    ends["split, ratio (asymptotic)"] = runs.ratio_ends(equal, users, n_tests, N_EVENTS, np.random.default_rng(5))
    for draft in runs.DRAFTS:
        ends[draft] = runs.interleaving_ends(equal, users, draft, n_tests, N_EVENTS, np.random.default_rng(6))
    print(f"\nEqual sides, {n_tests} tests each, {N_EVENTS} looks each: tests that decide\n")
    for name, found in ends.items():
        print(f"| {name} | {np.isfinite(found).sum()} | {np.isfinite(found).mean():.1%} |", flush=True)
    z_ends = runs.z_test_ends(equal, users, n_tests, N_EVENTS, np.random.default_rng(3))
    print(f"| z-test of such splits, a click | {np.isfinite(z_ends).sum()} | {np.isfinite(z_ends).mean():.1%} |")
    shown = {"z-test after every event": z_ends, "split": ends["split, a click"], "team draft": ends["team draft"]}
    plot_false_decisions(shown, N_EVENTS, runs.ALPHA, plots / "false-decisions.svg")


def speed(world: World, users: Users, n_tests: int, plots: Path) -> None:
    """Test sides of which one is better, and count the queries until that is known."""
    ends = {}
    for draft in runs.DRAFTS:
        ends[draft] = runs.interleaving_ends(world, users, draft, n_tests, 10_000, np.random.default_rng(7))
    for metric in runs.SPLIT_METRICS:
        found = runs.split_ends(world, users, metric, n_tests, 8_000, np.random.default_rng(8))
        ends[f"split, {metric}"] = found * users.queries_each
    print(f"\nA better challenger, {n_tests} tests each: queries until it is found\n")
    base = enough(ends["team draft"])
    for name, found in ends.items():
        print(f"| {name} | {np.median(found):,.0f} | {enough(found):,.0f} | {enough(found) / base:.1f} |", flush=True)
    plot_speed(ends, plots / "interleaving-against-split.svg")


def enough(ends: FloatArray) -> float:
    """Return within how many queries 80 % of the tests have decided; inf where fewer do."""
    return float(np.sort(ends)[int(np.ceil(0.8 * ends.size)) - 1])


def settings() -> None:
    """Print what the advantage of interleaving depends on, by the power calculator."""
    print("\nQueries for a power of 80 %, split on a click against team draft, by `power.n_queries`\n")
    cases = {
        "three results worth a click; users differ, 10 queries each": (make_world(), Users()),
        "as above, users alike": (make_world(), Users(alike=True)),
        "as above, users alike, one query each": (make_world(), Users(queries_each=1, alike=True)),
        "the ten nearest are worth a click": (make_world(n_worth=10), Users()),
        "closer models: 16 against 24 components": (make_world((16, 24)), Users()),
        "every image of the digit is worth a click": (make_world((4, 16), n_worth=None), Users()),
        "as above, users alike, one query each ": (
            make_world((4, 16), n_worth=None),
            Users(queries_each=1, alike=True),
        ),
    }
    for name, (world, users) in cases.items():
        split, interleaved = queries_by_power(world, users)
        print(f"| {name} | {split:,} | {interleaved:,} | {split / interleaved:.1f} |", flush=True)


def queries_by_power(world: World, users: Users, n_sampled: int = 40_000) -> tuple[int, int]:
    """Return the queries that a split on "a click" needs, and those that team draft needs, by a pilot of each."""
    rng = np.random.default_rng(9)
    n_users = n_sampled * 5 // users.queries_each
    means, deviations = [], []
    for side in (False, True):
        clicks = split_clicks(world, users, np.full(n_users, side), rng)
        values = runs.SPLIT_METRICS["a click"](clicks).mean(axis=-1)
        means.append(values.mean())
        deviations.append(values.std())
    split = power.n_queries("split", means[1] - means[0], deviation=float(np.mean(deviations)))
    outcomes = list(islice(interleaved_outcomes(world, users, team_draft, rng, seed=9), n_sampled))
    n_won, n_lost = outcomes.count("challenger"), outcomes.count("champion")
    ties = 1.0 - (n_won + n_lost) / n_sampled
    interleaved = power.n_queries("interleave", n_won / (n_won + n_lost) - 0.5, ties=ties)
    return split.enough * users.queries_each, interleaved.enough


def cost() -> None:
    """Print what it takes to count one event."""
    rng = np.random.default_rng(10)
    values, sides = rng.random(5_000).tolist(), rng.random(5_000) < 0.5
    mean, split, ratio, rate = MeanTest(margin=0.02), SplitTest(margin=0.02), RatioTest(), SequentialTest()
    print("\nMicroseconds of processor time an event\n")
    started = time.process_time()
    for value in values:
        mean.add(value - 0.5)
    middle = time.process_time()
    print(f"| MeanTest | {(middle - started) / 5e-3:.0f} |")
    for value, side in zip(values, sides, strict=True):
        split.add("challenger" if side else "champion", value)
    started = time.process_time()
    print(f"| SplitTest | {(started - middle) / 5e-3:.0f} |")
    for value, side in zip(values, sides, strict=True):
        ratio.add("challenger" if side else "champion", value)
    middle = time.process_time()
    print(f"| RatioTest | {(middle - started) / 5e-3:.0f} |")
    for side in sides:
        rate = rate.update("challenger" if side else "champion")
    print(f"| SequentialTest | {(time.process_time() - middle) / 5e-3:.0f} |")


if __name__ == "__main__":
    main()
