from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.drift import peers, report
from bench.drift.__main__ import main
from bench.drift.data import Indices, Pool, Spoiled, glosses
from bench.drift.measure import NAMES, Plan, fresh_draws, measure, null_windows
from bench.drift.peers import PeerAlarms, measure_peer, parse_peers
from roost.errors import MissingDependency

PLAN = Plan(windows=6, fresh=20, trials=3, n_reference=400, n_window=30, sizes=(20, 30))


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(0)
    vectors, categories = rng.normal(size=(2_000, 8)).astype(np.float32), rng.integers(0, 4, 2_000)

    def moved(chosen: Indices, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return vectors[chosen] * 2 + 3, np.zeros(len(chosen), dtype=np.int64)

    return Pool("points", vectors, categories, {"moved": Spoiled("somewhere else", moved)})


def test_windows_share_no_row_with_their_reference(pool: Pool) -> None:
    windows = np.concatenate([np.arange(PLAN.n_reference), *null_windows(pool, PLAN)])
    assert len(set(windows)) == len(windows) == 400 + 6 * 30
    for reference, own in fresh_draws(pool, PLAN):
        rows = np.concatenate([reference, *own])
        assert len(set(rows)) == len(rows) == 400 + 10 * 30


def test_a_pool_that_is_used_up_is_shuffled_and_cut_again(pool: Pool) -> None:
    windows = null_windows(pool, Plan(windows=40, n_reference=400, n_window=100))
    first, second = np.concatenate(windows[:16]), np.concatenate(windows[16:32])
    assert len(windows) == 40 and first.tolist() == list(range(400, 2_000))
    assert sorted(second) == first.tolist() != second.tolist()


def test_the_tables_and_plots_hold_what_was_measured(pool: Pool, tmp_path: Path) -> None:
    found = {pool.name: measure(pool, PLAN)}
    theirs = {pool.name: {"tool: test": PeerAlarms(null=0.5, n_null=6, power={"moved": 1.0}, test_ms=3.0)}}
    assert list(found[pool.name]) == list(NAMES)
    table = report.null_table(found, theirs)
    assert len(table.splitlines()) == 2 + len(NAMES) + 1 and "50.0% (6)" in table
    power = report.power_table(pool, found[pool.name], theirs[pool.name], 30)
    assert [line.split("|")[2].strip() for line in power.splitlines()[2:]] == ["100%"] * (len(NAMES) + 1)
    assert "20 / 20" in report.queries_table(pool, found[pool.name])
    report.plot_false_alarms(found, theirs, tmp_path / "alarms.svg")
    report.plot_power({pool.name: pool}, found, tmp_path / "power.svg")
    assert all((tmp_path / name).read_text().startswith("<?xml") for name in ("alarms.svg", "power.svg"))


def test_a_tool_that_cannot_run_is_left_out(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_BENCH_PYTHON_ALIBI_DETECT", sys.executable)
    assert measure_peer("alibi-detect", pool, PLAN, 2, 2) == {}
    monkeypatch.setenv("ROOST_BENCH_PYTHON_ALIBI_DETECT", "/no/such/python")
    assert measure_peer("alibi-detect", pool, PLAN, 2, 2) == {}
    assert capfd.readouterr().out.count("alibi-detect is left out") == 2


def test_tools_are_named() -> None:
    assert list(parse_peers("all")) == list(peers.REQUIREMENTS)
    assert parse_peers("") == [] and parse_peers("evidently") == ["evidently"]
    with pytest.raises(SystemExit, match="no peer is called river"):
        main(["--peers", "river"])


def test_glosses_are_read_from_wordnets_files(tmp_path: Path) -> None:
    lines = ["  1 This software and database", "00001740 03 n 01 entity 0 000 @ 00004475 n 0000 | that which is  "]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    texts, topics = glosses("noun", tmp_path)
    assert texts == ["that which is"] and topics.tolist() == [3]
    with pytest.raises(MissingDependency, match="wordnet-base"):
        glosses("verb", tmp_path)
