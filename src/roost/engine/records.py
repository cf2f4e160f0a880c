"""What the catalogue holds of databases, collections and aliases, as frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from roost.engine.schema import Schema
from roost.engine.segment import IndexSpec
from roost.errors import IndexExists

DEFAULT_DATABASE = "default"
DEFAULT_PARTITION = "_default"


@dataclass(frozen=True, slots=True)
class DatabaseRecord:
    """A database in Milvus's sense: a name space for collections."""

    database_id: int
    name: str
    properties: dict[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        return {"name": self.name, "properties": self.properties}

    @classmethod
    def from_document(cls, database_id: int, document: dict[str, Any]) -> DatabaseRecord:
        return cls(database_id, document["name"], document["properties"])


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """A second name of a collection."""

    alias_id: int
    database_id: int
    name: str
    collection_id: int

    def to_document(self) -> dict[str, Any]:
        return {"database": self.database_id, "name": self.name, "collection": self.collection_id}

    @classmethod
    def from_document(cls, alias_id: int, document: dict[str, Any]) -> AliasRecord:
        return cls(alias_id, document["database"], document["name"], document["collection"])


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """How far a bulk load has come.

    Attributes:
        source: what the rows are read from, as JSON values.
        n_rows: rows of the source that are stored.
        finished_at: Unix time in nanoseconds of the end; None while there may be more rows.
    """

    source: dict[str, Any]
    n_rows: int = 0
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A collection without its rows.

    Attributes:
        partitions: name to id, in the order of creation.
        indexes: in the order of creation.
        created_at: Unix time in nanoseconds.
        loads: bulk loads by their names.
    """

    collection_id: int
    database_id: int
    name: str
    schema: Schema
    created_at: int
    properties: dict[str, Any] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=lambda: {DEFAULT_PARTITION: 0})
    indexes: tuple[IndexSpec, ...] = ()
    loaded: bool = False
    loads: dict[str, LoadRecord] = field(default_factory=dict)

    def index_of(self, field_name: str) -> IndexSpec | None:
        """Return the index on a field, if there is one."""
        return next((spec for spec in self.indexes if spec.field == field_name), None)

    def with_index(self, spec: IndexSpec) -> CollectionRecord:
        """Return the record with one more index; the same object where it has that index already.

        Raises: IndexExists: the field has another index, or the name is taken.
        """
        for held in self.indexes:
            if held.field == spec.field or held.name == spec.name:
                if replace(held, index_id=0) == replace(spec, index_id=0):
                    return self
                kind = held.index_type if held.is_scalar else f"{held.index_type}, {held.metric}"
                raise IndexExists(
                    f"collection {self.name!r} has index {held.name!r} ({kind}) on field {held.field!r}; drop it first"
                )
        return replace(self, indexes=(*self.indexes, spec))

    def to_document(self) -> dict[str, Any]:
        return {
            "database": self.database_id,
            "name": self.name,
            "schema": self.schema.to_json(),
            "created_at": self.created_at,
            "properties": self.properties,
            "partitions": self.partitions,
            "indexes": [asdict(spec) for spec in self.indexes],
            "loaded": self.loaded,
            "loads": {name: asdict(load) for name, load in self.loads.items()},
        }

    @classmethod
    def from_document(cls, collection_id: int, document: dict[str, Any]) -> CollectionRecord:
        return cls(
            collection_id,
            document["database"],
            document["name"],
            Schema.from_json(document["schema"]),
            document["created_at"],
            document["properties"],
            # The catalogue sorts keys; ids grow with the order of creation.
            dict(sorted(document["partitions"].items(), key=lambda item: item[1])),
            tuple(IndexSpec(**spec) for spec in document["indexes"]),
            document["loaded"],
            {name: LoadRecord(**load) for name, load in document.get("loads", {}).items()},
        )
