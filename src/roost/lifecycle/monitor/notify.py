"""Telling people: by log, by webhook, by e-mail. Secrets stay in environment variables and are never stored."""

from __future__ import annotations

import http.client
import json
import logging
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any, ClassVar
from urllib.parse import urlsplit

from roost.address import is_loopback, without_secrets
from roost.errors import InvalidArgument, WorkspaceError

_log = logging.getLogger("roost.monitor")

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


@dataclass(frozen=True)
class Message:
    """What is told of an alert.

    Attributes:
        event: "open" or "resolved".
        content: plain values, as a webhook sends them.
    """

    event: str
    severity: str
    title: str
    text: str
    content: Mapping[str, Any]


class Channel(ABC):
    """A way to tell people. A channel is a frozen dataclass of plain values, so that it can be stored."""

    kind: ClassVar[str]

    @abstractmethod
    def send(self, message: Message) -> None:
        """Tell, once; the monitor tries again later.

        Raises: WorkspaceError: it could not be told; the error's text holds no secret.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what is stored, `kind` included."""


@dataclass(frozen=True)
class Log(Channel):
    """The log of this process, under the name `roost.monitor`."""

    kind: ClassVar[str] = "log"

    def send(self, message: Message) -> None:
        level = logging.INFO if message.event == "resolved" else _LEVELS.get(message.severity, logging.WARNING)
        _log.log(level, "%s", message.text)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}


@dataclass(frozen=True)
class Webhook(Channel):
    """A POST of the alert as JSON.

    Attributes:
        url: https, or http to this machine. One with a secret in it is kept in an environment variable: `url_env`.
        headers_env: header to the name of the environment variable that holds its value, for example
            {"Authorization": "HOOK_TOKEN"}.
        allow_http: allow http to another machine, where the network between is trusted.
    """

    kind: ClassVar[str] = "webhook"

    url: str = ""
    url_env: str | None = None
    headers_env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 5.0
    allow_http: bool = False

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.url_env):
            raise InvalidArgument("a webhook has either url= or url_env=, the variable that holds it")
        if self.url:
            _check_url(self.url, self.allow_http)
            if without_secrets(self.url) != self.url:
                raise InvalidArgument("a webhook's URL that holds a secret is kept in a variable: use url_env=")
        if not self.timeout_s > 0:
            raise InvalidArgument("timeout_s is greater than 0")

    def send(self, message: Message) -> None:
        url = self.url or _check_url(_secret(str(self.url_env)), self.allow_http)
        headers = {name: _secret(variable) for name, variable in self.headers_env.items()}
        opener = _LOOPBACK_OPENER if is_loopback(str(urlsplit(url).hostname)) else _OPENER
        try:
            body = json.dumps(message.content, allow_nan=False).encode()
            request = urllib.request.Request(
                url, data=body, headers={"Content-Type": "application/json", **headers}, method="POST"
            )
            with opener.open(request, timeout=self.timeout_s) as response:
                response.read(0)
        except urllib.error.HTTPError as error:
            with error:
                raise WorkspaceError(f"the webhook answered {error.code}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise WorkspaceError(f"the webhook cannot be reached: {reason}") from None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "headers_env": dict(self.headers_env)}

    def __repr__(self) -> str:
        return f"Webhook({self.url_env or without_secrets(self.url)!r})"


@dataclass(frozen=True)
class Email(Channel):
    """An e-mail over SMTP.

    Attributes:
        sender, to: addresses.
        user, password_env: for a login; the password is in the environment variable of that name.
        starttls: encrypt before anything is said; False is allowed to this machine alone.
    """

    kind: ClassVar[str] = "email"

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    user: str | None = None
    password_env: str | None = None
    starttls: bool = True
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", (self.to,) if isinstance(self.to, str) else tuple(self.to))
        if not self.sender:
            raise InvalidArgument("an e-mail needs a sender, the address it comes from")
        for address in (self.sender, *self.to):
            if "@" not in parseaddr(address)[1] or any(letter in address for letter in "\r\n"):
                raise InvalidArgument(f"{address!r} is not an e-mail address")
        if not self.to:
            raise InvalidArgument("an e-mail needs somebody to go to")
        if (self.user is None) != (self.password_env is None):
            raise InvalidArgument("user= and password_env= belong together")
        if not self.starttls and not is_loopback(self.host):
            raise InvalidArgument("starttls=False is allowed to this machine alone")

    def send(self, message: Message) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, ", ".join(self.to), message.title
        mail.set_content(message.text)
        password = _secret(self.password_env) if self.password_env else ""
        try:
            with smtplib.SMTP(self.host, self.port, timeout=self.timeout_s) as server:
                if self.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self.user is not None:
                    server.login(self.user, password)
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            # The error's own text may quote what the server was told.
            raise WorkspaceError(f"the mail server did not take the message: {type(error).__name__}") from None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "to": list(self.to)}


_CHANNELS: Mapping[str, type[Channel]] = {"log": Log, "webhook": Webhook, "email": Email}


def channel_from_dict(stored: Mapping[str, Any]) -> Channel:
    """Return a stored channel.

    Raises: InvalidArgument: it is not one.
    """
    values = dict(stored)
    kind = values.pop("kind", None)
    if kind not in _CHANNELS:
        raise InvalidArgument(f"channel {kind!r} is not known; use one of {', '.join(_CHANNELS)}")
    try:
        return _CHANNELS[kind](**values)
    except TypeError as error:
        raise InvalidArgument(f"this is not a channel: {error}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the headers' secrets to another place."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)
_LOOPBACK_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def _check_url(url: str, allow_http: bool) -> str:
    parts = urlsplit(url)
    shown = without_secrets(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"{shown!r} is not the URL of a webhook: it begins with https://")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise InvalidArgument(f"{shown!r} is not encrypted: use https, or allow_http=True in a network you trust")
    return url


def _secret(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise WorkspaceError(f"the environment variable {variable} is not set")
    return value
