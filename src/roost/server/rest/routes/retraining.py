"""Plans of retraining. A plan names code that is run: plans are registered where the server is, not over HTTP."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from fastapi import APIRouter

from roost.lifecycle.jobs import Job
from roost.lifecycle.retrain import Plan
from roost.lifecycle.retrain.outcomes import Outcome
from roost.lifecycle.retrain.retraining import KIND
from roost.server.rest.answers import RegisteredPlan, shown
from roost.server.rest.background import newest
from roost.server.rest.bodies import Enable, OptionalReason, Reason
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Here, Ws

router = APIRouter(prefix="/v1/retraining/plans", tags=["retraining"], dependencies=CHANGES)


@router.get(
    "",
    summary="List the plans of retraining",
    response_description="The plans, by name.",
    responses=shows(list[Plan]),
)
def list_plans(ws: Ws) -> Any:
    return shown(ws.retraining.plans())


@router.get(
    "/{plan}",
    summary="Show a plan",
    response_description="The plan, and whether triggers may start it.",
    responses=shows(RegisteredPlan),
)
def get_plan(ws: Ws, plan: str) -> Any:
    found = ws.retraining.get(plan)
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return shown(RegisteredPlan(**values, enabled=ws.retraining.is_enabled(plan)))


@router.get(
    "/{plan}/history",
    summary="List the runs of a plan",
    response_description="The runs, oldest first.",
    responses=shows(list[Outcome]),
)
def history(ws: Ws, plan: str) -> Any:
    return shown(ws.retraining.history(ws.retraining.get(plan).name))


@router.post(
    "/{plan}/run",
    status_code=202,
    summary="Carry out a plan now",
    response_description="The job, which is running; the plan's history says how it ended.",
    responses=shows(Job, 202),
)
def run(here: Here, plan: str, body: Reason) -> Any:
    retraining, jobs = here.workspace.retraining, here.workspace.jobs
    before = max((job.id for job in jobs.list(KIND)), default=0)
    job = here.background.start(
        lambda: retraining.run(plan, reason=body.reason),
        find=lambda: newest(jobs.list(KIND), before, lambda job: job.request.get("plan") == plan),
        stop=lambda job: retraining.cancel(plan),
    )
    return shown(job)


@router.post(
    "/{plan}/cancel",
    summary="Ask the run of a plan to end",
    response_description="The plan's runs.",
    responses=shows(list[Outcome]),
)
def cancel(ws: Ws, plan: str, body: OptionalReason | None = None) -> Any:
    ws.retraining.cancel(plan, body.reason if body is not None else "")
    return shown(ws.retraining.history(plan))


@router.put(
    "/{plan}/enabled",
    summary="Let triggers start a plan, or let them not",
    response_description="The plan, and whether triggers may start it.",
    responses=shows(RegisteredPlan),
)
def enable(ws: Ws, plan: str, body: Enable) -> Any:
    ws.retraining.enable(plan, body.enabled, reason=body.reason)
    return get_plan(ws, plan)
