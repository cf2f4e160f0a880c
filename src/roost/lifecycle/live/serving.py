"""What the methods of a live test share when they answer a query."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from roost.lifecycle.live.guardrails import Observation

if TYPE_CHECKING:
    from roost.lifecycle.live.judging import Drawn, Rival
    from roost.lifecycle.serving.traffic import Target

Contents: TypeAlias = "Sequence[Any] | npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Response:
    """What one deployment made of one query.

    Attributes:
        result: the ranking or the prediction, as the endpoint made it.
        rival: the same as a live test keeps it.
        n_results: of a search; None for a prediction.
    """

    result: Any
    rival: Rival
    n_results: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one deployment made of some queries; `inputs` are what its model saw or made of them, (n_queries, dim)."""

    responses: list[Response]
    inputs: npt.NDArray[Any] | None


Run: TypeAlias = "Callable[[Target, Contents], Batch]"
"""Lets one deployment answer."""

Note: TypeAlias = Callable[[str, Observation], None]
"""Takes an observation of a deployment, by its name."""


@dataclass(frozen=True, slots=True)
class Part:
    """The answers that one deployment gave to some of a batch's queries.

    Attributes:
        target: who answered, or whose deployment the mixed answers name.
        positions: of the queries in the batch.
        results: what to answer, as long as `positions`.
        drawn: what the store keeps of each; None where the query is not part of the test.
        inputs: what `target`'s model saw or made of the queries.
    """

    target: Target
    positions: Sequence[int]
    results: list[Any]
    drawn: list[Drawn | None]
    inputs: npt.NDArray[Any] | None


def attempt(run: Run, target: Target, contents: Contents, note: Note) -> Batch | Exception:
    """Let a challenger answer. When it fails the error is returned: it takes nothing from the champion's users.

    It is the challenger's error if the champion answers the same queries; see `Guards.failed`.
    """
    try:
        return timed(run, target, contents, note)
    except Exception as error:  # also from a model's own code
        return error


def timed(run: Run, target: Target, contents: Contents, note: Note) -> Batch:
    """Let a deployment answer, and note how long it took for each query."""
    started = time.perf_counter()
    batch = run(target, contents)
    latency_ms = (time.perf_counter() - started) * 1000.0 / max(len(batch.responses), 1)
    for response in batch.responses:
        note(target.deployment.name, Observation(latency_ms, n_results=response.n_results))
    return batch


def picked(contents: Contents, positions: Sequence[int]) -> Contents:
    """Return some of a batch's contents."""
    if len(positions) == len(contents):
        return contents
    return [contents[position] for position in positions]
