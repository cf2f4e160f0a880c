"""What happens to every request: it gets a number, its body a limit, and a defect no way to show its inside."""

from __future__ import annotations

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roost.server.rest.errors import answer

MAX_BODY_BYTES = 16 * 2**20
READ_AT_MOST = 4
"""Times as much as is allowed; whoever sends more is cut off."""

REQUEST_ID = "X-Request-ID"

_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_log = logging.getLogger(__name__)


class Numbered:
    """Gives every answer the request's number, the caller's own or a fresh one, and answers defects without detail."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, has_begun = Headers(scope=scope).get(REQUEST_ID, ""), False
        number = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex

        async def numbered(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update({REQUEST_ID: number, **_HEADERS})
            await send(message)

        try:
            await self._app(scope, receive, numbered)
        except Exception:
            _log.exception("request %s, %s %s, failed", number, scope["method"], scope["path"])
            if has_begun:
                raise
            message = f"this is a defect of the server; its log tells more of request {number}"
            await answer(500, "unexpected", message)(scope, receive, numbered)


class BodyLimit:
    """Reads a request's body before anything else happens, and refuses one that is too long."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, size, more = bytearray(), 0, True
        # A body that is too long is read all the same, and thrown away: who is still sending would not see the answer.
        while more and size <= READ_AT_MOST * self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            piece = message.get("body", b"")
            size, more = size + len(piece), message.get("more_body", False)
            if size <= self._max_bytes:
                body += piece
        if size > self._max_bytes:
            text = f"the body of a request has at most {self._max_bytes} bytes: send less at once"
            await answer(413, "body_too_large", text, {"Connection": "close"})(scope, receive, send)
            return
        held: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return held.pop() if held else await receive()

        await self._app(scope, replay, send)
