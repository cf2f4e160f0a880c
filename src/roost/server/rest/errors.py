"""How an error looks over HTTP: its status, its stable name, and its message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pymilvus.exceptions import MilvusException
from starlette.exceptions import HTTPException

from roost import errors
from roost.address import without_secrets

_log = logging.getLogger(__name__)

STATUS: Mapping[type[errors.RoostError], int] = {
    errors.InvalidArgument: 422,
    errors.InvalidData: 422,
    errors.InvalidSchema: 422,
    errors.InvalidFilter: 422,
    errors.FieldNotFound: 422,
    errors.CollectionNotFound: 404,
    errors.PartitionNotFound: 404,
    errors.DatabaseNotFound: 404,
    errors.IndexNotFound: 404,
    errors.AliasNotFound: 404,
    errors.NotFound: 404,
    errors.CollectionExists: 409,
    errors.DatabaseExists: 409,
    errors.IndexExists: 409,
    errors.AliasExists: 409,
    errors.CollectionNotLoaded: 409,
    errors.LoadConflict: 409,
    errors.WorkspaceError: 409,
    errors.PermissionDenied: 403,
    errors.ApprovalRequired: 403,
    errors.ReadOnly: 403,
    errors.NotSupported: 501,
    errors.MissingDependency: 501,
    errors.ModelUnavailable: 502,
    errors.DatabaseLocked: 503,
    errors.Closed: 503,
    errors.StorageFailure: 503,
    errors.Timeout: 504,
    errors.StorageFull: 507,
    errors.MemoryLimitExceeded: 507,
    errors.LedgerBroken: 500,
    errors.Corruption: 500,
    errors.RoostError: 500,
}
"""The status of each kind of error; an error has that of the nearest class above it."""

VECTOR_ENGINE = "vector_engine"
MAX_FAULTS = 5


class Fault(BaseModel):
    """What went wrong."""

    name: str = Field(description="A stable word for programs to match.")
    message: str = Field(description="What was given, what is allowed, and what to do.")


class ErrorAnswer(BaseModel):
    """The body of every answer that is an error."""

    error: Fault


def status_of(error: errors.RoostError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as a response; secrets in addresses are left out."""
    body = {"error": {"name": name, "message": without_secrets(message)}}
    return JSONResponse(body, status, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Let the application answer errors by the table."""

    @app.exception_handler(errors.RoostError)
    async def roost_error(request: Request, error: errors.RoostError) -> JSONResponse:
        status = status_of(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("%s %s: %s: %s", request.method, request.url.path, error.name, without_secrets(error.message))
        return answer(status, error.name, error.message)

    @app.exception_handler(MilvusException)
    async def engine_error(request: Request, error: MilvusException) -> JSONResponse:
        return answer(502, VECTOR_ENGINE, f"the vector engine refused: {error.message}")

    @app.exception_handler(OverflowError)
    async def too_large(request: Request, error: OverflowError) -> JSONResponse:
        return answer(422, errors.InvalidArgument.name, f"a number is too large: {error}")

    @app.exception_handler(RequestValidationError)
    async def wrong_request(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:MAX_FAULTS]]
        return answer(422, errors.InvalidArgument.name, "; ".join(found))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return answer(error.status_code, name, str(error.detail), error.headers)
