"""Schemas of answers for the OpenAPI document, made from the types of the dataclasses that routes answer with.

They say what `answers.shown` makes of a value. Answers are not checked against them while the server runs;
the tests do that.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from roost.lifecycle.deployments.policy import Policy
from roost.lifecycle.governance import requests
from roost.lifecycle.governance.lineage import Node
from roost.lifecycle.live import TestStatus
from roost.lifecycle.live.judging import Drawn
from roost.lifecycle.monitor.notify import Channel
from roost.lifecycle.monitor.rules import Rule
from roost.server.rest.answers import HIDDEN

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_SECTION = re.compile(r"\n\s*(Attributes|Args|Raises|Source):\n")
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)
_IMPORTED_FOR_TYPES = {"Drawn": Drawn}
"""What the dataclasses' modules import for their types alone."""

_NAMES: Mapping[type, str] = {
    requests.Decision: "DecisionMade",
    requests.Request: "ApprovalOrReview",
    Policy: "EndpointPolicy",
    Rule: "MonitorRule",
    TestStatus: "LiveTestStatus",
}
"""Names of schemas where a request's body has the class's own, or where it says too little."""


class PlainForm(BaseModel):
    """Base of the schemas. A field is there even where it has a default."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Origin(PlainForm):
    """Something with an origin, and its origins."""

    kind: str = Field(description="answer, deployment, version, run, code or data.")
    name: str
    facts: dict[str, Any]
    origins: list[Origin]


def shows(kind: Any, status: int = 200, description: str | None = None) -> Responses:
    """Return what a route answers, for its `responses`: a dataclass in its plain form, or a type made of such.

    Args:
        description: where it is not the route's own `response_description`.
    """
    return {status: {"model": schema_of(kind)} | ({"description": description} if description else {})}


def schema_of(kind: Any) -> Any:
    """Return the type of the plain form of values of a type.

    Raises: TypeError: it is a type without a plain form.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        return schema(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return reduce(or_, (schema_of(one) for one in inner))
    if origin is Literal:
        return kind
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return tuple[tuple(schema_of(one) for one in inner)]  # type: ignore[misc]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, schema_of(inner[1])]  # type: ignore[misc]
    if isinstance(origin, type) and issubclass(origin, Collection):
        return list[schema_of(inner[0])]  # type: ignore[misc]
    return _plain_type(kind)


def _plain_type(kind: Any) -> Any:
    if kind is float:
        return float | None  # a number that is not finite
    if kind is Any or kind in (bool, int, str, NoneType):
        return kind
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Literal[tuple(member.value for member in kind)]
    if isinstance(kind, type) and issubclass(kind, (date, Path)):
        return str
    if kind is Channel:
        return dict[str, Any]  # its kind, and what that kind has
    raise TypeError(f"{kind} has no plain form")


@cache
def schema(kind: type) -> type[BaseModel]:
    """Return the schema of a dataclass's plain form: its public fields, with what its docstring says of them."""
    if kind is Node:
        return Origin
    hints = get_type_hints(kind, localns=_IMPORTED_FOR_TYPES)
    told = {name: text for above in reversed(kind.__mro__) for name, text in _attributes(above).items()}
    hidden = HIDDEN.get(kind, frozenset())
    shown = [field.name for field in fields(kind) if not field.name.startswith("_") and field.name not in hidden]
    made: dict[str, Any] = {name: (schema_of(hints[name]), Field(description=told.get(name))) for name in shown}
    if get_origin(hints.get("kind")) is ClassVar:
        made["kind"] = (Literal[vars(kind)["kind"]], ...)
    summary = _words((inspect.getdoc(kind) or "").split("\n\n")[0])
    return create_model(_NAMES.get(kind, kind.__name__), __base__=PlainForm, __doc__=summary, **made)


def _attributes(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute."""
    parts = _SECTION.split(inspect.cleandoc(kind.__dict__.get("__doc__") or ""))
    entries = dict(zip(parts[1::2], parts[2::2], strict=True)).get("Attributes", "")
    return {found[1]: _words(found[2]) for found in _ENTRY.finditer(entries)}


def _words(text: str) -> str:
    return " ".join(text.split())
