"""How hard builds press on searches."""

from __future__ import annotations

import faiss
import pytest

from roost.engine import effort
from roost.engine.effort import ALONE_UPTO_NS, BLOCK_ROWS, GENTLE_UPTO_NS, Effort, Pace, choose_effort


@pytest.mark.parametrize(
    ("scan_ns", "is_searched", "is_awaited", "expected"),
    [
        (0.0, False, False, Effort.FULL),
        (1e9, False, False, Effort.FULL),
        (0.0, True, True, Effort.FULL),
        (0.0, True, False, Effort.GENTLE),
        (GENTLE_UPTO_NS, True, False, Effort.GENTLE),
        (GENTLE_UPTO_NS + 1, True, False, Effort.ALONE),
        (ALONE_UPTO_NS, True, False, Effort.ALONE),
        (ALONE_UPTO_NS + 1, True, False, Effort.FULL),
        (GENTLE_UPTO_NS + 1, True, True, Effort.FULL),
    ],
)
def test_a_build_presses_as_hard_as_scans_are_long(
    scan_ns: float, is_searched: bool, is_awaited: bool, expected: Effort
) -> None:
    assert choose_effort(scan_ns, is_searched=is_searched, is_awaited=is_awaited) is expected


def test_a_pace_asks_before_each_block_and_rests_after_gentle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "MANY_CORES", 1_000_000)
    efforts = iter([Effort.GENTLE, Effort.ALONE, Effort.FULL])
    stops = iter([False, False, False, True])
    rests: list[float] = []
    pace = Pace(lambda: next(stops), lambda: next(efforts), rests.append)
    threads = []
    for choice in (Effort.GENTLE, Effort.ALONE, Effort.FULL):
        assert pace.next_rows() == BLOCK_ROWS[choice]
        threads.append(pace.run(faiss.omp_get_max_threads))
    every = faiss.omp_get_max_threads()
    assert threads == [1, 1, every]
    assert len(rests) == 1 and rests[0] > 0
    assert pace.next_rows() == 0


def test_with_cores_to_spare_nobody_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "MANY_CORES", 1)
    rests: list[float] = []
    pace = Pace(lambda: False, lambda: Effort.GENTLE, rests.append)
    pace.next_rows()
    assert pace.run(lambda: 7) == 7 and rests == []
