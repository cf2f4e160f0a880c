"""Faiss and Roost in one process, each peer in its own, over the same work."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.environments import REPOSITORY, find
from bench.figures import Figures, figures_of
from bench.systems import NAMES
from bench.truth import brute_force
from bench.work import Work, save_work

OWN = ("faiss", "roost")
SERVERS = ("milvus",)
"""Systems that keep their data themselves, and forget them when they are told."""

WITHOUT_MIXED = ("faiss",)
"""Faiss's graph takes no rows while it is searched."""


class Progress:
    """Lines that say how far the run is, each with the minutes since it began."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def say(self, text: str) -> None:
        print(f"[{(time.perf_counter() - self.began) / 60:5.1f} min] {text}", flush=True)


def parse_peers(text: str) -> list[str]:
    """Return the systems that the text names.

    Raises: SystemExit: there is no system of that name.
    """
    peers = [name for name in NAMES if name not in OWN]
    if text == "all":
        return peers
    named = text.replace(",", " ").split()
    unknown = sorted(set(named) - set(peers))
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are: {' '.join(peers)}, or all")
    return [name for name in peers if name in named]


def compare(work: Work, folder: Path, peers: Sequence[str], progress: Progress) -> dict[str, Figures]:
    """Take the steps of the plan with each system and return the figures; a peer that fails is left out.

    Raises: SystemExit: Faiss and Roost could not be measured.
    """
    save_work(work, folder)
    measured: list[str] = []
    for group in (OWN, *((name,) for name in peers)):
        python = find(group[0])
        if python is None:
            continue
        try:
            _measure(work, folder, python, group, progress)
        except subprocess.CalledProcessError as error:
            if group is OWN:
                raise SystemExit(f"{' and '.join(OWN)} could not be measured: {error}") from None
            progress.say(f"{group[0]} is left out: {error}")
            continue
        measured += group
    progress.say("comparing the answers with brute force")
    truth = brute_force(work)
    return {name: figures_of(work, truth, folder, name) for name in measured}


def _measure(work: Work, folder: Path, python: Path, group: Sequence[str], progress: Progress) -> None:
    try:
        progress.say(f"{' and '.join(group)}: inserts and searches")
        _run_worker(python, "measure", folder, group)
        for name in group:
            if "reopen" in work.plan.steps:
                progress.say(f"{name}: opening, memory")
                _run_worker(python, "reopen", folder, [name])
            if "mixed" in work.plan.steps and name not in WITHOUT_MIXED:
                progress.say(f"{name}: searches beside inserts")
                _run_worker(python, "mixed", folder, [name])
    finally:
        for name in group:
            if name in SERVERS:
                _drop(folder, python, name, progress)


def _drop(folder: Path, python: Path, name: str, progress: Progress) -> None:
    try:
        _run_worker(python, "drop", folder, [name])
    except subprocess.CalledProcessError as error:
        progress.say(f"{name} may still hold the rows of this run: {error}")


def _run_worker(python: Path, task: str, folder: Path, names: Sequence[str]) -> None:
    subprocess.run([python, "-m", "bench.worker", task, folder, *names], check=True, cwd=REPOSITORY)
