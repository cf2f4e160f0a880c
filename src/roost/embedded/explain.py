"""`explain`: how a search or a query is carried out. Roost's own; pymilvus's client has no such method."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from roost.embedded import arguments, results
from roost.embedded.data import RowMethods, read_filter, read_partitions, search_request
from roost.engine.collection import Collection
from roost.engine.explain import FilterReport, PartReport, explain_filter, explain_search
from roost.engine.search import Request
from roost.engine.trace import Step
from roost.errors import InvalidArgument

DEFAULT_LIMIT: Final = 10
"""The rows that a search finds for each query where it is not told."""

_QUERY_OPTIONS: Final = ("filter_params", "consistency_level")
"""The keyword options that the account of a query's filter takes."""


class ExplainMethods(RowMethods):
    """What tells how rows are found, beside the methods that find them."""

    def explain(
        self,
        collection_name: str,
        data: Any = None,
        filter: str = "",
        limit: int = DEFAULT_LIMIT,
        search_params: dict[str, Any] | None = None,
        anns_field: str | None = None,
        partition_names: list[str] | None = None,
        timeout: float | None = None,
        quiet: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Run a search, or the filter of a query where `data` is None, and return how it was carried out.

        The search is the one that `search` runs; the filter is evaluated once more, for the account of it.

        Args:
            quiet: return the account and do not print it.
        Returns: a dict of builtin values. "parts" has one entry for each segment and for the tail (the rows that no
            segment holds yet). docs/filters.md explains the entries.
        Raises: as `search` and `query`. InvalidArgument: neither data nor filter is given; or an argument of a search
            (limit, search_params, anns_field, or one that `query` does not know) is given without data.
        """
        collection = self._loaded(collection_name, timeout)
        started = time.perf_counter()
        if data is None:
            named = {"limit": None if limit == DEFAULT_LIMIT else limit, "search_params": search_params}
            _refuse_options({**named, "anns_field": anns_field, **kwargs})
            report, parts = _of_filter(collection, filter, partition_names, kwargs)
        else:
            request, plan = search_request(
                collection, data, filter, limit, search_params, partition_names, anns_field, kwargs
            )
            report, parts = _of_search(collection, filter, request, plan)
        report["parts"] = [_part(part) for part in parts]
        report["time_ms"] = 1e3 * (time.perf_counter() - started)
        if not quiet:
            print(in_text(report))
        return report


def _refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse what the filter of a query has no use for.

    Raises:
        InvalidArgument: an option is set that belongs to a search, or to nothing.
        InvalidConsistencyLevel: of a level that there is none of.
    """
    for name, value in options.items():
        is_set = value is not None and not (isinstance(value, (bool, dict, str)) and not value)
        if is_set and name not in _QUERY_OPTIONS:
            raise InvalidArgument(
                f"explain({name}={value!r}) is not allowed without data=, the vectors of a search: the filter of a "
                f"query takes {', '.join(_QUERY_OPTIONS)} and partition_names; give data=, or leave {name} out"
            )
    arguments.check_consistency(options)


def _of_filter(
    collection: Collection, filter: str, partition_names: list[str] | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[PartReport]]:
    """Evaluate the filter of a query; return the report without its parts, and these."""
    predicate = read_filter(collection, filter, options.get("filter_params"))
    if predicate is None:
        raise InvalidArgument("explain needs data=, the vectors of a search, or filter=, that of a query")
    partitions = read_partitions(collection, partition_names)
    collection.require_present()
    return {"collection": collection.name, "filter": filter}, explain_filter(
        collection.snapshot(), predicate, partitions
    )


def _of_search(
    collection: Collection, filter: str, request: Request, plan: arguments.SearchPlan
) -> tuple[dict[str, Any], list[PartReport]]:
    """Run a search; return the report without its parts, and these."""
    collection.require_present()
    hits, parts = explain_search(collection.snapshot(), request)
    output = results.choose_output(collection.schema, None, with_primary=False)
    shown = results.search_result(hits, request.metric, output, plan.offset, plan.round_decimal)
    report = {
        "collection": collection.name,
        "filter": filter,
        "field": request.field,
        "index_type": "" if request.spec is None else request.spec.index_type,
        "metric_type": request.metric,
        "n_queries": len(request.queries),
        "limit": request.k - plan.offset,
        "hits": [[{"id": hit.id, "distance": hit.distance} for hit in one] for one in shown],
    }
    return report, parts


def _part(part: PartReport) -> dict[str, Any]:
    return {
        "part": "tail" if part.segment_id is None else f"segment {part.segment_id}",
        "rows": part.n_rows,
        "live_rows": part.n_live,
        "candidates": part.n_candidates,
        "allowed_rows": part.n_allowed,
        "index": part.index,
        "scalar_indexes": list(part.scalar_indexes),
        "filter": None if part.filter is None else _filter(part.filter),
        "steps": [_step(step) for step in part.steps],
        "time_ms": part.time_ms,
    }


def _filter(found: FilterReport) -> dict[str, Any]:
    return {
        "estimated_selectivity": found.estimate.fraction,
        "estimated_from": found.estimate.origin,
        "selectivity": found.selectivity,
        "was_remembered": found.was_remembered,
        "time_ms": found.time_ms,
        "conditions": [
            {
                "condition": leaf.condition,
                "index": leaf.index,
                "selectivity": leaf.fraction,
                "time_ms": leaf.time_ms,
            }
            for leaf in found.leaves
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "method": step.method,
        "width": step.width,
        "n_queries": step.n_queries,
        "n_kept": step.n_kept,
        "comparisons": step.comparisons,
        "estimated_ms": step.cost_ms,
        "reason": step.reason,
    }


def in_text(report: dict[str, Any]) -> str:
    """Return what `explain` returned as text for a reader."""
    lines = [f"query of {report['collection']}"]
    if "hits" in report:
        how = f"{report['field']} ({report['index_type']}, {report['metric_type']})"
        n_queries = _counted(report["n_queries"], "query", "queries")
        lines = [f"search of {report['collection']} by {how}: {n_queries}, the nearest {report['limit']}"]
    if report["filter"]:
        lines.append(f"filter: {report['filter']}")
    for part in report["parts"]:
        lines.extend(_part_in_text(part))
    lines.append(f"{report['time_ms']:.2f} ms, the account included")
    return "\n".join(lines)


def _part_in_text(part: dict[str, Any]) -> list[str]:
    within = "" if part["candidates"] == part["live_rows"] else f", {part['candidates']:,} in the partitions"
    index = "" if part["index"] is None else f"; vector index {part['index']}"
    searched = f"; {part['time_ms']:.2f} ms" if part["steps"] else ""
    lines = [f"{part['part']}: {_rows(part['rows'])}, {part['live_rows']:,} live{within}{index}{searched}"]
    found = part["filter"]
    if found is not None:
        lines.append(
            f"  filter keeps {_rows(part['allowed_rows'])}, {found['selectivity']:.2%}; "
            f"{found['estimated_selectivity']:.2%} expected from {_ORIGINS[found['estimated_from']]}; "
            f"{found['time_ms']:.2f} ms{', or none, as it is remembered' if found['was_remembered'] else ''}"
        )
        lines.extend(f"    {_condition_in_text(leaf)}" for leaf in found["conditions"])
    lines.extend(f"  {_step_in_text(step)}" for step in part["steps"])
    return lines


def _condition_in_text(leaf: dict[str, Any]) -> str:
    by = "read from the column" if leaf["index"] is None else f"from the index ({leaf['index']})"
    return f"{leaf['condition']}: {leaf['selectivity']:.2%}, {by}; {leaf['time_ms']:.2f} ms"


def _step_in_text(step: dict[str, Any]) -> str:
    width = f" at width {step['width']}" if step["width"] else ""
    cost = "" if step["estimated_ms"] is None else f", {step['estimated_ms']:.3f} ms expected"
    is_judged = step["method"] in ("traverse", "sketch")
    kept = f"; {step['n_kept']} of {step['n_queries']} answers trusted" if is_judged else ""
    n_queries = _counted(step["n_queries"], "query", "queries")
    return (
        f"{step['method']}{width}, {step['reason']}: {n_queries}, {step['comparisons']:,} comparisons each{cost}{kept}"
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _rows(count: int) -> str:
    return _counted(count, "row", "rows")


_ORIGINS = {"index": "an index", "sample": "a sample", "index and sample": "an index and a sample"}
