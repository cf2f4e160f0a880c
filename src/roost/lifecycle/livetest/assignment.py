"""Who serves whom in a split: sticky by user, with weights that may only grow.

A keyed hash of the user's name makes a number u in [0, 1) that never changes during a test and has nothing to do
with the numbers of any other test. Every challenger owns a stretch of [0, 1) as long as its last weight, and serves
the users in the first part of it, as long as its weight of the moment; the champion serves the rest. So a user moves
at most once, from the champion to one challenger.

The unit of a split is the user, not the query: the queries of one user depend on each other, and a test that counts
them one by one finds differences that are not there. A user counts once, for the side and with the weight that held
at the first query of the test, with the metric over a window from there on that closes by time or by a number of
queries, never by what came of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from roost.errors import InvalidArgument

_UNIT = 2.0**-64


@dataclass(frozen=True, slots=True)
class Stage:
    """Weights from a moment on.

    Attributes:
        after: seconds or queries since the start of the test; the caller chooses one of them for all stages.
        weights: each challenger's share of the users; the champion has the rest.
    """

    after: float
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A schedule of weights.

    Attributes:
        stages: by time; the first starts at 0. All name the same challengers, whose weights never shrink and leave
            something to the champion.
    Raises: InvalidArgument: the stages are not so.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages or self.stages[0].after != 0.0:
            raise InvalidArgument("a ramp needs a stage that starts at 0")
        for stage in self.stages:
            _check_stage(stage)
        for before, stage in pairwise(self.stages):
            if not before.after < stage.after < math.inf:
                raise InvalidArgument(f"stages must follow each other: {stage.after} comes after {before.after}")
            if set(stage.weights) != set(before.weights):
                raise InvalidArgument(f"all stages must name the same challengers, not {sorted(stage.weights)} later")
            for name, weight in stage.weights.items():
                if weight < before.weights[name]:
                    raise InvalidArgument(
                        f"the weight of {name!r} shrinks from {before.weights[name]} to {weight}: users would move back"
                    )

    @classmethod
    def constant(cls, weights: Mapping[str, float]) -> Ramp:
        """Return the ramp that has the same weights throughout."""
        return cls((Stage(0.0, dict(weights)),))

    def weights(self, elapsed: float) -> Mapping[str, float]:
        """Return the weights that hold `elapsed` after the start.

        Raises: InvalidArgument: elapsed is negative.
        """
        if not elapsed >= 0.0:
            raise InvalidArgument(f"elapsed must be at least 0, not {elapsed}")
        return next(stage.weights for stage in reversed(self.stages) if stage.after <= elapsed)

    def share(self, challenger: str, elapsed: float) -> float:
        """Return the probability of the challenger for a user that it or the champion serves.

        It is the `weight` of `SplitTest.add`.
        """
        weights = self.weights(elapsed)
        return weights[challenger] / (weights[challenger] + 1.0 - math.fsum(weights.values()))


def assign(user: str, seed: str, ramp: Ramp, elapsed: float = 0.0) -> str | None:
    """Return the challenger that serves a user, or None for the champion.

    Args:
        user: the user's key.
        seed: of the test; another one for every test.
        ramp: the weights.
        elapsed: seconds or queries since the start of the test, as in the ramp.
    Raises: InvalidArgument: elapsed is negative.
    """
    weights = ramp.weights(elapsed)
    point, start = position(user, seed), 0.0
    for name, last in ramp.stages[-1].weights.items():
        if start <= point < start + last:
            return name if point < start + weights[name] else None
        start += last
    return None


def position(user: str, seed: str) -> float:
    """Return the user's number in [0, 1): uniform over users, and independent between seeds.

    Source: Kohavi, Tang and Xu, "Trustworthy online controlled experiments", 2020, chapter 4 (assignment by hash).
    """
    key = blake2b(seed.encode(), digest_size=32).digest()
    return int.from_bytes(blake2b(user.encode(), key=key, digest_size=8).digest(), "big") * _UNIT


def _check_stage(stage: Stage) -> None:
    if not stage.weights:
        raise InvalidArgument("a stage needs the weight of at least one challenger")
    for name, weight in stage.weights.items():
        if not 0.0 < weight < 1.0:
            raise InvalidArgument(f"the weight of {name!r} must lie between 0 and 1, not {weight}")
    if math.fsum(stage.weights.values()) >= 1.0:
        raise InvalidArgument("the challengers' weights must add up to less than 1: the champion has the rest")
