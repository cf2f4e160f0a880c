"""The registered models. Models are registered where they are made, not over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.errors import ModelNotFound
from roost.lifecycle.governance.cards import Card
from roost.lifecycle.models.model_version import ModelVersion
from roost.server.rest.answers import shown
from roost.server.rest.bodies import CardText
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Ws, version_named

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=CHANGES)


@router.get(
    "",
    summary="List the registered models",
    response_description="Their names.",
    responses=shows(list[str]),
)
def list_models(ws: Ws) -> Any:
    return ws.models.list()


@router.get(
    "/{model}",
    summary="List a model's versions",
    response_description="The versions, oldest first.",
    responses=shows(list[ModelVersion]),
)
def list_versions(ws: Ws, model: str) -> Any:
    found = ws.models.versions(model)
    if not found:
        raise ModelNotFound(f"there is no model {model!r}")
    return shown(found)


@router.get(
    "/{model}/versions/{version}",
    summary="Show a version by its number or by an alias",
    response_description="The version.",
    responses=shows(ModelVersion),
)
def get_version(ws: Ws, model: str, version: str) -> Any:
    return shown(version_named(ws, f"{model}/{version}"))


@router.get(
    "/{model}/versions/{version}/card",
    summary="Show a version's model card",
    response_description="Markdown.",
    responses=shows(Card),
)
def card(ws: Ws, model: str, version: str) -> Any:
    return shown(ws.governance.card(f"{model}/{version}"))


@router.put(
    "/{model}/versions/{version}/card",
    summary="Write what only people know into a model card",
    response_description="The card.",
    responses=shows(Card),
)
def write_card(ws: Ws, model: str, version: str, body: CardText) -> Any:
    ws.governance.write_card(f"{model}/{version}", **body.sections)
    return shown(ws.governance.card(f"{model}/{version}"))
