"""The application: a workspace over HTTP. Each route decodes a request, makes one call, and encodes its result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from roost.server.rest import errors
from roost.server.rest.auth import Authentication, Tokens
from roost.server.rest.background import Background
from roost.server.rest.page import page
from roost.server.rest.requests import MAX_BODY_BYTES, BodyLimit, Numbered
from roost.server.rest.routes import (
    deployments,
    endpoints,
    governance,
    health,
    jobs,
    ledger,
    live_tests,
    models,
    monitors,
    retraining,
    traffic,
)
from roost.server.rest.served import Served
from roost.workspace import Workspace

ROUTERS = (endpoints, deployments, jobs, traffic, live_tests, monitors, ledger, models, governance, retraining, health)


def create_app(
    workspace: Workspace | Callable[[], Workspace],
    tokens: Tokens | None = None,
    data_dir: str | Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> FastAPI:
    """Return a workspace as an ASGI application, for uvicorn or any other server.

    Jobs that requests began are asked to stop when the application ends; backfills can be resumed.

    Args:
        workspace: an open one, which stays open; or what opens one, which is closed at the end.
        tokens: who may ask; None lets programs of this machine ask, as the workspace's own actor, and nobody else.
        data_dir: the directory below which requests may name Parquet files; None for no file.
        max_body_bytes: of a request.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        background = Background()
        opened = workspace if isinstance(workspace, Workspace) else await run_in_threadpool(workspace)
        app.state.served = Served(opened, background, Path(data_dir) if data_dir is not None else None)
        try:
            yield
        finally:
            await run_in_threadpool(background.close)
            if opened is not workspace:
                await run_in_threadpool(opened.close)

    app = FastAPI(
        title="Roost",
        description="Models in production: endpoints, deployments, live tests, monitors, and the ledger of it all.",
        version=version("roost"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        middleware=[
            Middleware(Numbered),
            Middleware(Authentication, tokens=tokens),
            Middleware(BodyLimit, max_bytes=max_body_bytes),
        ],
    )
    errors.install(app)
    failure: dict[int | str, dict[str, Any]] = {"default": {"model": errors.ErrorAnswer, "description": "An error."}}
    for module in ROUTERS:
        # The scheme is for the OpenAPI document; `Authentication` decides.
        secured = [Depends(HTTPBearer(auto_error=False))] if module is not health else []
        app.include_router(module.router, responses=failure, dependencies=secured)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app


def _operation_id(route: APIRoute) -> str:
    return f"{str(route.tags[0]).replace(' ', '_')}_{route.name}" if route.tags else route.name
