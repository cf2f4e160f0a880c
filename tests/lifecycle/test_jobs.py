from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from roost.errors import (
    InvalidArgument,
    InvalidTransition,
    JobNotFound,
    JobStopped,
    PermissionDenied,
    WorkspaceError,
)
from roost.lifecycle.actor import acting_as
from roost.lifecycle.backfill import Price, Progress
from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import Deployment, State
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store.tables import JobRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Digits


def test_a_job_tells_who_does_what_and_how_far_it_is(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    seen: list[Any] = []

    def look(at: Progress) -> None:
        if at.n_done == 100 and at.stage == "embed":
            seen.append(workspace.jobs.list(kind="backfill", endpoint=empty_endpoint.name)[0])

    empty_endpoint.deploy(weak, digits.records(), batch_size=100, progress=look)
    (running,) = seen
    assert (running.state, running.total, running.actor, running.deployment) == ("running", 300, "tester", "digits-v1")
    assert running.n_done >= 100 and running.worker.count(":") == 2
    done = workspace.jobs.get(running.id)
    assert repr(done) == f"Job({done.id}, backfill of {empty_endpoint.name}/digits-v1, done, 300 of 300)"
    assert done.result["verification"]["worst"] < 1e-3 and done.request["batch_size"] == 100
    assert "set aside" in done._repr_html_()
    assert workspace.jobs.list(endpoint="elsewhere") == []
    for act in (workspace.jobs.pause, workspace.jobs.cancel):
        with pytest.raises(InvalidTransition, match="is done"):
            act(done)
    with pytest.raises(JobNotFound):
        workspace.jobs.get(12345)


def test_a_job_that_ends_while_it_is_looked_at_is_not_taken_for_interrupted(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    rows: list[JobRow] = []

    def read(at: Progress) -> None:
        with workspace._context.store.read() as session:
            rows[:] = session.scalars(select(JobRow))

    empty_endpoint.deploy(weak, digits.records(), progress=read)
    assert rows[0].state == "running"
    assert workspace.jobs._seen(rows[0], empty_endpoint.name, "digits-v1").state == "done"


def test_a_cancelled_job_leaves_nothing(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    def cancel(at: Progress) -> None:
        if at.n_done == 50:
            workspace.jobs.cancel(workspace.jobs.list()[0], "the wrong model")

    with pytest.raises(JobStopped, match="was cancelled after"):
        empty_endpoint.deploy(weak, digits.records(), batch_size=25, rate_limit=1000, progress=cancel)
    failed = empty_endpoint.deployment("digits-v1")
    assert failed.state is State.FAILED and not workspace.vectors.has_collection(failed.collection)
    assert workspace.jobs.list()[0].state == "cancelled"
    actions = [(e.action, e.reason) for e in workspace.ledger.entries(empty_endpoint.name)]
    assert ("backfill.cancel", "the wrong model") in actions and actions[-1][0] == "fail"


def test_a_job_that_is_cancelled_just_before_it_is_sealed_leaves_nothing(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    def cancel(at: Progress) -> None:
        if at.stage == "done":
            empty_endpoint.cancel("digits-v1", "the wrong model")

    with pytest.raises(JobStopped, match="was cancelled after its last record"):
        empty_endpoint.deploy(weak, digits.records(0, 50), progress=cancel)
    failed = empty_endpoint.deployment("digits-v1")
    assert failed.state is State.FAILED and not workspace.vectors.has_collection(failed.collection)
    assert workspace.jobs.list()[0].state == "cancelled"
    assert empty_endpoint.deploy(weak, digits.records(0, 50)).state is State.READY


def test_a_job_that_nobody_does_is_cancelled_at_once_and_cannot_be_paused(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    def stop(at: Progress) -> None:
        if at.n_done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        empty_endpoint.deploy(weak, digits.records(), batch_size=25, progress=stop)
    with pytest.raises(InvalidTransition, match="nobody fills deployment 'digits-v1' now: `resume`"):
        empty_endpoint.pause("digits-v1")
    empty_endpoint.cancel("digits-v1", "not needed")
    assert empty_endpoint.deployment("digits-v1").state is State.FAILED
    with pytest.raises(InvalidTransition, match="is failed"):
        empty_endpoint.cancel("digits-v1")


def test_a_job_that_waits_for_its_rate_hears_that_it_shall_pause(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    """The whole would take ten minutes at one record in two seconds."""

    def pause(at: Progress) -> None:
        workspace.jobs.pause(workspace.jobs.list()[0])

    with pytest.raises(JobStopped):
        empty_endpoint.deploy(weak, digits.records(), batch_size=1, rate_limit=0.5, progress=pause)
    assert workspace.jobs.list()[0].n_done < N_RECORDS


def test_a_job_that_can_neither_wait_nor_be_given_up_says_so(workspace: Workspace) -> None:
    with workspace._context.store.write() as session:
        session.add(JobRow(kind="other", state="running", digest="", updated_at=""))
    (job,) = workspace.jobs.list()
    assert (job.endpoint, job.deployment, repr(job)) == (None, None, f"Job({job.id}, other, running, 0)")
    with pytest.raises(InvalidTransition, match="of the kind other, which takes no pause"):
        workspace.jobs.pause(job)
    with pytest.raises(InvalidTransition, match="takes no cancel"):
        workspace.jobs.cancel(job.id)


def test_a_run_of_retraining_is_cancelled_by_whom_roles_let(workspace: Workspace, endpoint: Endpoint) -> None:
    with workspace._context.store.write() as session:
        row = JobRow(kind="retrain", state="running", digest="", updated_at="", request='{"plan": "nightly"}')
        row.endpoint_id = endpoint._router.endpoint_id
        session.add(row)
    (job,) = workspace.jobs.list(kind="retrain")
    with pytest.raises(InvalidTransition, match="takes no pause"):
        workspace.jobs.pause(job)
    workspace.governance.grant("eve", "viewer")
    with acting_as("eve"), pytest.raises(PermissionDenied):
        workspace.jobs.cancel(job)
    assert workspace.jobs.cancel(job, "the wrong data").wanted == "cancel"
    entry = workspace.ledger.entries(endpoint.name)[-1]
    assert (entry.action, entry.subject, entry.reason) == ("retrain.cancel", "nightly", "the wrong data")


@pytest.mark.parametrize("state", ["challenger", "refused", "failed", "over_budget", "interrupted", "cancelled"])
def test_a_run_of_retraining_that_ended_cannot_be_cancelled(workspace: Workspace, state: str) -> None:
    with workspace._context.store.write() as session:
        session.add(JobRow(kind="retrain", state=state, digest="", updated_at="", request='{"plan": "nightly"}'))
    (job,) = workspace.jobs.list()
    with pytest.raises(InvalidTransition, match=f"is {state}"):
        workspace.jobs.cancel(job)


def test_an_estimate_leaves_nothing_behind(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    before = workspace.vectors.list_collections()
    found = empty_endpoint.estimate(weak, digits.records(), sample=200, price=Price(per_1000_records=10.0))
    assert (found.n_records, found.n_sampled, found.cost) == (300, 200, pytest.approx(3.0))
    low, high = found.interval or (0.0, 0.0)
    assert found.seconds is not None and low <= found.seconds <= high
    assert found.index_bytes == 300 * (4 * 4 + 2 * 16 * 4)
    assert found.index_seconds is not None and 0.0 < found.index_seconds < found.seconds
    assert empty_endpoint.estimate("digits/1", digits.records(0, 4)).n_sampled == 4
    for index in ({"M": 8}, {"index_type": "NO_SUCH_INDEX"}):
        with pytest.raises(Exception, match=r"(?i)index"):
            empty_endpoint.estimate(weak, digits.records(), sample=8, index=index)
    assert workspace.vectors.list_collections() == before and empty_endpoint.deployments() == []
    with pytest.raises(InvalidArgument, match="can be read only once"):
        empty_endpoint.estimate(weak, iter(digits.records()))
    with pytest.raises(InvalidArgument, match="too few"):
        empty_endpoint.estimate(weak, digits.records(0, 3))


def test_a_collection_that_does_not_hold_what_was_written_does_not_become_ready(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine writes other vectors than it is given: the count is right, and the sample is not."""
    upsert = space.upsert

    def crooked(client: Any, deployment: Deployment, rows: Any, vectors: Any) -> None:
        upsert(client, deployment, rows, [vector + 1 for vector in vectors])

    monkeypatch.setattr(space, "upsert", crooked)
    with pytest.raises(WorkspaceError, match="0 are missing and 16 have another vector than the model gives now"):
        empty_endpoint.deploy(weak, digits.records(), verify=16)
    failed = empty_endpoint.deployment("digits-v1")
    assert failed.state is State.FAILED and not workspace.vectors.has_collection(failed.collection)


def test_no_transaction_waits_for_the_engine_while_a_collection_is_made(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, wrote = space.create, []

    def watched(*arguments: Any) -> None:
        with workspace._context.store.write():
            wrote.append(True)
        create(*arguments)

    monkeypatch.setattr(space, "create", watched)
    empty_endpoint.deploy(weak, digits.records(0, 20))
    assert wrote == [True]


def test_a_collection_is_dropped_when_its_deployment_cannot_be_recorded(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second transaction is undone, as when the connection to the store is lost."""
    create = space.create

    def lose(*arguments: Any) -> None:
        create(*arguments)
        monkeypatch.setattr("roost.lifecycle.ledger.append", _refuse)

    monkeypatch.setattr(space, "create", lose)
    with pytest.raises(ConnectionError):
        empty_endpoint.deploy(weak, digits.records(0, 20))
    assert empty_endpoint.deployments() == []
    assert not [name for name in workspace.vectors.list_collections() if name.startswith(empty_endpoint.alias)]


def _refuse(*_: Any, **__: Any) -> None:
    raise ConnectionError("gone")
