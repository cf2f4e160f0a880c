"""An open directory of vectors: databases, collections and aliases, and their recovery.

Opening, in order: (1) the writer's lock, (2) the catalogue is read and checked, (3) each collection's
segments are named (not yet read) and its log is checked, (4) files that nothing names are swept. A damaged log
is told of, and refuses the use of its collection; the others can be used, and the collection can be dropped.
A crash during any step changes nothing, since only step 4 writes. A collection's log is repeated when the
collection is first used; a reader beside a writer repeats all of them at once, and does without those it cannot read.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from roost.engine.budget import Budget
from roost.engine.collection import Collection
from roost.engine.contents import Contents
from roost.engine.directory import lock_directory, require_database, resolve
from roost.engine.host import Host
from roost.engine.maintenance import Maintenance
from roost.engine.names import Names, names_of
from roost.engine.records import DEFAULT_DATABASE, AliasRecord, CollectionRecord, DatabaseRecord
from roost.engine.recovery import check_log, recover_contents, segments_of
from roost.engine.schema import Schema
from roost.engine.segment import IndexSpec, SegmentRecord
from roost.engine.storage.catalog import DURABILITY, Catalog, CatalogState
from roost.engine.sweep import sweep
from roost.engine.unreadable import Unreadable
from roost.engine.upkeep import has_work
from roost.errors import (
    AliasExists,
    AliasNotFound,
    CollectionExists,
    CollectionNotFound,
    Corruption,
    DatabaseExists,
    DatabaseNotFound,
    InvalidArgument,
)

_log = logging.getLogger(__name__)

_open_databases: dict[tuple[Path, bool], Database] = {}
"""By directory and whether it is open for reading only: a reader beside a writer follows it, as in another process."""

_opening = threading.RLock()


class Database:
    """One directory. Made by `open`; any thread may call any method."""

    def __init__(self, path: Path, durability: str, read_only: bool, memory_limit: int | None = None) -> None:
        self.path = path
        self.durability = durability
        self.read_only = read_only
        self._users = 1
        self._gone = threading.Event()
        if read_only:
            require_database(path)
        self._lock = None if read_only else lock_directory(path)
        try:
            catalog = Catalog(path, durability=durability, read_only=read_only)
            if catalog.doubt is not None:
                _log.warning("%s", catalog.doubt)
            self._host = Host(path, catalog, Maintenance(path.name), read_only, budget=Budget(memory_limit))
            try:
                self._names = Names()
                self._unfinished: list[Collection] = []
                self._has_damaged_log = False
                self._unreadable = Unreadable()
                if read_only:
                    self._follow()
                else:
                    self._settle(self._reload())
                with catalog.lock:
                    self._host.budget.warn_if_over(path.name)
            except BaseException:
                self._host.maintenance.stop()
                catalog.close()
                raise
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        durability: str | None = None,
        read_only: bool = False,
        memory_limit: int | None = None,
    ) -> Database:
        """Open a directory, creating it when it is missing; what is open here already in the same way is shared.

        Args:
            durability: "full" survives a power cut, "normal" a killed process; "full" when None.
            memory_limit: bytes for loaded collections and the builds of indexes; most of the machine's when None.
        Raises:
            DatabaseLocked: another process writes to it.
            Corruption: a file is damaged.
            InvalidArgument: the durability is unknown, or it or the limit differs from that of the open database; or
                the path is a file, or a directory of other things.
        """
        directory = resolve(path)
        if durability is not None and durability not in DURABILITY:
            raise InvalidArgument(f"durability {durability!r} is unknown; choose one of {', '.join(DURABILITY)}")
        while True:
            with _opening:
                shared = _open_databases.get((directory, read_only))
                if shared is None:
                    database = cls(directory, durability or "full", read_only, memory_limit)
                    _open_databases[directory, read_only] = database
                    return database
                if shared._users > 0:
                    held = shared.durability, shared._host.budget.limit
                    if durability not in (None, held[0]) or memory_limit not in (None, held[1]):
                        raise InvalidArgument(
                            f"{directory} is open with durability {held[0]!r} and a memory limit of {held[1]} bytes; "
                            f"close it to choose another"
                        )
                    shared._users += 1
                    return shared
            shared._gone.wait()

    def close(self) -> None:
        """Give up one use; the last one ends the background work and closes the files. Data is safe without it."""
        with _opening:
            self._users -= 1
            if self._users:
                return
        # The background thread may itself be closing another database: the garbage collector runs anywhere.
        self._host.maintenance.stop()
        try:
            with self._host.catalog.lock:
                self._host.closed = True
                self._host.remove_now()
                self._names.let_go()
                self._host.catalog.close()
            if self._lock is not None:
                self._lock.release()
        finally:
            with _opening:
                if _open_databases.get((self.path, self.read_only)) is self:
                    del _open_databases[self.path, self.read_only]
            self._gone.set()

    # Databases in Milvus's sense

    def list_databases(self) -> list[str]:
        return list(self._current().databases)

    def database(self, name: str) -> DatabaseRecord:
        """Raises: DatabaseNotFound."""
        found = self._current().databases.get(name)
        if found is None:
            raise DatabaseNotFound(f"database {name!r} does not exist; there are: {', '.join(self.list_databases())}")
        return found

    def create_database(self, name: str, properties: dict[str, Any]) -> None:
        """Raises: DatabaseExists."""
        with self._changing() as names:
            if name in names.databases:
                raise DatabaseExists(f"database {name!r} exists already")
            record = DatabaseRecord(self._host.new_id(), name, properties)
            self._put("database", record.database_id, record.to_document())
            self._names = replace(names, databases={**names.databases, name: record})

    def drop_database(self, name: str) -> None:
        """Remove an empty database.

        Raises: DatabaseNotFound. InvalidArgument: it is the default one, or holds collections.
        """
        with self._changing() as names:
            record = self.database(name)
            held = self.list_collections(name)
            if name == DEFAULT_DATABASE or held:
                why = "it is the default one" if name == DEFAULT_DATABASE else f"it holds {', '.join(held)}"
                raise InvalidArgument(f"database {name!r} cannot be dropped: {why}")
            with self._host.catalog.transaction() as change:
                change.remove("database", record.database_id)
            self._names = replace(names, databases={k: v for k, v in names.databases.items() if k != name})

    # Collections

    def collection(self, database: str, name: str) -> Collection:
        """Return a collection by its name or an alias. No lock is taken.

        Raises: CollectionNotFound, Closed.
        """
        found = self._current().find(database, name)
        if found is None:
            raise CollectionNotFound(f"collection {name!r} does not exist in database {database!r}")
        return found

    def list_collections(self, database: str) -> list[str]:
        """Raises: DatabaseNotFound."""
        self.database(database)
        return [name for where, name in self._current().collections if where == database]

    def create_collection(
        self,
        database: str,
        name: str,
        schema: Schema,
        properties: dict[str, Any] | None = None,
        indexes: Sequence[IndexSpec] = (),
        loaded: bool = False,
    ) -> Collection:
        """Create an empty collection in one transaction, or return the one of that name when its schema is the same.

        Args:
            indexes: of the new collection; one that exists keeps its own.
            loaded: whether the new collection may be searched at once.
        Raises: CollectionExists: a collection or alias of that name exists. DatabaseNotFound. IndexExists: two
            indexes on one field. InvalidArgument: an index's type, metric or parameter is not allowed.
        """
        with self._changing() as names:
            where = self.database(database)
            held = names.collections.get((database, name))
            if held is not None:
                if held.schema == schema:
                    return held
                raise CollectionExists(f"collection {name!r} exists already, with another schema; drop or rename it")
            if (database, name) in names.aliases:
                raise CollectionExists(f"{name!r} is an alias of a collection; drop the alias or choose another name")
            # Equal schemas are one object, however many collections have them.
            schema = Schema.from_json(schema.to_json())
            record = CollectionRecord(
                self._host.new_id(), where.database_id, name, schema, time.time_ns(), dict(properties or {})
            )
            record = replace(record, loaded=loaded)
            for spec in indexes:
                spec.check(schema)
                record = record.with_index(replace(spec, index_id=self._host.new_id()))
            self._put("collection", record.collection_id, record.to_document())
            made = Collection(self._host, record, lambda record, _: Contents(record.schema))
            self._names = names.with_collection(database, name, made)
            return made

    def drop_collection(self, database: str, name: str) -> None:
        """Remove a collection with its rows and files, whether these can be read or not.

        Raises: CollectionNotFound. InvalidArgument: an alias points to it, or the name is an alias.
        """
        with self._changing() as names:
            collection = names.collections.get((database, name))
            if collection is None:
                if (database, name) in names.aliases:
                    raise InvalidArgument(f"{name!r} is an alias; drop the collection by its own name")
                raise CollectionNotFound(f"collection {name!r} does not exist in database {database!r}")
            aliases = self.list_aliases(database, name)
            if aliases:
                raise InvalidArgument(
                    f"collection {name!r} is in use by aliases: {', '.join(aliases)}; drop or move them first"
                )
            collection.drop()
            self._names = names.without_collection(database, name)

    def rename_collection(self, database: str, old: str, new: str, new_database: str) -> None:
        """Rename a collection, and move it to another database if that differs.

        Raises: CollectionNotFound, CollectionExists, DatabaseNotFound.
        """
        with self._changing() as names:
            collection = names.collections.get((database, old))
            if collection is None:
                raise CollectionNotFound(f"collection {old!r} does not exist in database {database!r}")
            where = self.database(new_database)
            if (new_database, new) in names.collections or (new_database, new) in names.aliases:
                raise CollectionExists(f"a collection or alias {new!r} exists already in database {new_database!r}")
            if new_database != database and self.list_aliases(database, old):
                raise InvalidArgument(f"collection {old!r} has aliases; drop them before it moves to another database")
            collection.revise(lambda record: replace(record, name=new, database_id=where.database_id))
            self._names = names.without_collection(database, old).with_collection(new_database, new, collection)

    # Aliases

    def create_alias(self, database: str, alias: str, collection: str) -> None:
        """Give a collection a second name.

        Raises: CollectionNotFound. AliasExists: the alias names another collection, or is a collection's name.
        """
        with self._changing() as names:
            target = self.collection(database, collection)
            if (database, alias) in names.collections:
                raise AliasExists(f"{alias!r} is a collection's name already")
            held = names.aliases.get((database, alias))
            if held is not None:
                if held.collection_id == target.collection_id:
                    return
                raise AliasExists(
                    f"alias {alias!r} names collection {names.by_ids[held.collection_id].name!r} already; "
                    "move it with alter_alias"
                )
            record = AliasRecord(self._host.new_id(), target.record.database_id, alias, target.collection_id)
            self._put("alias", record.alias_id, record.to_document())
            self._names = names.with_alias(database, record)

    def alter_alias(self, database: str, alias: str, collection: str) -> None:
        """Move an alias to another collection, in one step that no search sees half done.

        Raises: AliasNotFound, CollectionNotFound.
        """
        with self._changing() as names:
            record = replace(
                self.alias(database, alias), collection_id=self.collection(database, collection).collection_id
            )
            self._put("alias", record.alias_id, record.to_document())
            self._names = names.with_alias(database, record)

    def drop_alias(self, database: str, alias: str) -> None:
        """Remove an alias; one that does not exist is no error."""
        with self._changing() as names:
            record = names.aliases.get((database, alias))
            if record is None:
                return
            with self._host.catalog.transaction() as change:
                change.remove("alias", record.alias_id)
            kept = {key: value for key, value in names.aliases.items() if value is not record}
            self._names = replace(names, aliases=kept)

    def alias(self, database: str, alias: str) -> AliasRecord:
        """Raises: AliasNotFound."""
        found = self._current().aliases.get((database, alias))
        if found is None:
            raise AliasNotFound(f"alias {alias!r} does not exist in database {database!r}")
        return found

    def alias_target(self, database: str, alias: str) -> Collection:
        """Return the collection that an alias names. Raises: AliasNotFound."""
        names = self._current()
        found = names.find(database, alias) if (database, alias) in names.aliases else None
        if found is None:
            raise AliasNotFound(f"alias {alias!r} does not exist in database {database!r}")
        return found

    def list_aliases(self, database: str, collection: str | None = None) -> list[str]:
        """Return the aliases of a collection, or of the whole database. Raises: CollectionNotFound."""
        if collection is not None:
            return self.aliases_of(self.collection(database, collection))
        return [alias for where, alias in self._current().aliases if where == database]

    def aliases_of(self, collection: Collection) -> list[str]:
        """Return the aliases of a collection, whatever it is called by now."""
        wanted = collection.collection_id
        return [alias for (_, alias), r in self._current().aliases.items() if r.collection_id == wanted]

    # Inside

    def _current(self) -> Names:
        if self._host.closed:
            self._host.require_open()
        if self.read_only:
            self._follow()
        return self._names

    @contextmanager
    def _changing(self) -> Iterator[Names]:
        catalog = self._host.catalog
        with catalog.lock:
            self._host.require_writable()
            before = catalog.n_commits
            try:
                yield self._names
            except BaseException:
                if catalog.n_commits != before:
                    self._reload()
                raise

    def _put(self, kind: str, object_id: int, document: dict[str, Any]) -> None:
        with self._host.catalog.transaction() as change:
            change.put(kind, object_id, document)
            self._host.save_counter(change)

    def _recover_collection(
        self,
        record: CollectionRecord,
        segments: list[SegmentRecord],
        deletes: dict[int, bytes],
        known: Collection | None,
    ) -> Collection:
        own = {segment.segment_id: deletes[segment.segment_id] for segment in segments if segment.segment_id in deletes}

        def recover(record: CollectionRecord, held: Contents | None) -> Contents:
            return recover_contents(self._host, record, segments, own, held)

        collection = known or Collection(self._host, record, recover, segments)
        if self.read_only:  # it opens everything now: the writer may remove what it has merged
            collection.follow = self._follow
            renew = None if known is None else partial(known.renew, record, recover, segments)
            self._unreadable.recover(collection, renew)
            return collection
        if known is not None:
            known.renew(record, recover, segments)
            return known
        try:
            if has_work(record, segments, check_log(self._host.catalog, record.collection_id)):
                self._unfinished.append(collection)
        except Corruption as error:
            self._has_damaged_log = True
            _log.warning("collection %r can only be emptied or dropped: %s", record.name, error.message)
        return collection

    def _follow(self) -> bool:
        """Catch up with the writing process; return whether there was anything new."""
        catalog = self._host.catalog
        with catalog.lock:
            if not catalog.changed():
                return False
            while True:
                # The writer may merge a segment away, and remove its files, while they are opened here.
                self._unreadable.look_again()
                try:
                    self._reload()
                except Corruption:
                    if not catalog.changed():
                        catalog.forget_changes()
                        raise
                    continue
                except BaseException:
                    catalog.forget_changes()
                    raise
                if self._unreadable.is_all_open(self._names.collections.values()) or not catalog.changed():
                    self._unreadable.tell()
                    return True

    def _reload(self) -> CatalogState:
        """Take everything from the catalogue again; collections that are gone are marked as dropped."""
        known = self._names.by_ids
        with self._host.catalog.reading():
            state = self._host.catalog.load()
            self._host.next_id = max(self._host.next_id, state.objects.get("counter", {}).get(0, {}).get("next", 1))
            segments = segments_of(state)
            names = names_of(
                state,
                lambda record: self._recover_collection(
                    record, segments.get(record.collection_id, []), state.deletes, known.get(record.collection_id)
                ),
            )
        self._names = names
        for collection_id, collection in known.items():
            if collection_id not in names.by_ids:
                collection.close_down()
        return state

    def _settle(self, state: CatalogState) -> None:
        """Finish the opening for a writer: the default database, the sweep, and only then the upkeep that is due."""
        if DEFAULT_DATABASE not in self._names.databases:
            record = DatabaseRecord(self._host.new_id(), DEFAULT_DATABASE)
            self._put("database", record.database_id, record.to_document())
            self._names = replace(self._names, databases={DEFAULT_DATABASE: record})
        named = {
            segment.segment_id: {file.name for file in segment.all_files}
            for segments in segments_of(state).values()
            for segment in segments
        }
        sweep(self._host.segments, named)
        if not self._has_damaged_log:  # what a damaged log names is not known
            self._host.catalog.sweep()
        for collection in self._unfinished:
            collection.resume_upkeep()
        self._unfinished.clear()


def _close_all() -> None:
    for database in list(_open_databases.values()):
        database._users = 1
        with suppress(OSError):
            database.close()


def _leave_to_the_parent() -> None:
    """In a forked child, close what was open: SQLite's connections and the background thread do not survive a fork.

    Nothing is written or unlocked. The child can open the directory again: for reading, or once the parent is gone.
    """
    global _opening
    _opening = threading.RLock()
    for database in _open_databases.values():
        database._users = 0
        database._host.closed = True
        database._host.catalog.lock = threading.RLock()
        if database._lock is not None:
            database._lock.release()
    _open_databases.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_leave_to_the_parent)
