"""How hard background work may press on the searches of the process.

A build that has every core makes searches wait for a core, and one that has none never ends. So while somebody
searches, graphs grow by small blocks with rests between them, in which nothing is in the way of the searches. Meanwhile
the rows are found by scanning; the more that takes, the harder the build presses.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from roost.engine.index.threads import one_thread

_T = TypeVar("_T")

GENTLE_UPTO_NS = 800_000.0
ALONE_UPTO_NS = 4 * GENTLE_UPTO_NS
"""What scanning the rows without an index may take of a search, before the build presses harder."""

MANY_CORES = 4
"""With so many a thread that builds is not in the way of searches."""

REST = 4.0
"""How long a gentle build rests after a block, as a multiple of the block's time, where cores are fewer."""


class Effort(Enum):
    """How much of the machine a build takes."""

    GENTLE = "gentle"
    """One thread, which rests most of the time where cores are few."""
    ALONE = "alone"
    """One thread like those that search."""
    FULL = "full"
    """Every core."""


BLOCK_ROWS = {Effort.GENTLE: 64, Effort.ALONE: 512, Effort.FULL: 4_096}
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


class Pace:
    """The pace of one build, block by block."""

    def __init__(
        self,
        tend: Callable[[], bool],
        effort: Callable[[], Effort] = lambda: Effort.FULL,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set who is asked before each block.

        Args:
            tend: looks after what else is due, and says whether to end early.
            effort: how hard to build the next block.
            rest: waits for some seconds, or less when the build becomes urgent.
        """
        self.tend = tend
        self._choose = effort
        self._effort = Effort.FULL
        self._rest = rest

    def next_rows(self) -> int:
        """Return how many rows the next block has; 0 to end early."""
        if self.tend():
            return 0
        self._effort = self._choose()
        return BLOCK_ROWS[self._effort]

    def run(self, work: Callable[[], _T]) -> _T:
        """Do the work of the block, and rest after it."""
        if self._effort is Effort.FULL:
            return work()
        begun = time.monotonic()
        with one_thread():
            done = work()
        if self._effort is Effort.GENTLE and (os.cpu_count() or 1) < MANY_CORES:
            self._rest(REST * (time.monotonic() - begun))
        return done
