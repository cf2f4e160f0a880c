"""Collections, partitions, aliases and databases of the embedded client."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient
from pymilvus import exceptions as milvus
from pymilvus.client.constants import DEFAULT_CONSISTENCY_LEVEL
from pymilvus.client.types import ConsistencyLevel, LoadState
from pymilvus.milvus_client.index import IndexParams

from roost.embedded import arguments
from roost.embedded.indexes import IndexMethods, load, loaded, read_indexes, released, require_indexes
from roost.embedded.session import CONSISTENCY, OWN_PREFIX, SHARDS
from roost.engine.budget import LIMIT_PROPERTY
from roost.engine.collection import Collection
from roost.engine.declare import check_name, field_params, schema_from_milvus
from roost.engine.memory import parse_limit
from roost.engine.partitions import ISOLATION_PROPERTY, parse_isolation, released_names, with_released
from roost.engine.records import DEFAULT_DATABASE, CollectionRecord
from roost.engine.schema import Field
from roost.errors import CollectionNotFound, InvalidArgument, InvalidArgumentType, InvalidSchema, NotSupported

_UNSUPPORTED_PROPERTIES: Final = frozenset({"collection.ttl.seconds", "ttl_field", "allow_insert_auto_id"})
_TIMESTAMP_SHIFT: Final = 18
"""Milvus's timestamps hold milliseconds above this many bits of a counter."""


