"""Arguments of the client's methods: checked as pymilvus and Milvus check them, with messages that help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from pymilvus import exceptions as milvus
from pymilvus.client.types import ConsistencyLevel, get_consistency_level

from roost.engine.index.parameters import SIMILARITIES
from roost.engine.index.registry import resolve_index
from roost.engine.records import CollectionRecord
from roost.engine.schema import Field, Schema
from roost.engine.segment import IndexSpec
from roost.errors import FieldNotFound, IndexNotFound, InvalidArgument, InvalidConsistencyLevel, NotSupported

MAX_WINDOW: Final = 16_384
"""Milvus's limit for limit + offset, and for the queries of one search."""

MAX_ROUND_DECIMAL: Final = 6

_LARGEST_DISTANCE: Final = float(np.finfo(np.float32).max)

_IGNORED_SEARCH_PARAMS: Final = frozenset(
    {
        "ef", "nprobe", "level", "search_list", "reorder_k", "itopk_size", "search_width", "min_iterations",
        "max_iterations", "team_size", "refine_k", "max_empty_result_buckets", "hints", "rbq_query_bits",
        "search_k", "efSearch", "drop_ratio_search",
    }
)  # fmt: skip
"""Search parameters of Milvus's index types; a type ignores those of the others."""


def check_collection_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"collection_name={name!r} is not allowed: it must be a str that is not empty")


def check_timeout(timeout: Any) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise InvalidArgument(
            f"timeout={timeout!r} is not allowed: it is a number of seconds from 0 on, or None to wait"
        )


def check_str(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}={value!r} is not allowed: it must be a str")


def as_properties(given: Any) -> dict[str, str]:
    """Return properties as Milvus keeps them: names and values are str. None stands for no properties."""
    if given is not None and not isinstance(given, Mapping):
        raise InvalidArgument(f"properties={given!r} is not allowed: it must be a dict")
    return {str(k): str(v) for k, v in (given or {}).items()}


