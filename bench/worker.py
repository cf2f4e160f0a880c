"""Measure systems in this process: python -m bench.worker measure|reopen|mixed|drop FOLDER SYSTEM...

Runs in the virtual environment of a system, which need hold no more than NumPy and that system. FOLDER holds the
work; timings go into FOLDER/SYSTEM.json and answers into FOLDER/SYSTEM.npz. Systems that are named together take
turns: batch by batch, and a hundred queries at a time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays import FloatArray, IntArray
from bench.filters import Window
from bench.memory import resident_bytes
from bench.mixed import measure_mixed
from bench.raw_file import RawFile
from bench.systems import load
from bench.systems.base import System
from bench.work import Work, load_work

WARM_UP_QUERIES = 50
TURN_QUERIES = 100
WARM_UP_ROWS = 100
REOPENED_QUERIES = 100
RAW_FILE = "raw-file"


@dataclass
class Timings:
    """Seconds by call.

    Attributes:
        passes: measurement to rounds to the seconds of each call.
        unfiltered: the same by filtered measurement, of its queries without their filters, asked in the same turns.
    """

    insert_s: list[float] = field(default_factory=list)
    single_s: list[float] = field(default_factory=list)
    index_s: float = 0.0
    passes: dict[str, list[list[float]]] = field(default_factory=dict)
    unfiltered: dict[str, list[list[float]]] = field(default_factory=dict)


@dataclass
class Subject:
    """A system under measurement.

    Attributes:
        answers: measurement to (n_queries, k) primary keys padded with -1, of the first round.
    """

    name: str
    system: System
    timings: Timings = field(default_factory=Timings)
    answers: dict[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Passes over queries: one call for each query, or one call for all.

    Attributes:
        windows: the filter of each query, for each round and for the warm-up after the last.
        ef: to search with; None for the plan's.
    """

    name: str
    queries: FloatArray
    windows: Sequence[Sequence[Window | None]] = ()
    one_call: bool = False
    ef: int | None = None

    @property
    def is_filtered(self) -> bool:
        return bool(self.windows) and self.windows[0][0] is not None


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def as_rows(answers: Sequence[Sequence[int]], k: int) -> IntArray:
    rows = np.full((len(answers), k), -1, dtype=np.int64)
    for row, answer in zip(rows, answers, strict=True):
        row[: len(answer)] = answer
    return rows


def measurements(work: Work) -> list[Measurement]:
    """Return what is asked, in order."""
    plan, n_rounds = work.plan, work.plan.rounds + 1
    no_filter: list[list[Window | None]] = [[None] * plan.queries] * n_rounds
    found = [Measurement("single", work.queries, no_filter)] if {"queries", "filters"} & set(plan.steps) else []
    if "queries" in plan.steps:
        found.append(Measurement("batched", work.queries, one_call=True))
    if "recall" in plan.steps:
        some = work.queries[: plan.filtered_queries]
        no_filter = [[None] * len(some)] * n_rounds
        found += [Measurement(f"ef {ef}", some, no_filter, ef=ef) for ef in plan.efs]
    if "filters" in plan.steps:
        for case in work.filter_cases():
            rounds = [case.of_round(number) for number in range(n_rounds)]
            found.append(Measurement(case.name, work.queries[case.numbers], rounds))
    return found


def ask(
    system: System, queries: FloatArray, windows: Sequence[Window | None]
) -> tuple[list[float], list[Sequence[int]]]:
    """Return the seconds and the answer of each query, one call each."""
    timings, answers = [], []
    for query, window in zip(queries, windows, strict=True):
        start = time.perf_counter()
        answer = system.search(query, window)
        timings.append(time.perf_counter() - start)
        answers.append(answer)
    return timings, answers


def ask_plainly(system: System, queries: FloatArray) -> list[float]:
    """Return the seconds of each query without a filter."""
    return ask(system, queries, [None] * len(queries))[0]


def ask_at_once(system: System, queries: FloatArray) -> tuple[list[float], list[Sequence[int]]]:
    """Return the seconds of one call for all queries, and the answer of each."""
    start = time.perf_counter()
    answers = system.search_batch(queries)
    return [time.perf_counter() - start], list(answers)


