"""Who is called what in an open directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from roost.engine.collection import Collection
from roost.engine.records import AliasRecord, CollectionRecord, DatabaseRecord
from roost.engine.storage.catalog import CatalogState


@dataclass(frozen=True, slots=True)
class Names:
    """Who is called what, at one moment; keys are (database, name).

    A change makes another one. Who reads takes one and asks it alone, so that what an alias names is there.

    Attributes:
        by_ids: every collection by its id.
    """

    databases: dict[str, DatabaseRecord] = field(default_factory=dict)
    collections: dict[tuple[str, str], Collection] = field(default_factory=dict)
    aliases: dict[tuple[str, str], AliasRecord] = field(default_factory=dict)
    by_ids: dict[int, Collection] = field(default_factory=dict)

    def find(self, database: str, name: str) -> Collection | None:
        """Return a collection by its name or an alias; None where nothing is called so."""
        found = self.collections.get((database, name))
        if found is None and (alias := self.aliases.get((database, name))) is not None:
            found = self.by_ids.get(alias.collection_id)
        return found

    def let_go(self) -> None:
        """Have every collection forget its rows, once the database is closed."""
        for collection in self.by_ids.values():
            collection.let_go()

    def with_collection(self, database: str, name: str, collection: Collection) -> Names:
        """Return the names with one more collection."""
        return replace(
            self,
            collections={**self.collections, (database, name): collection},
            by_ids={**self.by_ids, collection.collection_id: collection},
        )

    def without_collection(self, database: str, name: str) -> Names:
        """Return the names without a collection."""
        collections, by_ids = dict(self.collections), dict(self.by_ids)
        del by_ids[collections.pop((database, name)).collection_id]
        return replace(self, collections=collections, by_ids=by_ids)

    def with_alias(self, database: str, record: AliasRecord) -> Names:
        """Return the names with an alias as its record has it."""
        return replace(self, aliases={**self.aliases, (database, record.name): record})


def names_of(state: CatalogState, collection_of: Callable[[CollectionRecord], Collection]) -> Names:
    """Return everything that the catalogue names, each kind in the order of creation.

    Args:
        collection_of: gives the collection of a record.
    """
    objects = state.objects
    databases = {
        record.name: record
        for record in (DatabaseRecord.from_document(i, d) for i, d in sorted(objects.get("database", {}).items()))
    }
    name_of = {record.database_id: record.name for record in databases.values()}
    collections: dict[tuple[str, str], Collection] = {}
    for collection_id, document in sorted(objects.get("collection", {}).items()):
        found = CollectionRecord.from_document(collection_id, document)
        collections[name_of[found.database_id], found.name] = collection_of(found)
    aliases = {
        (name_of[record.database_id], record.name): record
        for record in (AliasRecord.from_document(i, d) for i, d in sorted(objects.get("alias", {}).items()))
    }
    by_ids = {collection.collection_id: collection for collection in collections.values()}
    return Names(databases, collections, aliases, by_ids)
