"""Answering each user's queries by one deployment of a test.

A user's side is a hash of the user's name and the test's seed, so every process gives the same one
and no table of users is kept. A query without a user is a unit of its own: its side is a hash of its number in this
process, so a test that is run again with the same seed and the same queries splits them alike.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from roost.lifecycle.live.guards import Guards
from roost.lifecycle.live.judging import Drawn
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.serving import Contents, Part, Run, attempt, picked, timed
from roost.lifecycle.livetest import assign
from roost.lifecycle.serving.traffic import Target


class Split:
    """Shares the traffic among a test's deployments. Safe to use from any thread."""

    def __init__(
        self, plan: Plan, arms: Sequence[Target], seeds: tuple[str, str], started_at: float, guards: Guards
    ) -> None:
        """Begin to share.

        Args:
            arms: the champion first.
            seeds: of the test, the same in all processes, so that a user meets the same side everywhere; and of this
                process, another one in each, for the queries that have no user.
            started_at: when the ramp began, in seconds since 1970.
        """
        self._ramp = plan.ramp
        self._champion = arms[0]
        self._targets = {target.deployment.name: target for target in arms}
        self._seed, self._own_seed = seeds
        self._numbers = itertools.count()
        self._started_at = started_at
        self._guards = guards

    def serve(self, contents: Contents, user: str | None, run: Run, limit: int) -> list[Part]:
        """Answer a batch, each query by its arm.

        What a challenger fails to answer is answered by the champion, and is not of the test.
        """
        elapsed = max(time.time() - self._started_at, 0.0)
        arms: dict[str, list[int]] = {}
        for position, name in enumerate(self._sides(user, len(contents), elapsed)):
            arms.setdefault(name or self._champion.deployment.name, []).append(position)
        return [self._part(name, positions, contents, run, elapsed) for name, positions in arms.items()]

    def close(self) -> None:
        """Nothing is open."""

    def _sides(self, user: str | None, n_queries: int, elapsed: float) -> list[str | None]:
        """Return the challenger that answers each query of a batch; None for the champion."""
        if user is not None:
            return [assign(user, self._seed, self._ramp, elapsed)] * n_queries
        numbers = (str(next(self._numbers)) for _ in range(n_queries))
        return [assign(number, f"{self._own_seed}/no user", self._ramp, elapsed) for number in numbers]

    def _part(self, name: str, positions: list[int], contents: Contents, run: Run, elapsed: float) -> Part:
        target, note = self._targets[name], self._guards.see
        own, is_champion = picked(contents, positions), name == self._champion.deployment.name
        batch = timed(run, target, own, note) if is_champion else attempt(run, target, own, note)
        if isinstance(batch, Exception):
            answered = timed(run, self._champion, own, note)
            self._guards.failed(target, len(own), batch)
            results = [response.result for response in answered.responses]
            return Part(self._champion, positions, results, [None] * len(results), answered.inputs)
        shares = {other: self._ramp.share(other, elapsed) for other in self._ramp.weights(elapsed)}
        if not is_champion:
            shares = {name: shares[name]}
        drawn = [
            Drawn(arm=name, shares=shares, ids=response.rival.ids, prediction=response.rival.prediction)
            for response in batch.responses
        ]
        return Part(target, positions, [response.result for response in batch.responses], list(drawn), batch.inputs)

    def weights(self, at: float) -> dict[str, float]:
        """Return the weights of all arms that held at a moment, in seconds since 1970."""
        weights = dict(self._ramp.weights(max(at - self._started_at, 0.0)))
        return {self._champion.deployment.name: 1.0 - sum(weights.values()), **weights}
