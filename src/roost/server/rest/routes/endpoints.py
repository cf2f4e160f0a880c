"""Endpoints, and which deployment answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.lifecycle.deployments.probation import Probation
from roost.lifecycle.deployments.promotion import Switch
from roost.lifecycle.plain import plain
from roost.lifecycle.serving.endpoints import AnyEndpoint
from roost.server.rest.answers import Endpoint
from roost.server.rest.bodies import NewEndpoint, Policy, Promote, Rollback
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Ws

router = APIRouter(prefix="/v1/endpoints", tags=["endpoints"], dependencies=CHANGES)


def shown(endpoint: AnyEndpoint) -> dict[str, Any]:
    """Return what is said of an endpoint."""
    names = ("name", "kind", "task", "environment", "owner", "metric", "description", "alias", "version", "policy")
    champion, test = endpoint.champion, endpoint.test
    return {
        **{name: plain(getattr(endpoint, name)) for name in names},
        "champion": champion.name if champion is not None else None,
        "model": champion.model if champion is not None else None,
        "test_id": test.id if test is not None else None,
    }


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
    return shown(create(body.name, **given))


@router.get(
    "/{endpoint}",
    summary="Show an endpoint",
    response_description="What it is, and who answers.",
    responses=shows(Endpoint),
)
def get_endpoint(ws: Ws, endpoint: str) -> Any:
    return shown(ws.endpoints.get(endpoint))


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
    return plain(ws.endpoints.get(endpoint).promote(body.deployment, **given))


@router.post(
    "/{endpoint}/rollback",
    summary="Go back to an earlier champion",
    response_description="The change: who was champion, who is, and which live test it stopped.",
    responses=shows(Switch),
)
def rollback(ws: Ws, endpoint: str, body: Rollback) -> Any:
    return plain(ws.endpoints.get(endpoint).rollback(**body.given()))


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
    return shown(opened)
