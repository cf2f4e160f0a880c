"""Tables for people and a JSON file for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import roost
from bench.environments import REQUIREMENTS
from bench.figures import Figures
from bench.filters import KINDS, SIDES, name_of
from bench.ratios import Ratio
from bench.work import Plan

LIBRARIES = ("faiss-cpu", "numpy", "pyarrow", "pymilvus")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns line up; all but the first are set to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, *rows]
    cells = [
        [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))] for r in lines
    ]
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])


def number(value: float | None, form: str = ",.0f") -> str:
    return "" if value is None else format(value, form)


def speed_table(figures: Mapping[str, Figures]) -> str:
    head = ["system", "insert rows/s", "single inserts/s", "index s", "queries/s", "over Faiss", "recall@10"]
    head += ["p50 ms", "p99 ms", "batched queries/s", "reopen s", "memory MB"]
    ceiling = figures["faiss"].queries_per_s.get("single")
    rows = []
    for name, f in figures.items():
        speed, batched = f.queries_per_s.get("single"), f.queries_per_s.get("batched")
        share = None if speed is None or ceiling is None else speed / ceiling
        row = [name, number(f.insert_rows_per_s), number(f.single_rows_per_s), number(f.index_s, ".1f")]
        row += [number(speed), number(share, ".2f"), number(f.recalls.get("single"), ".3f")]
        row += [number(f.p50_ms, ".3f"), number(f.p99_ms, ".3f"), number(batched)]
        memory = None if f.memory_bytes is None else f.memory_bytes / 1e6
        rows.append([*row, number(f.first_answer_s, ".2f"), number(memory)])
    return markdown(head, rows)


def recall_table(figures: Mapping[str, Figures], efs: Sequence[int]) -> str:
    """Return queries/s and recall at each `ef`."""
    rows = []
    for name, f in figures.items():
        keys = [f"ef {ef}" for ef in efs]
        rows.append([name, *(f"{f.queries_per_s[key]:,.0f} ({f.recalls[key]:.3f})" for key in keys)])
    return markdown(["queries/s (recall@10)", *(f"ef {ef}" for ef in efs)], rows)


SIDE_WORDS = {
    "random": "random filter",
    "near": "filter on the queries' side of the axis",
    "far": "filter on the other side of the axis",
}


def filter_table(figures: Mapping[str, Figures], keeps: Sequence[float], side: str) -> str:
    """Return the speed over the unfiltered one, queries/s and recall under each filter of one side."""
    head = [f"{SIDE_WORDS[side]} keeps"]
    head += [f"{percent(keep)}, {words}" for keep in keeps for words in ("repeated", "new each time")]
    keys = [name_of(side, keep, kind) for keep in keeps for kind in KINDS]
    rows = []
    for name, f in figures.items():
        cells = [f"{f.over_unfiltered[k]:.2f} / {f.queries_per_s[k]:,.0f} ({f.recalls[k]:.3f})" for k in keys]
        rows.append([name, *cells])
    return markdown(head, rows)


def percent(share: float) -> str:
    return f"{share * 100:g} %"


def mixed_table(figures: Mapping[str, Figures]) -> str:
    """Return what two threads that search meet, alone and beside inserts, and how soon a row is found."""
    head = [
        "two searching threads",
        "quiet queries/s",
        "p50 ms",
        "p99 ms",
        "beside inserts, queries/s",
        "p50 ms",
        "p99 ms",
    ]
    head += ["p99 over quiet", "rows/s", "insert ms", "longest", "found at once", "found after ms", "longest"]
    rows = []
    for name, f in figures.items():
        m = f.mixed
        if m is None:
            continue
        row = [name, number(m.quiet_queries_per_s), number(m.quiet_p50_ms, ".2f"), number(m.quiet_p99_ms, ".2f")]
        row += [number(m.queries_per_s), number(m.p50_ms, ".2f"), number(m.p99_ms, ".2f")]
        row += [number(m.p99_over_quiet, ".1f"), number(m.rows_per_s), number(m.insert_ms, ",.1f")]
        found = [f"{m.found_at_once:.0%}", number(m.found_ms, ",.1f"), number(m.found_longest_ms, ",.1f")]
        rows.append([*row, number(m.insert_longest_ms, ",.0f"), *found])
    return markdown(head, rows)


def tables(figures: Mapping[str, Figures], plan: Plan) -> list[str]:
    """Return the tables of the steps that were taken, each under its heading in docs/benchmarks.md."""
    found = [("Speed, opening, memory", speed_table(figures))]
    if "recall" in plan.steps:
        found.append(("Recall against speed", recall_table(figures, plan.efs)))
    if "filters" in plan.steps:
        found += [(SIDE_WORDS[side].capitalize(), filter_table(figures, plan.keeps, side)) for side in SIDES]
    if "mixed" in plan.steps:
        found.append(("Searching beside writing", mixed_table(figures)))
    return [f"### {title}\n\n{table}" for title, table in found]


def ratio_table(ratios: Sequence[Ratio]) -> str:
    rows = []
    for r in ratios:
        sign = "<= " if r.at_most else ">= "
        state = "holds" if r.holds else "MISSED"
        rows.append([r.what, f"{r.value:.2f}", sign + f"{r.floor:g}", sign + f"{r.aim:g}", state])
    return markdown(["Roost beside its limits", "value", "floor", "aim", ""], rows)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    text = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"roost": roost.__version__, **{name: version(name) for name in LIBRARIES}},
    }


def write(path: Path, plan: Plan, figures: Mapping[str, Figures], ratios: Sequence[Ratio], text: str) -> None:
    """Write the figures to a JSON file and the tables beside it."""
    content = {
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "peers": {name: REQUIREMENTS[name] for name in figures if name in REQUIREMENTS},
        "plan": asdict(plan),
        "figures": {name: asdict(f) for name, f in figures.items()},
        "ratios": [asdict(r) for r in ratios],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    path.with_suffix(".md").write_text(text + "\n")