def run_round(work: Work, subjects: Sequence[Subject], measurement: Measurement, round_number: int) -> None:
    """Give each subject one pass over the queries, in short turns, so that a noise of the machine meets all."""
    queries = measurement.queries
    timings: list[list[float]] = [[] for _ in subjects]
    unfiltered: list[list[float]] = [[] for _ in subjects]
    answers: list[list[Sequence[int]]] = [[] for _ in subjects]
    for start in range(0, len(queries), len(queries) if measurement.one_call else TURN_QUERIES):
        turn = slice(start, start + TURN_QUERIES)
        for i, subject in enumerate(subjects):
            if measurement.one_call:
                spent, found = ask_at_once(subject.system, queries)
            else:
                # Who comes second finds what the first has fetched, so they take turns at that too.
                plain_first = start // TURN_QUERIES % 2 == 1
                if measurement.is_filtered and plain_first:
                    unfiltered[i] += ask_plainly(subject.system, queries[turn])
                spent, found = ask(subject.system, queries[turn], measurement.windows[round_number][turn])
                if measurement.is_filtered and not plain_first:
                    unfiltered[i] += ask_plainly(subject.system, queries[turn])
            timings[i] += spent
            answers[i] += found
    for i, subject in enumerate(subjects):
        subject.timings.passes.setdefault(measurement.name, []).append(timings[i])
        subject.answers.setdefault(measurement.name, as_rows(answers[i], work.plan.k))
        if measurement.is_filtered:
            subject.timings.unfiltered.setdefault(measurement.name, []).append(unfiltered[i])


def search_in_turns(work: Work, subjects: Sequence[Subject], measurement: Measurement) -> None:
    """Give the subjects their rounds, a warm-up first."""
    if measurement.ef is not None:
        for subject in subjects:
            subject.system.set_ef(measurement.ef)
    for subject in subjects:
        if measurement.one_call:
            ask_at_once(subject.system, measurement.queries)
        else:
            some = slice(0, WARM_UP_QUERIES)
            ask(subject.system, measurement.queries[some], measurement.windows[-1][some])
    started = time.perf_counter()
    for round_number in range(work.plan.rounds):
        if round_number and time.perf_counter() - started > work.plan.budget_s * len(subjects):
            break
        run_round(work, subjects, measurement, round_number)
    if measurement.ef is not None:
        for subject in subjects:
            subject.system.set_ef(dict(work.plan.query)["ef"])


def insert_in_turns(work: Work, subjects: Sequence[Subject], raw_file: RawFile, raw: Timings) -> None:
    """Insert every row in batches, the raw file taking its turn, and index them."""
    ids = np.arange(work.plan.rows)
    for start in range(0, work.plan.rows, work.plan.batch_rows):
        part = slice(start, start + work.plan.batch_rows)
        raw.insert_s.append(seconds(raw_file.append, work.vectors[part]))
        for subject in subjects:
            rows = subject.system.prepare(ids[part], work.vectors[part], work.columns_of(part))
            subject.timings.insert_s.append(seconds(subject.system.insert, rows))
    # A library builds nothing before its flush, so it waits; a database has begun, and its clock runs from now.
    for subject in sorted(subjects, key=lambda subject: not subject.system.inserts):
        print(f"{subject.name}: {work.plan.rows:,} rows inserted, indexing", flush=True)
        subject.timings.index_s = seconds(subject.system.flush)


def insert_singles(work: Work, subjects: Sequence[Subject], raw_file: RawFile, raw: Timings) -> None:
    """Insert rows one by one into an empty collection."""
    ids = np.arange(work.plan.single_rows)
    for i in range(work.plan.single_rows):
        part = slice(i, i + 1)
        raw.single_s.append(seconds(raw_file.append, work.vectors[part]))
        for subject in subjects:
            rows = subject.system.prepare(ids[part], work.vectors[part], work.columns_of(part))
            subject.timings.single_s.append(seconds(subject.system.insert, rows))


