"""Live tests of challengers against an endpoint's champion."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.errors import InvalidTransition
from roost.lifecycle.ledger import Entry
from roost.lifecycle.live import TestStatus
from roost.server.rest.answers import Running, shown
from roost.server.rest.bodies import OptionalReason, StartTest
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Ws

router = APIRouter(prefix="/v1/endpoints/{endpoint}", tags=["live tests"], dependencies=CHANGES)


@router.post(
    "/test",
    status_code=201,
    summary="Start a live test",
    response_description="How the test stands.",
    responses=shows(TestStatus, 201),
)
def start_test(ws: Ws, endpoint: str, body: StartTest) -> Any:
    given = {name: value for name, value in body.given("challengers").items() if value is not None}
    return shown(ws.endpoints.get(endpoint).start_test(body.challengers, **given).status())


@router.get(
    "/test",
    summary="Show how the live test stands",
    response_description="Its status; null where no test is running: a past one is found by its number.",
    responses=shows(Running),
)
def test_status(ws: Ws, endpoint: str) -> Any:
    test = ws.endpoints.get(endpoint).test
    return shown(Running(test.status() if test is not None else None))


@router.post(
    "/test/stop",
    summary="End the live test where it stands",
    response_description="How it ended.",
    responses=shows(TestStatus),
)
def stop_test(ws: Ws, endpoint: str, body: OptionalReason | None = None) -> Any:
    test = ws.endpoints.get(endpoint).test
    if test is None:
        raise InvalidTransition(f"no live test of {endpoint!r} is running")
    return shown(test.stop(body.reason if body is not None else ""))


@router.get(
    "/tests",
    summary="List how live tests began and ended",
    response_description="The ledger's entries of them, oldest first, with their results as evidence.",
    responses=shows(list[Entry]),
)
def list_tests(ws: Ws, endpoint: str) -> Any:
    entries = ws.ledger.entries(ws.endpoints.get(endpoint).name)
    return [shown(entry) for entry in entries if entry.action.startswith("test.")]


@router.get(
    "/tests/{test}",
    summary="Show how a live test stands, or how it ended",
    response_description="Its status, by its number: the test_id of the answer that started it, and of the ledger.",
    responses=shows(TestStatus),
)
def test_by_number(ws: Ws, endpoint: str, test: int) -> Any:
    return shown(ws.endpoints.get(endpoint).test_status(test))
