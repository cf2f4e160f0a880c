"""Tables and plots of the drift detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.drift.data import Pool
from bench.drift.measure import ALPHA, Alarms
from bench.drift.peers import PeerAlarms
from bench.report import markdown

ENOUGH_POWER = 0.8


def null_table(found: Mapping[str, Mapping[str, Alarms]], peers: Mapping[str, Mapping[str, PeerAlarms]]) -> str:
    """Return the share of null windows that raise an alarm, and the time of a test."""
    head = [f"alarms on null windows (stated: {ALPHA:.0%})"]
    for pool, own in found.items():
        one = next(iter(own.values())).p_values
        head += [f"{pool}, one reference ({len(one['one'])})", f"{pool}, fresh references ({len(one['fresh'])})"]
    head += [f"{pool}, ms a test" for pool in found]
    rows = []
    for name in next(iter(found.values())):
        of_pool = [own[name] for own in found.values()]
        rates = [f"{a.rate(r):.1%}" for a in of_pool for r in ("one", "fresh")]
        rows.append([name, *rates, *(f"{a.test_ms:.1f}" for a in of_pool)])
    for name in next(iter(peers.values()), {}):
        theirs = [of_tool[name] for of_tool in peers.values()]
        rates = [cell for p in theirs for cell in (f"{p.null:.1%} ({p.n_null})", "")]
        rows.append([name, *rates, *(f"{p.test_ms:.1f}" for p in theirs)])
    return markdown(head, rows)


def power_table(pool: Pool, own: Mapping[str, Alarms], peers: Mapping[str, PeerAlarms], size: int) -> str:
    """Return the share of spoiled windows that raise an alarm."""
    head = [f"{pool.name}: alarms on spoiled windows of {size}", *pool.corruptions]
    rows = [[name, *(f"{a.power[c][size]:.0%}" for c in pool.corruptions)] for name, a in own.items()]
    rows += [[name, *(f"{p.power[c]:.0%}" for c in pool.corruptions)] for name, p in peers.items()]
    return markdown(head, rows)


def queries_table(pool: Pool, own: Mapping[str, Alarms]) -> str:
    """Return the queries that it takes: the smallest window with enough power, and the mean until the first alarm."""
    head = [f"{pool.name}: queries to an alarm: window with {ENOUGH_POWER:.0%} power / mean at the best size"]
    rows = []
    for name, alarms in own.items():
        cells = []
        for corruption in pool.corruptions:
            power = alarms.power[corruption]
            enough = [size for size, share in power.items() if share >= ENOUGH_POWER]
            mean = min(size / max(share, 1e-9) for size, share in power.items())
            cells.append(f"{min(enough) if enough else f'> {max(power)}'} / {mean:,.0f}")
        rows.append([name, *cells])
    return markdown([*head, *pool.corruptions], rows)


def plot_false_alarms(
    found: Mapping[str, Mapping[str, Alarms]], peers: Mapping[str, Mapping[str, PeerAlarms]], path: Path
) -> None:
    """Draw the share of null windows that raised an alarm, beside the stated one."""
    from matplotlib.figure import Figure

    own = list(next(iter(found.values())))
    theirs = list(next(iter(peers.values()), {}))
    figure = Figure(figsize=(8, 0.32 * (len(own) + len(theirs)) + 1.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(own) + len(theirs))
    for k, (pool, alarms) in enumerate(found.items()):
        rates = [alarms[name].rate("one") for name in own]
        rates += [peers[pool][name].null for name in theirs] if peers else []
        axes.barh(places + (k - 0.5) * 0.38, rates, height=0.38, label=pool)
    axes.axvline(ALPHA, color="black", linewidth=1)
    axes.axvspan(ALPHA - 0.02, ALPHA + 0.02, color="black", alpha=0.12, label="stated rate and two points around it")
    axes.set(yticks=places, xlabel="share of windows that raise an alarm although nothing has changed", xlim=(0, 1))
    axes.set_yticklabels([*own, *theirs])
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([0, 0.05, 0.1, 0.2, 0.5, 1], ["0", "5 %", "10 %", "20 %", "50 %", "100 %"])
    axes.invert_yaxis()
    axes.legend(loc="lower right", fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def plot_power(pools: Mapping[str, Pool], found: Mapping[str, Mapping[str, Alarms]], path: Path) -> None:
    """Draw the share of alarms over the size of the window, a panel for each corruption."""
    from matplotlib.figure import Figure

    n_columns = max(len(pool.corruptions) for pool in pools.values())
    figure = Figure(figsize=(3.2 * n_columns, 2.8 * len(pools)), layout="constrained")
    panels = figure.subplots(len(pools), n_columns, sharey=True, squeeze=False)
    for i, (pool_name, pool) in enumerate(pools.items()):
        for j, corruption in enumerate(pool.corruptions):
            for name, alarms in found[pool_name].items():
                power = alarms.power[corruption]
                panels[i, j].plot(list(power), list(power.values()), marker=".", label=name)
            sizes = list(power)
            panels[i, j].set(title=f"{pool_name}: {corruption}", xscale="log", ylim=(0, 1.03))
            panels[i, j].set_xticks(sizes, [str(size) for size in sizes])
            panels[i, j].minorticks_off()
            panels[i, j].axhline(ALPHA, color="black", linewidth=0.5)
        panels[i, 0].set_ylabel("share of windows with an alarm")
    for panel in panels[-1]:
        panel.set_xlabel("queries in the window")
    panels[0, 0].legend(fontsize="x-small")
    figure.savefig(path, metadata={"Date": None})
