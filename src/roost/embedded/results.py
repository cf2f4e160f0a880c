"""Columns of the engine to the result objects of pymilvus.

Milvus's sign of distances lives here: similarity for IP and COSINE, distance for other metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import orjson
from pymilvus import DataType
from pymilvus.client.constants import ITERATOR_SESSION_TS_FIELD
from pymilvus.client.search_result import Hit, HybridHits, SearchResult
from pymilvus.client.types import HybridExtraList, OmitZeroDict

from roost.engine.index.parameters import SIMILARITIES
from roost.engine.schema import DYNAMIC_FIELD, Schema
from roost.engine.search import Hits
from roost.engine.sparse_vectors import sparse_value
from roost.errors import FieldNotFound, InvalidArgument

COUNT = "count(*)"
ALL_FIELDS = "*"


@dataclass(frozen=True, slots=True)
class Output:
    """Which fields a result shows.

    Attributes:
        names: fields of the schema, in its order.
        dynamic_keys: keys to show of the dynamic field; empty for none, None for all of them.
    """

    names: tuple[str, ...]
    dynamic_keys: frozenset[str] | None = frozenset()


class Rows(Protocol):
    """Rows whose fields can be taken: `Hits` and `Places`."""

    def take(self, name: str) -> Any: ...


def choose_output(schema: Schema, wanted: Sequence[str] | None, *, with_primary: bool) -> Output:
    """Return what `output_fields` asks for.

    Args:
        with_primary: show the primary key unasked, as a query does.
    Raises: FieldNotFound: a name is not in the schema, and the collection has no dynamic field.
    """
    if not wanted and not with_primary:
        return _NOTHING
    asked = {schema.primary.name} if with_primary else set()
    asked.update(wanted or ())
    if COUNT in {name.lower() for name in asked}:
        raise InvalidArgument(f"{COUNT!r} is an output field of query, alone and without limit or offset")
    everything = ALL_FIELDS in asked
    names = tuple(f.name for f in schema.fields if not f.is_dynamic and (everything or f.name in asked))
    others = asked - set(names) - {ALL_FIELDS, DYNAMIC_FIELD}
    if not schema.enable_dynamic:
        for name in sorted(others):
            raise FieldNotFound(
                f"output field {name!r} does not exist; the collection has: {', '.join(schema.by_name)}"
            )
        return Output(names)
    return Output(names, None if everything or DYNAMIC_FIELD in asked else frozenset(others))


_NOTHING = Output(())


def entities(
    schema: Schema, rows: Rows, output: Output, n_rows: int, *, wraps_bytes: bool = False
) -> list[dict[str, Any]]:
    """Return the chosen fields of rows, one dict a row.

    Args:
        wraps_bytes: give a vector that is bytes as a list of one, as pymilvus does for the rows of a query.
    """
    if not output.names:
        found: list[dict[str, Any]] = [{} for _ in range(n_rows)]
    else:
        columns = [_values(schema, rows, name, wraps_bytes) for name in output.names]
        found = [dict(zip(output.names, values, strict=True)) for values in zip(*columns, strict=True)]
    keys = output.dynamic_keys
    if schema.enable_dynamic and (keys is None or keys):
        for entity, extra in zip(found, _values(schema, rows, DYNAMIC_FIELD), strict=True):
            entity.update(extra if keys is None else {k: v for k, v in extra.items() if k in keys})
    return found


def _values(schema: Schema, rows: Rows, name: str, wraps_bytes: bool = False) -> list[Any]:
    """Return a field of rows as Python's own values; vectors of other types than FLOAT_VECTOR are bytes."""
    field = schema.field(name)
    column = rows.take(name)
    if isinstance(column, np.ndarray):
        vectors: list[Any] = column.tolist() if field.dtype == DataType.FLOAT_VECTOR else list(map(bytes, column))
        return [[v] for v in vectors] if wraps_bytes and field.dtype != DataType.FLOAT_VECTOR else vectors
    values: list[Any] = column.to_pylist()
    if field.dtype == DataType.SPARSE_FLOAT_VECTOR:
        return list(map(sparse_value, values))
    return [orjson.loads(v) for v in values] if field.dtype == DataType.JSON else values


