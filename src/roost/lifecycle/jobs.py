"""Long work, as every process of a workspace sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import InvalidTransition, JobNotFound
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments.filling import is_filled
from roost.lifecycle.governance import permits
from roost.lifecycle.html import properties
from roost.lifecycle.store.tables import DeploymentRow, EndpointRow, JobRow

BACKFILL = "backfill"
RETRAIN = "retrain"

ENDED = frozenset({"done", "cancelled"})
"""The states of a backfill from which nothing goes on."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was read.

    Attributes:
        kind: what it does, as in "backfill".
        state: running, paused, interrupted, failed, cancelled or done. A backfill whose process was killed is
            interrupted.
        wanted: what was asked of it: run, pause or cancel.
        n_done: records taken so far, those set aside included.
        total: records in all; None where that is not known.
        worker: machine and process that carry it out.
        request: what was asked for, without secrets.
        result: what came of it.
        error: why it stopped; None while it runs and when it is done.
    """

    id: int
    kind: str
    endpoint: str | None
    deployment: str | None
    state: str
    wanted: str
    n_done: int
    total: int | None
    n_rejected: int
    actor: str | None
    worker: str | None
    request: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str | None
    created_at: str | None
    updated_at: str

    def __repr__(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        subject = f" of {self.endpoint}/{self.deployment}" if self.deployment is not None else ""
        return f"Job({self.id}, {self.kind}{subject}, {self.state}, {self.n_done:,}{of})"

    def _repr_html_(self) -> str:
        shown = {
            "subject": f"{self.endpoint}/{self.deployment}" if self.deployment is not None else "",
            "state": self.state,
            "done": self.n_done,
            "total": self.total,
            "set aside": self.n_rejected,
            "by": self.actor,
            "seen at": self.updated_at,
            "error": self.error,
        }
        return properties(f"Job {self.id}: {self.kind}", shown)


class Filled(Protocol):
    """An endpoint whose deployments are filled, as its jobs see it."""

    def pause(self, deployment: str, reason: str = "") -> None: ...

    def cancel(self, deployment: str, reason: str = "") -> None: ...


class Jobs:
    """The jobs of a workspace."""

    def __init__(self, context: Context, filled: Callable[[str], Filled]) -> None:
        """Look at the jobs of a store.

        Args:
            filled: gives an endpoint by its name.
        """
        self._context = context
        self._filled = filled

    def list(self, kind: str | None = None, endpoint: str | None = None) -> list[Job]:
        """Return the jobs, newest first: all of them, or those of a kind or of an endpoint."""
        query = _jobs().order_by(JobRow.id.desc())
        if kind is not None:
            query = query.where(JobRow.kind == kind)
        if endpoint is not None:
            query = query.where(EndpointRow.name == endpoint)
        with self._context.store.read() as session:
            rows = list(session.execute(query))
        return [self._seen(*row) for row in rows]

    def get(self, job: Job | int) -> Job:
        """Return a job as it is now.

        Raises: JobNotFound: there is none of that number.
        """
        number = job if isinstance(job, int) else job.id
        with self._context.store.read() as session:
            row = session.execute(_jobs().where(JobRow.id == number)).first()
        if row is None:
            raise JobNotFound(f"there is no job {number}")
        return self._seen(*row)

    def pause(self, job: Job | int, reason: str = "") -> Job:
        """Let a job stop after what it is at; it can go on later.

        Raises:
            JobNotFound: there is none of that number.
            InvalidTransition: it has ended, nobody carries it out, or it is of a kind that cannot wait.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        return self._ask(job, "pause", reason)

    def cancel(self, job: Job | int, reason: str = "") -> Job:
        """Give a job up; a deployment that it fills is failed, and its vectors are dropped.

        Raises:
            JobNotFound: there is none of that number.
            InvalidTransition: it has ended, or it is of a kind that cannot be given up.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        return self._ask(job, "cancel", reason)

    def _seen(self, row: JobRow, endpoint: str | None, deployment: str | None) -> Job:
        """Return a job, interrupted where nobody carries it out although it says so."""
        job = _job(row, endpoint, deployment)
        if row.kind != BACKFILL or row.state != "running" or row.deployment_id is None:
            return job
        if is_filled(self._context, row.deployment_id):
            return job
        with self._context.store.read() as session:  # it may have ended between the two looks
            now = session.get(JobRow, row.id)
        if now is not None and (now.state, now.worker) == (row.state, row.worker):
            return replace(job, state="interrupted", error="its process is gone")
        return job if now is None else _job(now, endpoint, deployment)

    def _ask(self, job: Job | int, wanted: str, reason: str) -> Job:
        found = self.get(job)
        is_over = found.state in ENDED or (found.kind == RETRAIN and found.state != "running")
        if is_over:
            raise InvalidTransition(f"job {found.id} is {found.state}")
        if found.kind == BACKFILL and found.endpoint is not None and found.deployment is not None:
            endpoint = self._filled(found.endpoint)
            ask = endpoint.pause if wanted == "pause" else endpoint.cancel
            ask(found.deployment, reason)
        elif found.kind == RETRAIN and wanted == "cancel":
            with self._context.store.write() as session:
                cancel_run(session, self._context.actor, found.id, reason)
        else:
            raise InvalidTransition(f"job {found.id} is of the kind {found.kind}, which takes no {wanted}")
        return self.get(found.id)


def cancel_run(session: Session, actor: str, number: int, reason: str) -> bool:
    """Ask the run of a plan of retraining to end, and return whether it was running.

    Raises: PermissionDenied, ApprovalRequired: the actor may not do this.
    """
    job = session.get_one(JobRow, number, with_for_update=True)
    if job.state != "running":
        return False
    plan = json.loads(job.request)["plan"]
    place = session.get_one(EndpointRow, job.endpoint_id)
    permits.check(session, actor, "retrain.cancel", place.environment, f"{place.name}/{plan}")
    ledger.append(session, actor, "retrain.cancel", place.name, plan, reason, {"job": job.id})
    job.wanted = "cancel"
    return True


def _jobs() -> Any:
    return (
        select(JobRow, EndpointRow.name, DeploymentRow.name)
        .outerjoin(EndpointRow, EndpointRow.id == JobRow.endpoint_id)
        .outerjoin(DeploymentRow, DeploymentRow.id == JobRow.deployment_id)
    )


def _job(row: JobRow, endpoint: str | None, deployment: str | None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        endpoint=endpoint,
        deployment=deployment,
        state=row.state,
        wanted=row.wanted,
        n_done=row.n_done,
        total=row.total,
        n_rejected=row.n_rejected,
        actor=row.actor,
        worker=row.worker,
        request=json.loads(row.request),
        result=json.loads(row.result),
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
