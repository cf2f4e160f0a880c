"""`connect`: one address in, one client out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from roost.address import without_secrets
from roost.errors import InvalidArgument, InvalidArgumentType

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from roost.embedded import EmbeddedClient

    Client: TypeAlias = EmbeddedClient | MilvusClient

_SERVER_SCHEMES: Final = frozenset({"http", "https", "tcp", "unix"})
_EMBEDDED_OPTIONS: Final = frozenset({"durability", "read_only", "memory_limit"})
_NAMED_OPTIONS: Final = "durability=, read_only= and memory_limit="
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=/|\w)")
_HOST_AND_PORT: Final = re.compile(r"[\w.-]+:\d{1,5}")


def connect(
    uri: str | os.PathLike[str],
    user: str = "",
    password: str = "",
    db_name: str = "",
    token: str = "",
    timeout: float | None = None,
    **kwargs: Any,
) -> Client:
    """Open a vector database: an embedded one by its path, a server by its address.

        client = roost.connect("./digits.roost")
        client = roost.connect("http://127.0.0.1:19530")

    Both clients have the methods of `pymilvus.MilvusClient`; the second is one.

    Args:
        uri: a path (created when missing) or file: URI, for the engine in this process; http://, https://,
            tcp:// or unix: for a Milvus server, a cluster, Zilliz Cloud or `roost serve`.
        user, password, token: for a server; an embedded database has no users.
        db_name: the database to use; "default" when empty.
        timeout: seconds to wait for a server.
        **kwargs: for a path, durability="full" (survives a power cut; the default) or "normal" (survives a
            killed process), read_only=True (any number of processes beside one that writes), and
            memory_limit="4GB" (or bytes; four fifths of the machine's memory when it is not given), which
            the loaded collections and the builds of their indexes may take together. For a server, what
            `MilvusClient` takes.
    Raises:
        InvalidArgument: the address or an option is not one that is known; or the path is a file, a
            workspace, or a directory of other things.
        DatabaseLocked: another process writes to the directory.
        DatabaseNotFound: `db_name`, or with read_only the directory, does not exist.
        Corruption: a file of the database is damaged.
    """
    path = embedded_path(uri)
    if path is None:
        from pymilvus import MilvusClient

        for name in sorted(_EMBEDDED_OPTIONS.intersection(kwargs)):
            raise InvalidArgument(f"{name}= is for embedded databases; {without_secrets(os.fspath(uri))!r} is a server")
        return MilvusClient(os.fspath(uri), user, password, db_name, token, timeout, **kwargs)
    for name in kwargs.keys() - _EMBEDDED_OPTIONS:
        raise InvalidArgument(f"unknown option {name}= for an embedded database; it takes {_NAMED_OPTIONS}")
    _refuse_workspace(path)
    from roost.embedded import EmbeddedClient

    read_only, limit = bool(kwargs.get("read_only", False)), kwargs.get("memory_limit")
    return EmbeddedClient(path, db_name, kwargs.get("durability"), read_only, limit)


def _refuse_workspace(path: Path) -> None:
    """Keep a database out of a workspace's directory, which has one inside."""
    vectors = path / "vectors.roost"
    if os.path.isfile(path / "store.db") and not os.path.exists(path / "roost.db"):
        inside = f", or its vectors with roost.connect({str(vectors)!r})" if os.path.isdir(vectors) else ""
        raise InvalidArgument(f"{path} is a workspace: open it with roost.Workspace({str(path)!r}){inside}")


def embedded_path(uri: str | os.PathLike[str]) -> Path | None:
    """Return the directory that an address names, or None where it names a server.

    Raises: InvalidArgument: it is empty, has an unknown scheme, or looks like a server without one.
    """
    if not isinstance(uri, str):
        if not isinstance(uri, os.PathLike):
            raise InvalidArgumentType(f"uri={uri!r} is not allowed: it is a path, or a str such as 'http://host:19530'")
        return _path(os.fspath(uri))
    if not uri.strip():
        raise InvalidArgument("uri= is empty; give a path such as './data.roost', or 'http://host:19530'")
    if _HOST_AND_PORT.fullmatch(uri):
        raise InvalidArgument(f"uri={uri!r} has no scheme; for a server give 'http://{uri}', for a path './{uri}'")
    found = _SCHEME.match(uri)
    if found is None:
        return _path(uri)
    scheme = found.group(1).lower()
    if scheme in _SERVER_SCHEMES:
        return None
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            shown = without_secrets(uri)
            raise InvalidArgument(f"uri={shown!r} names another host; a file: URI has the form file:///absolute/path")
        return _path(unquote(parts.path))
    known = ", ".join(f"{s}:" for s in sorted({"file", *_SERVER_SCHEMES}))
    shown = without_secrets(uri)
    raise InvalidArgument(f"uri={shown!r} has the unknown scheme {scheme!r}; known are {known} and plain paths")


def _path(text: str) -> Path:
    if "\0" in text:
        raise InvalidArgument(f"uri={text!r} is not allowed: a path holds no NUL character")
    return Path(text)
