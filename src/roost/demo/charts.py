"""The plots of the report, each as one piece of SVG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from roost.demo.outcome import K, LiveTestResult, Quality, Step, SwitchTiming, in_milliseconds
from roost.demo.traffic import Trace
from roost.lifecycle.livetest import Side

COLOURS: dict[Side, str] = {"champion": "#d97706", "challenger": "#0f6fbf"}
"""Told apart by people who do not see all colours: orange and blue."""

_INK = "#1f2937"
_QUIET = "#6b7280"
_GRID = "#e5e7eb"
_FAILED = "#b91c1c"

_STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _QUIET,
    "axes.titlecolor": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "grid.color": _GRID,
    "text.color": _INK,
    "legend.frameon": False,
    "svg.hashsalt": "roost",
}

_ZOOM_S = 0.25
"""How much before and after a switch is shown, in seconds."""

_MIN_LABELLED = 0.06
"""Share of the time that a step must have taken to be marked in the latency chart."""


def quality_chart(qualities: Sequence[Quality]) -> str:
    """Return precision of both deployments, class by class: one line from the old to the new."""
    old, new = qualities
    names = list(old.by_class)
    with _figure(9.2, 0.9 + 0.3 * len(names)) as (figure, svg):
        axes = figure.subplots()
        rows = np.arange(len(names))
        axes.hlines(rows, [old.by_class[n] for n in names], [new.by_class[n] for n in names], color="#d1d5db", lw=3)
        for quality in qualities:
            colour = COLOURS[quality.side]
            axes.scatter([quality.by_class[n] for n in names], rows, s=52, color=colour, zorder=3)
            axes.axvline(quality.precision, color=colour, lw=1, ls=(0, (4, 3)), zorder=1)
            axes.annotate(
                f"{quality.model}: {quality.precision:.3f}",
                (quality.precision, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontweight="bold",
            )
        axes.set(yticks=rows, yticklabels=names, xlim=(min(0.5, axes.get_xlim()[0]), 1.005))
        axes.set_xlabel(f"precision@{K} on held-out images, by class; dashed: all classes")
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.tick_params(length=0)
    return svg.getvalue()


def evidence_chart(test: LiveTestResult) -> str:
    """Return the evidence of the live test against its threshold, and the wins that made it."""
    n = [look.n_queries for look in test.looks]
    with _figure(9.2, 3.3) as (figure, svg):
        left, right = figure.subplots(1, 2)
        evidence = [1.0 / look.p_value for look in test.looks]
        left.plot(n, evidence, color=COLOURS["challenger"], lw=2, drawstyle="steps-post")
        left.axhline(1.0 / test.alpha, color=_FAILED, lw=1.2, ls=(0, (4, 3)))
        left.annotate(
            f"decides at {1.0 / test.alpha:.0f} to 1",
            (0.0, 1.0 / test.alpha),
            xycoords=("axes fraction", "data"),
            xytext=(6, 5),
            textcoords="offset points",
            color=_FAILED,
        )
        left.set(xlabel="live queries with feedback", title="Evidence against chance, 1 / p")
        left.set_ylim(0.9, max(max(evidence), 1.0 / test.alpha) * 2.5)
        _label_log_scale(left)
        left.grid(axis="y")
        counts = {
            "challenger won": ([look.challenger_wins for look in test.looks], COLOURS["challenger"]),
            "tied": ([look.ties for look in test.looks], "#9ca3af"),
            "champion won": ([look.champion_wins for look in test.looks], COLOURS["champion"]),
        }
        for label, (values, colour) in counts.items():
            right.plot(n, values, color=colour, lw=2, drawstyle="steps-post", label=f"{label}: {values[-1]}")
        right.set(xlabel="live queries with feedback", title="Outcomes of the queries")
        right.legend(loc="upper left")
        right.grid(axis="y")
    return svg.getvalue()


def latency_chart(trace: Trace, steps: Sequence[Step], switches: Sequence[SwitchTiming], sides: dict[str, Side]) -> str:
    """Return the latency of every background query over the whole run, with what happened meanwhile.

    Args:
        sides: deployment to the side whose colour it gets.
    """
    origin = trace.started_s[0]
    with _figure(9.2, 3.4) as (figure, svg):
        axes = figure.subplots()
        _scatter(axes, trace, sides, origin, 1.0, size=3)
        top = float(np.percentile(trace.latency_s, 99.95)) * 1e3 * 4
        axes.set(xlabel="seconds since the client started", ylabel="latency, ms")
        _label_log_scale(axes)
        axes.set_ylim(float(trace.latency_s.min()) * 1e3 * 0.8, max(top, 10))
        end_s = trace.started_s[-1] - origin
        for step in steps:
            begin, end = step.started_s - origin, step.started_s + step.seconds - origin
            if end - begin > _MIN_LABELLED * end_s and begin >= 0:
                axes.axvspan(begin, end, color="#f3f4f6", zorder=0)
                axes.text((begin + end) / 2, 0.97, _folded(step.name), ha="center", va="top", color=_QUIET, size=8.5,
                          transform=axes.get_xaxis_transform())  # fmt: skip
        for switch in switches:
            axes.axvline(switch.started_s - origin, color=_INK, lw=1)
        axes.set_xlim(0, end_s)
        axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.14), ncols=3, markerscale=4, handletextpad=0.2)
    return svg.getvalue()


def switch_chart(trace: Trace, switches: Sequence[SwitchTiming], sides: dict[str, Side]) -> str:
    """Return the queries just before and after every switch; the switch itself is shaded."""
    with _figure(9.2, 2.7) as (figure, svg):
        panels = figure.subplots(1, len(switches), sharey=True, squeeze=False)[0]
        for axes, switch in zip(panels, switches, strict=True):
            near = np.abs(trace.started_s - switch.started_s) <= _ZOOM_S
            part = Trace(trace.started_s[near], trace.latency_s[near], trace.deployments[near])
            _scatter(axes, part, sides, switch.started_s, 1e3, size=9)
            axes.axvspan(0, switch.seconds * 1e3, color="#9ca3af", alpha=0.45, lw=0)
            axes.set(xlabel="ms from the call", xlim=(-_ZOOM_S * 1e3, _ZOOM_S * 1e3))
            axes.set_title(f"{switch.action.capitalize()}: {in_milliseconds(switch.seconds)}")
            _label_log_scale(axes)
        panels[0].set_ylabel("latency, ms")
    return svg.getvalue()


def _scatter(axes: Axes, trace: Trace, sides: dict[str, Side], origin_s: float, scale: float, size: float) -> None:
    x, y = (trace.started_s - origin_s) * scale, trace.latency_s * 1e3
    for deployment, side in sides.items():
        mask = trace.deployments == deployment
        axes.scatter(
            x[mask], y[mask], s=size, color=COLOURS[side], lw=0, rasterized=True, label=f"{deployment} answers"
        )
    failed = ~trace.answered_mask
    if failed.any():
        axes.scatter(x[failed], y[failed], s=40, color=_FAILED, marker="x", label="failed")


def _label_log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5 of every decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _folded(name: str) -> str:
    """Return the name in lines of about two words, to fit above a short step."""
    words = name.split()
    return "\n".join(" ".join(words[start : start + 2]) for start in range(0, len(words), 2))


@contextmanager
def _figure(width_in: float, height_in: float) -> Iterator[tuple[Figure, io.StringIO]]:
    """Give a figure to draw in and the buffer that holds its SVG afterwards, from `<svg` on."""
    svg = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", dpi=160)
        yield figure, svg
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    svg.write(text[text.index("<svg") :])
