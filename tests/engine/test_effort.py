"""How hard builds press on searches."""

from __future__ import annotations

import os
import threading
import time

import pytest

from roost.engine.effort import (
    ALONE_UPTO_NS,
    BLOCK_ROWS,
    GENTLE_UPTO_NS,
    Effort,
    Pace,
    choose_effort,
    run_aside,
)


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


def test_work_aside_gives_its_result_and_its_error() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert run_aside(lambda: 7) == 7
    with pytest.raises(ValueError, match="no"):
        run_aside(fail)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs a system whose threads have priorities: Linux")
def test_work_aside_makes_way_and_the_caller_does_not() -> None:
    before = os.sched_getscheduler(threading.get_native_id())
    assert run_aside(lambda: os.sched_getscheduler(threading.get_native_id())) == os.SCHED_IDLE
    assert os.sched_getscheduler(threading.get_native_id()) == before


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs a system whose threads have priorities: Linux")
def test_work_aside_that_gets_too_little_is_done_like_any_other() -> None:
    def work() -> int:
        until = time.monotonic() + 10
        while os.sched_getscheduler(threading.get_native_id()) == os.SCHED_IDLE and time.monotonic() < until:
            time.sleep(0.001)
        return os.sched_getscheduler(threading.get_native_id())

    assert run_aside(work, patience_s=0.01) == os.SCHED_OTHER


def test_work_aside_is_done_where_no_thread_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_aside(threading.get_ident) == threading.get_ident()


def test_a_pace_asks_before_each_block() -> None:
    efforts = iter([Effort.GENTLE, Effort.ALONE, Effort.FULL])
    stops = iter([False, False, False, True])
    pace = Pace(lambda: next(stops), lambda: next(efforts))
    threads = []
    for effort in (Effort.GENTLE, Effort.ALONE, Effort.FULL):
        assert pace.next_rows() == BLOCK_ROWS[effort]
        threads.append(pace.run(threading.get_ident))
    here = threading.get_ident()
    assert threads[0] != here and threads[1:] == [here, here]
    assert pace.next_rows() == 0
