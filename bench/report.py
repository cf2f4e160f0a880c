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
from bench.figures import Figures, Ratio
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
    ceiling = figures["faiss"].queries_per_s["single"]
    rows = []
    for name, f in figures.items():
        speeds = f.queries_per_s
        row = [name, number(f.insert_rows_per_s), number(f.single_rows_per_s), number(f.index_s, ".1f")]
        row += [number(speeds["single"]), number(speeds["single"] / ceiling, ".2f"), number(f.recalls["single"], ".3f")]
        row += [number(f.p50_ms, ".3f"), number(f.p99_ms, ".3f"), number(speeds["batched"])]
        memory = None if f.memory_bytes is None else f.memory_bytes / 1e6
        rows.append([*row, number(f.first_answer_s, ".2f"), number(memory)])
    return markdown(head, rows)


def filter_table(figures: Mapping[str, Figures], keeps: Sequence[float]) -> str:
    """Return queries/s and recall under each filter."""
    head = ["queries/s (recall@10), filter keeps"]
    head += [f"{keep:.0%}, {words}" for keep in keeps for words in ("repeated", "new each time")]
    keys = [f"{kind} {keep:g}" for keep in keeps for kind in ("repeated", "fresh")]
    rows = [[name, *(f"{f.queries_per_s[k]:,.0f} ({f.recalls[k]:.3f})" for k in keys)] for name, f in figures.items()]
    return markdown(head, rows)


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


def write(folder: Path, plan: Plan, figures: Mapping[str, Figures], ratios: Sequence[Ratio], text: str) -> Path:
    """Write the tables and the figures into `folder`; return the JSON file."""
    now = datetime.now(timezone.utc)
    path = folder / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    content = {
        "taken": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "peers": {name: REQUIREMENTS[name] for name in figures if name in REQUIREMENTS},
        "plan": asdict(plan),
        "figures": {name: asdict(f) for name, f in figures.items()},
        "ratios": [asdict(r) for r in ratios],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    path.with_suffix(".md").write_text(text + "\n")
    return path
