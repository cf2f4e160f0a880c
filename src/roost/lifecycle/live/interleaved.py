"""Answering a query with the mixed results of all deployments of a test.

The champion and the challengers search at the same time where that is quicker than one after
another: a thread costs more than a search of the embedded engine, and less than one over a network. Both ways are
timed, and now and then the slower one is tried again.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from roost.lifecycle.live.guards import Guards
from roost.lifecycle.live.judging import Drawn
from roost.lifecycle.live.plan import Plan
from roost.lifecycle.live.serving import Batch, Contents, Part, Run, attempt, timed
from roost.lifecycle.livetest import Id, Side, balanced_draft, multileave, team_draft
from roost.lifecycle.serving.traffic import Hit, Target

_THREADS = 8
_TRY_EVERY = 64
_WEIGHT_OF_NEW = 0.2


class Interleaved:
    """Mixes the rankings of a test's deployments. Safe to use from any thread."""

    def __init__(self, plan: Plan, arms: Sequence[Target], seed: str, guards: Guards) -> None:
        """Begin to mix.

        Args:
            arms: the champion first.
            seed: of the coin; another one in every process that takes the test up, for a coin that
                falls the same way twice makes outcomes that are not independent.
        """
        self._plan = plan
        self._arms = tuple(arms)
        self._seed = seed
        self._guards = guards
        self._numbers = itertools.count()
        self._batches = itertools.count()
        self._starting = threading.Lock()
        self._closed = False
        self._seconds: dict[bool, float] = {}
        self._pool: ThreadPoolExecutor | None = None

    def serve(self, contents: Contents, user: str | None, run: Run, limit: int) -> list[Part]:
        """Answer a batch. When a challenger fails the champion answers alone, and the queries are not of the test."""
        champion = self._arms[0]
        own, rivals = self._run_all(contents, run)
        positions = range(len(contents))
        batches = [own, *(rival for rival in rivals if isinstance(rival, Batch))]
        if len(batches) < len(self._arms):
            for challenger, rival in zip(self._arms[1:], rivals, strict=True):
                if isinstance(rival, Exception):
                    self._guards.failed(challenger, len(contents), rival)
            results = [response.result for response in own.responses]
            return [Part(champion, positions, results, [None] * len(results), own.inputs)]
        mixed = [self._mix([batch.responses[place].result for batch in batches], limit) for place in positions]
        return [Part(champion, positions, [hits for hits, _ in mixed], [drawn for _, drawn in mixed], own.inputs)]

    def close(self) -> None:
        """End the threads; queries that have begun are answered."""
        with self._starting:
            self._closed = True
            if self._pool is not None:
                self._pool.shutdown(wait=False)

    def _run_all(self, contents: Contents, run: Run) -> tuple[Batch, list[Batch | Exception]]:
        champion, *challengers = self._arms
        at_once = self._runs_at_once(next(self._batches))
        started = time.perf_counter()
        waiting = self._submitted(challengers, contents, run) if at_once else None
        own = timed(run, champion, contents, self._guards.see)
        if waiting is not None:
            rivals = [future.result() for future in waiting]
        else:
            rivals = [attempt(run, challenger, contents, self._guards.see) for challenger in challengers]
        seconds = (time.perf_counter() - started) / max(len(contents), 1)
        before = self._seconds.get(at_once, seconds)
        self._seconds[at_once] = before + _WEIGHT_OF_NEW * (seconds - before)
        return own, rivals

    def _runs_at_once(self, number: int) -> bool:
        """Return whether the deployments are to search at the same time, by what was quicker so far."""
        if len(self._seconds) < 2:
            return number % 2 == 1
        is_quicker = self._seconds[True] < self._seconds[False]
        return not is_quicker if number % _TRY_EVERY == 0 else is_quicker

    def _submitted(
        self, challengers: Sequence[Target], contents: Contents, run: Run
    ) -> list[Future[Batch | Exception]] | None:
        """Let the challengers begin; None when the test has ended meanwhile, and with it its threads."""
        with self._starting:
            if self._closed:
                return None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="roost-challenger")
            return [self._pool.submit(attempt, run, one, contents, self._guards.see) for one in challengers]

    def _mix(self, rankings: Sequence[tuple[Hit, ...]], limit: int) -> tuple[tuple[Hit, ...], Drawn]:
        rng = random.Random(f"{self._seed}/{next(self._numbers)}")
        ids, origins = self._draft([[hit.id for hit in ranking] for ranking in rankings], limit, rng)
        found = [{hit.id: hit for hit in ranking} for ranking in rankings]
        hits = []
        for key, origin in zip(ids, origins, strict=True):
            hit = next(by_id[key] for by_id in found if key in by_id) if origin is None else found[origin][key]
            side: Side | None = None if origin is None else "challenger" if origin else "champion"
            hits.append(replace(hit, origin=side))
        return tuple(hits), Drawn(ids=tuple(map(str, ids)), origins=tuple(origins))

    def _draft(
        self, rankings: Sequence[Sequence[Id]], limit: int, rng: random.Random
    ) -> tuple[Sequence[Id], list[int | None]]:
        """Return what to show, and the number of the ranking that is credited for each."""
        if len(rankings) > 2:
            named = {str(place): ranking for place, ranking in enumerate(rankings)}
            several = multileave(named, limit, rng)
            return several.ids, [None if name is None else int(name) for name in several.origins]
        mix = balanced_draft if self._plan.method == "balanced" else team_draft
        draft = mix(rankings[0], rankings[1], limit, rng)
        return draft.ids, [None if side is None else int(side == "challenger") for side in draft.origins]
