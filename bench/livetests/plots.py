"""The plots of docs/live-tests.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.livetests.users import FloatArray

_COLOURS = ("#0f6fbf", "#38a3a5", "#d97706", "#b45309", "#f2b134")
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "roost",
}


def plot_speed(ends: Mapping[str, FloatArray], path: Path) -> None:
    """Plot the share of tests that have decided against the queries so far.

    Args:
        ends: queries after which each test decides, by the way of testing; inf where it does not.
    """

    def draw(axes: Axes) -> None:
        for colour, (name, found) in zip(_COLOURS, ends.items(), strict=False):
            x, share = _share_decided(found)
            axes.step(x, share, where="post", color=colour, label=name)
        axes.axhline(0.8, color="#9ca3af", lw=0.8, ls="--")
        axes.set(xscale="log", xlabel="queries", ylabel="share of tests that have found the better side")
        axes.set(xlim=(10, None), ylim=(0, 1))
        axes.legend(loc="upper left")

    _save(draw, path)


def plot_false_decisions(ends: Mapping[str, FloatArray], n_events: int, alpha: float, path: Path) -> None:
    """Plot the share of tests of equal sides that have decided, against the looks so far.

    Args:
        ends: looks after which each test decides, by the way of testing; inf where it does not.
    """

    def draw(axes: Axes) -> None:
        for colour, (name, found) in zip(_COLOURS, ends.items(), strict=False):
            x, share = _share_decided(found)
            axes.step(np.append(x, n_events), np.append(share, share[-1:]), where="post", color=colour, label=name)
        axes.axhline(alpha, color="#9ca3af", lw=0.8, ls="--")
        axes.set(
            xscale="log", xlabel="looks, one after every event", ylabel="share of false decisions", xlim=(10, n_events)
        )
        axes.set_ylim(0, None)
        axes.legend(loc="upper left")

    _save(draw, path)


def _share_decided(ends: FloatArray) -> tuple[FloatArray, FloatArray]:
    decided = np.sort(ends[np.isfinite(ends)])
    return np.append(1.0, decided), np.arange(decided.size + 1) / ends.size


def _save(draw: Callable[[Axes], None], path: Path) -> None:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        figure.savefig(path, metadata={"Date": None})
