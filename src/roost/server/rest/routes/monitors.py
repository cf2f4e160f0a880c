"""Monitors: figures, alerts, and what Prometheus reads.

Whom alerts are told is said where the server is, not over HTTP: a channel may name any address and any environment
variable.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from roost.errors import MonitorNotFound
from roost.lifecycle.monitor.alerts import Alert
from roost.lifecycle.monitor.configuration import check_options
from roost.lifecycle.monitor.monitors import MonitorStatus
from roost.lifecycle.monitor.report import Point
from roost.lifecycle.monitor.rules import Rule
from roost.server.rest.answers import MonitorReport, shown
from roost.server.rest.bodies import Watch
from roost.server.rest.schemas import shows
from roost.server.rest.served import CHANGES, Caller, Ws, allow
from roost.workspace import Workspace

router = APIRouter(tags=["monitors"], dependencies=CHANGES)


def _check_watched(ws: Workspace, endpoint: str) -> None:
    """Raise EndpointNotFound or MonitorNotFound for an endpoint that is not there, or not watched."""
    if endpoint not in ws.monitors.watched():
        name = ws.endpoints.get(endpoint).name
        raise MonitorNotFound(f"endpoint {name!r} is not watched: PUT /v1/monitors/{name} watches it")


@router.get(
    "/v1/monitors",
    summary="List the endpoints that are watched",
    response_description="Their names.",
    responses=shows(list[str]),
)
def list_watched(ws: Ws) -> Any:
    return ws.monitors.watched()


@router.put(
    "/v1/monitors/{endpoint}",
    summary="Watch an endpoint, or watch it differently",
    description="What is not given stays as it is. Whom alerts are told can be changed only where the server is.",
    response_description="How it is watched.",
    responses=shows(MonitorStatus),
)
def watch(ws: Ws, endpoint: str, body: Watch) -> Any:
    check_options(body.options)
    rules = [Rule(**rule.model_dump()) for rule in body.rules] if body.rules is not None else None
    return shown(ws.monitors.watch(endpoint, rules, **body.options))


@router.delete(
    "/v1/monitors/{endpoint}",
    summary="Watch an endpoint no more",
    response_description="The endpoints that are watched still.",
    responses=shows(list[str]),
)
def unwatch(ws: Ws, endpoint: str) -> Any:
    _check_watched(ws, endpoint)
    ws.monitors.unwatch(endpoint)
    return ws.monitors.watched()


@router.get(
    "/v1/monitors/{endpoint}",
    summary="Show how an endpoint is watched",
    response_description="Its monitor.",
    responses=shows(MonitorStatus),
)
def monitor_status(ws: Ws, endpoint: str) -> Any:
    _check_watched(ws, endpoint)
    return shown(ws.monitors.status(endpoint))


@router.get(
    "/v1/monitors/{endpoint}/report",
    summary="Show all figures of a span of time",
    response_description="The figures of each deployment, by default of the last day, and the open alerts.",
    responses=shows(MonitorReport),
)
def report(ws: Ws, endpoint: str, since: str | None = None) -> Any:
    found = ws.monitors.report(ws.endpoints.get(endpoint).name, since)
    return shown(MonitorReport(found.endpoint, found.since, found.until, found.figures, found.alerts))


@router.get(
    "/v1/monitors/{endpoint}/history",
    summary="Show one figure over time",
    response_description="The figure for each window, or for each span of bucket_s seconds.",
    responses=shows(list[Point]),
)
def history(
    ws: Ws,
    endpoint: str,
    metric: str,
    since: str | None = None,
    deployment: str | None = None,
    bucket_s: float | None = None,
) -> Any:
    return shown(ws.monitors.history(ws.endpoints.get(endpoint).name, metric, since, deployment, bucket_s))


@router.post(
    "/v1/monitors/{endpoint}/check",
    summary="Measure and judge now",
    response_description="The alerts that were opened or resolved by it.",
    responses=shows(list[Alert]),
)
def check(ws: Ws, actor: Caller, endpoint: str) -> Any:
    allow(ws, actor, "monitor.watch", endpoint)
    _check_watched(ws, endpoint)
    return shown(ws.monitors.check_now(endpoint))


@router.get(
    "/v1/alerts",
    summary="List the alerts",
    response_description="The alerts, the newest first.",
    responses=shows(list[Alert]),
)
def alerts(ws: Ws, endpoint: str | None = None, open_only: bool = False) -> Any:
    return shown(ws.monitors.alerts(endpoint, open_only))


@router.get(
    "/metrics",
    summary="Show the figures of this process to Prometheus",
    response_class=PlainTextResponse,
    response_description="Text in the format of Prometheus.",
)
def metrics(ws: Ws) -> Any:
    return PlainTextResponse(ws.monitors.prometheus(), media_type="text/plain; version=0.0.4")