class _FoundHits(HybridHits):
    """The hits of one query, complete when made."""

    has_materialized = True
    start = 0

    def __init__(self, hits: list[Hit], ids: list[Any], distances: list[float]) -> None:
        list.__init__(self, hits)
        self.ids = ids
        self.distances = distances
        self.lazy_field_data = []
        self.dynamic_fields = []

    def materialize(self) -> None:
        """Do nothing: there is nothing left to decode."""

    __getitem__ = list.__getitem__
    __iter__ = list.__iter__


class _FoundResult(SearchResult):
    """The hits of every query of a search."""

    _search_iterator_v2_results = None
    _session_ts = 0

    def __init__(self, queries: list[_FoundHits]) -> None:
        list.__init__(self, queries)
        self.recalls = None
        self.extra: dict[str, Any] = {}
        self.agg_buckets: list[Any] = []


@lru_cache(maxsize=256)
def _hit_type(primary: str) -> type[Hit]:
    """Return `Hit` for collections whose primary key has that name.

    The name is the class's rather than each hit's, and values are looked up as a dict's, which halves the time to make
    a result, and to read it.
    """

    def reduce(hit: Hit) -> tuple[Any, ...]:
        return _plain_hit, (dict(hit), primary)

    def of_entity(hit: Hit, key: str) -> Any:
        if key == "entity":
            raise KeyError(key)
        return dict.__getitem__(hit, "entity")[key]

    members = {
        "__init__": dict.__init__,
        "__getitem__": dict.__getitem__,
        "__missing__": of_entity,
        "__reduce__": reduce,
        "_pk_name": primary,
        "__module__": __name__,
    }
    return type("Hit", (Hit,), members)


def _plain_hit(values: dict[str, Any], primary: str) -> Hit:
    return Hit(values, pk_name=primary)


def search_result(hits: Hits, metric: str, output: Output, offset: int = 0, round_decimal: int = -1) -> SearchResult:
    """Return hits as pymilvus's client does.

    Args:
        offset: hits of each query to leave out at the front.
    """
    schema = hits.snapshot.schema
    primary = schema.primary.name
    make = _hit_type(primary)
    ids = hits.listed_keys
    distances = (-hits.distances if metric in SIMILARITIES else hits.distances).tolist()
    if round_decimal > 0:
        distances = [round(distance, round_decimal) for distance in distances]
    found = []
    for key, distance in zip(ids, distances, strict=True):
        hit = make()
        hit[primary] = key
        hit["distance"] = distance
        hit["entity"] = {}
        found.append(hit)
    if output is not _NOTHING:
        for hit, entity in zip(found, entities(schema, hits, output, len(ids)), strict=True):
            hit["entity"] = entity
    if len(hits.counts) == 1 and not offset:
        return _FoundResult([_FoundHits(found, ids, distances)])
    queries = []
    end = 0
    for count in hits.counts:
        start, end = min(end + offset, end + count), end + count
        queries.append(_FoundHits(found[start:end], ids[start:end], distances[start:end]))
    return _FoundResult(queries)


def query_result(rows: list[dict[str, Any]]) -> HybridExtraList:
    """Return rows as pymilvus's client does."""
    return HybridExtraList([], rows, extra={"cost": 0, ITERATOR_SESSION_TS_FIELD: 0})


def insert_result(ids: list[Any]) -> OmitZeroDict:
    return OmitZeroDict({"insert_count": len(ids), "ids": ids, "cost": 0})


def upsert_result(ids: list[Any]) -> OmitZeroDict:
    return OmitZeroDict({"upsert_count": len(ids), "cost": 0, "ids": ids})


def delete_result(n_deleted: int) -> OmitZeroDict:
    return OmitZeroDict({"delete_count": n_deleted, "cost": 0})
