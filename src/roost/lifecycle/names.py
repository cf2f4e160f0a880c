"""Names of endpoints, deployments and models, and what they are called in the vector engine."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from roost.errors import InvalidName

MAX_NAME_LENGTH = 100
"""Two names and a separator fit into Milvus's 255 characters for a collection."""

PRODUCTION = "production"
"""The environment whose endpoints are called by their plain names."""

MAX_ENVIRONMENT_LENGTH = 50

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_name(kind: str, name: object) -> str:
    """Return the name, which must start with a letter and hold letters, digits, _ and - alone.

    Args:
        kind: what the name is for, as the error's message puts it.
    Raises: InvalidName: the name is not a string, is too long, or holds other characters.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} name {name!r} is not allowed: use 1 to {MAX_NAME_LENGTH} letters, digits, _ and -, a letter first"
        )
    return name


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what an error says after a name that is not there: the nearest of the known names, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"there are: {', '.join(names) or 'none'}"


def qualified(name: object, environment: object = PRODUCTION) -> str:
    """Return what an endpoint is called everywhere: `image-search` in production, else `image-search@staging`.

    Raises: InvalidName: the name or the environment is not allowed, or both together are too long.
    """
    plain = check_name("endpoint", name)
    where = check_name("environment", environment)
    if len(where) > MAX_ENVIRONMENT_LENGTH:
        raise InvalidName(f"environment name {where!r} is longer than {MAX_ENVIRONMENT_LENGTH} characters")
    if where == PRODUCTION:
        return plain
    full = f"{plain}@{where}"
    if len(identifier(full)) > MAX_NAME_LENGTH:
        raise InvalidName(f"endpoint name {full!r} is longer than the {MAX_NAME_LENGTH - 3} characters that it may be")
    return full


def identifier(name: str) -> str:
    """Return the name as the vector engine allows it, where `-` and `@` are no letters."""
    return name.replace("-", "_").replace("@", "_at_")


def collection_name(endpoint: str, deployment: str) -> str:
    """Return the name of the collection that holds a deployment's vectors."""
    return f"{identifier(endpoint)}__{identifier(deployment)}"
