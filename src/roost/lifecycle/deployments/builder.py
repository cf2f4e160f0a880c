"""Filling deployments and sealing them.

Steps of a deployment: its row with the state `building` and its empty collection; the backfill,
while the endpoint's writes go to the collection as well; index, load and checks; then, while no write
is under way, one transaction that seals it as `ready`. A crash leaves a deployment that is `building`,
whose backfill `resume` takes up at its last batch. One that cannot be built is marked as `failed`, then its
collection is dropped; a crash between leaves a collection that is dropped when the workspace opens.

Who fills a deployment holds a lock that all processes share, and a process that dies gives it up. So what
nobody holds is what nobody fills.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from pymilvus import exceptions as milvus
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from roost.address import without_secrets
from roost.errors import InvalidTransition, JobNotFound, JobStopped
from roost.lifecycle import ledger
from roost.lifecycle.backfill import Backfill, Options, Progress, Records, ray_runner
from roost.lifecycle.backfill.pipeline import Runner, Threads
from roost.lifecycle.backfill.ray_runner import RayWorkers
from roost.lifecycle.backfill.recorded import recorded_source
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import collections
from roost.lifecycle.deployments.deployment import Deployment, State, deployment_of, move, row_named, rows_of, seal
from roost.lifecycle.deployments.filling import filling, is_filled
from roost.lifecycle.governance import permits
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.serving.router import Router
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import DeploymentRow, JobRow, LiveWriteRow, RejectedRow

_log = logging.getLogger(__name__)


class Place(Protocol):
    """An endpoint, for what needs its rows in the store alone; a router is one."""

    @property
    def context(self) -> Context: ...

    @property
    def endpoint_id(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def environment(self) -> str: ...


def check_runner(options: Options) -> None:
    """Raise MissingDependency where what is to embed is not installed: before there is a deployment to be filled."""
    if options.runner == "ray":
        ray_runner.import_ray()


def fill(
    router: Router,
    name: str,
    records: Records | None,
    options: Options,
    progress: Callable[[Progress], None] | None,
) -> Deployment:
    """Fill a deployment that is being built, from where it stands, and seal it.

    Args:
        records: None for the source that its job has recorded.
    Raises:
        InvalidTransition: the deployment is not being built, or is being filled already.
        InvalidArgument: the job has recorded no source that can be opened again.
        JobStopped: somebody paused or cancelled it.
        WorkspaceError: it cannot be opened.
    """
    router.catch_up()
    router.check_opened(name)
    target = router.routing.target(name)
    if target is None or target.deployment.state != State.BUILDING:
        with router.context.store.read() as session:
            row = row_named(rows_of(session, router.endpoint_id), name)
        raise InvalidTransition(f"deployment {name!r} is {row.state}; only one that is building can be filled")
    deployment = target.deployment
    with filling(router.context, deployment.id).hold(wait=False) as is_ours:
        if not is_ours:
            raise InvalidTransition(f"deployment {name!r} is being filled already, by {_worker(router, deployment.id)}")
        source = records if records is not None else _recorded(router, deployment)
        return _fill(router, deployment, target.embedder, source, options, progress)


def _fill(
    router: Router,
    deployment: Deployment,
    embedder: Embedder,
    source: Records,
    options: Options,
    progress: Callable[[Progress], None] | None,
) -> Deployment:
    backfill = Backfill(
        router.context,
        deployment,
        router.endpoint_id,
        embedder,
        router.payload,
        router.write_gate,
        options,
        progress,
    )
    try:
        with closing(_runner(embedder, options)) as runner:
            n_rows = backfill.run(source, runner)
    except Exception as error:
        if backfill.is_hopeless:
            _give_up(router, deployment, str(getattr(error, "message", error)))
        raise
    built = _finish(router, deployment, n_rows)
    if built is None:
        _end_cancelled(router, deployment, "")
        raise JobStopped(f"the backfill of {deployment.name!r} was cancelled after its last record")
    return built


def pause(router: Place, name: str, reason: str) -> None:
    """Ask whoever fills a deployment, in any process, to stop after the batch that is being written.

    Raises:
        InvalidTransition: nobody fills it.
        PermissionDenied: the actor may not deploy.
    """
    with router.context.store.write() as session:
        row, job = _asked(session, router, name, "pause", reason)
        if job is None or not is_filled(router.context, row.id):
            raise InvalidTransition(f"nobody fills deployment {name!r} now: `resume` goes on, `cancel` gives it up")
        job.wanted, job.updated_at = "pause", utc_now()


def cancel(router: Router, name: str, reason: str) -> None:
    """Give up a deployment that is being built; whoever fills it stops, and its vectors are dropped.

    Raises:
        InvalidTransition: it is not being built.
        PermissionDenied: the actor may not deploy.
    """
    with router.context.store.write() as session:
        row, job = _asked(session, router, name, "cancel", reason)
        if job is not None:
            job.wanted, job.updated_at = "cancel", utc_now()
        deployment = deployment_of(row, router.name)
    with filling(router.context, deployment.id).hold(wait=False) as is_idle:
        if not is_idle:
            return
        _end_cancelled(router, deployment, reason)


def _end_cancelled(router: Router, deployment: Deployment, reason: str) -> None:
    with router.context.store.write() as session:
        job = _job(session, deployment.id)
        if job is not None:
            job.state, job.updated_at = "cancelled", utc_now()
    _give_up(router, deployment, f"it was cancelled: {reason}" if reason else "it was cancelled")


def _asked(session: Session, router: Place, name: str, action: str, reason: str) -> tuple[DeploymentRow, JobRow | None]:
    actor = router.context.actor
    permits.check(session, actor, "deploy", router.environment, f"{router.name}/{name}")
    row = row_named(rows_of(session, router.endpoint_id), name)
    _check_building(row)
    job = _locked_job(session, row.id)
    session.refresh(row)  # it may have been sealed while the job was waited for
    _check_building(row)
    if job is None and is_filled(router.context, row.id):
        raise InvalidTransition(f"the filling of deployment {name!r} is just beginning: repeat in a moment")
    evidence = {"n_done": job.n_done if job is not None else 0}
    ledger.append(session, actor, f"backfill.{action}", router.name, name, reason, evidence)
    return row, job


def _check_building(row: DeploymentRow) -> None:
    if row.state != State.BUILDING:
        raise InvalidTransition(f"deployment {row.name!r} is {row.state}; only one that is building has a backfill")


def _locked_job(session: Session, deployment_id: int) -> JobRow | None:
    """Return the deployment's backfill; whoever seals it and whoever stops it wait for each other."""
    job = _job(session, deployment_id)
    if job is not None:
        session.refresh(job, with_for_update=True)
    return job


