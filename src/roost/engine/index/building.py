"""Indexes that are built of all of their rows at once, in steps between which a build can be ended."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

from roost.engine.columns import VectorArray
from roost.engine.index.base import VectorIndex
from roost.errors import InvalidArgument

_T = TypeVar("_T")
_BuiltT = TypeVar("_BuiltT", bound="BuiltAtOnce")

Building: TypeAlias = Generator[None, None, _T]
"""A build that yields where it can be ended, and returns what it has built."""


def finished(building: Building[_T], stopping: Callable[[], bool]) -> _T | None:
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


class BuiltAtOnce(VectorIndex):
    """A type that learns from its rows, or takes them all at once: it says how it is built in steps."""

    learns: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def _building(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> Building[Any]:
        """Build an index as `build` does, and yield where it may be left."""

    @classmethod
    def build(cls: type[_BuiltT], vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> _BuiltT:
        return cast(_BuiltT, cls.build_until(vectors, metric, params, lambda: False))

    @classmethod
    def build_until(
        cls, vectors: VectorArray, metric: str, params: Mapping[str, Any], stopping: Callable[[], bool]
    ) -> VectorIndex | None:
        return finished(cls._building(vectors, metric, params), stopping)

    def add(self, vectors: VectorArray) -> None:
        raise InvalidArgument(f"an index of type {self.index_type} is built of all of its rows at once")
