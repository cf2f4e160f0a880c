"""The background thread of a database: sealing, merging and index builds, one at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from roost.errors import Closed, Corruption, MemoryLimitExceeded

_log = logging.getLogger(__name__)

IDLE_S = 0.5
"""A collection is looked after when it has not been written to for this long."""

LONGEST_WAIT_S = 5.0
"""A collection that is written to without a pause is looked after this often."""

RETRY_S = 30.0
"""Pause after a failure in the background, such as a full disk or too little memory."""


@dataclass
class _Task:
    run: Callable[[bool], None]
    since: float
    due: float
    waiting: list[Future[None]]
    not_before: float = 0.0


class Maintenance:
    """Runs each collection's upkeep when it is due or asked for.

    A task is called with True when somebody waits for it (flush), which means that all of the
    collection's rows are to be sealed and indexed; with False it does what is due.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[int, _Task] = {}
        self._asked: deque[int] = deque()
        self._ready: deque[int] = deque()
        """Keys of tasks that were due when last looked at: with many collections, one look serves all of these."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._is_awaited = False

    def stopping(self) -> bool:
        """Whether long work is asked to end early."""
        return self._stopping

    def touch(self, key: int, run: Callable[[bool], None], *, urgent: bool = False) -> None:
        """Note that a collection was written to; its upkeep is due once writes pause, or at once."""
        with self._changed:
            task = self._task(key, run)
            if task.waiting:
                return
            pause_ends = min(task.since + LONGEST_WAIT_S, time.monotonic() + IDLE_S)
            task.due = 0.0 if urgent else max(task.not_before, pause_ends)
            if urgent:
                self._asked.append(key)
                self._changed.notify()

    def request(self, key: int, run: Callable[[bool], None]) -> Future[None]:
        """Ask for a collection's full upkeep now; the future ends with it."""
        done: Future[None] = Future()
        with self._changed:
            if self._stopping:
                raise Closed("the database is closed")
            task = self._task(key, run)
            task.waiting.append(done)
            task.due = 0.0
            self._asked.append(key)
            self._changed.notify()
        return done

    def rest(self, seconds: float) -> None:
        """Wait for so long, or until somebody waits for work or for its end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._has_waiting(), seconds)

    def is_awaited(self) -> bool:
        """Whether somebody waits for work, under way or planned."""
        with self._changed:
            return self._has_waiting()

    def _has_waiting(self) -> bool:
        return self._is_awaited or any(task.waiting for task in self._tasks.values())

    def forget(self, key: int) -> None:
        """Drop what was planned for a collection."""
        with self._changed:
            task = self._tasks.pop(key, None)
        for future in task.waiting if task else ():
            future.set_result(None)

    def stop(self) -> None:
        """End the thread; work that waits fails with Closed."""
        with self._changed:
            self._stopping = True
            tasks, self._tasks = list(self._tasks.values()), {}
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        for task in tasks:
            for future in task.waiting:
                future.set_exception(Closed("the database was closed before the work was done"))

    def _task(self, key: int, run: Callable[[bool], None]) -> _Task:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._loop, name=f"roost-maintenance-{self._name}", daemon=True)
            self._thread.start()
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task(run, time.monotonic(), float("inf"), [])
            self._changed.notify()
        return task

    def _loop(self) -> None:
        while True:
            with self._changed:
                key = self._next()
                while key is None and not self._stopping:
                    due = min((task.due for task in self._tasks.values()), default=None)
                    self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
                    key = self._next()
                if self._stopping or key is None:
                    return
                task = self._tasks.pop(key)
                self._is_awaited = bool(task.waiting)
            self._run(key, task)

    def _next(self) -> int | None:
        now = time.monotonic()
        while True:
            while self._asked or self._ready:
                key = (self._asked or self._ready).popleft()
                task = self._tasks.get(key)
                if task is not None and task.due <= now:
                    return key
            self._ready.extend(key for key, task in self._tasks.items() if task.due <= now)
            if not self._ready:
                return None

    def _run(self, key: int, task: _Task) -> None:
        try:
            task.run(bool(task.waiting))
        except Exception as error:  # the thread serves every collection and outlives one's failure
            if not isinstance(error, (Corruption, MemoryLimitExceeded)):  # upkeep has said so, once
                _log.warning("upkeep of collection %d failed", key, exc_info=error)
            with self._changed:
                if not self._stopping:
                    again = self._task(key, task.run)
                    again.not_before = time.monotonic() + RETRY_S
                    again.due = 0.0 if again.waiting else again.not_before
            for future in task.waiting:
                future.set_exception(error)
        else:
            for future in task.waiting:
                if self._stopping:
                    future.set_exception(Closed("the database was closed before the work was done"))
                else:
                    future.set_result(None)
