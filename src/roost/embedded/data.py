"""Rows of the embedded client: insert, upsert, delete, get, query, search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pymilvus.client.search_result import SearchResult
from pymilvus.client.types import HybridExtraList, OmitZeroDict

from roost.embedded import arguments, results
from roost.embedded.auto_keys import KEYS
from roost.embedded.session import Session, readable_partitions
from roost.engine.collection import Collection
from roost.engine.columns import Batch
from roost.engine.filter import Predicate, compile_filter
from roost.engine.keys import key_array
from roost.engine.query import Places
from roost.engine.records import DEFAULT_PARTITION
from roost.engine.rows import batch_from_rows
from roost.engine.schema import SPARSE
from roost.engine.search import Request
from roost.engine.sparse_vectors import sparse_queries
from roost.engine.vectors import query_matrix
from roost.errors import InvalidArgument, InvalidArgumentType, InvalidData, InvalidFilter, NotSupported

_COMMON: Final = frozenset({"_async", "_callback", "namespace"})
_INSERT_OPTIONS: Final = _COMMON
_UPSERT_OPTIONS: Final = _COMMON | {"partial_update", "field_ops"}
_QUERY_OPTIONS: Final = _COMMON | {
    "group_by_fields",
    "ignore_growing",
    "iterator",
    "order_by",
    "order_by_fields",
    "strict_float32",
}
_SEARCH_OPTIONS: Final = _COMMON | {
    "group_by_field",
    "group_by_fields",
    "group_size",
    "ignore_growing",
    "is_embedding_list",
    "iterator",
    "json_path",
    "json_type",
    "order_by_fields",
    "page_retain_order",
    "strict_cast",
    "strict_group_size",
}


class RowMethods(Session):
    """The methods of `MilvusClient` that read and write rows."""

    def insert(
        self,
        collection_name: str,
        data: dict[str, Any] | list[dict[str, Any]],
        timeout: float | None = None,
        partition_name: str | None = "",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Add rows; a row whose primary key exists takes the place of the old one. All are stored, or none.

        Returns: "insert_count" and the primary keys as "ids".
        Raises: InvalidData, DimensionMismatch, NotFinite, DuplicateKey: of the first row that does not
            fit. CollectionNotFound, PartitionNotFound, ReadOnly, StorageFull.
        """
        rows = _as_rows(data)
        if not rows:
            return {"insert_count": 0, "ids": []}
        arguments.refuse("insert", kwargs, _INSERT_OPTIONS)
        collection = self._collection(collection_name, timeout)
        partition = _partition(partition_name) or DEFAULT_PARTITION
        batch = batch_from_rows(collection.schema, rows, lambda n: KEYS.take(collection, n))
        collection.insert(batch, partition)
        return results.insert_result(_ids(batch, collection))

    def upsert(
        self,
        collection_name: str,
        data: dict[str, Any] | list[dict[str, Any]],
        timeout: float | None = None,
        partition_name: str | None = "",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Replace rows by primary key, and add those that are new, in one step.

        Returns: "upsert_count" and the primary keys as "ids".
        Raises: as `insert`. NotSupported: partial updates, or the collection makes its own keys.
        """
        rows = _as_rows(data)
        if not rows:
            return {"upsert_count": 0, "ids": []}
        arguments.refuse("upsert", kwargs, _UPSERT_OPTIONS)
        collection = self._collection(collection_name, timeout)
        if collection.schema.primary.auto_id:
            if collection.schema.primary.name not in rows[0]:
                raise InvalidData(
                    f"row 0: upsert needs the primary key {collection.schema.primary.name!r} of every row"
                )
            raise NotSupported("upsert: the embedded engine does not have upsert with auto_id yet; delete, then insert")
        partition = _partition(partition_name) or DEFAULT_PARTITION
        batch = batch_from_rows(collection.schema, rows)
        collection.insert(batch, partition)
        return results.upsert_result(_ids(batch, collection))

    def delete(
        self,
        collection_name: str,
        ids: list[Any] | str | int | None = None,
        timeout: float | None = None,
        filter: str | None = None,
        partition_name: str | None = None,
        **kwargs: Any,
    ) -> OmitZeroDict:
        """Remove rows by primary key or by filter.

        Returns: "delete_count", the number of rows that were there.
        Raises: InvalidArgument: both or neither are given. InvalidFilter. CollectionNotFound.
            CollectionNotLoaded: for a filter. PartitionNotFound.
        """
        arguments.refuse("delete", kwargs, _COMMON)
        given = [*_key_list("pks", kwargs.get("pks")), *_key_list("ids", ids)]
        partition = _partition(partition_name)
        names = [partition] if partition else None
        if given and filter:
            raise InvalidArgument("delete takes ids= or filter=, not both")
        if given:
            collection = self._collection(collection_name, timeout)
            partitions = collection.partition_ids(names)
            return results.delete_result(collection.delete(_keys(collection, given), partitions))
        if not isinstance(filter, str) or not filter.strip():
            raise InvalidFilter(
                f"delete needs ids= or a filter= that is not empty; given ids={ids!r}, filter={filter!r}"
            )
        collection = self._loaded(collection_name, timeout)
        partitions = collection.partition_ids(names)
        predicate = _compiled(collection, filter, kwargs.get("filter_params"))
        return results.delete_result(collection.delete_where(predicate, partitions))

    def get(
        self,
        collection_name: str,
        ids: list[Any] | str | int,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        partition_names: list[str] | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return the rows of some primary keys, ordered by key; keys that no row has are left out.

        Raises: as `query`.
        """
        given = ids if isinstance(ids, list) else [ids]
        if not given:
            return []
        arguments.refuse("get", kwargs, _QUERY_OPTIONS)
        arguments.check_consistency(kwargs)
        arguments.check_str_list("output_fields", output_fields)
        collection = self._loaded(collection_name, timeout)
        partitions = read_partitions(collection, partition_names)
        return _rows(collection, collection.query(keys=_keys(collection, given), partitions=partitions), output_fields)

    def query(
        self,
        collection_name: str,
        filter: str = "",
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        ids: list[Any] | str | int | None = None,
        partition_names: list[str] | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return rows by filter or by primary key, ordered by key; or their number, for ["count(*)"].

        Keyword options: limit, offset, filter_params.
        Raises: InvalidFilter, InvalidArgument, FieldNotFound, CollectionNotFound, CollectionNotLoaded,
            PartitionNotFound, NotSupported.
        """
        arguments.refuse("query", kwargs, _QUERY_OPTIONS)
        arguments.check_consistency(kwargs)
        if filter and ids is not None:
            raise InvalidArgument("query takes ids= or filter=, not both")
        arguments.check_str_list("output_fields", output_fields)
        collection = self._loaded(collection_name, timeout)
        partitions = read_partitions(collection, partition_names)
        predicate = read_filter(collection, filter, kwargs.get("filter_params"))
        wanted = _keys(collection, ids if isinstance(ids, list) else [ids]) if ids is not None and ids != [] else None
        if output_fields and results.COUNT in {name.lower() for name in output_fields}:
            return _count(collection, wanted, predicate, partitions, output_fields, kwargs)
        offset = arguments.check_offset(kwargs.get("offset"))
        limit = kwargs.get("limit")
        if limit is not None:
            limit = arguments.check_limit(limit, offset)
        elif predicate is None and wanted is None:
            raise InvalidArgument("query without filter= or ids= needs limit=, the largest number of rows to return")
        first = None if limit is None else offset + limit
        places = collection.query(predicate=predicate, keys=wanted, partitions=partitions, first=first)
        return _rows(collection, places.page(offset, limit), output_fields)

    def search(
        self,
        collection_name: str,
        data: Any = None,
        filter: str = "",
        limit: int = 10,
        output_fields: list[str] | None = None,
        search_params: dict[str, Any] | None = None,
        timeout: float | None = None,
        partition_names: list[str] | None = None,
        anns_field: str | None = None,
        ranker: Any = None,
        function_chains: Any = None,
        highlighter: Any = None,
        ids: Any = None,
        search_aggregation: Any = None,
        **kwargs: Any,
    ) -> SearchResult:
        """Return the nearest rows of each query vector, nearest first.

        Args:
            data: a list of vectors (lists of numbers, 1-d float arrays, bytes of float32) or a 2-d array.
            search_params: {"metric_type": ..., "params": {"ef": ..., "radius": ..., "range_filter": ...}}, or flat.
        Keyword options: offset, round_decimal, filter_params.
        Raises: as `query`. DimensionMismatch, NotFinite: of a query vector.
        """
        if not (ranker is function_chains is highlighter is ids is search_aggregation is None):
            _refuse_search(data, ids, ranker, function_chains, highlighter, search_aggregation)
        collection = self._loaded(collection_name, timeout)
        request, plan = search_request(
            collection, data, filter, limit, search_params, partition_names, anns_field, kwargs
        )
        arguments.check_str_list("output_fields", output_fields)
        output = results.choose_output(collection.schema, output_fields, with_primary=False)
        hits = collection.search(request)
        return results.search_result(hits, request.metric, output, plan.offset, plan.round_decimal)


def search_request(
    collection: Collection,
    data: Any,
    filter: str,
    limit: int,
    search_params: dict[str, Any] | None,
    partition_names: list[str] | None,
    anns_field: str | None,
    options: Mapping[str, Any],
) -> tuple[Request, arguments.SearchPlan]:
    """Return what the arguments of a search ask for, checked.

    Raises: as `RowMethods.search`.
    """
    if options:
        arguments.refuse("search", options, _SEARCH_OPTIONS)
        arguments.check_consistency(options)
    _, field, index, plan, depth = arguments.prepare(collection.record, search_params, limit, anns_field, options)
    predicate = read_filter(collection, filter, options.get("filter_params"))
    queries = sparse_queries(field, data) if field.dtype is SPARSE else query_matrix(field, data)
    if len(queries) > arguments.MAX_WINDOW:
        raise InvalidArgument(f"{len(queries)} queries in one search; at most {arguments.MAX_WINDOW} are allowed")
    partitions = read_partitions(collection, partition_names)
    request = Request(
        queries,
        field.name,
        depth,
        index.metric,
        index,
        plan.params,
        predicate,
        partitions,
        plan.within,
        plan.beyond,
    )
    return request, plan


def _as_rows(data: Any) -> list[Any]:
    rows = [data] if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise InvalidArgumentType(f"data= is a {type(data).__name__}; it must be a dict or a list of dict, one a row")
    return rows


def _ids(batch: Batch, collection: Collection) -> list[Any]:
    keys: list[Any] = key_array(batch.scalars.column(collection.schema.primary.name)).tolist()
    return keys


def _key_list(name: str, given: Any) -> list[Any]:
    """Return primary keys that `delete` was given, as a list."""
    if given is None:
        return []
    keys = [given] if isinstance(given, (int, str)) else given
    if not isinstance(keys, list) or not all(isinstance(key, (int, str)) for key in keys):
        raise InvalidArgumentType(f"{name}={given!r} is not allowed: it must be an int, a str, or a list of them")
    return keys


def _keys(collection: Collection, given: list[Any]) -> list[Any]:
    """Return primary keys in the type of the collection's: a str of digits is an int there, and an int a str."""
    primary = collection.schema.primary
    if primary.max_length is not None:
        for key in given:
            if not isinstance(key, (str, int, np.integer)) or isinstance(key, bool):
                raise InvalidArgument(f"primary key {key!r} is not allowed: {primary.name!r} is a VARCHAR, give str")
        return [str(key) for key in given]
    keys = []
    for key in given:
        try:
            number = int(key) if isinstance(key, (int, str, np.integer)) and not isinstance(key, bool) else None
        except ValueError:
            number = None
        if number is None or not -(2**63) <= number < 2**63:
            raise InvalidArgument(f"primary key {key!r} is not allowed: {primary.name!r} is an INT64, give int")
        keys.append(number)
    return keys


def read_filter(collection: Collection, filter: Any, params: Any) -> Predicate | None:
    """Return the filter of a search or a query, or None where there is none. Raises: InvalidFilter, InvalidArgument."""
    if not filter:
        return None
    if not isinstance(filter, str):
        raise InvalidFilter(
            f"filter={filter!r} is a {type(filter).__name__}; a filter is a str, for example 'age > 20'"
        )
    return _compiled(collection, filter, params) if filter.strip() else None


def _compiled(collection: Collection, filter: str, params: Any) -> Predicate:
    if params is not None and not isinstance(params, Mapping):
        raise InvalidArgument(
            f"filter_params={params!r} is not allowed: it is a dict from a template's name to its value"
        )
    return compile_filter(filter, collection.schema, params)


def _partition(name: Any) -> str | None:
    """Return the name of the one partition that a write is for, or None for no choice."""
    if not name:
        return None
    arguments.check_str("partition_name", name)
    return str(name)


def read_partitions(collection: Collection, names: Any) -> tuple[int, ...] | None:
    if names is not None:
        arguments.check_str_list("partition_names", names)
    return readable_partitions(collection, names)


def _rows(collection: Collection, places: Places, output_fields: list[str] | None) -> HybridExtraList:
    output = results.choose_output(collection.schema, output_fields or [results.ALL_FIELDS], with_primary=True)
    return results.query_result(results.entities(collection.schema, places, output, len(places), wraps_bytes=True))


def _count(
    collection: Collection,
    keys: list[Any] | None,
    predicate: Predicate | None,
    partitions: tuple[int, ...] | None,
    output_fields: list[str],
    options: Mapping[str, Any],
) -> HybridExtraList:
    if len(output_fields) > 1 or options.get("limit") is not None or options.get("offset"):
        raise InvalidArgument(f"{results.COUNT!r} is asked for alone, without other output fields, limit or offset")
    if keys is not None:
        n_rows = len(collection.query(keys=keys, partitions=partitions))
    else:
        n_rows = collection.count(predicate, partitions)
    return results.query_result([{results.COUNT: n_rows}])


def _refuse_search(data: Any, ids: Any, *features: Any) -> None:
    if ids is not None and data is not None:
        raise InvalidArgument("search takes data= or ids=, not both")
    names = ("ranker", "function_chains", "highlighter", "search_aggregation")
    wanted = next((name for name, value in zip(names, features, strict=True) if value is not None), "ids")
    raise NotSupported(f"search({wanted}=...): the embedded engine does not have {wanted} yet")