def check_str_list(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise InvalidArgument(f"{name}={value!r} is not allowed: it must be a list of str, none of them empty")


def refuse(method: str, options: Mapping[str, Any], unsupported: frozenset[str]) -> None:
    """Refuse the options that would change the answer and that the engine does not have.

    Raises: NotSupported: one of them is set; it names the method and the option.
    """
    for name in unsupported.intersection(options):
        if options[name]:
            raise NotSupported(f"{method}({name}={options[name]!r}): the embedded engine does not have {name} yet")


def check_consistency(options: Mapping[str, Any]) -> None:
    """Check the level, which changes nothing here: every read sees every write that has returned.

    Raises: InvalidConsistencyLevel.
    """
    if options.get("consistency_level") is not None:
        consistency_level(options["consistency_level"])


def consistency_level(given: Any) -> int:
    """Return the number of a consistency level that is given by name or number. Raises: InvalidConsistencyLevel."""
    try:
        return int(get_consistency_level(given))
    except milvus.InvalidConsistencyLevel:
        known = ", ".join(ConsistencyLevel.keys())
        raise InvalidConsistencyLevel(f"consistency_level={given!r} is not allowed; choose one of {known}") from None


def check_offset(offset: Any) -> int:
    if offset is None:
        return 0
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise InvalidArgument(f"offset={offset!r} is not allowed: it is a whole number, 0 or more")
    return offset


def check_limit(limit: Any, offset: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidArgument(f"limit={limit!r} is not allowed: it is a whole number, 1 or more")
    if limit + offset > MAX_WINDOW:
        raise InvalidArgument(f"limit={limit} and offset={offset} together are more than {MAX_WINDOW}; page by filter")
    return limit


def check_depth(index: IndexSpec, plan: SearchPlan, limit: Any) -> int:
    """Return how many rows a search looks for, those that it leaves out at the front included.

    Raises: InvalidArgument: the limit, or a search parameter at that depth, is not allowed.
    """
    depth = check_limit(limit, plan.offset) + plan.offset
    if plan.params:
        resolve_index(index.index_type).search_width(depth, plan.params)
    return depth


def search_field(schema: Schema, name: str | None) -> Field:
    """Return the vector field to search.

    Raises: InvalidArgument: none is named and there are several, or it is no vector. FieldNotFound.
    """
    if not name:
        if len(schema.vectors) == 1:
            return schema.vectors[0]
        names = ", ".join(f.name for f in schema.vectors)
        raise InvalidArgument(f"the collection has several vector fields; name one of {names} in anns_field=")
    if not isinstance(name, str):
        raise InvalidArgument(f"anns_field={name!r} is not allowed: it is the name of a vector field")
    found = schema.field(name)
    if not found.is_vector:
        vectors = ", ".join(f.name for f in schema.vectors)
        raise InvalidArgument(
            f"anns_field={name!r} is a field of type {found.dtype.name}; vector fields are: {vectors}"
        )
    return found


def field_of(schema: Schema, name: str) -> Field:
    """Return a field that the user made. Raises: FieldNotFound."""
    found = schema.field(name)
    if found.is_dynamic:
        raise FieldNotFound(f"field {name!r} is hidden; it cannot be named")
    return found


class SearchPlan(NamedTuple):
    """What `search_params` and the keyword options of a search ask for.

    Attributes:
        params: of the index type.
        within: keep distances below this (smaller is closer), or None.
        beyond: keep distances at or above this, or None.
    """

    offset: int = 0
    round_decimal: int = -1
    params: Mapping[str, Any] = MappingProxyType({})
    within: float | None = None
    beyond: float | None = None


PLAIN_SEARCH: Final = SearchPlan()


def plan_search(index: IndexSpec, search_params: Any, options: Mapping[str, Any]) -> SearchPlan:
    """Read the search parameters, nested or flat.

    Args:
        index: of the searched field.
        options: the keyword options of the call.
    Raises: InvalidArgument: a parameter is unknown, given twice, of the wrong type or out of range; or
        the metric is not the index's.
    """
    if not search_params and not options:
        return PLAIN_SEARCH
    given = _flat(search_params or {})
    metric = given.pop("metric_type", None) or index.metric
    if metric != index.metric:
        raise InvalidArgument(
            f"metric_type={metric!r} does not fit index {index.name!r}, made with {index.metric!r}; leave it out"
        )
    own = resolve_index(index.index_type).search_params
    if not options and all(name in own for name in given):
        return SearchPlan(params=given)
    if "offset" in options and "offset" in given:
        raise InvalidArgument("offset is given both as an argument and in search_params; give it once")
    offset = check_offset(options.get("offset", given.pop("offset", None)))
    round_decimal = _check_round_decimal(options.get("round_decimal", given.pop("round_decimal", -1)))
    for name in ("ignore_growing", "page_retain_order", "group_by_field"):
        if given.pop(name, None):
            raise NotSupported(f"search(search_params={{{name!r}: ...}}): the embedded engine does not have it yet")
    within, beyond = _range(index.metric, given.pop("radius", None), given.pop("range_filter", None))
    params = {k: v for k, v in given.items() if k in own or k not in _IGNORED_SEARCH_PARAMS}
    for name in params:
        if name not in own:
            takes = ", ".join(("radius", "range_filter", *own))
            raise InvalidArgument(
                f"unknown search parameter {name!r} for index type {index.index_type}; it takes {takes}"
            )
    return SearchPlan(offset, round_decimal, params, within, beyond)


class Prepared(NamedTuple):
    """What a search asks for beside its queries, its filter and its partitions.

    Attributes:
        depth: how many rows it looks for, those that it leaves out at the front included.
    """

    record: CollectionRecord
    field: Field
    spec: IndexSpec
    plan: SearchPlan
    depth: int


_PREPARED: Final[dict[tuple[Any, ...], Prepared]] = {}
"""Of searches before. An entry holds its record, so its id is no other's meanwhile."""

_MAX_PREPARED: Final = 256
_MAX_PARAMS_LENGTH: Final = 200


def prepare(
    record: CollectionRecord, search_params: Any, limit: Any, anns_field: Any, options: Mapping[str, Any]
) -> Prepared:
    """Check the arguments of a search; those without options are remembered, as most searches repeat them.

    Raises: IndexNotFound: the field has none. Otherwise as `search_field`, `plan_search` and `check_limit`.
    """
    if options or type(limit) is not int or not (anns_field is None or type(anns_field) is str):
        return _prepare(record, search_params, limit, anns_field, options)
    # The text of the parameters tells 1 from 1.0 and True, which are equal.
    key = (id(record), repr(search_params), limit, anns_field)
    found = _PREPARED.get(key)
    if found is None:
        found = _prepare(record, search_params, limit, anns_field, options)
        if len(key[1]) <= _MAX_PARAMS_LENGTH:
            if len(_PREPARED) >= _MAX_PREPARED:
                _PREPARED.clear()
            _PREPARED[key] = found
    return found


def _prepare(
    record: CollectionRecord, search_params: Any, limit: Any, anns_field: Any, options: Mapping[str, Any]
) -> Prepared:
    field = search_field(record.schema, anns_field)
    index = record.index_of(field.name)
    if index is None:
        raise IndexNotFound(f"vector field {field.name!r} has no index; call create_index, then load_collection")
    plan = plan_search(index, search_params, options)
    return Prepared(record, field, index, plan, check_depth(index, plan, limit))


def _check_round_decimal(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not -1 <= given <= MAX_ROUND_DECIMAL:
        raise InvalidArgument(f"round_decimal={given!r} is not allowed: -1 for none, or 0 to {MAX_ROUND_DECIMAL}")
    return given


def _flat(search_params: Any) -> dict[str, Any]:
    if not isinstance(search_params, dict):
        raise InvalidArgument(f"search_params={search_params!r} is not allowed: it must be a dict")
    nested = search_params.get("params") or {}
    if not isinstance(nested, dict):
        raise InvalidArgument(f"search_params['params']={nested!r} is not allowed: it must be a dict")
    if len(search_params) == 1 and nested:
        return dict(nested)
    flat = dict(nested)
    for name, value in search_params.items():
        if name == "params":
            continue
        if name in flat and flat[name] != value:
            raise InvalidArgument(
                f"{name} is {value!r} in search_params and {flat[name]!r} in its 'params'; give it once"
            )
        flat[name] = value
    return flat


def _bound(given: float) -> float:
    """Return a number as distances can be compared with it: beyond float32 it is infinite."""
    if abs(given) <= _LARGEST_DISTANCE:
        return float(given)
    return math.inf if given > 0 else -math.inf


def _range(metric: str, radius: Any, range_filter: Any) -> tuple[float | None, float | None]:
    """Return the bounds of a range search as smaller-is-closer distances."""
    for name, value in (("radius", radius), ("range_filter", range_filter)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value != value):
            raise InvalidArgument(f"{name}={value!r} is not allowed: it is a number")
    if range_filter is not None and radius is None:
        raise InvalidArgument("range_filter needs radius: together they bound the distance from both sides")
    sign = -1.0 if metric in SIMILARITIES else 1.0
    within = None if radius is None else sign * _bound(radius)
    beyond = None if range_filter is None else sign * _bound(range_filter)
    if within is not None and beyond is not None and beyond >= within:
        wanted = "greater than" if metric in SIMILARITIES else "less than"
        raise InvalidArgument(f"range_filter={range_filter} must be {wanted} radius={radius} for metric {metric}")
    return within, beyond
