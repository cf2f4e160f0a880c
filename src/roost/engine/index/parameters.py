"""Reading the parameters of an index: names, types and ranges are checked in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from roost.errors import InvalidArgument

METRICS = ("L2", "IP", "COSINE")
"""The metrics of float vectors."""

SIMILARITIES = frozenset({"IP", "COSINE"})
"""The metrics whose larger values are nearer, as users see them."""

INT32_MAX = 2**31 - 1


def require_known(params: Mapping[str, Any], allowed: Collection[str], index_type: str) -> None:
    """Refuse a parameter that the index type does not take.

    Raises: InvalidArgument: a key of `params` is not in `allowed`.
    """
    for name in params:
        if name not in allowed:
            takes = ", ".join(sorted(allowed)) or "no parameters"
            raise InvalidArgument(f"unknown parameter {name!r} for {index_type}; it takes: {takes}")


def integer(params: Mapping[str, Any], name: str, default: int, low: int, high: int = INT32_MAX) -> int:
    """Return an integer parameter, written as a whole number or, as Milvus's clients do, as its text.

    Raises: InvalidArgument: the value is not a whole number or is outside [low, high].
    """
    value = params.get(name, default)
    if type(value) is not int:
        value = _as_integer(value, name)
    if not low <= value <= high:
        raise InvalidArgument(f"{name}={value} is out of range; it must be in [{low}, {high}]")
    return int(value)


def _as_integer(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidArgument(f"{name} must be an integer, not {value!r}")
    try:
        return int(value)
    except ValueError as error:
        raise InvalidArgument(f"{name} must be an integer, not {value!r}") from error


def number(params: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """Return a number, written as one or as its text.

    Raises: InvalidArgument: the value is not a number or is outside [low, high].
    """
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidArgument(f"{name} must be a number, not {value!r}")
    try:
        found = float(value)
    except ValueError as error:
        raise InvalidArgument(f"{name} must be a number, not {value!r}") from error
    if not low <= found <= high:
        raise InvalidArgument(f"{name}={value} is out of range; it must be in [{low:g}, {high:g}]")
    return found


def choice(params: Mapping[str, Any], name: str, default: str, allowed: Collection[str]) -> str:
    """Return a parameter that is one of some names, whose case does not matter.

    Raises: InvalidArgument: it is none of them.
    """
    value = params.get(name, default)
    if not isinstance(value, str) or value.upper() not in allowed:
        raise InvalidArgument(f"{name}={value!r} is not allowed; use one of: {', '.join(allowed)}")
    return value.upper()


def require_metric(metric: str, index_type: str, metrics: Collection[str] = METRICS) -> None:
    """Refuse a metric that the type does not take.

    Raises: InvalidArgument: `metric` is not in `metrics`.
    """
    if metric not in metrics:
        raise InvalidArgument(f"metric {metric!r} is not allowed for {index_type}; use one of: {', '.join(metrics)}")
