"""Values that are written as text on the command line: pairs, spans of time, import paths, model versions."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roost.lifecycle.models.registry import Models, ModelVersion

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """Return what was given as name=value.

    Raises: InvalidArgument: one of them is not of that form.
    """
    from roost.errors import InvalidArgument

    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidArgument(f"{option} takes name=value, not {text!r}")
        found[name.strip()] = value.strip()
    return found


def values(given: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Return what was given as name=value, the values read as JSON where they are JSON, and as text otherwise."""
    return {name: value_of(text) for name, text in pairs(given, option).items()}


def numbers(given: Sequence[str] | None, option: str) -> dict[str, float]:
    """Return what was given as name=number.

    Raises: InvalidArgument: one of them is no number.
    """
    from roost.errors import InvalidArgument

    found = {}
    for name, text in pairs(given, option).items():
        try:
            found[name] = float(text)
        except ValueError as error:
            raise InvalidArgument(f"{option} {name} takes a number, not {text!r}") from error
    return found


def stages(given: Sequence[str] | None, option: str) -> list[tuple[float, float | dict[str, float]]]:
    """Return the stages of a ramp: seconds since the start, and the share, or the share of each deployment.

    Each is given as `24h=0.2`, or as `24h=digits-v2:0.2,digits-v3:0.1`; the first begins at 0.

    Raises: InvalidArgument: one of them is not of that form.
    """
    from roost.errors import InvalidArgument

    found: list[tuple[float, float | dict[str, float]]] = []
    for text in given or ():
        time, _, shares = (part.strip() for part in text.partition("="))
        span = moment_or_span("0s" if time == "0" else time)
        if not isinstance(span, timedelta) or not shares:
            raise InvalidArgument(f"{option} takes TIME=SHARE, as in 0=0.05 or 24h=0.2, not {text!r}")
        named = [one.replace(":", "=", 1) for one in shares.split(",")] if ":" in shares else [f"share={shares}"]
        weights = numbers(named, option)
        found.append((span.total_seconds(), weights if ":" in shares else weights["share"]))
    return found


def value_of(text: str) -> Any:
    """Return a text as the JSON value that it is, or else as itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def moment_or_span(text: str | None) -> str | timedelta | None:
    """Return `90m`, `24h` or `7d` as a span of time, and anything else as it is."""
    found = _SPAN.fullmatch(text.strip()) if text is not None else None
    if found is None:
        return text
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def called(path: str) -> Any:
    """Return what a function gives that is named by its import path; the present folder is looked in too.

    Raises: InvalidArgument: there is no such function.
    """
    from roost.errors import InvalidArgument
    from roost.lifecycle.retrain.training import imported

    if ":" not in path:
        raise InvalidArgument(f"{path!r} is not an import path such as 'shop.models:embedder'")
    look_here()
    return imported(path)()


def look_here() -> None:
    """Let import paths name modules of the present folder, behind all that is installed."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def found_version(models: Models, text: str) -> ModelVersion:
    """Return the model version of a text such as `digits/2` or `digits/champion`.

    Raises:
        InvalidArgument: it names none.
        ModelNotFound: there is none.
    """
    from roost.errors import InvalidArgument

    name, _, version = text.rpartition("/")
    if not name:
        raise InvalidArgument(f"name a version as in 'digits/2' or 'digits/champion', not {text!r}")
    return models.get(name, int(version) if version.isdecimal() else version)
