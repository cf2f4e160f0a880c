from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.environments import REPOSITORY
from bench.figures import figures_of, ratios_of
from bench.memory import resident_bytes
from bench.report import filter_table, ratio_table, speed_table
from bench.truth import brute_force
from bench.work import Plan, Work, make_work, save_work
from bench.worker import as_rows, measure, measurements

pytestmark = pytest.mark.bench


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.random((1_500, 16), dtype=np.float32)
    plan = Plan(filtered_queries=10, single_rows=5, batch_rows=500, rounds=2, query=(("ef", 128),))
    return make_work(vectors, rng.random((30, 16), dtype=np.float32), plan)


def test_every_query_of_a_measurement_has_its_filter(work: Work) -> None:
    by_name = {m.name: m for m in measurements(work)}
    assert list(by_name) == [
        "single",
        *(f"{kind} {keep}" for keep in ("0.01", "0.1", "0.5") for kind in ("repeated", "fresh")),
        "batched",
    ]
    for m in by_name.values():
        assert m.one_call or [len(windows) for windows in m.windows] == [len(m.queries)] * 3
    assert len({window for windows in by_name["repeated 0.1"].windows for window in windows}) == 1
    assert len({window for windows in by_name["fresh 0.1"].windows for window in windows}) > 15


def test_short_answers_are_padded() -> None:
    np.testing.assert_array_equal(as_rows([[4, 2], []], 2), [[4, 2], [-1, -1]])


def test_more_answers_than_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="could not broadcast"):
        as_rows([[1, 2, 3]], 2)


def test_memory_counts_the_processes_that_a_process_started() -> None:
    alone = resident_bytes(os.getpid())
    command = [sys.executable, "-c", "import numpy; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        assert resident_bytes(os.getpid()) > alone
        child.communicate(b"\n")


def test_roost_and_faiss_are_measured_from_rows_to_tables(work: Work, tmp_path: Path) -> None:
    save_work(work, tmp_path)
    measure(tmp_path, ["faiss", "roost"])
    for name in ("faiss", "roost"):
        subprocess.run([sys.executable, "-m", "bench.worker", "reopen", tmp_path, name], check=True, cwd=REPOSITORY)
    truth = brute_force(work)
    figures = {name: figures_of(work, truth, tmp_path, name) for name in ("faiss", "roost")}
    assert figures["faiss"].insert_rows_per_s is None
    assert figures["roost"].insert_rows_per_s is not None
    assert all(recall >= 0.95 for recall in figures["roost"].recalls.values())
    ratios = ratios_of(work, tmp_path, figures["roost"])
    assert len(ratios) == 11
    assert all(ratio.value > 0 for ratio in ratios)
    rounds = json.loads((tmp_path / "roost.json").read_text())["passes"]["single"]
    assert [len(calls) for calls in rounds] == [30, 30]
    tables = speed_table(figures), filter_table(figures, work.plan.keeps), ratio_table(ratios)
    assert all("faiss" in table.lower() for table in tables)
