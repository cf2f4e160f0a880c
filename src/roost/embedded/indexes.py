"""Indexes, loading and upkeep of the embedded client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from pymilvus import DataType
from pymilvus.milvus_client.index import IndexParam, IndexParams

from roost.embedded import arguments
from roost.embedded.session import Session
from roost.engine.collection import Collection
from roost.engine.compaction import MIN_INDEXED_ROWS
from roost.engine.declare import check_name
from roost.engine.index.registry import AUTO_TYPES, check_definition, index_types, named_type
from roost.engine.partitions import loaded_ids, with_released
from roost.engine.records import CollectionRecord
from roost.engine.scalar.types import check_scalar_index, is_scalar_type
from roost.engine.schema import Schema
from roost.engine.segment import IndexSpec
from roost.errors import CollectionNotLoaded, IndexExists, IndexNotFound, InvalidArgument

AUTO_INDEX: Final = "AUTOINDEX"
DEFAULT_METRIC: Final = "COSINE"
DEFAULT_METRICS: Final = {DataType.BINARY_VECTOR: "HAMMING", DataType.SPARSE_FLOAT_VECTOR: "IP"}

_STORAGE_PARAMS: Final = frozenset({"mmap.enabled", "mmap_enabled"})
"""Index parameters that say where Milvus keeps an index; the answer does not depend on them."""


class IndexMethods(Session):
    """The methods of `MilvusClient` that make searches possible and fast."""

    def create_index(
        self, collection_name: str, index_params: IndexParams, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Define indexes and wait until the stored rows are in them, unless sync=False.

        Raises: InvalidArgument: a type, a metric or a parameter is not allowed; nothing was defined then.
            IndexExists: the field has another index, or is given two. NotSupported, FieldNotFound, CollectionNotFound.
            MemoryLimitExceeded: the whole limit is too little to build it, or a loaded collection would need more
            memory with it than there is, and it was not defined; or there is no memory to build it now, and rows are
            compared one by one until there is.
        """
        if not isinstance(index_params, IndexParams) or not index_params:
            raise InvalidArgument(
                f"index_params={index_params!r} is not allowed: use prepare_index_params(), add_index()"
            )
        collection = self._collection(collection_name, timeout)
        specs = read_indexes(collection.schema, index_params)
        for spec in specs:
            collection.create_index(spec)
        if kwargs.get("sync", True) and any(_n_pending(collection, spec) for spec in specs):
            collection.flush(timeout)

    def list_indexes(self, collection_name: str, field_name: str | None = "", **kwargs: Any) -> list[str]:
        """Return the names of the indexes. Raises: CollectionNotFound."""
        indexes = self._collection(collection_name, kwargs.get("timeout")).record.indexes
        return [spec.name for spec in indexes if not field_name or spec.field == field_name]

    def describe_index(
        self, collection_name: str, index_name: str, timeout: float | None = None, **kwargs: Any
    ) -> dict[str, Any] | None:
        """Return an index's definition and progress, or None where there is none of that name.

        Raises: CollectionNotFound.
        """
        collection = self._collection(collection_name, timeout)
        spec = _index_named(collection, index_name)
        if spec is None:
            return None
        total, pending = collection.n_rows, _n_pending(collection, spec)
        return {
            **{name: str(value) for name, value in spec.params.items()},
            **({} if spec.is_scalar else {"metric_type": spec.metric}),
            "index_type": spec.index_type,
            "field_name": spec.field,
            "index_name": spec.name,
            "total_rows": total,
            "indexed_rows": total - pending,
            "pending_index_rows": pending,
            "state": "InProgress" if pending else "Finished",
        }

    def drop_index(self, collection_name: str, index_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Remove an index of a released collection; one that does not exist is no error.

        Raises: CollectionNotFound. InvalidArgument: the collection is loaded.
        """
        collection = self._collection(collection_name, timeout)
        if collection.record.loaded:
            raise InvalidArgument(f"collection {collection.name!r} is loaded; call release_collection first")
        if _index_named(collection, index_name) is not None:
            collection.drop_index(index_name)

    def load_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Make a collection searchable; the files of what was not are opened and verified.

        Raises: CollectionNotFound. IndexNotFound: a vector field has no index. Corruption: a file is damaged.
            MemoryLimitExceeded: it does not fit into memory beside what is loaded; nothing was changed.
        """
        load(self._collection(collection_name, timeout), loaded)

    def release_collection(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Take a collection out of use until it is loaded again, and give back the memory that it takes.

        Rows that are in no segment yet stay in memory: `flush` moves them out first.
        Raises: CollectionNotFound.
        """
        collection = self._collection(collection_name, timeout)
        collection.revise(released)
        collection.close_files()

    def refresh_load(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Do nothing to a loaded collection: its new rows are searchable already. Raises: CollectionNotLoaded."""
        collection = self._collection(collection_name, timeout)
        if not collection.record.loaded:
            raise CollectionNotLoaded(f"collection {collection.name!r} is not loaded; call load_collection first")

    def flush(self, collection_name: str, timeout: float | None = None, **kwargs: Any) -> None:
        """Move every row into segments and index them.

        Raises: CollectionNotFound, Timeout, StorageFull. MemoryLimitExceeded: all was done but for an index that there
            is no memory to build.
        """
        self._collection(collection_name, timeout).flush(timeout)

    def flush_all(self, timeout: float | None = None, **kwargs: Any) -> None:
        """Flush every collection of the database. Raises: Timeout, StorageFull, MemoryLimitExceeded."""
        arguments.check_timeout(timeout)
        database = self._database()
        for name in database.list_collections(self._db_name):
            database.collection(self._db_name, name).flush(timeout)

    def compact(
        self,
        collection_name: str,
        is_clustering: bool | None = False,
        is_l0: bool | None = False,
        target_size: int | None = None,
        target_size_unit: str = "mb",
        timeout: float | None = None,
        **kwargs: Any,
    ) -> int:
        """Merge segments, and rewrite those with many deleted rows, in the foreground; returns a job's number.

        Raises: CollectionNotFound, Timeout. NotSupported: clustering, or a target size.
        """
        if target_size is not None and (isinstance(target_size, bool) or not isinstance(target_size, int)):
            raise InvalidArgument(f"target_size={target_size!r} is not allowed: it is a whole number")
        arguments.refuse("compact", {"is_clustering": is_clustering, "target_size": target_size}, _COMPACT_OPTIONS)
        collection = self._collection(collection_name, timeout)
        collection.flush(timeout)
        return collection.collection_id

    def get_compaction_state(self, job_id: int, timeout: float | None = None, **kwargs: Any) -> str:
        """Return "Completed": `compact` returns when its work is done."""
        arguments.check_timeout(timeout)
        self._database()
        return "Completed"


_COMPACT_OPTIONS: Final = frozenset({"is_clustering", "target_size"})


def loaded(record: CollectionRecord, released_partitions: list[str] | None = None) -> CollectionRecord:
    """Return the definition of the collection when it is loaded, but for some partitions.

    Raises: IndexNotFound: a vector field has no index.
    """
    require_indexes(record.name, record.schema, record.indexes)
    return replace(record, loaded=True, properties=with_released(record.properties, released_partitions or []))


def released(record: CollectionRecord) -> CollectionRecord:
    """Return the definition of the collection when it is not loaded."""
    return replace(record, loaded=False, properties=with_released(record.properties, []))


def load(collection: Collection, change: Callable[[CollectionRecord], CollectionRecord]) -> None:
    """Give a collection a definition by which more of it is loaded, having opened and verified the files of that.

    Raises: IndexNotFound. Corruption: a file is damaged. MemoryLimitExceeded. Nothing was changed then.
    """
    changed = change(collection.record)
    added = loaded_ids(changed) - loaded_ids(collection.record)
    if added:
        collection.check_memory(changed)
    try:
        if added:
            collection.snapshot().open_files(tuple(added))
        collection.revise(change)
    except BaseException:
        collection.close_files()
        raise


def require_indexes(name: str, schema: Schema, indexes: Iterable[IndexSpec]) -> None:
    """Refuse to load a collection before each of its vector fields has an index.

    Raises: IndexNotFound.
    """
    indexed = {spec.field for spec in indexes}
    for field in schema.vectors:
        if field.name not in indexed:
            raise IndexNotFound(f"collection {name!r} has no index on field {field.name!r}; call create_index first")


def read_indexes(schema: Schema, params: Iterable[IndexParam]) -> list[IndexSpec]:
    """Return the definitions of indexes from pymilvus's, checked.

    Raises: IndexExists: two that differ are for one field or have one name. As `read_index`.
    """
    specs: list[IndexSpec] = []
    for param in params:
        spec = read_index(schema, param)
        other = next((s for s in specs if s != spec and (s.field == spec.field or s.name == spec.name)), None)
        if other is not None:
            raise IndexExists(f"indexes {other.name!r} and {spec.name!r} are for one field or have one name; give one")
        specs.append(spec)
    return specs


def read_index(schema: Schema, param: IndexParam) -> IndexSpec:
    """Return the definition of an index from pymilvus's, checked.

    Raises: InvalidArgument, InvalidName, FieldNotFound, MissingDependency, NotSupported.
    """
    field = arguments.field_of(schema, param.field_name)
    configs = dict(param.get_index_configs())
    index_type = str(configs.pop("index_type", "")) or AUTO_INDEX
    metric = configs.pop("metric_type", None)
    params = {} if index_type.upper() in AUTO_TYPES else {k: v for k, v in configs.items() if k not in _STORAGE_PARAMS}
    name = check_name("index", param.index_name) if param.index_name else field.name
    if not field.is_vector:
        check_scalar_index(field, index_type, {**params, "metric_type": metric} if metric else params)
        return IndexSpec(field.name, name, index_type, "", params)
    if is_scalar_type(index_type):
        raise InvalidArgument(
            f"index type {index_type} on {field.name!r} is not allowed: it is for scalar fields; choose one of "
            f"{', '.join(index_types())}, AUTOINDEX"
        )
    metric = metric or DEFAULT_METRICS.get(field.dtype, DEFAULT_METRIC)
    index_type = named_type(index_type, field.dtype)
    check_definition(field, index_type, metric, params)
    return IndexSpec(field.name, name, index_type, metric, params)


def _index_named(collection: Collection, name: str) -> IndexSpec | None:
    return next((spec for spec in collection.record.indexes if spec.name == name), None)


def _n_pending(collection: Collection, spec: IndexSpec) -> int:
    """Return the rows that wait for the index. A short rest is scanned as fast, and waits for nothing."""
    n_rows = collection.n_unindexed(spec.field)
    return n_rows if n_rows >= MIN_INDEXED_ROWS else 0
