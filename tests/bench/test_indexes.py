from __future__ import annotations

from pathlib import Path

import pytest

from bench import index_rows
from bench.index_rows import FILTERS, Rows
from bench.indexes import Measured, Point, kind_of, measure, plot, plot_cost, ratios_of, table
from roost.demo.images import load_images

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("index_type", ["HNSW", "BIN_FLAT", "SPARSE_INVERTED_INDEX"])
def test_a_type_is_measured_on_the_vectors_that_it_takes(index_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_images("digits")
    monkeypatch.setattr(index_rows, "load_images", lambda name: digits)
    found = measure(index_type, Rows(kind_of(index_type), 1_200, 20), 1)
    assert found.chosen.recall >= 0.95
    assert set(found.filters) == set(FILTERS)
    assert all(recall > 0.8 for recall, _ in found.filters.values())
    assert found.held_bytes > 0


def points(*recalls: float) -> list[Point]:
    return [Point({"ef": i}, recall, 100.0 / (i + 1)) for i, recall in enumerate(recalls)]


def test_the_fastest_setting_that_is_sure_enough_is_shown(tmp_path: Path) -> None:
    found = {
        "A": Measured(2.0, 4_000_000, 9_000_000, points(0.90, 0.96, 0.99), {"1 %": (0.97, 0.5)}),
        "B": Measured(1.0, 2_000_000, 8_000_000, points(0.70, 0.80), {"1 %": (1.0, 2.0)}),
    }
    lines = table(found).splitlines()
    assert lines[0] == "| type | build, s | index, MB | memory, MB | setting | recall@10 | queries/s | 1 % |"
    assert lines[2] == "| A | 2.0 | 4 | 9 | ef 1 | 0.960 | 50 | 0.970 / 0.50 |"
    assert [ratio.value for ratio in ratios_of(found)] == [0.80, 0.97]
    assert [ratio.holds for ratio in ratios_of(found)] == [False, True]
    plot(found, tmp_path / "a" / "recall.svg")
    plot_cost(found, tmp_path / "a" / "cost.svg")
    assert len(list((tmp_path / "a").iterdir())) == 2
