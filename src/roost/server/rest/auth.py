"""Who may talk to the server: holders of a token, or, without tokens, programs of this machine alone.

A token is 256 random bits, and the server keeps its SHA-256 only: a slow hash protects passwords that can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from roost.address import is_loopback
from roost.errors import InvalidArgument
from roost.lifecycle.actor import check_actor
from roost.server.rest.errors import answer

PUBLIC = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
"""Paths that need no token: they tell nothing about the workspace but whether it answers."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class Tokens:
    """The tokens that are good, by their SHA-256, and whose they are."""

    def __init__(self, actors: Mapping[str, str]) -> None:
        """Hold them.

        Args:
            actors: the actor by the SHA-256, in hexadecimal, of a token.
        Raises: InvalidArgument: there is none, or one is not a digest of an actor.
        """
        if not actors:
            raise InvalidArgument("there is no token: make one with `roost serve --new-token ACTOR`")
        for digest, actor in actors.items():
            if not _DIGEST.fullmatch(digest):
                raise InvalidArgument(f"the token of {actor!r} is not given by its SHA-256, 64 hexadecimal digits")
            check_actor(actor)
        self._actors = {digest.encode(): actor for digest, actor in actors.items()}

    @classmethod
    def from_file(cls, path: str | Path) -> Tokens:
        """Read a file of lines `ACTOR SHA256`; empty lines and lines that begin with # are left out.

        Raises:
            InvalidArgument: a line is something else, or a token is there twice.
            OSError: the file cannot be read.
        """
        actors: dict[str, str] = {}
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            actor, _, digest = line.strip().rpartition(" ")
            if not actor.strip() or not _DIGEST.fullmatch(digest) or digest in actors:
                # The line may hold a token by mistake: it is not shown.
                raise InvalidArgument(f"line {number} of {path} is not `ACTOR SHA256` with a digest of its own")
            actors[digest] = actor.strip()
        return cls(actors)

    def actor_of(self, token: str) -> str | None:
        """Return whose token it is; None for nobody's. It takes as long for every token."""
        given, found = _digest(token).encode(), None
        for digest, actor in self._actors.items():
            if hmac.compare_digest(digest, given):
                found = actor
        return found


def new_token(actor: str) -> tuple[str, str]:
    """Return a fresh token, and the line of the file that lets it in.

    Raises: InvalidArgument: the actor is no name, or a line `ACTOR SHA256` cannot hold it.
    """
    name = check_actor(actor).strip()
    if not name or name.startswith("#"):
        raise InvalidArgument(
            f"the file of tokens has lines `ACTOR SHA256`: {name!r} must not be empty or begin with #"
        )
    token = secrets.token_urlsafe(32)
    return token, f"{name} {_digest(token)}"


def check_reach(host: str, tokens: Tokens | None, is_encrypted: bool = False, allow_http: bool = False) -> None:
    """Refuse to listen for other machines without tokens, or where the network between could read them.

    Args:
        is_encrypted: whether the server speaks TLS.
        allow_http: plain HTTP is meant, for example behind a proxy that speaks TLS.
    Raises: InvalidArgument: the host is not a loopback address, and there are no tokens, or no TLS.
    """
    if is_loopback(host):
        return
    if tokens is None:
        raise InvalidArgument(
            f"on {host!r} other machines can reach the server, which needs tokens: give --tokens FILE, "
            "or listen on 127.0.0.1"
        )
    if not is_encrypted and not allow_http:
        raise InvalidArgument(
            f"on {host!r} tokens and data would cross the network as they are: give --ssl-certfile and --ssl-keyfile; "
            "or --allow-http, where a proxy in front speaks TLS or the network is yours"
        )


class Authentication:
    """Lets a request in or refuses it, before its body is read; the actor is then in the request's state.

    Without tokens the request has to come from this machine, under one of its loopback names, and from no page
    of another site: a browser would carry such a page's requests here.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens | None) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        state["actor"] = None
        if self._tokens is None:
            if _is_local(scope, headers):
                await self._app(scope, receive, send)
            else:
                message = "a server without tokens answers programs of its own machine, at 127.0.0.1 or localhost"
                await answer(403, "permission_denied", message)(scope, receive, send)
            return
        state["actor"] = self._tokens.actor_of(_bearer(headers))
        if state["actor"] is not None or scope["path"] in PUBLIC:
            await self._app(scope, receive, send)
            return
        _log.warning("a request for %s without a good token was refused", scope["path"])
        refusal = answer(
            401,
            "unauthenticated",
            "a good token is needed: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)


def _is_local(scope: Scope, headers: Headers) -> bool:
    client = scope.get("client")
    if client is not None and not is_loopback(client[0]):
        return False
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        is_own = is_loopback(urlsplit(f"//{host}").hostname or "")
        return is_own and (origin is None or urlsplit(origin).netloc == host)
    except ValueError:
        return False


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
