"""How many rows a filter keeps, estimated without evaluating it: from the counts of indexes, or from a sample.

A condition that an index answers has its count. Of conditions that are joined by `and`, those of the rarest that has an
index are sampled: so a filter that keeps one row in a thousand is estimated from a thousand rows that may pass it, and
conditions that depend on each other are not multiplied. Everything else is judged by a sample of all rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from roost.engine.columns import Columns, IntArray, Mask, ScalarIndex
from roost.engine.filter.by_index import Found, find
from roost.engine.filter.condition import And, Column, Comparison, Condition, JsonKey, Matches, MemberOf, Not
from roost.engine.filter.evaluate import evaluate

SAMPLE_ROWS = 2_000
"""Rows of a sample. A part of one half is then estimated to about 0.01, one of 0.01 to about 0.002."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a filter is thought to keep.

    Attributes:
        fraction: of the rows.
        origin: "index": counted by an index; "index and sample", or "sample".
    """

    fraction: float
    origin: str


@dataclass
class _Sample:
    """Some rows of columns, as columns."""

    columns: Columns
    rows: IntArray
    memo: MutableMapping[Hashable, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def scalar(self, name: str) -> pa.Array:
        return self.columns.scalar(name).take(pa.array(self.rows))

    def scalar_index(self, name: str) -> ScalarIndex | None:
        return None


def estimate(condition: Condition, columns: Columns, keys: tuple[JsonKey, ...], among: Mask | None) -> Estimate:
    """Return which part of some rows a condition is thought to keep.

    Args:
        keys: every JSON key that the condition reads.
        among: the rows in question, or None for all.
    Raises: Corruption: a row of the sample is not JSON in a JSON field.
    """
    n_rows = columns.n_rows if among is None else int(np.count_nonzero(among))
    if not n_rows:
        return Estimate(0.0, "sample")
    counted = list(_counted(condition, columns))
    if counted and not isinstance(condition, And):
        index, found = counted[0]
        n_found = index.count(found.spans) if among is None else np.count_nonzero(index.mask(found.spans) & among)
        fraction = float(n_found / n_rows)
        return Estimate(1 - fraction if found.is_inverse else fraction, "index")
    rarest = min(
        (pair for pair in counted if not pair[1].is_inverse),
        key=lambda pair: pair[0].count(pair[1].spans),
        default=None,
    )
    rows = None if among is None else np.flatnonzero(among)
    origin, n_sampled_from = "sample", n_rows
    if rarest is not None:
        mask = rarest[0].mask(rarest[1].spans)
        rows = np.flatnonzero(mask if among is None else mask & among)
        origin, n_sampled_from = "index and sample", len(rows)
    sample = _sample(n_sampled_from, rows)
    if not len(sample):
        return Estimate(0.0, origin)
    kept = evaluate(condition, _Sample(columns, sample), keys)
    return Estimate(float(kept.mean()) * n_sampled_from / n_rows, origin)


def _counted(condition: Condition, columns: Columns) -> Iterator[tuple[ScalarIndex, Found]]:
    """Yield the conditions that an index counts: the condition itself, or those that it joins by `and`."""
    for part in condition.of if isinstance(condition, And) else (condition,):
        inner = part.of if isinstance(part, Not) else part
        if not isinstance(inner, Comparison | MemberOf | Matches):
            continue
        operand = inner.left if isinstance(inner, Comparison) else inner.operand
        index = columns.scalar_index(operand.name) if isinstance(operand, Column) else None
        found = None if index is None else find(inner, index)
        if index is not None and found is not None:
            yield index, found._replace(is_inverse=found.is_inverse != isinstance(part, Not))


def _sample(n_rows: int, rows: IntArray | None) -> IntArray:
    """Return some of the rows, ascending; every call returns the same."""
    if n_rows <= SAMPLE_ROWS:
        return np.arange(n_rows) if rows is None else rows
    chosen = np.sort(np.random.default_rng(n_rows).choice(n_rows, SAMPLE_ROWS, replace=False))
    return chosen if rows is None else rows[chosen]
