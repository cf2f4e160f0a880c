from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import parse_peers
from bench.environments import find
from bench.figures import Figures, Ratio, over
from bench.report import markdown, ratio_table, speed_table, write
from bench.work import Plan

KEYS = ("single", "batched", *(f"{kind} {keep:g}" for keep in Plan.keeps for kind in ("repeated", "fresh")))


def figures(queries_per_s: float) -> Figures:
    return Figures(
        insert_rows_per_s=None,
        single_rows_per_s=None,
        index_s=1.0,
        queries_per_s=dict.fromkeys(KEYS, queries_per_s),
        recalls=dict.fromkeys(KEYS, 0.5),
        p50_ms=0.1,
        p99_ms=0.2,
        first_answer_s=None,
        memory_bytes=None,
        memory_growth_bytes=None,
    )


def test_columns_line_up() -> None:
    assert markdown(["a", "b"], [["long", "1"], ["x", "200"]]) == (
        "| a    |   b |\n| ---- | --: |\n| long |   1 |\n| x    | 200 |"
    )


def test_speed_is_given_over_faiss() -> None:
    line = speed_table({"faiss": figures(1_000), "roost": figures(900)}).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")][5:7] == ["900", "0.90"]


def test_a_missed_floor_is_named() -> None:
    lines = ratio_table([Ratio("a", 0.7, 0.8, 0.9), Ratio("b", 0.7, 0.8, 0.5, at_most=True)]).splitlines()
    assert "MISSED" in lines[-2]
    assert "holds" in lines[-1]


def test_ratios_are_taken_within_rounds(tmp_path: Path) -> None:
    for name, rounds in (("roost", [[2.0], [20.0], [3.0]]), ("faiss", [[1.0], [10.0], [3.0]])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"passes": {"single": rounds}}))
    assert over(tmp_path, "roost", "single", "faiss", "single") == 0.5


def test_results_are_written(tmp_path: Path) -> None:
    path = write(tmp_path, Plan(), {"faiss": figures(1.0)}, [Ratio("a", 1.0, 0.8, 0.9)], "table")
    content = json.loads(path.read_text())
    assert content["machine"]["cores"] >= 1
    assert content["figures"]["faiss"]["p99_ms"] == 0.2
    assert path.with_suffix(".md").read_text() == "table\n"


def test_peers_are_named_or_all() -> None:
    assert parse_peers("") == []
    assert parse_peers("lancedb, chroma") == ["chroma", "lancedb"]
    assert parse_peers("all") == ["chroma", "lancedb", "milvus-lite", "milvus"]
    with pytest.raises(SystemExit, match="no peer is called oracle; there are: chroma"):
        parse_peers("chroma oracle")


def test_a_peer_that_cannot_run_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ROOST_MILVUS_URI", raising=False)
    assert find("milvus") is None
    assert "ROOST_MILVUS_URI names no server" in capsys.readouterr().out
