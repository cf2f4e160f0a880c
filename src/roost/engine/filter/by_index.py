"""Conditions answered by a scalar index, where that costs less than reading the column.

The column's values are compared as `numeric` and `texts` compare them: constants are restated in the column's kind
first, and a pattern that is no prefix is matched with the index's entries instead of with the rows.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from roost.engine.columns import Mask, ScalarIndex, Spans
from roost.engine.filter.condition import Comparison, Constant, Matches, MemberOf
from roost.engine.filter.numeric import restate
from roost.engine.filter.texts import matches

# Nanoseconds of one row of a column, measured: docs/decisions/0008-scalar-indexes.md.
TEXT_ROW_NS = 4.0
MEMBER_ROW_NS = 0.6
NUMBER_BYTE_NS = 0.014
SCAN_NS = 5_000.0
# Finding a string among the entries, for each of their binary digits.
TEXT_STEP_NS = 800.0
# A pattern is matched with the entries where they are at most this fraction of the rows.
MATCHED_FRACTION = 0.5

_PREFIX = re.compile(r"([^%_\\]*)(%+)?", re.DOTALL)


class Found(NamedTuple):
    """The entries of an index that answer a condition.

    Attributes:
        is_inverse: whether they are those for which it does not hold.
    """

    spans: Spans
    is_inverse: bool = False


def find(condition: Comparison | MemberOf | Matches, index: ScalarIndex) -> Found | None:
    """Return which entries answer a condition over the index's column; None where it cannot say, or only slowly."""
    values = index.values
    is_text = not isinstance(values, np.ndarray)
    if isinstance(condition, Matches):
        spans = _like(condition.pattern, index)
        return None if spans is None else Found(spans)
    if isinstance(condition, MemberOf):
        if is_text:
            among = pc.unique(condition.among.texts)
            return Found(index.among(among)) if _steps_ns(len(among), index) < _scan_ns(condition, index) else None
        return None if values.dtype == np.bool_ else Found(index.among(condition.among.numbers.ready(values.dtype)))
    if not isinstance(condition.right, Constant):
        return None
    is_inverse = condition.operator == "!="
    symbol, constant = "==" if is_inverse else condition.operator, condition.right.value
    if isinstance(values, np.ndarray) and values.dtype != np.bool_:
        restated = restate(symbol, values.dtype, constant)  # type: ignore[arg-type]
        if isinstance(restated, bool):
            return None
        symbol, constant = restated
    return Found(index.compare(symbol, constant), is_inverse)


def pays(condition: Comparison | MemberOf | Matches, found: Found, index: ScalarIndex) -> bool:
    """Say whether the index's mask costs less than reading the column."""
    return index.cost_ns(found.spans) < _scan_ns(condition, index)


def mask_of(found: Found, index: ScalarIndex) -> Mask:
    """Return the rows for which the condition holds, those that are null left to the caller."""
    mask = index.mask(found.spans)
    return np.logical_not(mask, out=mask) if found.is_inverse else mask


def _like(pattern: str, index: ScalarIndex) -> Spans | None:
    prefix = _PREFIX.fullmatch(pattern)
    if prefix is None:
        is_small = len(index.values) <= MATCHED_FRACTION * index.n_rows
        return _where(matches(index.values, pattern)) if is_small else None
    return index.starting(prefix[1]) if prefix[2] or not pattern else index.compare("==", pattern)


def _where(mask: Mask) -> Spans:
    """Return the entries at which a mask over all entries is set, as runs."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return Spans(edges[::2], edges[1::2])


def _steps_ns(n_texts: int, index: ScalarIndex) -> float:
    return n_texts * TEXT_STEP_NS * math.log2(len(index.values) + 2)


def _scan_ns(condition: Comparison | MemberOf | Matches, index: ScalarIndex) -> float:
    """Return about how long it takes to read the column."""
    values: Any = index.values
    if not isinstance(values, np.ndarray):
        return SCAN_NS + TEXT_ROW_NS * index.n_rows
    if isinstance(condition, MemberOf):
        return SCAN_NS + MEMBER_ROW_NS * index.n_rows
    return SCAN_NS + NUMBER_BYTE_NS * float(values.dtype.itemsize) * index.n_rows
