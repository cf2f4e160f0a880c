"""The ledger: who changed what, when, and on what evidence."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from roost.lifecycle.ledger import GENESIS, Entry, Period
from roost.server.rest.answers import ChampionAt, Verified, shown
from roost.server.rest.schemas import shows
from roost.server.rest.served import Ws

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

MAX_ENTRIES = 10_000


@router.get(
    "",
    summary="List the newest entries",
    response_description="The entries, oldest first.",
    responses=shows(list[Entry]),
)
def entries(ws: Ws, endpoint: str | None = None, limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 100) -> Any:
    return shown(ws.ledger.entries(endpoint, limit))


@router.get(
    "/at",
    summary="Say which deployment was champion at a moment, and why",
    response_description="The deployment and the entry that made it champion; null before the first.",
    responses=shows(ChampionAt),
)
def at(ws: Ws, endpoint: str, moment: str) -> Any:
    entry = ws.ledger.why(ws.endpoints.get(endpoint).name, moment)
    return shown(ChampionAt(entry.subject if entry is not None else None, entry))


@router.get(
    "/history",
    summary="List an endpoint's champions",
    response_description="The present one last.",
    responses=shows(list[Period]),
)
def history(ws: Ws, endpoint: str) -> Any:
    return shown(ws.ledger.history(ws.endpoints.get(endpoint).name))


@router.get(
    "/verify",
    summary="Check that no entry was altered, removed or reordered",
    response_description="The number of entries, and the newest entry's hash: keep it elsewhere.",
    responses=shows(Verified),
)
def verify(ws: Ws, head: str = GENESIS) -> Any:
    return shown(Verified(ws.ledger.verify(head), ws.ledger.head[1]))
