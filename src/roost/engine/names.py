"""Who is called what in an open directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roost.engine.collection import Collection
from roost.engine.records import AliasRecord, CollectionRecord, DatabaseRecord
from roost.engine.storage.catalog import CatalogState


@dataclass(frozen=True, slots=True)
class Names:
    """Who is called what, at one moment; keys are (database, name)."""

    databases: dict[str, DatabaseRecord]
    collections: dict[tuple[str, str], Collection]
    aliases: dict[tuple[str, str], AliasRecord]


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
    return Names(databases, collections, aliases)
