"""Whether data is still where it was described: files on this machine, collections in the workspace's vector engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from roost.client import embedded_path
from roost.errors import InvalidArgument
from roost.lifecycle.governance.data import BAD, GONE, KnownData
from roost.lifecycle.models.data_versions import COLLECTION, FILE


def checked(known: KnownData, location: str, has_collection: Callable[[str], bool]) -> KnownData:
    """Return data as it is now: what is not there any more is gone, whatever was said of it before.

    Data that is bad stays bad. An array is nowhere, and collections of another engine are not looked for.

    Args:
        location: of the vector engine: its address without secrets, or the folder of its workspace.
        has_collection: whether that engine has a collection, or an alias, of a name.
    """
    reason = None
    if known.state != BAD and known.kind == FILE:
        reason = _missing_file(known.uri)
    elif known.state != BAD and known.kind == COLLECTION:
        reason = _missing_collection(known.uri, location, has_collection)
    return known if reason is None else replace(known, state=GONE, reason=reason)


def _missing_file(uri: str) -> str | None:
    address = urlsplit(uri)
    path = Path(unquote(address.path))
    if address.scheme != "file" or path.exists():
        return None
    return f"there is nothing at {path} on {socket.gethostname()}"


def _missing_collection(uri: str, location: str, has_collection: Callable[[str], bool]) -> str | None:
    place, _, name = uri.rpartition("#")
    if not _is_here(place, location) or has_collection(name):
        return None
    return f"there is no collection {name!r} in {location}"


def _is_here(place: str, location: str) -> bool:
    """Return whether two addresses mean the same engine. A folder that is nowhere any more has been moved here."""
    try:
        folder, here = embedded_path(place), embedded_path(location)
    except InvalidArgument:
        return False
    if folder is None or here is None:
        return folder is here and place.rstrip("/") == location.rstrip("/")
    return folder.resolve() == here.resolve() or not folder.exists()
