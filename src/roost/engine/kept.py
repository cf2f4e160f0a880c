"""What background work needs of the collection that it looks after."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from roost.engine.budget import Holder
from roost.engine.contents import Contents
from roost.engine.host import Host
from roost.engine.schema import Schema


class Kept(Holder, Protocol):
    """A collection as its upkeep sees it; `roost.engine.collection.Collection` is the one that there is."""

    @property
    def host(self) -> Host:
        """The database that it lives in."""

    @property
    def schema(self) -> Schema: ...

    @property
    def contents(self) -> Contents:
        """The rows, recovered where they were not yet. Raises: Corruption, Closed, CollectionNotFound."""

    def changing(self) -> AbstractContextManager[None]:
        """Hold the write lock for one change. Raises: Closed, ReadOnly, CollectionNotFound."""

    def publish(self) -> None:
        """Show readers the contents as they are now. Under the write lock."""

    def close_files(self) -> None:
        """Give back the memory of stored rows and indexes that are released."""

    def require_present(self) -> None:
        """Raises: Closed, CollectionNotFound (it was dropped)."""