def open_subjects(work: Work, folder: Path, names: Sequence[str], suffix: str = "") -> list[Subject]:
    subjects = []
    for name in names:
        home = folder / f"{name}{suffix}"
        home.mkdir()
        subjects.append(Subject(name, load(name)(home, work.vectors.shape[1], work.plan)))
        subjects[-1].system.create()
    return subjects


def measure(folder: Path, names: Sequence[str]) -> None:
    """Measure everything that needs no second process, and write it down."""
    work = load_work(folder)
    raw, raw_file = Timings(), RawFile(folder / "raw")
    subjects = open_subjects(work, folder, names)
    insert_in_turns(work, subjects, raw_file, raw)
    asked = measurements(work)
    for i, measurement in enumerate(asked, 1):
        print(f"{', '.join(names)}: {measurement.name} ({i} of {len(asked)})", flush=True)
        search_in_turns(work, subjects, measurement)
    server_bytes = {s.name: sum(map(resident_bytes, s.system.process_ids())) for s in subjects}
    for subject in subjects:
        subject.system.close()
    singles: list[Subject] = []
    if "queries" in work.plan.steps:
        singles = open_subjects(work, folder, [s.name for s in subjects if s.system.inserts], suffix="-singles")
        insert_singles(work, singles, raw_file, raw)
    for single in singles:
        single.system.close()
        single.system.drop()
    by_name = {single.name: single.timings.single_s for single in singles}
    for subject in subjects:
        subject.timings.single_s = by_name.get(subject.name, [])
        stored = {"inserts": subject.system.inserts, "server_bytes": server_bytes[subject.name]}
        content = {**asdict(subject.timings), **stored}
        (folder / f"{subject.name}.json").write_text(json.dumps(content))
        np.savez(folder / f"{subject.name}.npz", **subject.answers)  # type: ignore[arg-type]
    raw_file.close()
    (folder / f"raw-file-{names[0]}.json").write_text(json.dumps(asdict(raw)))


def load_libraries(work: Work, name: str, folder: Path) -> None:
    """Use the system once, so that what it loads when it is first used is loaded."""
    part = slice(0, WARM_UP_ROWS)
    folder.mkdir()
    system = load(name)(folder, work.vectors.shape[1], work.plan)
    system.create()
    ids = np.arange(len(work.vectors[part]))
    system.insert(system.prepare(ids, work.vectors[part], work.columns_of(part)))
    system.flush()
    system.search(work.queries[0])
    system.close()
    system.drop()


def reopen(folder: Path, name: str) -> None:
    """Open what `measure` left, take the time to the first answer and the memory after some more."""
    work = load_work(folder)
    load_libraries(work, name, folder / f"{name}-loading")
    system = load(name)(folder / name, work.vectors.shape[1], work.plan)
    queries = work.queries[:REOPENED_QUERIES].copy()
    del work
    before_bytes = resident_bytes(os.getpid())
    start = time.perf_counter()
    system.open()
    system.search(queries[0])
    first_answer_s = time.perf_counter() - start
    for query in queries:
        system.search(query)
    after_bytes = resident_bytes(os.getpid())
    system.close()
    figures = {"first_answer_s": first_answer_s, "before_bytes": before_bytes, "after_bytes": after_bytes}
    (folder / f"{name}-reopened.json").write_text(json.dumps(figures))


def mixed(folder: Path, name: str) -> None:
    """Open what `measure` left, search it alone and beside inserts, and write the times down."""
    work = load_work(folder)
    system = load(name)(folder / name, work.vectors.shape[1], work.plan)
    system.open()
    found = measure_mixed(work, system, work.plan.mixed_s if name == "roost" else work.plan.peer_mixed_s)
    system.close()
    (folder / f"{name}-mixed.json").write_text(json.dumps(found.calls()))
    np.savez(folder / f"{name}-mixed.npz", quiet=found.quiet, busy=found.busy)


def drop(folder: Path, name: str) -> None:
    """Remove rows that lie outside the folder."""
    work = load_work(folder)
    load(name)(folder / name, work.vectors.shape[1], work.plan).drop()


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(Path(sys.argv[2]), sys.argv[3:])
    else:
        {"reopen": reopen, "mixed": mixed, "drop": drop}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
