"""Long work: how far it has come."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.errors import InvalidTransition
from roost.lifecycle.jobs import BACKFILL, Job
from roost.server.rest.answers import shown
from roost.server.rest.bodies import OptionalReason, Resume
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Caller, Here, Ws, allow

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=CHANGES)

_OPTIONS = ("batch_size", "workers", "runner", "rate_limit", "verify")


@router.get(
    "",
    summary="List the jobs",
    response_description="The jobs, the newest first.",
    responses=shows(list[Job]),
)
def list_jobs(ws: Ws, kind: str | None = None, endpoint: str | None = None) -> Any:
    return shown(ws.jobs.list(kind, endpoint))


@router.get(
    "/{job}",
    summary="Show a job",
    response_description="The job as it is now.",
    responses=shows(Job),
)
def get_job(ws: Ws, job: int) -> Any:
    return shown(ws.jobs.get(job))


@router.post(
    "/{job}/pause",
    summary="Let a job stop for now",
    response_description="The job; it can be resumed.",
    responses=shows(Job),
)
def pause(ws: Ws, job: int, body: OptionalReason | None = None) -> Any:
    return shown(ws.jobs.pause(job, body.reason if body is not None else ""))


@router.post(
    "/{job}/cancel",
    summary="Give a job up",
    response_description="The job.",
    responses=shows(Job),
)
def cancel(ws: Ws, job: int, body: OptionalReason | None = None) -> Any:
    return shown(ws.jobs.cancel(job, body.reason if body is not None else ""))


@router.post(
    "/{job}/resume",
    status_code=202,
    summary="Go on with a backfill that was paused or interrupted",
    response_description="The job, which is running.",
    responses=shows(Job, 202),
)
def resume(here: Here, actor: Caller, job: int, body: Resume | None = None) -> Any:
    jobs = here.workspace.jobs
    before = jobs.get(job)
    if before.kind != BACKFILL or before.endpoint is None or before.deployment is None:
        raise InvalidTransition(f"job {job} is a {before.kind}: only a backfill can be resumed")
    allow(here.workspace, actor, "deploy", before.endpoint)
    endpoint = here.workspace.endpoints.get(before.endpoint)
    source = body.source.opened(here) if body is not None and body.source is not None else None
    options = {name: before.request[name] for name in _OPTIONS if name in before.request}

    def taken_up() -> Job | None:
        now = jobs.get(job)
        return now if now.worker != before.worker else None

    started = here.background.start(
        lambda: endpoint.resume(before.deployment, source, **options),
        find=taken_up,
        stop=lambda found: jobs.pause(found, "the server is stopped"),
    )
    return shown(started)
