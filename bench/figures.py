"""From timings to figures: speed, latency and recall of one system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.arrays import RealArray
from bench.mixed import quantiles_per_second
from bench.truth import Truth, recall
from bench.work import Work


@dataclass(frozen=True)
class Mixed:
    """Two threads that search, alone and beside a thread that inserts.

    Attributes:
        queries_per_s: of both threads while rows come in; rows_per_s: as many rows as came.
        found_at_once: the share of the rows looked for that the first search returned.
        found_ms: from the return of an insert until the row was found, the median of those that were.
        found_longest_ms: of all; None where one was not found at all.
        per_second: (seconds, 2) p50 and p99 in ms, while rows came in.
    """

    quiet_queries_per_s: float
    quiet_p50_ms: float
    quiet_p99_ms: float
    queries_per_s: float
    p50_ms: float
    p99_ms: float
    rows_per_s: float
    insert_ms: float
    insert_longest_ms: float
    found_at_once: float
    found_ms: float | None
    found_longest_ms: float | None
    per_second: tuple[tuple[float, float], ...]

    @property
    def p99_over_quiet(self) -> float:
        return self.p99_ms / self.quiet_p99_ms


@dataclass(frozen=True)
class Figures:
    """What is reported of one system; what was not measured is None or left out.

    Attributes:
        insert_rows_per_s: in batches; None for a library that stores nothing.
        single_rows_per_s: in calls of one row each.
        index_s: from the last insert until every row is in the index.
        queries_per_s: by measurement, the median of the rounds.
        recalls: by measurement.
        p50_ms: median latency of one query, likewise p99_ms.
        first_answer_s: opening and one query in a new process; loading what was released where a server keeps it.
        memory_bytes: resident after a reopen and 100 queries, or the server's after all the work.
        memory_growth_bytes: the part of it that came with opening; None for a server.
        over_unfiltered: by filtered measurement, the median over the rounds of its speed over that of the same queries
            without a filter, asked in the same turns.
    """

    insert_rows_per_s: float | None
    single_rows_per_s: float | None
    index_s: float
    queries_per_s: dict[str, float]
    recalls: dict[str, float]
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_answer_s: float | None = None
    memory_bytes: int | None = None
    memory_growth_bytes: int | None = None
    over_unfiltered: dict[str, float] = field(default_factory=dict)
    mixed: Mixed | None = None


def read_json(path: Path) -> dict[str, Any]:
    """Return what a worker wrote; nothing where that step was left out."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def recalls_of(work: Work, truth: Truth, folder: Path, name: str) -> dict[str, float]:
    """Return the recall of each measurement, from the answers that the worker wrote down."""
    answers = np.load(folder / f"{name}.npz")
    cases = {case.name: case for case in work.filter_cases()}
    return {key: recall(work, answers[key], truth.under.get(key, truth.plain), cases.get(key)) for key in answers.files}


def mixed_of(folder: Path, name: str) -> Mixed | None:
    """Return the figures of the mixed load; None where it was not measured."""
    calls = read_json(folder / f"{name}-mixed.json")
    if not calls:
        return None
    searches = np.load(folder / f"{name}-mixed.npz")
    quiet, busy, busy_s = searches["quiet"], searches["busy"], calls["busy_s"]
    found = [spent for spent in calls["found_s"] if spent is not None]
    all_found = len(found) == len(calls["found_s"])
    return Mixed(
        quiet_queries_per_s=len(quiet) / _span_s(quiet),
        quiet_p50_ms=_quantile_ms(quiet, 0.5),
        quiet_p99_ms=_quantile_ms(quiet, 0.99),
        queries_per_s=len(busy) / _span_s(busy),
        p50_ms=_quantile_ms(busy, 0.5),
        p99_ms=_quantile_ms(busy, 0.99),
        rows_per_s=calls["rows"] / max(busy_s, sum(calls["insert_s"])),
        insert_ms=median(calls["insert_s"]) * 1e3,
        insert_longest_ms=max(calls["insert_s"]) * 1e3,
        found_at_once=sum(n == 1 and s is not None for n, s in zip(calls["looks"], calls["found_s"], strict=True))
        / len(calls["looks"]),
        found_ms=median(found) * 1e3 if found else None,
        found_longest_ms=max(found) * 1e3 if all_found else None,
        per_second=tuple((p50, p99) for p50, p99 in quantiles_per_second(busy, busy_s).tolist()),
    )


def _span_s(searches: RealArray) -> float:
    return float((searches[:, 0] + searches[:, 1]).max())


def _quantile_ms(searches: RealArray, share: float) -> float:
    return float(np.quantile(searches[:, 1], share)) * 1e3


def figures_of(work: Work, truth: Truth, folder: Path, name: str) -> Figures:
    """Read what the workers wrote about one system."""
    measured, reopened = read_json(folder / f"{name}.json"), read_json(folder / f"{name}-reopened.json")
    recalls, passes, singles = recalls_of(work, truth, folder, name), measured["passes"], measured["single_s"]
    n_queries = {key: work.plan.filtered_queries if " " in key else work.plan.queries for key in recalls}
    speeds = {key: n_queries[key] / median(map(sum, rounds)) for key, rounds in passes.items()}
    filtered = [case.name for case in work.filter_cases() if case.name in passes]
    calls_ms = [seconds * 1e3 for calls in passes.get("single", ()) for seconds in calls]
    growth = reopened["after_bytes"] - reopened["before_bytes"] if reopened else None
    is_server = bool(measured["server_bytes"])
    return Figures(
        insert_rows_per_s=work.plan.rows / sum(measured["insert_s"]) if measured["inserts"] else None,
        single_rows_per_s=len(singles) / sum(singles) if singles else None,
        index_s=measured["index_s"],
        queries_per_s=speeds,
        recalls=recalls,
        p50_ms=float(np.percentile(calls_ms, 50)) if calls_ms else None,
        p99_ms=float(np.percentile(calls_ms, 99)) if calls_ms else None,
        first_answer_s=reopened.get("first_answer_s"),
        memory_bytes=measured["server_bytes"] if is_server else reopened.get("after_bytes"),
        memory_growth_bytes=None if is_server else growth,
        over_unfiltered={key: speed_over(passes[key], measured["unfiltered"][key]) for key in filtered},
        mixed=mixed_of(folder, name),
    )


def over(folder: Path, name: str, measurement: str, base: str, base_measurement: str) -> float:
    """Return the median, over the rounds, of one speed over another that was taken in the same round."""
    ours = read_json(folder / f"{name}.json")["passes"][measurement]
    theirs = read_json(folder / f"{base}.json")["passes"][base_measurement]
    return speed_over(ours, theirs)


def speed_over(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Return the median, over the rounds, of one speed over another, both of the same queries.

    Args:
        ours: rounds of the seconds of each call; likewise theirs.
    """
    return float(median(sum(b) / sum(a) for a, b in zip(ours, theirs, strict=False)))
