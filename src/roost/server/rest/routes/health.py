"""Whether the server lives, and whether it can work."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter
from pymilvus.exceptions import MilvusException

from roost.address import without_secrets
from roost.server.rest.answers import Health, shown
from roost.server.rest.errors import answer
from roost.server.rest.schemas import shows
from roost.server.rest.served import Ws

router = APIRouter(tags=["health"])

_log = logging.getLogger(__name__)


@router.get(
    "/healthz",
    summary="Say that the server lives",
    response_description="It does.",
    responses=shows(Health),
)
async def healthz() -> Any:
    return shown(Health("alive"))


@router.get(
    "/readyz",
    summary="Say whether the store and the vectors answer",
    response_description="They do.",
    responses=shows(Health),
)
def readyz(ws: Ws) -> Any:
    try:
        _ = ws.ledger.head
        ws.vectors.list_collections()
    except MilvusException as error:
        _log.warning("not ready: %s", without_secrets(str(error)))
        return answer(503, "not_ready", "the store or the vector engine does not answer: see the server's log")
    return shown(Health("ready"))
