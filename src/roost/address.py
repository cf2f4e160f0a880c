"""Addresses of servers and databases: as they may be shown, logged and stored, and whether they are this machine's."""

from __future__ import annotations

import re
from ipaddress import ip_address

_USER = re.compile(r"(?<=://)\S*@")
"""Milvus takes a token in the place of a user's name, so the name is hidden too."""

_OPTION = re.compile(r"([?&;][\w.-]*(?:password|passwd|token|secret|api_?key)[\w.-]*=)[^&;#\s'\"]*", re.IGNORECASE)


def is_loopback(host: str | None) -> bool:
    """Return whether a name or an address means this machine, seen from itself."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def without_secrets(text: str) -> str:
    """Return the text with users, passwords and tokens of every address in it replaced by `***`."""
    return _OPTION.sub(r"\1***", _USER.sub("***@", text))
