"""The steps of the demo as they happen: names, results, durations, and who watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from roost.demo.outcome import Step


class Watcher(Protocol):
    """Is told how far the demo is, always from the thread that runs it."""

    def began(self, name: str) -> None:
        """A step began."""

    def advanced(self, done: int, total: int | None) -> None:
        """The step came this far; total is None where it is not known."""

    def ended(self, step: Step) -> None:
        """The step is done."""


class SilentWatcher:
    """Watches and says nothing."""

    def began(self, name: str) -> None:
        pass

    def advanced(self, done: int, total: int | None) -> None:
        pass

    def ended(self, step: Step) -> None:
        pass


@dataclass
class RunningStep:
    """A step under way; whoever does it says in the end what came of it."""

    name: str
    started_s: float
    result: str = ""


@dataclass
class Steps:
    """The log of all steps."""

    watcher: Watcher
    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[RunningStep]:
        """Time the body as one step; a body that raises is not logged."""
        running = RunningStep(name, perf_counter())
        self.watcher.began(name)
        yield running
        step = Step(name, running.result, running.started_s, perf_counter() - running.started_s)
        self.done.append(step)
        self.watcher.ended(step)
