"""Letting challengers answer behind the scenes what the champion answers.

The champion's answer is given first; then the query is handed to a thread of its own. Where the
challengers cannot keep up, queries are left out and counted: nobody waits for a challenger.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from roost.lifecycle.live.guards import Guards
from roost.lifecycle.live.judging import Drawn, Rival, overlap, same
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.serving import Contents, Part, Run, attempt, timed
from roost.lifecycle.serving.traffic import Target

MAX_WAITING = 64
"""Batches that wait for the challengers."""

_log = logging.getLogger(__name__)

Found = Callable[[str, str, Rival, float], None]
"""Takes a challenger's name, a query's id, what the challenger made of it, and how much that agrees."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A batch for the challengers; `query_ids` are filled in once the answers have them."""

    contents: Contents
    run: Run
    drawn: Sequence[Drawn]
    query_ids: Sequence[str] = field(default=())


class Shadow:
    """Mirrors the champion's traffic to the challengers of a test. Safe to use from any thread."""

    def __init__(self, plan: Plan, arms: Sequence[Target], guards: Guards, found: Found) -> None:
        """Begin to mirror.

        Args:
            arms: the champion first.
            found: is told in the background what a challenger made of a query.
        """
        self._plan = plan
        self._champion, *self._challengers = arms
        self._guards = guards
        self._found = found
        self._waiting: queue.Queue[Mirrored | None] = queue.Queue(MAX_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.n_left_out = 0

    def serve(self, contents: Contents, user: str | None, run: Run, limit: int) -> list[Part]:
        """Let the champion answer a batch; `mirror` hands it on once it has its ids."""
        batch = timed(run, self._champion, contents, self._guards.see)
        drawn = [Drawn(ids=r.rival.ids, prediction=r.rival.prediction) for r in batch.responses]
        results = [response.result for response in batch.responses]
        return [Part(self._champion, range(len(results)), results, list(drawn), batch.inputs)]

    def mirror(self, batch: Mirrored) -> bool:
        """Hand an answered batch to the challengers; False when they cannot keep up, and it is left out."""
        owned = replace(batch, contents=_copy(batch.contents))
        try:
            self._waiting.put_nowait(owned)
        except queue.Full:
            self.n_left_out += len(batch.query_ids)
            return False
        if self._thread is None:
            self._start()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything that was handed over is done, or given up; return whether it is."""
        done = self._waiting.all_tasks_done
        with done:
            return done.wait_for(lambda: self._closed or self._waiting.unfinished_tasks == 0, timeout_s)

    def close(self) -> None:
        """Give up what waits, and begin no further query."""
        with self._waiting.all_tasks_done:
            self._closed = True
            self._waiting.all_tasks_done.notify_all()
        with suppress(queue.Full):  # full: the thread sees that it is over after its present query
            self._waiting.put_nowait(None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="roost-shadow", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._closed:
            batch = self._waiting.get()
            try:
                if batch is not None:
                    for challenger in self._challengers:
                        self._try(challenger, batch)
            except Exception as error:  # a thread that ended would leave every later query out
                _log.warning("a mirrored query of %r is lost: %s", self._champion.deployment.endpoint, error)
            finally:
                self._waiting.task_done()

    def _try(self, challenger: Target, batch: Mirrored) -> None:
        name = challenger.deployment.name
        answered = attempt(batch.run, challenger, batch.contents, self._guards.see)
        if isinstance(answered, Exception):
            self._guards.failed(challenger, len(batch.contents), answered)
            return
        for query_id, drawn, response in zip(batch.query_ids, batch.drawn, answered.responses, strict=True):
            agreement = _agreement(drawn, response.rival)
            self._guards.compare(name, agreement)
            self._found(name, query_id, response.rival, agreement)


def _agreement(drawn: Drawn, rival: Rival) -> float:
    if drawn.prediction is not None and rival.prediction is not None:
        return float(same(drawn.prediction, rival.prediction))
    return overlap(drawn.ids, rival.ids)


def _copy(contents: Contents) -> Contents:
    """Return contents that the caller cannot change any more."""
    if isinstance(contents, np.ndarray):
        return contents.copy()
    return [item.copy() if isinstance(item, np.ndarray) else item for item in contents]
