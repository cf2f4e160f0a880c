"""How hard background work may press on the searches of the process.

A build that has every core makes searches wait for a core, and one that has none never ends. So while somebody
searches, graphs grow in a thread of the lowest priority: on a machine with cores to spare it is as fast as any, and on
a busy one it takes what is left. Meanwhile the rows are found by scanning; the more that takes, the harder the build.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import TypeVar

import faiss

from roost.engine.index.exact import one_thread

_T = TypeVar("_T")

GENTLE_UPTO_NS = 800_000.0
ALONE_UPTO_NS = 4 * GENTLE_UPTO_NS
"""What scanning the rows without an index may take of a search, before the build presses harder."""

PATIENCE_S = 10.0
"""Work that was to make way, and was given so little for so long, is done like any other: some of it always is."""


class Effort(Enum):
    """How much of the machine a build takes."""

    GENTLE = "gentle"
    """One thread, which makes way for every other."""
    ALONE = "alone"
    """One thread like those that search."""
    FULL = "full"
    """Every core."""


BLOCK_ROWS = {Effort.GENTLE: 128, Effort.ALONE: 512, Effort.FULL: 4_096}
"""Rows that enter a graph between two looks at what else is due."""


def choose_effort(scan_ns: float, *, is_searched: bool, is_awaited: bool) -> Effort:
    """Return how hard to build.

    Args:
        scan_ns: about what a search takes to scan the rows that wait for an index.
        is_searched: whether somebody searches now.
        is_awaited: whether somebody waits for the build.
    """
    if is_awaited or not is_searched or scan_ns > ALONE_UPTO_NS:
        return Effort.FULL
    return Effort.GENTLE if scan_ns <= GENTLE_UPTO_NS else Effort.ALONE


def run_aside(work: Callable[[], _T], patience_s: float = PATIENCE_S) -> _T:
    """Return what `work` returns, computed on one core that every other thread may take at any moment.

    The work must not take a lock that others wait for. Where threads have no priorities, it has that of others.

    Args:
        patience_s: after so long the work is done like any other.
    """
    done: list[_T] = []
    failed: list[BaseException] = []
    thread_ids: list[int] = []

    def run() -> None:
        try:
            thread_ids.append(threading.get_native_id())
            faiss.omp_set_num_threads(1)
            _set_policy(thread_ids[0], "SCHED_IDLE")
            done.append(work())
        except BaseException as error:  # handed to the caller, whatever it is
            failed.append(error)

    thread = threading.Thread(target=run, name="roost-build", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter ends, and begins no thread any more
        run()
    else:
        thread.join(patience_s)
        if thread.is_alive() and thread_ids:
            _set_policy(thread_ids[0], "SCHED_OTHER")
        thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _set_policy(thread_id: int, name: str) -> None:
    with suppress(AttributeError, OSError):  # threads have policies of their own on Linux alone; it may have ended
        os.sched_setscheduler(thread_id, getattr(os, name), os.sched_param(0))


class Pace:
    """The pace of one build, block by block."""

    def __init__(
        self,
        stopping: Callable[[], bool],
        effort: Callable[[], Effort] = lambda: Effort.FULL,
    ) -> None:
        """Set who is asked before each block.

        Args:
            stopping: whether to end early; may do other work meanwhile.
            effort: how hard to build the next block.
        """
        self.stopping = stopping
        self._choose = effort
        self._effort = Effort.FULL

    def next_rows(self) -> int:
        """Return how many rows the next block has; 0 to end early."""
        if self.stopping():
            return 0
        self._effort = self._choose()
        return BLOCK_ROWS[self._effort]

    def run(self, work: Callable[[], _T]) -> _T:
        """Do the work of the block."""
        if self._effort is Effort.FULL:
            return work()
        if self._effort is Effort.GENTLE:
            return run_aside(work)
        with one_thread():
            return work()
