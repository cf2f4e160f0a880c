"""Ratios that are held to a limit, and the files that carry them from one program of the benchmark to another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ratio:
    """One line of the summary.

    Attributes:
        floor: the value that must be held; aim is the value that is wanted.
        at_most: whether smaller is better.
    """

    what: str
    value: float
    floor: float
    aim: float
    at_most: bool = False

    @property
    def holds(self) -> bool:
        return self.value <= self.floor if self.at_most else self.value >= self.floor


def write_ratios(path: Path, ratios: Sequence[Ratio]) -> None:
    path.write_text(json.dumps([asdict(ratio) for ratio in ratios]))


def read_ratios(path: Path) -> list[Ratio]:
    """Return what was written; nothing where nothing was."""
    return [Ratio(**raw) for raw in json.loads(path.read_text())] if path.exists() else []
