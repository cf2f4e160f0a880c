"""Deployments: what a model's vectors are, or a predictor, behind an endpoint."""

from __future__ import annotations

import os
import platform
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from roost.errors import InvalidArgument
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.jobs import BACKFILL, Job
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.server.rest.answers import SetAside, shown
from roost.server.rest.background import newest
from roost.server.rest.bodies import Deploy, Draft, Reason
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Here, Served, Ws, decoded, version_named

router = APIRouter(prefix="/v1/endpoints/{endpoint}/deployments", tags=["deployments"], dependencies=CHANGES)

WORKER = f"{platform.node()}:{os.getpid()}:"
"""How the name of a worker of this process begins."""


@router.get(
    "",
    summary="List an endpoint's deployments",
    response_description="All, the retired included.",
    responses=shows(list[Deployment]),
)
def list_deployments(ws: Ws, endpoint: str) -> Any:
    return shown(ws.endpoints.get(endpoint).deployments())


@router.get(
    "/{deployment}",
    summary="Show a deployment",
    response_description="The deployment.",
    responses=shows(Deployment),
)
def get_deployment(ws: Ws, endpoint: str, deployment: str) -> Any:
    return shown(ws.endpoints.get(endpoint).deployment(deployment))


@router.get(
    "/{deployment}/rejected",
    summary="List the records that a deployment set aside",
    response_description="Key and reason of each.",
    responses=shows(list[SetAside]),
)
def rejected(ws: Ws, endpoint: str, deployment: str) -> Any:
    found = _search(ws.endpoints.get(endpoint)).rejected(deployment)
    return shown([SetAside(key, reason) for key, reason in found])


@router.get(
    "/{deployment}/missed",
    summary="List the keys that were written while a deployment was retired",
    response_description="The keys, as text.",
    responses=shows(list[str]),
)
def missed(ws: Ws, endpoint: str, deployment: str) -> Any:
    return ws.endpoints.get(endpoint).missed(deployment)


@router.post(
    "",
    status_code=202,
    summary="Deploy a model version, or a draft",
    description="The records of a search endpoint are embedded in the background: the answer is the job (202). A "
    "predictor is ready at once: the answer is the deployment (201).",
    response_description="The job, which is running.",
    responses=shows(Job, 202) | shows(Deployment, 201, "The deployment of a predictor."),
)
def deploy(here: Here, endpoint: str, body: Deploy) -> Any:
    opened = here.workspace.endpoints.get(endpoint)
    if (body.model is None) == (body.draft is None):
        raise InvalidArgument("give either a model, as in digits/2, or the name of a draft")
    model = version_named(here.workspace, body.model) if body.model is not None else body.draft
    if isinstance(opened, SearchEndpoint):
        return _deploy_vectors(here, opened, model, body)
    if body.source is not None:
        raise InvalidArgument("a predict endpoint stores no records: it has no source")
    made = opened.deploy(
        model,
        check=decoded(body.check),
        allow_other_classes=body.allow_other_classes,
        **body.configuration(),
    )
    return JSONResponse(shown(made), 201)


@router.post(
    "/drafts",
    status_code=201,
    summary="Configure a deployment",
    response_description="The draft.",
    responses=shows(Deployment, 201),
)
def draft(ws: Ws, endpoint: str, body: Draft) -> Any:
    return shown(ws.endpoints.get(endpoint).draft(version_named(ws, body.model), **body.configuration()))


@router.post(
    "/{deployment}/retire",
    summary="Take a deployment out of use",
    response_description="The deployment, whose vectors are kept.",
    responses=shows(Deployment),
)
def retire(ws: Ws, endpoint: str, deployment: str, body: Reason) -> Any:
    ws.endpoints.get(endpoint).retire(deployment, body.reason)
    return shown(ws.endpoints.get(endpoint).deployment(deployment))


@router.post(
    "/{deployment}/purge",
    summary="Drop the vectors of a retired deployment",
    response_description="The deployment, to which there is no way back.",
    responses=shows(Deployment),
)
def purge(ws: Ws, endpoint: str, deployment: str, body: Reason) -> Any:
    ws.endpoints.get(endpoint).purge(deployment, body.reason)
    return shown(ws.endpoints.get(endpoint).deployment(deployment))


def _deploy_vectors(here: Served, endpoint: SearchEndpoint, model: Any, body: Deploy) -> Any:
    if body.source is None:
        raise InvalidArgument("a search endpoint needs the source of its records: a Parquet file or a collection")
    if body.check is not None or body.allow_other_classes:
        raise InvalidArgument("check and allow_other_classes are of predictors")
    source, jobs = body.source.opened(here), here.workspace.jobs
    before = max((job.id for job in jobs.list(BACKFILL, endpoint.name)), default=0)
    filling = body.filling.model_dump()
    job = here.background.start(
        lambda: endpoint.deploy(model, source, **body.configuration(), **filling),
        find=lambda: newest(
            jobs.list(BACKFILL, endpoint.name), before, lambda job: (job.worker or "").startswith(WORKER)
        ),
        stop=lambda job: jobs.pause(job, "the server is stopped"),
    )
    return shown(job)


def _search(endpoint: SearchEndpoint | PredictEndpoint) -> SearchEndpoint:
    if isinstance(endpoint, SearchEndpoint):
        return endpoint
    raise InvalidArgument(f"endpoint {endpoint.name!r} predicts: it stores no records")
