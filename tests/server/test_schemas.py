"""What the OpenAPI document says of answers. That answers are so is checked by the client of every other test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError

from roost.lifecycle.plain import plain
from roost.server.rest.schemas import schema, schema_of
from tests.server.conftest import ROUTES


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    """A part. Of a whole.

    More about parts.

    Attributes:
        size: in metres, which are
            long.
        where: None for nowhere.
    """

    size: float
    where: Path | None
    colour: Colour
    _hidden: int = 0


@dataclass(frozen=True)
class Whole(Part):
    """A whole.

    Attributes:
        parts: of it.
    """

    parts: Sequence[Part] = ()
    named: Mapping[str, Part | None] | None = None
    pair: tuple[int, str] = (1, "a")
    state: Literal["new", "old"] = "new"
    extra: Any = None


def test_a_schema_is_that_of_the_plain_form() -> None:
    part = Part(float("nan"), Path("/x"), Colour.RED)
    whole = Whole(1.5, None, Colour.RED, parts=[part], named={"a": part, "b": None}, extra={"any": [1]})
    adapter = TypeAdapter(schema_of(list[Whole]))
    (found,) = adapter.validate_python(plain([whole]))
    assert found.model_dump(mode="json") == plain(whole)
    for wrong in ({"size": "much"}, {"pair": [1]}, {"state": "odd"}, {"colour": "blue"}, {"parts": [{}]}):
        with pytest.raises(ValidationError):
            adapter.validate_python([{**plain(whole), **wrong}])


def test_a_schema_says_what_the_docstring_says() -> None:
    document = schema(Whole).model_json_schema(mode="serialization")
    told = {name: one.get("description") for name, one in document["properties"].items()}
    assert document["description"] == "A whole."
    assert told["size"] == "in metres, which are long."
    assert told["parts"] == "of it."
    assert told["pair"] is None
    assert "_hidden" not in told
    assert set(document["required"]) == set(told), "what has a default is answered too"


def test_a_type_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no plain form"):
        schema_of(complex)


def test_every_operation_says_what_it_answers(app: FastAPI) -> None:
    assert len(ROUTES) > 50
    for route in ROUTES:
        if route.path == "/metrics":
            continue
        assert "model" in route.responses.get(route.status_code or 200, {}), f"{route.path} {route.name}: add shows()"
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                shown = response.get("content", {}).get("application/json", {}).get("schema", {})
                known = "$ref" in shown or "type" in shown or path == "/metrics"
                assert known, f"{method} {path} {status}: {shown}"


def test_no_two_schemas_have_one_name(app: FastAPI) -> None:
    """Where two have, FastAPI names them by their modules, with two underscores between."""
    names = app.openapi()["components"]["schemas"]
    assert [name for name in names if "__" in name] == []
    assert {"Deployment", "Job", "Endpoint", "Entry", "LiveTestStatus", "Outcome", "Answer"} <= names.keys()
