"""Writers that are killed, and what the next opening finds."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from roost.engine.database import Database
from tests.engine.crash_writer import SCHEMAS, apply, operations
from tests.engine.model import check_files, check_search, copy_database, read_all, stop_upkeep, vectors_of

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
State = dict[str, tuple[dict, set]]


class Writers:
    """The process that forks the writers."""

    def __init__(self, directory: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("crash_writer.py")), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def run(self, seed: int, durability: str, n_operations: int, then_s: float) -> tuple[int, int]:
        """Kill a writer some time after so many operations; return how many it began and how many it finished."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(seed, durability, file=self._process.stdin, flush=True)
        writer = int(self._process.stdout.readline())
        lines = list(islice(self._process.stdout, 2 * n_operations))
        time.sleep(then_s)
        os.kill(writer, signal.SIGKILL)
        lines += iter(self._process.stdout.readline, "end\n")
        assert set(lines) <= {"start\n", "done\n"}
        return lines.count("start\n"), lines.count("done\n")

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def writers(directory: Path) -> Iterator[Writers]:
    process = Writers(directory)
    try:
        yield process
    finally:
        process.close()


def advance(state: State, seed: int, n_begun: int, n_done: int) -> list[State]:
    """Return the states that may be found: with the operation that was under way, and without it."""
    begun = list(islice(operations(seed), n_begun))
    for operation in begun[:n_done]:
        state = {**state, operation.collection: apply(*state[operation.collection], operation)}
    if n_begun == n_done:
        return [state]
    last = begun[-1]
    return [state, {**state, last.collection: apply(*state[last.collection], last)}]


def found_state(database: Database, candidates: list[State]) -> State:
    """Return the candidate that the database holds."""
    there = database.list_collections("default")
    found = {name: read_all(database.collection("default", name)) if name in there else {} for name in SCHEMAS}
    for candidate in candidates:
        if {name: rows for name, (rows, _) in candidate.items()} == found:
            return candidate
    lost = {
        name: {k: g for k, g in rows.items() if found[name].get(k) != g} for name, (rows, _) in candidates[0].items()
    }
    raise AssertionError(f"the database holds neither what was acknowledged nor that and one more; missing: {lost}")


def check_copy(directory: Path, copy: Path, candidates: list[State]) -> State:
    """Open a copy of what the killed writer left, compare it, and return which state it holds."""
    database = Database.open(copy_database(directory, copy))
    try:
        check_files(database)
        state = found_state(database, candidates)
        for name in database.list_collections("default"):
            rows, parts = state[name]
            collection = database.collection("default", name)
            assert collection.n_rows == len(rows)
            if "part" in collection.record.partitions:
                assert set(collection.query(partitions=collection.partition_ids(["part"])).keys.tolist()) == parts
            check_search(collection, rows, vectors_of([7], [3]))
    finally:
        database.close()
    shutil.rmtree(copy)
    return state


@pytest.mark.parametrize(("durability", "first_seed"), [("full", 1), ("normal", 1001)])
def test_a_killed_writer_loses_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, first_seed: int
) -> None:
    stop_upkeep(monkeypatch.setattr)
    rng = random.Random(first_seed)
    directory = tmp_path / "test.roost"
    state: State = {name: ({}, set()) for name in SCHEMAS}
    n_done = 0
    with writers(directory) as process:
        for seed in range(first_seed, first_seed + 100):
            begun, done = process.run(seed, durability, rng.choice((0, 1, 4, 12, 30)), rng.uniform(0.0, 0.03))
            n_done += done
            if directory.exists():
                state = check_copy(directory, tmp_path / str(seed), advance(state, seed, begun, done))
    assert n_done >= 600
