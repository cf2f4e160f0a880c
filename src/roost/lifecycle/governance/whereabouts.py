"""Whether data is still where it was described: files on this machine, collections in the workspace's vector engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from roost.lifecycle.governance.data import BAD, GONE, KnownData
from roost.lifecycle.models.data_versions import COLLECTION, FILE
from roost.lifecycle.models.engine_address import EngineAddress


def checked(known: KnownData, here: EngineAddress, has_collection: Callable[[str], bool]) -> KnownData:
    """Return data as it is now: what is not there any more is gone, whatever was said of it before.

    Data that is bad stays bad. An array is nowhere, and collections of another engine are not looked for.

    Args:
        here: the vector engine that is looked into.
        has_collection: whether it has a collection, or an alias, of a name.
    """
    reason = None
    if known.state != BAD and known.kind == FILE:
        reason = _missing_file(known.uri)
    elif known.state != BAD and known.kind == COLLECTION:
        reason = _missing_collection(known.uri, here, has_collection)
    return known if reason is None else replace(known, state=GONE, reason=reason)


def _missing_file(uri: str) -> str | None:
    address = urlsplit(uri)
    path = Path(unquote(address.path))
    if address.scheme != "file" or path.exists():
        return None
    return f"there is nothing at {path} on {socket.gethostname()}"


def _missing_collection(uri: str, here: EngineAddress, has_collection: Callable[[str], bool]) -> str | None:
    name = here.collection(uri)
    if name is None or has_collection(name):
        return None
    return f"there is no collection {name!r} in {here}"
