"""What every part of the embedded client stands on: the open database and the names in it."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from roost.embedded.arguments import check_collection_name, check_timeout
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.memory import parse_limit
from roost.engine.partitions import loaded_ids, released_names
from roost.engine.records import DEFAULT_DATABASE
from roost.errors import Closed, CollectionNotLoaded

CONSISTENCY = "roost.consistency_level"
SHARDS = "roost.num_shards"
OWN_PREFIX = "roost."
"""Properties that the client keeps and does not show."""


_S = TypeVar("_S", bound="Session")


class Session:
    """An open embedded database and the current name space in it."""

    def __init__(
        self, path: Path, db_name: str, durability: str | None, read_only: bool, memory_limit: int | str | None = None
    ) -> None:
        self._path = path
        limit = None if memory_limit is None else parse_limit("memory_limit", memory_limit)
        self._db: Database | None = Database.open(path, durability=durability, read_only=read_only, memory_limit=limit)
        self._finalizer = weakref.finalize(self, self._db.close)
        try:
            self._db_name = self._db.database(db_name or DEFAULT_DATABASE).name
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._db is None else f"database {self._db_name!r}"
        return f"<{type(self).__name__} {str(self._path)!r}: {state}>"

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client. Every write that has returned is stored already; closing twice is no error."""
        self._db = None
        self._finalizer()

    def _database(self) -> Database:
        if self._db is None:
            raise Closed(f"the client of {self._path} was closed; connect again")
        return self._db

    def _collection(self, name: Any, timeout: Any = None) -> Collection:
        """Raises: InvalidArgument, CollectionNotFound, Closed."""
        check_collection_name(name)
        if timeout is not None:
            check_timeout(timeout)
        return self._database().collection(self._db_name, name)

    def _loaded(self, name: Any, timeout: Any = None) -> Collection:
        """Return a collection that can be searched. Raises: CollectionNotLoaded, and as `_collection`."""
        collection = self._collection(name, timeout)
        if not collection.record.loaded:
            raise CollectionNotLoaded(f"collection {collection.name!r} is not loaded; call load_collection first")
        return collection


def collection_of(session: Session, name: Any) -> Collection:
    """Return a collection of a client. Raises: InvalidArgument, CollectionNotFound, Closed."""
    return session._collection(name)


def readable_partitions(collection: Collection, names: list[str] | None) -> tuple[int, ...] | None:
    """Return the ids of the partitions to read, or None for all.

    Raises: PartitionNotFound. CollectionNotLoaded: one that is named was released.
    """
    record = collection.record
    released = released_names(record)
    if not released:
        return collection.partition_ids(names) if names else None
    if names:
        ids = collection.partition_ids(names)
        for name in names:
            if name in released:
                raise CollectionNotLoaded(
                    f"partition {name!r} of collection {collection.name!r} is not loaded; call load_partitions first"
                )
        return ids
    return tuple(sorted(loaded_ids(record)))