class DefinitionMethods(IndexMethods):
    """The methods of `MilvusClient` that make, describe and remove what holds rows."""

    create_schema = staticmethod(MilvusClient.create_schema)
    create_struct_field_schema = staticmethod(MilvusClient.create_struct_field_schema)
    create_field_schema = staticmethod(MilvusClient.create_field_schema)
    prepare_index_params = staticmethod(MilvusClient.prepare_index_params)

    def create_collection(
        self,
        collection_name: str,
        dimension: int | None = None,
        primary_field_name: str = "id",
        id_type: str = "int",
        vector_field_name: str = "vector",
        metric_type: str = "COSINE",
        auto_id: bool = False,
        timeout: float | None = None,
        schema: CollectionSchema | None = None,
        index_params: IndexParams | None = None,
        **kwargs: Any,
    ) -> None:
        """Create a collection: from a schema, or from a dimension with an index and loaded at once.

        One of the same name and schema may exist. What is wrong with the indexes is found before anything is made.
        Raises: InvalidName, InvalidFieldName, InvalidSchema, InvalidArgument, NotSupported,
            CollectionExists, InvalidConsistencyLevel. IndexExists: two indexes on one field. IndexNotFound:
            some vector fields have an index and others have none.
        """
        arguments.check_collection_name(collection_name)
        check_name("collection", collection_name)
        arguments.check_timeout(timeout)
        if schema is None:
            schema = _quick_schema(dimension, primary_field_name, id_type, vector_field_name, auto_id, kwargs)
            index_params = self.prepare_index_params(vector_field_name, index_type="AUTOINDEX", metric_type=metric_type)
        if not isinstance(schema, CollectionSchema):
            raise InvalidArgumentType(f"schema= is a {type(schema).__name__}; make one with create_schema()")
        try:
            schema.verify()
        except milvus.MilvusException as error:
            raise InvalidSchema(error.message) from error
        stored = schema_from_milvus(schema)
        properties = _properties(kwargs, has_partition_key=any(f.is_partition_key for f in stored.fields))
        specs = read_indexes(stored, index_params or ())
        if specs:
            require_indexes(collection_name, stored, specs)
        made = self._database().create_collection(
            self._db_name, collection_name, stored, properties, specs, loaded=bool(specs)
        )
        if specs:  # one that existed may lack them
            for spec in specs:
                made.create_index(spec)
            made.revise(loaded)

    def has_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> bool:
        try:
            self._collection(collection_name, timeout)
        except CollectionNotFound:
            return False
        return True

    def list_collections(self, **kwargs: Any) -> list[str]:
        arguments.check_timeout(kwargs.get("timeout"))
        return self._database().list_collections(self._db_name)

    def describe_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the schema and the settings of a collection. Raises: CollectionNotFound."""
        collection = self._collection(collection_name, timeout)
        schema, record = collection.schema, collection.record
        level = record.properties.get(CONSISTENCY, DEFAULT_CONSISTENCY_LEVEL)
        return {
            "collection_name": record.name,
            "auto_id": schema.primary.auto_id,
            "num_shards": record.properties.get(SHARDS, 1),
            "description": schema.description,
            "fields": [_described(f) for f in schema.fields if not f.is_dynamic],
            "functions": [],
            "aliases": self._database().aliases_of(collection),
            "collection_id": record.collection_id,
            "consistency_level": level,
            "consistency_level_name": ConsistencyLevel.Name(level),
            "properties": {k: v for k, v in record.properties.items() if not k.startswith(OWN_PREFIX)},
            "num_partitions": len(record.partitions),
            "enable_dynamic_field": schema.enable_dynamic,
            "enable_namespace": False,
            "schema_version": 0,
            "created_timestamp": record.created_at // 1_000_000 << _TIMESTAMP_SHIFT,
        }

    def drop_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Remove a collection with its rows; one that does not exist is no error.

        Raises: InvalidArgument: the name is an alias, or an alias points to the collection.
        """
        arguments.check_collection_name(collection_name)
        arguments.check_timeout(timeout)
        with suppress(CollectionNotFound):
            self._database().drop_collection(self._db_name, collection_name)

    def rename_collection(
        self, old_name: str, new_name: str, target_db: str | None = "", timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Rename a collection, and move it to another database where `target_db` is given.

        Raises: CollectionNotFound, CollectionExists, InvalidName, DatabaseNotFound.
        """
        arguments.check_collection_name(old_name)
        arguments.check_timeout(timeout)
        check_name("collection", new_name)
        database = target_db or self._db_name
        arguments.check_str("target_db", database)
        self._database().rename_collection(self._db_name, old_name, new_name, database)

    def alter_collection_properties(
        self, collection_name: str, properties: dict[str, Any], timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Set properties of a collection; the others stay.

        Raises: CollectionNotFound, InvalidArgument, NotSupported. MemoryLimitExceeded: the collection is loaded, and
            needs more than the "memory.limit" that is given.
        """
        collection = self._collection(collection_name, timeout)
        given = _checked_properties(properties)
        collection.revise(lambda record: replace(record, properties={**record.properties, **given}))

    def drop_collection_properties(
        self, collection_name: str, property_keys: list[str], timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Remove properties of a collection; one that it does not have is no error. Raises: CollectionNotFound."""
        collection = self._collection(collection_name, timeout)
        arguments.check_str_list("property_keys", property_keys)
        gone = set(_checked_names(property_keys or ()))

        def without(record: CollectionRecord) -> CollectionRecord:
            return replace(record, properties={k: v for k, v in record.properties.items() if k not in gone})

        collection.revise(without)

    def get_collection_stats(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> dict[str, int]:
        """Return {"row_count": live rows}. Raises: CollectionNotFound."""
        return {"row_count": self._collection(collection_name, timeout).n_rows}

    def truncate_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Remove every row. Raises: CollectionNotFound."""
        self._collection(collection_name, timeout).truncate()

    # Partitions

    def create_partition(
        self, collection_name: str, partition_name: str, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Add a partition; one of that name may exist. Raises: CollectionNotFound, InvalidName."""
        collection = self._collection(collection_name, timeout)
        check_name("partition", partition_name)
        collection.create_partition(partition_name)

    def drop_partition(
        self, collection_name: str, partition_name: str, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Remove a released partition with its rows; one that does not exist is no error.

        Raises: CollectionNotFound. InvalidArgument: it is loaded, or is the default partition.
        """
        arguments.check_str("partition_name", partition_name)
        collection = self._collection(collection_name, timeout)
        if not _droppable(collection.record, partition_name):
            return
        with collection.changing():
            record = collection.record
            if _droppable(record, partition_name):
                out = [p for p in released_names(record) if p != partition_name]
                collection.drop_partition(partition_name, with_released(record.properties, out))

    def has_partition(
        self, collection_name: str, partition_name: str, timeout: float | None = None, **kwargs: Any
    ) -> bool:
        arguments.check_str("partition_name", partition_name)
        return partition_name in self._collection(collection_name, timeout).record.partitions

    def list_partitions(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> list[str]:
        return list(self._collection(collection_name, timeout).record.partitions)

    def get_partition_stats(
        self, collection_name: str, partition_name: str, timeout: float | None = None, **kwargs: Any
    ) -> dict[str, int]:
        """Return {"row_count": live rows}. Raises: CollectionNotFound, PartitionNotFound."""
        if not isinstance(partition_name, str):
            raise InvalidArgumentType(f"partition_name={partition_name!r} is not allowed: it must be a str")
        collection = self._collection(collection_name, timeout)
        return {"row_count": collection.count(None, collection.partition_ids([partition_name]))}

    # Aliases

    def create_alias(self, collection_name: str, alias: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Give a collection a second name. Raises: CollectionNotFound, AliasExists, InvalidName."""
        check_name("alias", alias)
        self._collection(collection_name, timeout)
        self._database().create_alias(self._db_name, alias, collection_name)

    def alter_alias(self, collection_name: str, alias: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Move an alias to another collection in one step. Raises: AliasNotFound, CollectionNotFound."""
        check_name("alias", alias)
        self._collection(collection_name, timeout)
        self._database().alter_alias(self._db_name, alias, collection_name)

    def drop_alias(self, alias: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Remove an alias; one that does not exist is no error."""
        check_name("alias", alias)
        arguments.check_timeout(timeout)
        self._database().drop_alias(self._db_name, alias)

    def describe_alias(self, alias: str, timeout: float | None = None, **kwargs: Any) -> dict[str, str]:
        """Return the collection that an alias names. Raises: AliasNotFound."""
        check_name("alias", alias)
        arguments.check_timeout(timeout)
        target = self._database().alias_target(self._db_name, alias)
        return {"alias": alias, "collection_name": target.name, "db_name": self._db_name}

    def list_aliases(self, collection_name: str = "", timeout: float | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the aliases of a collection, or of the database. Raises: CollectionNotFound."""
        arguments.check_timeout(timeout)
        if not collection_name:
            return {"aliases": self._database().list_aliases(self._db_name), "db_name": self._db_name}
        collection = self._collection(collection_name)
        aliases = self._database().aliases_of(collection)
        return {"aliases": aliases, "collection_name": collection.name, "db_name": self._db_name}

    # Databases

    def create_database(
        self, db_name: str, properties: dict[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Add an empty database. Raises: DatabaseExists, InvalidDatabaseName."""
        check_name("database", db_name)
        arguments.check_timeout(timeout)
        self._database().create_database(db_name, dict(arguments.as_properties(properties)))

    def drop_database(self, db_name: str, **kwargs: Any) -> None:
        """Remove an empty database; one that does not exist is no error.

        Raises: InvalidArgument: it is the default one, or holds collections.
        """
        check_name("database", db_name)
        arguments.check_timeout(kwargs.get("timeout"))
        if db_name in self._database().list_databases():
            self._database().drop_database(db_name)

    def list_databases(self, timeout: float | None = None, **kwargs: Any) -> list[str]:
        arguments.check_timeout(timeout)
        return self._database().list_databases()

    def describe_database(self, db_name: str, **kwargs: Any) -> dict[str, Any]:
        """Return the name and the properties of a database. Raises: DatabaseNotFound."""
        arguments.check_str("db_name", db_name)
        arguments.check_timeout(kwargs.get("timeout"))
        record = self._database().database(db_name)
        return {"name": record.name, **record.properties}

    def use_database(self, db_name: str, **kwargs: Any) -> None:
        """Switch this client to another database. Raises: DatabaseNotFound."""
        name = db_name or DEFAULT_DATABASE
        arguments.check_str("db_name", name)
        arguments.check_timeout(kwargs.get("timeout"))
        self._db_name = self._database().database(name).name

    def using_database(self, db_name: str, **kwargs: Any) -> None:
        """Switch this client to another database; `use_database` is the newer name."""
        self.use_database(db_name, **kwargs)

    # Loading

    def load_partitions(
        self, collection_name: str, partition_names: str | list[str], timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Make partitions searchable; the files of those that were not are opened and verified.

        Raises: CollectionNotFound, PartitionNotFound, IndexNotFound. Corruption: a file is damaged.
            MemoryLimitExceeded: they do not fit into memory beside what is loaded; nothing was changed.
        """
        collection, names = self._named_partitions(collection_name, partition_names, timeout)

        def with_these(record: CollectionRecord) -> CollectionRecord:
            out = released_names(record) if record.loaded else record.partitions
            return loaded(record, [p for p in out if p not in names])

        load(collection, with_these)

    def release_partitions(
        self, collection_name: str, partition_names: str | list[str], timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Take partitions out of use until they are loaded again, and give back what memory they alone take.

        That is the memory of segments with rows of no other partition, which the property "partition.isolation" makes.
        Raises: CollectionNotFound, PartitionNotFound.
        """
        collection, names = self._named_partitions(collection_name, partition_names, timeout)

        def release(record: CollectionRecord) -> CollectionRecord:
            out = [p for p in record.partitions if p in names or p in released_names(record)]
            if not record.loaded or len(out) == len(record.partitions):
                return released(record)
            return replace(record, properties=with_released(record.properties, out))

        collection.revise(release)
        collection.close_files()

    def get_load_state(
        self, collection_name: str, partition_name: str | None = "", timeout: float | None = None, **kwargs: Any
    ) -> dict[str, LoadState]:
        """Return {"state": ...}: NotExist, NotLoad or Loaded. Raises: PartitionNotFound."""
        try:
            collection = self._collection(collection_name, timeout)
        except CollectionNotFound:
            return {"state": LoadState.NotExist}
        if partition_name:
            arguments.check_str("partition_name", partition_name)
            collection.partition_ids([partition_name])
            is_loaded = _is_loaded(collection.record, partition_name)
        else:
            is_loaded = collection.record.loaded
        return {"state": LoadState.Loaded if is_loaded else LoadState.NotLoad}

    def _named_partitions(self, collection_name: str, names: Any, timeout: Any) -> tuple[Collection, list[str]]:
        collection = self._collection(collection_name, timeout)
        listed = [names] if isinstance(names, str) else names
        arguments.check_str_list("partition_names", listed)
        if not listed:
            raise InvalidArgument(f"partition_names={names!r} is not allowed: name at least one partition")
        collection.partition_ids(listed)
        return collection, listed


def _is_loaded(record: CollectionRecord, partition: str) -> bool:
    return record.loaded and partition not in released_names(record)


def _droppable(record: CollectionRecord, partition: str) -> bool:
    """Whether the collection has the partition. Raises: InvalidArgument: it is loaded."""
    if partition in record.partitions and _is_loaded(record, partition):
        raise InvalidArgument(f"partition {partition!r} is loaded; call release_partitions first")
    return partition in record.partitions


def _quick_schema(
    dimension: Any, primary: str, id_type: Any, vector: str, auto_id: bool, options: dict[str, Any]
) -> CollectionSchema:
    """Return the schema of a collection that is made from a dimension."""
    if isinstance(dimension, bool) or not isinstance(dimension, int):
        raise InvalidArgument(f"dimension={dimension!r} is not allowed: give the vectors' length, or a schema=")
    kinds = {"int": DataType.INT64, "string": DataType.VARCHAR, "str": DataType.VARCHAR}
    kind = kinds.get(id_type, id_type) if isinstance(id_type, str) else id_type
    schema: CollectionSchema = MilvusClient.create_schema(auto_id=auto_id, **{"enable_dynamic_field": True, **options})
    length = {"max_length": options["max_length"]} if kind == DataType.VARCHAR and "max_length" in options else {}
    if kind not in (DataType.INT64, DataType.VARCHAR):
        raise InvalidSchema(f"id_type={id_type!r} is not allowed: choose 'int' or 'string'")
    schema.add_field(primary, kind, is_primary=True, **length)
    schema.add_field(vector, DataType.FLOAT_VECTOR, dim=dimension)
    return schema


def _properties(options: dict[str, Any], *, has_partition_key: bool) -> dict[str, Any]:
    """Return what is kept of the options of `create_collection`."""
    given: dict[str, Any] = _checked_properties(options.get("properties"))
    level = options.get("consistency_level")
    if level is not None:
        given[CONSISTENCY] = arguments.consistency_level(level)
    shards = options.get("num_shards", options.get("shards_num"))
    if shards is not None:
        if isinstance(shards, bool) or not isinstance(shards, int) or shards < 1:
            raise InvalidArgument(f"num_shards={shards!r} is not allowed: it is a whole number, 1 or more")
        given[SHARDS] = shards
    if options.get("num_partitions") is not None and not has_partition_key:
        raise InvalidArgument("num_partitions is for collections with a partition key; leave it out")
    return given


def _checked_properties(properties: Any) -> dict[str, Any]:
    """Return properties that a collection can have.

    Raises: InvalidArgument: not a dict, a name that is reserved, a limit that is no size or too small, or an isolation
        that is neither true nor false. NotSupported.
    """
    given: dict[str, Any] = dict(arguments.as_properties(properties))
    for name in _UNSUPPORTED_PROPERTIES.intersection(given):
        raise NotSupported(f"collection property {name!r}: the embedded engine does not have it yet")
    if LIMIT_PROPERTY in _checked_names(given):
        parse_limit(LIMIT_PROPERTY, given[LIMIT_PROPERTY])
    if ISOLATION_PROPERTY in given:
        parse_isolation(given[ISOLATION_PROPERTY])
    return given


def _checked_names(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        if name.startswith(OWN_PREFIX):
            raise InvalidArgument(
                f"property {name!r} is not allowed: names that begin with {OWN_PREFIX!r} are reserved"
            )
    return names


def _described(field: Field) -> dict[str, Any]:
    """Return a field as `describe_collection` shows it."""
    shown: dict[str, Any] = {
        "field_id": field.field_id,
        "name": field.name,
        "description": field.description,
        "type": field.dtype,
        "params": field_params(field),
    }
    if field.default is not None:
        shown["default_value"] = FieldSchema(field.name, field.dtype, default_value=field.default).default_value
    flags = {"is_partition_key": field.is_partition_key, "auto_id": field.auto_id, "is_primary": field.is_primary}
    return {**shown, **{name: True for name, is_set in flags.items() if is_set}}
