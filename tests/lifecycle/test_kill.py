"""A process that works with an endpoint is killed fifty times, and every time the workspace opens whole.

The moments are random, with a seed: a step is chosen in turn, and the kill comes somewhere in as much
time as that step has taken before.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roost.lifecycle.deployments.deployment import _NEXT, LIVE, Deployment, State
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle import kill_worker
from tests.lifecycle.conftest import Place

from .kill_worker import MODEL, N_RECORDS

N_KILLS_FROM_NOTHING = 12
N_KILLS_AT_WORK = 38
N_KILLS_ON_SERVERS = 8

STEPS = ("deploy", "test", "promote", "rollback", "open")
WAIT_S = 120.0
FUTURE = "9999-01-01T00:00:00+00:00"

WORKERS = multiprocessing.get_context("forkserver")
WORKERS.set_forkserver_preload([kill_worker.__name__])


@dataclass
class Log:
    """What the workers have written, and how long their steps took."""

    path: Path
    took: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 0.2))

    def lines(self) -> list[str]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return text.splitlines()

    def wait_for(self, n_lines: int, child: Any) -> list[str]:
        deadline = time.monotonic() + WAIT_S
        while len(found := self.lines()) < n_lines:
            assert child.is_alive() and time.monotonic() < deadline, found
            time.sleep(0.005)
        return found

    def learn(self) -> str | None:
        """Take up how long steps took; return the one that was under way at the end."""
        under_way = None
        for line in self.lines():
            word, step, *seconds = line.split()
            under_way = step if word == "begin" else None
            if seconds:
                self.took[step] = float(seconds[0])
        if under_way is not None:
            self.took[under_way] *= 1.5  # it takes longer than was waited, or the kill would come after it now and then
        return under_way


def kill_once(place: Place, step: str, seed: int, log: Log) -> str | None:
    """Let a process work and kill it; return the step that it was in the middle of."""
    log.path.unlink(missing_ok=True)
    given = (place.arguments, place.endpoint, step, seed, str(log.path))
    child = WORKERS.Process(target=kill_worker.work, args=given)
    child.start()
    try:
        # The third line is the beginning of the first step: begin open, end open, begin.
        under_way = log.wait_for(1 if step == "open" else 3, child)[-1].split()[1]
        time.sleep(random.Random(seed).uniform(0.0, 1.1 * log.took[under_way]))
    finally:
        child.kill()
        child.join()
    assert child.exitcode == -signal.SIGKILL, log.lines()
    return log.learn()


def reachable(state: State) -> set[State]:
    """Return the states to which a deployment may come from another one, itself included."""
    found, new = {state}, {state}
    while new:
        new = {after for before in new for after in _NEXT[before]} - found
        found |= new
    return found


def check(place: Place, before: Mapping[int, State], mend: bool) -> dict[int, State]:
    """Open the workspace and check all that has to hold; return the states of the deployments.

    Args:
        before: the states when it was checked last.
        mend: whether to go on with what is half built, and to end a live test; else it is left to the next process.
    """
    with place.open() as workspace:
        workspace.ledger.verify()
        if place.endpoint not in workspace.endpoints.list():
            assert not workspace.ledger.entries(place.endpoint)
            return {}
        endpoint = workspace.endpoints.get(place.endpoint)
        for deployment in endpoint.deployments():
            assert deployment.state in reachable(before.get(deployment.id, State.DRAFT)), deployment
        check_champion(workspace, endpoint)
        check_collections(workspace, endpoint)
        if mend:
            mend_all(endpoint)
            check_champion(workspace, endpoint)
        workspace.ledger.verify()
        return {deployment.id: deployment.state for deployment in endpoint.deployments()}


def check_champion(workspace: Workspace, endpoint: SearchEndpoint) -> None:
    """The row, the states, the ledger and both aliases say the same, and searches are answered by it."""
    champion = endpoint.champion
    serving = [deployment.name for deployment in endpoint.deployments() if deployment.state is State.SERVING]
    assert serving == ([champion.name] if champion else [])
    assert workspace.ledger.at(endpoint.name, FUTURE) == (champion.name if champion else None)
    if champion is None:
        return
    assert workspace.vectors.describe_collection(endpoint.alias)["collection_name"] == champion.collection
    named = workspace.models.get(MODEL, "champion")
    assert (named.name, named.version) == (champion.model_name, champion.model_version)
    endpoint.verify()
    for record in kill_worker.records()[::40]:
        answer = endpoint.search(record["content"], limit=1, output_fields=["label"])
        assert answer.hits[0].id == record["id"] and answer.hits[0].fields == {"label": record["label"]}
        assert endpoint.test is not None or answer.deployment == champion.name
    assert n_rows(workspace, champion) == champion.n_records == N_RECORDS


def check_collections(workspace: Workspace, endpoint: SearchEndpoint) -> None:
    """Every deployment that lives has its collection, and no collection is there without a deployment."""
    deployments, client = endpoint.deployments(), workspace.vectors
    found = {name for name in client.list_collections() if name.startswith(f"{endpoint.alias}__")}
    needed = {d.collection for d in deployments if d.state in LIVE}
    kept = {d.collection for d in deployments if d.state is State.RETIRED and "purged_at" not in d.configuration}
    assert needed <= found <= needed | kept


def mend_all(endpoint: SearchEndpoint) -> None:
    """Bring everything that was begun to its end."""
    for deployment in endpoint.deployments():
        if deployment.state is State.DRAFT:
            endpoint.deploy(deployment, kill_worker.records())
        elif deployment.state is State.BUILDING:
            built = endpoint.resume(deployment, kill_worker.records())
            assert (built.state, built.n_records, built.n_rejected) == (State.READY, N_RECORDS, 0)
    if endpoint.test is not None:
        assert endpoint.test.stop("checked").state == "stopped"


def n_rows(workspace: Workspace, deployment: Deployment) -> int:
    found = workspace.vectors.query(
        deployment.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found[0]["count(*)"])


def kill_often(place: Place, n_kills: int, rng: random.Random, log: Log) -> Counter[str]:
    """Kill one process after another in one workspace, check it each time, and return what they were doing."""
    interrupted: Counter[str] = Counter()
    states: dict[int, State] = {}
    for number in range(n_kills):
        under_way = kill_once(place, STEPS[number % len(STEPS)], rng.getrandbits(30), log)
        interrupted[under_way or "between"] += 1
        states = check(place, states, mend=rng.random() < 0.3)
    states = check(place, states, mend=True)
    assert State.BUILDING not in states.values() and State.DRAFT not in states.values()
    return interrupted


def prepare(place: Place) -> None:
    """Make the endpoint and its models, so that the first step is a deployment."""
    with place.open() as workspace:
        kill_worker.Worker(workspace, place.endpoint, random.Random(0)).create()


@pytest.mark.slow
@pytest.mark.crash
def test_a_workspace_whose_process_is_killed_again_and_again_opens_whole_every_time(
    places: Callable[[], Place], tmp_path: Path
) -> None:
    """Fifty times where nothing but this machine is used, and a few times on servers."""
    rng, log = random.Random(20_261_121), Log(tmp_path / "worker.log")
    first, second = places(), places()
    uses_servers = first.uri is not None or not first.store.startswith("sqlite")
    interrupted: Counter[str] = Counter()
    if not uses_servers:
        interrupted += kill_often(first, N_KILLS_FROM_NOTHING, rng, log)
    prepare(second)
    interrupted += kill_often(second, N_KILLS_ON_SERVERS if uses_servers else N_KILLS_AT_WORK, rng, log)
    print("killed in:", dict(interrupted))
    assert len(interrupted) >= (2 if uses_servers else 5), interrupted
