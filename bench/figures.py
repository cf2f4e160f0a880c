"""From timings to figures: speed, latency, recall, and the ratios that Roost is held to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.truth import Truth, recall
from bench.work import Work


@dataclass(frozen=True)
class Figures:
    """What is reported of one system.

    Attributes:
        insert_rows_per_s: in batches; None for a library that stores nothing.
        single_rows_per_s: in calls of one row each.
        index_s: from the last insert until every row is in the index.
        queries_per_s: by measurement, the median of the rounds.
        recalls: by measurement.
        p50_ms: median latency of one query, likewise p99_ms.
        first_answer_s: opening and one query in a new process; None where a server keeps the data.
        memory_bytes: resident after a reopen and 100 queries, or the server's after all the work.
        memory_growth_bytes: the part of it that came with opening; None for a server.
    """

    insert_rows_per_s: float | None
    single_rows_per_s: float | None
    index_s: float
    queries_per_s: dict[str, float]
    recalls: dict[str, float]
    p50_ms: float
    p99_ms: float
    first_answer_s: float | None
    memory_bytes: int | None
    memory_growth_bytes: int | None


@dataclass(frozen=True)
class Ratio:
    """One line of the speed budget.

    Attributes:
        floor: the value that must be held; aim is the value that is wanted.
        at_most: whether smaller is better.
    """

    what: str
    value: float
    floor: float
    aim: float
    at_most: bool = False

    @property
    def holds(self) -> bool:
        return self.value <= self.floor if self.at_most else self.value >= self.floor


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def recalls_of(work: Work, truth: Truth, folder: Path, name: str) -> dict[str, float]:
    """Return the recall of each measurement, from the answers that the worker wrote down."""
    answers = np.load(folder / f"{name}.npz")
    found = {key: recall(work, answers[key], truth.plain) for key in ("single", "batched")}
    for share, keep in enumerate(work.plan.keeps):
        same = np.repeat(work.windows[share, :1], work.plan.filtered_queries, axis=0)
        repeated, fresh = f"repeated {keep:g}", f"fresh {keep:g}"
        found[repeated] = recall(work, answers[repeated], truth.repeated[share], same)
        found[fresh] = recall(work, answers[fresh], truth.fresh[share], work.fresh(share, 0))
    return found


def figures_of(work: Work, truth: Truth, folder: Path, name: str) -> Figures:
    """Read what the workers wrote about one system."""
    measured = read_json(folder / f"{name}.json")
    recalls = recalls_of(work, truth, folder, name)
    n_queries = {key: work.plan.filtered_queries if " " in key else work.plan.queries for key in recalls}
    speeds = {key: n_queries[key] / median(map(sum, rounds)) for key, rounds in measured["passes"].items()}
    calls_ms = np.concatenate([np.asarray(r) for r in measured["passes"]["single"]]) * 1e3
    singles = measured["single_s"]
    reopened_path = folder / f"{name}-reopened.json"
    reopened = read_json(reopened_path) if reopened_path.exists() else {}
    growth = reopened["after_bytes"] - reopened["before_bytes"] if reopened else None
    return Figures(
        insert_rows_per_s=work.plan.rows / sum(measured["insert_s"]) if singles else None,
        single_rows_per_s=len(singles) / sum(singles) if singles else None,
        index_s=measured["index_s"],
        queries_per_s=speeds,
        recalls=recalls,
        p50_ms=float(np.percentile(calls_ms, 50)),
        p99_ms=float(np.percentile(calls_ms, 99)),
        first_answer_s=reopened.get("first_answer_s"),
        memory_bytes=reopened.get("after_bytes") or measured["server_bytes"] or None,
        memory_growth_bytes=growth,
    )


def over(folder: Path, name: str, measurement: str, base: str, base_measurement: str, scale: float = 1.0) -> float:
    """Return the median, over the rounds, of one speed over another that was taken in the same round.

    Args:
        scale: queries in a pass of `measurement` over queries in a pass of `base_measurement`.
    """
    ours = read_json(folder / f"{name}.json")["passes"][measurement]
    theirs = read_json(folder / f"{base}.json")["passes"][base_measurement]
    return scale * float(median(sum(b) / sum(a) for a, b in zip(ours, theirs, strict=False)))


def ratios_of(work: Work, folder: Path, roost: Figures) -> list[Ratio]:
    """Return Roost's figures over the limits that were measured in turns with it."""
    raw, measured = read_json(folder / "raw-file-faiss.json"), read_json(folder / "roost.json")
    index_bytes = (folder / "faiss" / "index.faiss").stat().st_size
    scale = work.plan.filtered_queries / work.plan.queries
    found = [
        Ratio("one query, over Faiss called directly", over(folder, "roost", "single", "faiss", "single"), 0.80, 0.95)
    ]
    for keep in work.plan.keeps:
        for kind, words in (("repeated", "the same filter"), ("fresh", "a new filter each query")):
            value = over(folder, "roost", f"{kind} {keep:g}", "roost", "single", scale)
            found.append(Ratio(f"filter keeps {keep:.0%}, {words}, over no filter", value, 0.4, 0.8))
    batches = sum(raw["insert_s"]) / sum(measured["insert_s"])
    singles = sum(raw["single_s"]) / sum(measured["single_s"])
    found.append(Ratio("durable insert in batches, over a raw file with fdatasync", batches, 0.4, 0.8))
    found.append(Ratio("durable insert of single rows, over a raw file with fdatasync", singles, 0.5, 0.8))
    if roost.first_answer_s is not None and roost.memory_growth_bytes is not None:
        found.append(Ratio("reopening to the first answer, seconds", roost.first_answer_s, 1.0, 0.2, at_most=True))
        memory = roost.memory_growth_bytes / index_bytes
        found.append(Ratio("resident memory over the size of Faiss's index", memory, 1.5, 1.15, at_most=True))
    return found
