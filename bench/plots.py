"""The plots of docs/benchmarks.md, and the look that the benchmark's plots share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from bench.figures import Figures, Mixed
from bench.work import Plan


@contextmanager
def figure_at(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure of so many inches and save it as an SVG, the same bytes for the same lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "roost", "legend.frameon": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
            for axis in (axes.xaxis, axes.yaxis):
                if axis.get_scale() == "log":
                    axis.set_major_formatter("{x:,.10g}")
                    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        figure.savefig(path, metadata={"Date": None})


def plot_speed(figures: Mapping[str, Figures], plan: Plan, path: Path) -> None:
    """Draw queries per second against recall, a line for each system over the settings of `ef`."""
    with figure_at(path, 7, 4.5) as figure:
        axes = figure.subplots()
        for name, f in figures.items():
            keys = [f"ef {ef}" for ef in plan.efs]
            points = [f.recalls[key] for key in keys], [f.queries_per_s[key] for key in keys]
            axes.plot(*points, marker="o", ms=4, lw=1.2, label=name)
        axes.set(yscale="log", xlabel=f"recall@{plan.k}", ylabel="queries per second, one per call")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def plot_mixed(mixed: Mixed, path: Path) -> None:
    """Draw p50 and p99 of each second while rows come in."""
    p50, p99 = np.array(mixed.per_second).T
    seconds = np.arange(len(p50)) + 0.5
    with figure_at(path, 7, 3.2) as figure:
        axes = figure.subplots()
        axes.plot(seconds, p99, marker="o", ms=3, lw=1.2, label="p99")
        axes.plot(seconds, p50, marker="o", ms=3, lw=1.2, label="p50")
        axes.axhline(mixed.quiet_p99_ms, ls="--", lw=0.8, color="grey", label="p99 without inserts")
        axes.set(yscale="log", xlabel="seconds since the inserts began", ylabel="a query, ms")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
