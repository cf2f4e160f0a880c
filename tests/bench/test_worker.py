from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import draw
from bench.environments import REPOSITORY
from bench.figures import figures_of
from bench.limits import ratios_of
from bench.memory import resident_bytes
from bench.report import ratio_table, tables
from bench.truth import brute_force
from bench.work import Plan, Work, make_work, save_work
from bench.worker import as_rows, measure, measurements

pytestmark = pytest.mark.bench


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.random((1_500, 16), dtype=np.float32)
    plan = Plan(
        filtered_queries=10,
        single_rows=5,
        batch_rows=500,
        rounds=2,
        query=(("ef", 128),),
        efs=(10, 200),
        quiet_s=0.3,
        mixed_s=1.2,
    )
    return make_work(vectors, rng.random((30, 16), dtype=np.float32), plan)


def run_worker(task: str, folder: Path, name: str) -> None:
    subprocess.run([sys.executable, "-m", "bench.worker", task, folder, name], check=True, cwd=REPOSITORY)


def test_every_query_of_a_measurement_has_its_filter(work: Work) -> None:
    by_name = {m.name: m for m in measurements(work)}
    efs = [f"ef {ef}" for ef in work.plan.efs]
    assert list(by_name) == ["single", "batched", *efs, *(case.name for case in work.filter_cases())]
    for m in by_name.values():
        assert m.one_call or [len(windows) for windows in m.windows] == [len(m.queries)] * 3
    assert len({window for windows in by_name["far repeated 0.1"].windows for window in windows}) == 1
    assert len({window for windows in by_name["far fresh 0.1"].windows for window in windows}) > 15


def test_only_what_the_steps_name_is_asked(work: Work) -> None:
    def names(*steps: str) -> list[str]:
        return [m.name for m in measurements(replace(work, plan=replace(work.plan, steps=steps)))]

    assert names("reopen", "mixed") == []
    assert names("recall") == [f"ef {ef}" for ef in work.plan.efs]
    assert names("filters")[0] == "single"


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
        run_worker("reopen", tmp_path, name)
    run_worker("mixed", tmp_path, "roost")
    truth = brute_force(work)
    figures = {name: figures_of(work, truth, tmp_path, name) for name in ("faiss", "roost")}
    assert figures["faiss"].insert_rows_per_s is None
    assert figures["roost"].insert_rows_per_s is not None
    recalls = figures["roost"].recalls
    assert all(recall >= 0.95 for name, recall in recalls.items() if name != "ef 10")
    assert recalls["ef 10"] < recalls["ef 200"]
    assert set(figures["roost"].over_unfiltered) == {case.name for case in work.filter_cases()}
    assert figures["faiss"].mixed is None
    mixed = figures["roost"].mixed
    assert mixed is not None
    assert mixed.found_at_once == 1.0
    assert mixed.rows_per_s > 500
    ratios = ratios_of(work, tmp_path, figures)
    assert len(ratios) == 1 + 3 * 4 * 2 + 1 + 2 + 2 + 3
    assert all(ratio.value > 0 for ratio in ratios)
    written = json.loads((tmp_path / "roost.json").read_text())
    assert [len(calls) for calls in written["passes"]["single"]] == [30, 30]
    for case in work.filter_cases():
        beside, filtered = written["unfiltered"][case.name], written["passes"][case.name]
        assert [len(calls) for calls in beside] == [len(calls) for calls in filtered]
        found = figures["roost"].over_unfiltered[case.name]
        assert found == pytest.approx(np.median(np.sum(beside, axis=1) / np.sum(filtered, axis=1)))
    text = [*tables(figures, work.plan), ratio_table(ratios)]
    assert len(text) == 1 + 1 + 3 + 1 + 1
    assert all("roost" in table.lower() for table in text)
    draw(figures, work.plan, tmp_path / "plots")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["mixed.svg", "systems.svg"]
