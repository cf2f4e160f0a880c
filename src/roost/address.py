"""Addresses of servers and databases as they may be shown, logged and stored: without what is secret in them."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)\S*@")
"""Milvus takes a token in the place of a user's name, so the name is hidden too."""

_OPTION = re.compile(r"([?&;][\w.-]*(?:password|passwd|token|secret|api_?key)[\w.-]*=)[^&;#\s'\"]*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return the text with users, passwords and tokens of every address in it replaced by `***`."""
    return _OPTION.sub(r"\1***", _USER.sub("***@", text))
