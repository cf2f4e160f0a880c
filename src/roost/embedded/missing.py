"""The methods of `MilvusClient` that the embedded engine does not have yet: there, and saying so."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pymilvus import MilvusClient

from roost.errors import NotSupported

_T = TypeVar("_T", bound=type)


def public_methods() -> dict[str, Callable[..., Any]]:
    """Return the public methods of pymilvus's client by name."""
    return {name: member for name, member in inspect.getmembers(MilvusClient, callable) if not name.startswith("_")}


def with_missing_methods(cls: _T) -> _T:
    """Add to a client class each method of `MilvusClient` that it lacks, which raises NotSupported."""
    for name, method in public_methods().items():
        if not hasattr(cls, name):
            setattr(cls, name, _missing(name, method))
    return cls


def _missing(name: str, method: Callable[..., Any]) -> Callable[..., NoReturn]:
    @functools.wraps(method)
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotSupported(f"{name}: the embedded engine does not have this method yet; a Milvus server has it")

    refuse.__doc__ = f"Not in the embedded engine yet.\n\nRaises: NotSupported: always.\n\n{method.__doc__ or ''}"
    return refuse
