"""What searches lose by rows that no index covers yet."""

from __future__ import annotations

from collections.abc import Sequence

from roost.engine.compaction import takes_sketch
from roost.engine.contents import Contents
from roost.engine.index.sketch_frame import MAX_NUMBERS
from roost.engine.plan import Task, scan_cost_ns
from roost.engine.schema import Schema
from roost.engine.segment import IndexSpec

_K = 10
"""Neighbours that a search is taken to ask for."""


def waiting_ns(contents: Contents, specs: Sequence[IndexSpec]) -> float:
    """Return about how long one search scans rows that wait for an index; of the index that has most of them."""
    parts = list(contents.sealed.values())
    if contents.sealing is not None:
        parts.append(contents.sealing)
    schema, n_tail = contents.schema, contents.tail.n_rows
    return max(
        (
            sum(_scan_ns(spec, schema, part.n_rows) for part in parts if spec.index_id not in part.indexes)
            + _scan_ns(spec, schema, n_tail)
            for spec in specs
            if not spec.is_scalar
        ),
        default=0.0,
    )


def _scan_ns(spec: IndexSpec, schema: Schema, n_rows: int) -> float:
    if not n_rows:
        return 0.0
    n_numbers = MAX_NUMBERS if takes_sketch(spec, schema, n_rows) else 0
    dim = schema.field(spec.field).dim or 0
    return scan_cost_ns(Task(n_rows, n_rows, dim, _K, 0, lambda width: n_rows, n_sketched=n_numbers))
