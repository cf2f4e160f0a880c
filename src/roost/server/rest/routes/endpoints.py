"""Endpoints, and which deployment answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.lifecycle.deployments.probation import Probation
from roost.lifecycle.deployments.promotion import Switch
from roost.lifecycle.serving.endpoints import AnyEndpoint
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.server.rest.answers import Endpoint, shown
from roost.server.rest.bodies import NewEndpoint, Policy, Promote, Rollback
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Ws

router = APIRouter(prefix="/v1/endpoints", tags=["endpoints"], dependencies=CHANGES)


def _answer(endpoint: AnyEndpoint) -> Any:
    champion, test = endpoint.champion, endpoint.test
    found = Endpoint(
        name=endpoint.name,
        kind="search" if isinstance(endpoint, SearchEndpoint) else "predict",
        task=endpoint.task,
        environment=endpoint.environment,
        owner=endpoint.owner,
        metric=endpoint.metric,
        description=endpoint.description,
        alias=endpoint.alias,
        version=endpoint.version,
        policy=endpoint.policy,
        champion=champion.name if champion is not None else None,
        model=champion.model if champion is not None else None,
        test_id=test.id if test is not None else None,
    )
    return shown(found)


@router.get(
    "",
    summary="List the endpoints",
    response_description="Their names.",
    responses=shows(list[str]),
)
def list_endpoints(ws: Ws, environment: str | None = None) -> Any:
    return ws.endpoints.list(environment)


@router.post(
    "",
    status_code=201,
    summary="Create an endpoint",
    response_description="The endpoint.",
    responses=shows(Endpoint, 201),
)
def create_endpoint(ws: Ws, body: NewEndpoint) -> Any:
    given = body.given("name", "fields")
    if body.fields is not None:
        given["fields"] = [field.schema_field() for field in body.fields]
    create: Any = ws.endpoints.create
    return _answer(create(body.name, **given))


@router.get(
    "/{endpoint}",
    summary="Show an endpoint",
    response_description="What it is, and who answers.",
    responses=shows(Endpoint),
)
def get_endpoint(ws: Ws, endpoint: str) -> Any:
    return _answer(ws.endpoints.get(endpoint))


@router.post(
    "/{endpoint}/promote",
    summary="Make a deployment the champion",
    response_description="The change: who was champion, who is, and which live test it stopped.",
    responses=shows(Switch),
)
def promote(ws: Ws, endpoint: str, body: Promote) -> Any:
    given = body.given("deployment", "probation")
    if body.probation is not None:
        terms = body.probation
        given["probation"] = Probation(tuple(terms.guardrails), terms.minutes, terms.max_queries)
    return shown(ws.endpoints.get(endpoint).promote(body.deployment, **given))


@router.post(
    "/{endpoint}/rollback",
    summary="Go back to an earlier champion",
    response_description="The change: who was champion, who is, and which live test it stopped.",
    responses=shows(Switch),
)
def rollback(ws: Ws, endpoint: str, body: Rollback) -> Any:
    return shown(ws.endpoints.get(endpoint).rollback(**body.given()))


@router.put(
    "/{endpoint}/policy",
    summary="Say what an endpoint does by itself",
    response_description="The endpoint; what the request left out is as it was.",
    responses=shows(Endpoint),
)
def set_policy(ws: Ws, endpoint: str, body: Policy) -> Any:
    opened = ws.endpoints.get(endpoint)
    if "keep_retired" in body.model_fields_set:
        opened.keep_retired(body.keep_retired)
    if body.promote_winners is not None:
        opened.promote_winners(body.promote_winners)
    return _answer(opened)
