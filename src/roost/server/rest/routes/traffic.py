"""Traffic: searches, predictions, writes and feedback. It is not the caller's doing in the ledger, but their right."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from roost.errors import InvalidArgument
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint, Prediction
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.serving.traffic import Answer
from roost.server.rest.answers import Deleted, Known, Written, shown
from roost.server.rest.bodies import Delete, Feedback, Predict, Search, SearchBatch, Write
from roost.server.rest.schemas import shows
from roost.server.rest.served import Caller, Ws, allow, decoded, decoded_record

router = APIRouter(prefix="/v1/endpoints/{endpoint}", tags=["traffic"])


@router.post(
    "/search",
    summary="Find the nearest records",
    response_description="The answer, and who gave it.",
    responses=shows(Answer),
)
def search(ws: Ws, endpoint: str, body: Search) -> Any:
    return shown(_search(ws, endpoint).search(decoded(body.content), **body.given("content")))


@router.post(
    "/search-batch",
    summary="Find the nearest records of many",
    response_description="The answers, in the order of the contents.",
    responses=shows(list[Answer]),
)
def search_batch(ws: Ws, endpoint: str, body: SearchBatch) -> Any:
    return shown(_search(ws, endpoint).search_batch(decoded(body.contents), **body.given("contents")))


@router.post(
    "/predict",
    summary="Predict for rows",
    response_description="The predictions, in the rows' order.",
    responses=shows(list[Prediction]),
)
def predict(ws: Ws, endpoint: str, body: Predict) -> Any:
    opened = ws.endpoints.get(endpoint)
    if not isinstance(opened, PredictEndpoint):
        raise InvalidArgument(f"endpoint {endpoint!r} is searched: it predicts nothing")
    return shown(opened.predict(decoded(body.rows), **body.given("rows")))


@router.post(
    "/write",
    summary="Write records",
    response_description="How many were written.",
    responses=shows(Written),
)
def write(ws: Ws, actor: Caller, endpoint: str, body: Write) -> Any:
    opened = _search(ws, endpoint)
    allow(ws, actor, "write", endpoint)
    return shown(Written(opened.write([decoded_record(record) for record in body.records])))


@router.post(
    "/delete",
    summary="Delete records by their keys",
    response_description="How many keys were given.",
    responses=shows(Deleted),
)
def delete(ws: Ws, actor: Caller, endpoint: str, body: Delete) -> Any:
    opened = _search(ws, endpoint)
    allow(ws, actor, "write", endpoint)
    return shown(Deleted(opened.delete(list(body.keys))))


@router.post(
    "/feedback",
    summary="Say how good results were",
    response_description="Whether the answer is known that the feedback is about.",
    responses=shows(Known),
)
def feedback(ws: Ws, endpoint: str, body: Feedback) -> Any:
    opened: Any = ws.endpoints.get(endpoint)
    given = {name: value for name, value in body.given("gains").items() if value is not None}
    if body.gains is not None:
        if body.item is not None or not isinstance(opened, SearchEndpoint):
            raise InvalidArgument("gains are of all results of a search, instead of an item")
        given["item"] = body.gains
    elif isinstance(opened, SearchEndpoint) and body.item is None:
        raise InvalidArgument("say which result is meant: item, or the gains of all")
    return shown(Known(opened.feedback(**given)))


def _search(ws: Ws, name: str) -> SearchEndpoint:
    endpoint = ws.endpoints.get(name)
    if not isinstance(endpoint, SearchEndpoint):
        raise InvalidArgument(f"endpoint {name!r} predicts: it is not searched and stores no records")
    return endpoint
