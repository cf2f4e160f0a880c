"""Searches and queries with an account of what each part of the snapshot did for them.

What is reported is what the search that was run noted (`roost.engine.trace`). The filter is evaluated once more beside
it, as the search takes a mask that is remembered where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from roost.engine.filter import Estimate, Leaf, Predicate
from roost.engine.search import Hits, Request, search
from roost.engine.segment import IndexSpec, Segment
from roost.engine.snapshot import Part, Partitions, Snapshot
from roost.engine.trace import Step, Trace


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the filter did to the rows of a part.

    Attributes:
        estimate: of the part of the candidates that pass, made before the filter was evaluated.
        selectivity: the part that passes.
        leaves: its conditions, as they were answered.
        time_ms: of the evaluation.
        was_remembered: whether a search finds the mask made.
    """

    estimate: Estimate
    selectivity: float
    leaves: tuple[Leaf, ...]
    time_ms: float
    was_remembered: bool


@dataclass(frozen=True, slots=True)
class PartReport:
    """What one part of the snapshot did.

    Attributes:
        segment_id: None for the tail.
        n_live: rows that are not deleted.
        n_candidates: of these, the rows in the partitions asked for.
        n_allowed: of these, the rows that pass the filter.
        index: state of the vector index: "used", "damaged", "not built", or "not needed" where all rows are of other
            partitions; None where none was asked for.
        scalar_indexes: the fields that have a usable index here; none is looked at where all rows are of others.
        steps: of the search, in order.
        time_ms: of the search, the filter included where its mask was not remembered.
    """

    segment_id: int | None
    n_rows: int
    n_live: int
    n_candidates: int
    n_allowed: int
    index: str | None
    scalar_indexes: tuple[str, ...]
    filter: FilterReport | None
    steps: tuple[Step, ...] = ()
    time_ms: float = 0.0


def explain_search(snapshot: Snapshot, request: Request) -> tuple[Hits, list[PartReport]]:
    """Run a search and return its hits and what each part did.

    Raises: Corruption: a file that the search needs is damaged.
    """
    parts = snapshot.parts
    for part in parts:
        held = None if request.spec is None or part.is_outside(request.partitions) else part.vector_index(request.spec)
        if held is not None:
            held.usable()  # to open an index is no part of a search, though the first one does
    filters = [_explain_filter(part, request.predicate, request.partitions) for part in parts]
    traces: list[Trace] = []
    hits = search(snapshot, request._replace(traces=traces))
    reports = []
    for number, (part, found) in enumerate(zip(parts, filters, strict=True)):
        # A range search may look through the parts several times, deeper each time.
        of_part = traces[number :: len(parts)]
        reports.append(_report(part, request.predicate, request.partitions, request.spec, found, of_part))
    return hits, reports


def explain_filter(snapshot: Snapshot, predicate: Predicate | None, partitions: Partitions) -> list[PartReport]:
    """Return what a filter does to each part, without a search.

    Raises: Corruption: a file that the filter needs is damaged.
    """
    return [
        _report(part, predicate, partitions, None, _explain_filter(part, predicate, partitions), [])
        for part in snapshot.parts
    ]


def _explain_filter(part: Part, predicate: Predicate | None, partitions: Partitions) -> FilterReport | None:
    if predicate is None or part.is_outside(partitions):
        return None
    candidates = part.select(None, partitions)
    among = None if candidates is None else candidates.mask
    estimate = predicate.estimate(part, among)
    leaves: list[Leaf] = []
    was_remembered, started = part.remembers(predicate), time.perf_counter()
    mask = predicate.evaluate(part, leaves)
    time_ms = 1e3 * (time.perf_counter() - started)
    kept = mask if among is None else mask[among]
    selectivity = float(kept.mean()) if len(kept) else 0.0
    return FilterReport(estimate, selectivity, tuple(leaves), time_ms, was_remembered)


def _report(
    part: Part,
    predicate: Predicate | None,
    partitions: Partitions,
    spec: IndexSpec | None,
    found: FilterReport | None,
    traces: Sequence[Trace],
) -> PartReport:
    candidates, allowed = part.select(None, partitions), part.select(predicate, partitions)
    held = None if spec is None else part.indexes.get(spec.index_id)
    is_outside = part.is_outside(partitions)
    is_built = "damaged" if held is not None and held.is_damaged else "not needed" if is_outside else "used"
    state = None if spec is None else "not built" if held is None else is_built
    fields = (other.spec.field for other in part.indexes.values() if other.spec.is_scalar and not is_outside)
    return PartReport(
        segment_id=part.rows.segment_id if isinstance(part.rows, Segment) else None,
        n_rows=part.n_rows,
        n_live=part.n_rows - part.n_dead,
        n_candidates=part.n_rows if candidates is None else candidates.count,
        n_allowed=part.n_rows if allowed is None else allowed.count,
        index=state,
        scalar_indexes=tuple(field for field in fields if part.scalar_index(field) is not None),
        filter=found,
        steps=tuple(step for trace in traces for step in trace.steps),
        time_ms=sum(trace.time_ms for trace in traces),
    )