def _job(session: Session, deployment_id: int) -> JobRow | None:
    """Return the deployment's backfill; None where its filling has not begun."""
    query = select(JobRow).where(JobRow.deployment_id == deployment_id, JobRow.kind == "backfill")
    return session.scalar(query)


def _begun(job: JobRow | None) -> JobRow:
    if job is None:
        raise JobNotFound("the filling of this deployment has not begun")
    return job


def _worker(router: Router, deployment_id: int) -> str:
    with router.context.store.read() as session:
        job = _job(session, deployment_id)
    return job.worker or "another process" if job is not None else "another process"


def _recorded(router: Router, deployment: Deployment) -> Records:
    with router.context.store.read() as session:
        request = json.loads(_begun(_job(session, deployment.id)).request)
    return recorded_source(request.get("source", {}), router.context.vectors)


def _runner(embedder: Embedder, options: Options) -> Runner:
    if options.runner == "ray":
        return RayWorkers(embedder, options.workers)
    return Threads(embedder, options.workers)


def _give_up(router: Router, deployment: Deployment, reason: str) -> None:
    router.fail(deployment.name, f"it could not be built: {without_secrets(reason)}")
    try:
        collections.drop_failed(router.context, deployment.id)
    except milvus.MilvusException as error:  # the caller shall see why the deployment failed, not this
        _log.warning("collection %r is dropped when the workspace is opened next: %s", deployment.collection, error)


def rejected(router: Place, name: str) -> list[tuple[str, str]]:
    """Return key and reason of the records that a deployment's backfill set aside."""
    with router.context.store.read() as session:
        row = row_named(rows_of(session, router.endpoint_id), name)
        query = select(RejectedRow.key, RejectedRow.reason).join(JobRow, JobRow.id == RejectedRow.job_id)
        found = session.execute(query.where(JobRow.deployment_id == row.id).order_by(RejectedRow.position))
        return [(key, reason) for key, reason in found]


def _finish(router: Router, deployment: Deployment, n_rows: int) -> Deployment | None:
    """Seal a deployment that is filled, and return it; None where somebody has cancelled it meanwhile."""
    context = router.context
    with router.write_gate, router.change() as (session, endpoint):
        row = row_named(rows_of(session, endpoint.id), deployment.name)
        job = _begun(_locked_job(session, row.id))
        if job.wanted == "cancel":
            return None
        move(row, State.READY)
        row.n_records = n_rows
        row.seal = seal(row, endpoint.metric, endpoint.fields)
        session.execute(delete(LiveWriteRow).where(LiveWriteRow.deployment_id == row.id))
        job.state, job.updated_at = "done", utc_now()
        evidence = {"n_records": n_rows, "n_rejected": job.n_rejected, "seal": row.seal}
        ledger.append(session, context.actor, "ready", endpoint.name, row.name, evidence=evidence)
        session.flush()
        built = deployment_of(row, endpoint.name)
    return built
