from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymilvus.exceptions import MilvusException

from roost import errors
from roost.server.rest import create_app
from roost.server.rest.errors import STATUS, status_of
from roost.workspace import Workspace
from tests.server.conftest import serving

FAMILIES = {errors.RoostError}
"""Errors that say nothing of their own about the status."""


def every_error() -> list[type[errors.RoostError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RoostError)]
    return [kind for kind in found if kind not in FAMILIES]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own_kind(kind: type[errors.RoostError]) -> None:
    error = kind("it is so")
    assert 400 <= status_of(error) < 600
    assert any(above in STATUS for above in kind.__mro__ if above not in FAMILIES), "add it to STATUS"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.EndpointNotFound, 404),
        (errors.AlreadyExists, 409),
        (errors.InvalidTransition, 409),
        (errors.Conflict, 409),
        (errors.NotFinite, 422),
        (errors.InvalidName, 422),
        (errors.PermissionDenied, 403),
        (errors.MissingDependency, 501),
        (errors.Closed, 503),
        (errors.MemoryLimitExceeded, 507),
    ],
)
def test_statuses_are_those_of_http(kind: type[errors.RoostError], status: int) -> None:
    assert status_of(kind("it is so")) == status


def test_errors_look_alike(client: httpx.Client) -> None:
    asked = [
        (client.get("/v1/endpoints/nothing"), 404, "endpoint_not_found"),
        (client.get("/v1/nothing"), 404, "not_found"),
        (client.patch("/v1/endpoints"), 405, "method_not_allowed"),
        (client.post("/v1/endpoints", json={"name": "Not A Name"}), 422, "invalid_name"),
        (client.post("/v1/endpoints", json={"name": "x", "unknown": "secret"}), 422, "invalid_argument"),
        (client.post("/v1/endpoints", content=b"{", headers={"Content-Type": "application/json"}), 422, None),
        (client.get("/v1/ledger", params={"limit": 0}), 422, "invalid_argument"),
        (client.get(f"/v1/jobs/{10**30}"), 422, "invalid_argument"),
        (client.get("/v1/ledger/verify", params={"head": "ab" * 32}), 500, "ledger_broken"),
    ]
    for response, status, name in asked:
        error = response.json()["error"]
        assert (response.status_code, set(error)) == (status, {"name", "message"})
        assert name is None or error["name"] == name
        assert "Traceback" not in response.text
    assert "secret" not in asked[4][0].text


def test_content_that_is_no_array_is_refused(client: httpx.Client, shared: Workspace) -> None:
    if "ragged" not in shared.endpoints.list():
        shared.endpoints.create("ragged")
    body = {"content": [[1.0], [1.0, 2.0]]}
    response = client.post("/v1/endpoints/ragged/search", json=body)
    assert (response.status_code, response.json()["error"]["name"]) == (422, "invalid_data")


def test_every_answer_has_a_number(client: httpx.Client) -> None:
    own = client.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    first, second = (client.get("/v1/nothing", headers={"X-Request-ID": "not a number"}) for _ in range(2))
    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_too_long_is_refused(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 2**19

    for content in (b"x" * (2**20 + 1), chunks()):
        response = client.post("/v1/endpoints", content=content, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["error"]["name"]) == (413, "body_too_large")


def test_a_defect_is_told_to_the_log_alone(shared: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(shared)

    @app.get("/defect")
    def defect() -> None:
        raise RuntimeError("what nobody shall see")

    @app.get("/engine")
    def engine() -> None:
        raise MilvusException(1, "no quorum at https://ann:hush@milvus")

    with caplog.at_level(logging.ERROR), serving(app) as address:
        broken = httpx.get(f"{address}/defect", headers={"X-Request-ID": "r-7"})
        refused = httpx.get(f"{address}/engine")
    assert (broken.status_code, broken.json()["error"]["name"]) == (500, "unexpected")
    assert "r-7" in broken.json()["error"]["message"]
    assert "nobody" not in broken.text
    assert any(record.exc_info and "r-7" in record.getMessage() for record in caplog.records)
    assert (refused.status_code, refused.json()["error"]["name"]) == (502, "vector_engine")
    assert "hush" not in refused.text


def test_a_server_that_opens_its_workspace_closes_it(tmp_path: Path) -> None:
    opened: list[Workspace] = []

    def open_workspace() -> Workspace:
        opened.append(Workspace(tmp_path / "own", actor="server"))
        return opened[-1]

    with serving(create_app(open_workspace)) as address:
        assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}
        opened[0].close()
        assert httpx.get(f"{address}/healthz").status_code == 200
        late = httpx.get(f"{address}/readyz")
        assert (late.status_code, late.json()["error"]["name"]) == (503, "not_ready")
        closed = httpx.get(f"{address}/v1/endpoints")
        assert (closed.status_code, closed.json()["error"]["name"]) == (503, "closed")
    with pytest.raises(errors.Closed):
        _ = opened[0].endpoints


# The OpenAPI document


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_document_describes_every_route(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len(operations) > 60
    numbers = [one["operationId"] for one in operations]
    assert len(set(numbers)) == len(numbers)
    for one in operations:
        assert len(one["tags"]) == 1
        assert one["summary"]
        assert one["summary"][0].isupper()
        assert "default" in one["responses"]
        assert all(len(response["description"]) > 5 for response in one["responses"].values())
        assert "Successful Response" not in str(one["responses"])
    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for path, methods in document["paths"].items():
        for one in methods.values():
            named = {parameter["name"] for parameter in one.get("parameters", ()) if parameter["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_the_page_names_every_route_and_loads_nothing(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
