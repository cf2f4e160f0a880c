"""Builds in steps, which can be ended between two of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Building: TypeAlias = Generator[None, None, _T]
"""A build that yields where it can be ended, and returns what it has built."""


def whole(building: Building[_T]) -> _T:
    """Return what a build returns in the end."""
    while True:
        try:
            next(building)
        except StopIteration as end:
            built: _T = end.value
            return built


def whole_or_none(building: Building[_T], stopping: Callable[[], bool]) -> _T | None:
    """Return what a build returns in the end, or None where it was told to stop.

    Args:
        stopping: asked at each step.
    """
    while True:
        try:
            next(building)
        except StopIteration as end:
            built: _T = end.value
            return built
        if stopping():
            building.close()
            return None
