"""Work that outlasts its request: each piece in a thread of its own, with a row among the workspace's jobs.

A server that is stopped asks what runs to stop where it can go on. One that is killed leaves jobs that are interrupted.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pymilvus.exceptions import MilvusException

from roost.address import without_secrets
from roost.errors import Closed, Conflict, JobStopped, Timeout
from roost.lifecycle.jobs import Job

MAX_RUNNING = 4
POLL_EVERY_S = 0.05
START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0

_log = logging.getLogger(__name__)


class Background:
    """The work that this server is at. Safe to use from any thread."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._running: dict[threading.Thread, Callable[[], object]] = {}
        self._closed = False

    def start(self, work: Callable[[], object], find: Callable[[], Job | None], stop: Callable[[Job], object]) -> Job:
        """Begin work, and return its job as soon as there is one. The work is done by whoever asks for it here.

        Args:
            work: what is to be done; what it raises before there is a job is raised here.
            find: gives the work's job; None as long as there is none.
            stop: asks the work to stop where it can go on.
        Raises:
            Conflict: as much as is allowed is running.
            Timeout: there is no job after a minute; the work goes on.
        """
        with self._starting:
            if self._closed:
                raise Closed("the server is being stopped")
            self._running = {thread: ask for thread, ask in self._running.items() if thread.is_alive()}
            if len(self._running) >= MAX_RUNNING:
                raise Conflict(f"{MAX_RUNNING} jobs run here already: wait for one of them, or stop it")
            failed: list[BaseException] = []
            context = contextvars.copy_context()

            def carry_out() -> None:
                try:
                    work()
                except JobStopped as error:
                    _log.info("%s", error.message)
                except Exception as error:
                    failed.append(error)
                    _log.warning("a job failed: %s: %s", type(error).__name__, without_secrets(str(error)))

            found: list[Job] = []

            def ask() -> None:
                for job in found:
                    context.copy().run(stop, job)

            thread = threading.Thread(target=context.run, args=(carry_out,), name="roost-job", daemon=True)
            self._running[thread] = ask
            thread.start()
            found.append(self._found(thread, find, failed))
            return found[0]

    def _found(self, thread: threading.Thread, find: Callable[[], Job | None], failed: list[BaseException]) -> Job:
        until = time.monotonic() + START_WITHIN_S
        while time.monotonic() < until:
            is_over = not thread.is_alive()
            job = find()
            if job is not None:
                return job
            if failed:
                raise failed[0]
            if is_over:
                raise Conflict("the work ended before it had a job")
            thread.join(POLL_EVERY_S)
        raise Timeout(f"the work has no job after {START_WITHIN_S:g} seconds; it goes on: look at the jobs")

    def close(self) -> None:
        """Ask everything to stop, and wait for it for a while."""
        with self._starting:
            self._closed = True
            running = dict(self._running)
        alive = [(thread, ask) for thread, ask in running.items() if thread.is_alive()]
        for _, ask in alive:
            # It may have ended, or somebody else may have asked already.
            with suppress(MilvusException):
                ask()
        until = time.monotonic() + STOP_WITHIN_S
        for thread, _ in alive:
            thread.join(max(0.0, until - time.monotonic()))


def newest(jobs: list[Job], after: int, is_it: Callable[[Job], Any]) -> Job | None:
    """Return the newest job that came after a number and fits; None where there is none."""
    return next((job for job in jobs if job.id > after and is_it(job)), None)
