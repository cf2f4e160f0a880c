from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.comparison import parse_peers
from bench.environments import find
from bench.figures import Figures, Mixed, over
from bench.filters import KINDS, SIDES, name_of
from bench.limits import ratios_of
from bench.ratios import Ratio, read_ratios, write_ratios
from bench.report import filter_table, markdown, mixed_table, ratio_table, speed_table, tables, write
from bench.work import Plan, make_work

FILTERED = [name_of(side, keep, kind) for side in SIDES for keep in Plan.keeps for kind in KINDS]
KEYS = ("single", "batched", *FILTERED)
MIXED = Mixed(
    quiet_queries_per_s=9_000.0,
    quiet_p50_ms=0.1,
    quiet_p99_ms=0.4,
    queries_per_s=5_000.0,
    p50_ms=0.2,
    p99_ms=1.0,
    rows_per_s=1_000.0,
    insert_ms=7.0,
    insert_longest_ms=9.0,
    found_at_once=0.5,
    found_ms=1.5,
    found_longest_ms=None,
    per_second=((0.2, 1.0),),
)


def figures(queries_per_s: float, mixed: Mixed | None = None) -> Figures:
    return Figures(
        insert_rows_per_s=None,
        single_rows_per_s=None,
        index_s=1.0,
        queries_per_s=dict.fromkeys(KEYS, queries_per_s),
        recalls=dict.fromkeys(KEYS, 0.5),
        p50_ms=0.1,
        p99_ms=0.2,
        over_unfiltered=dict.fromkeys(FILTERED, 0.75),
        mixed=mixed,
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_columns_line_up() -> None:
    assert markdown(["a", "b"], [["long", "1"], ["x", "200"]]) == (
        "| a    |   b |\n| ---- | --: |\n| long |   1 |\n| x    | 200 |"
    )


def test_speed_is_given_over_faiss() -> None:
    line = speed_table({"faiss": figures(1_000), "roost": figures(900)}).splitlines()[-1]
    assert cells(line)[4:6] == ["900", "0.90"]


def test_what_was_not_measured_is_left_empty() -> None:
    found = tables({"faiss": Figures(None, None, 1.0, {}, {})}, replace(Plan(), steps=("reopen",)))
    assert len(found) == 1
    assert cells(found[0].splitlines()[-1]) == ["faiss", "", "", "1.0", *[""] * 8]


def test_speed_under_a_filter_is_given_over_the_speed_without() -> None:
    table = filter_table({"roost": figures(900)}, Plan.keeps, "far")
    assert cells(table.splitlines()[0])[:2] == ["filter on the other side of the axis keeps", "0.1 %, repeated"]
    assert cells(table.splitlines()[-1]) == ["roost", *["0.75 / 900 (0.500)"] * 8]


def test_a_row_that_was_never_found_has_no_longest_time() -> None:
    lines = mixed_table({"faiss": figures(1), "roost": figures(1, MIXED)}).splitlines()
    assert len(lines) == 3
    assert cells(lines[-1])[0] == "roost"
    assert cells(lines[-1])[7] == "2.5"
    assert cells(lines[-1])[-3:] == ["50%", "1.5", ""]


def test_ratios_pass_from_one_program_to_another(tmp_path: Path) -> None:
    ratios = [Ratio("a", 1.0, 0.8, 0.9), Ratio("b", 2.0, 3.0, 1.0, at_most=True)]
    write_ratios(tmp_path / "a.json", ratios)
    assert read_ratios(tmp_path / "a.json") == ratios
    assert read_ratios(tmp_path / "none.json") == []


def test_peers_and_lowest_recall_are_held_to_limits(tmp_path: Path) -> None:
    for name in ("roost", "faiss"):
        passes = {"passes": {"single": [[1.0]]}, "insert_s": [1.0], "single_s": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(passes))
    (tmp_path / "raw-file-faiss.json").write_text(json.dumps({"insert_s": [0.5], "single_s": []}))
    work = make_work(np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32), replace(Plan(), steps=("filters",)))
    found = {"faiss": figures(1_000), "roost": figures(800, MIXED), "chroma": figures(100), "milvus": figures(400)}
    values = {ratio.what: ratio for ratio in ratios_of(work, tmp_path, found)}
    assert values["one query, over chroma"].value == 8.0
    assert not values["recall@10 under a filter, the lowest"].holds
    assert values["random filter keeps 1 %, a new filter each query, over the fastest peer"].value == 2.0
    assert values["p99 beside inserts of 1,000 rows a second, over the quiet p99"].value == 2.5
    assert values["rows that came in beside the searches, over those that were due"].holds
    assert "one query, over lancedb" not in values
    assert "durable insert of single rows, over a raw file with fdatasync" not in values


def test_a_missed_floor_is_named() -> None:
    lines = ratio_table([Ratio("a", 0.7, 0.8, 0.9), Ratio("b", 0.7, 0.8, 0.5, at_most=True)]).splitlines()
    assert "MISSED" in lines[-2]
    assert "holds" in lines[-1]


def test_ratios_are_taken_within_rounds(tmp_path: Path) -> None:
    for name, rounds in (("roost", [[2.0], [20.0], [3.0]]), ("faiss", [[1.0], [10.0], [3.0]])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"passes": {"single": rounds}}))
    assert over(tmp_path, "roost", "single", "faiss", "single") == 0.5


def test_results_are_written(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    write(path, Plan(), {"faiss": figures(1.0)}, [Ratio("a", 1.0, 0.8, 0.9)], "table")
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
