"""Conditions over columns to masks, a whole column at a time.

Null follows SQL's three values: a comparison with a null field, and a division by zero, is neither true nor false,
and `not` leaves it so. A JSON key that is missing or of another kind follows Milvus: it equals nothing, so that
`!=` and `not in` hold for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from roost.engine.columns import Columns, Mask
from roost.engine.filter.by_index import find, mask_of, pays
from roost.engine.filter.condition import (
    And,
    Column,
    Comparison,
    Computed,
    Condition,
    Constant,
    Contains,
    Fixed,
    JsonKey,
    JsonLength,
    Kind,
    Matches,
    MemberOf,
    Not,
    Null,
    Operand,
    Or,
    Present,
)
from roost.engine.filter.json_column import JsonColumn, json_column
from roost.engine.filter.numeric import COMPARE, Numbers, compare_arrays, compare_constant, compute, narrowed
from roost.engine.filter.texts import compare_texts, matches, texts_in
from roost.engine.filter.words import in_words

_NARROWED_FROM = 8
"""Comparisons with a column from which on it is kept in fewer bytes: about as many as cost what that costs."""


@dataclass(frozen=True, slots=True)
class _Truth:
    """Where a condition holds, and where it is known to hold or not (None: everywhere); it holds only where known."""

    holds: Mask
    known: Mask | None = None

    @classmethod
    def where(cls, holds: Mask, known: Mask | None) -> _Truth:
        return cls(holds if known is None else holds & known, known)


@dataclass(frozen=True, slots=True)
class _Values:
    """The rows of an operand, and which of them are not null (None: all)."""

    rows: Any
    known: Mask | None = None


@dataclass(slots=True)
class _Held:
    """A column in the forms in which it is read, kept in the memo, as the conversion is not free.

    Attributes:
        whole: as its field has it.
        compared: for comparisons; numbers that were compared `_NARROWED_FROM` times take fewer bytes from then on.
    """

    whole: _Values
    compared: _Values
    n_compared: int = 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """How one condition of a filter was answered.

    Attributes:
        condition: as an expression.
        index: the form of the index that answered; None where the column was read.
        fraction: of the rows, those for which it holds.
    """

    condition: str
    index: str | None
    fraction: float
    time_ms: float


def evaluate(
    condition: Condition, columns: Columns, keys: tuple[JsonKey, ...], leaves: list[Leaf] | None = None
) -> Mask:
    """Return where the condition holds.

    Args:
        keys: every JSON key that the condition reads.
        leaves: is given each condition that was answered, in their order; `and` leaves out those after which no row
            can pass.
    Returns: (columns.n_rows,) bool, the caller's own.
    Raises: Corruption: a row of a JSON field is not JSON.
    """
    return _Evaluation(columns, keys, leaves).truth(condition).holds


def _both_known(left: Mask | None, right: Mask | None) -> Mask | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


class _Evaluation:
    def __init__(self, columns: Columns, keys: tuple[JsonKey, ...], leaves: list[Leaf] | None) -> None:
        self._columns = columns
        self._memo = columns.memo
        self._keys = keys
        self._leaves = leaves
        self._answered_by: str | None = None

    def truth(self, condition: Condition) -> _Truth:
        rule = _RULES[type(condition)]
        if self._leaves is None or isinstance(condition, And | Or | Not):
            return rule(self, condition)
        started, self._answered_by = time.perf_counter(), None
        found = rule(self, condition)
        time_ms = 1e3 * (time.perf_counter() - started)
        fraction = float(found.holds.mean()) if len(found.holds) else 0.0
        self._leaves.append(Leaf(in_words(condition), self._answered_by, fraction, time_ms))
        return found

    def fixed(self, condition: Fixed) -> _Truth:
        return _Truth(np.full(self._columns.n_rows, condition.value))

    def negated(self, condition: Not) -> _Truth:
        inner = self.truth(condition.of)
        return _Truth.where(~inner.holds, inner.known)

    def all_of(self, condition: And) -> _Truth:
        total = self.truth(condition.of[0])
        for part in condition.of[1:]:
            if total.known is None and not total.holds.any():
                return total
            other = self.truth(part)
            known = _both_known(total.known, other.known)
            if known is not None:
                known = known | self._fails(total) | self._fails(other)
            total = _Truth(total.holds & other.holds, known)
        return total

    def any_of(self, condition: Or) -> _Truth:
        total = self.truth(condition.of[0])
        for part in condition.of[1:]:
            other = self.truth(part)
            holds = total.holds | other.holds
            known = _both_known(total.known, other.known)
            total = _Truth(holds, None if known is None else known | holds)
        return total

    @staticmethod
    def _fails(truth: _Truth) -> Mask:
        return ~truth.holds if truth.known is None else truth.known & ~truth.holds

    def by_index(self, condition: Comparison | MemberOf | Matches, operand: Operand) -> _Truth | None:
        """Return the answer of the index on a column, where there is one and it costs less than the column."""
        if not isinstance(operand, Column):
            return None
        index = self._columns.scalar_index(operand.name)
        if index is None:
            return None
        found = find(condition, index)
        if found is None or not pays(condition, found, index):
            return None
        self._answered_by = index.form
        return _Truth.where(mask_of(found, index), self._known(operand.name))

    def comparison(self, condition: Comparison) -> _Truth:
        indexed = self.by_index(condition, condition.left)
        if indexed is not None:
            return indexed
        left, right, symbol = self.values(condition.left), condition.right, condition.operator
        if isinstance(left.rows, JsonColumn):
            return _Truth.where(left.rows.compare(symbol, _constant(right)), left.known)
        is_text = isinstance(left.rows, pa.Array)
        if isinstance(right, Constant):
            compare: Callable[..., Mask] = compare_texts if is_text else _compare_column
            return _Truth.where(compare(symbol, left.rows, right.value), left.known)
        other = self.values(right)
        compare = compare_texts if is_text else compare_arrays
        return _Truth.where(compare(symbol, left.rows, other.rows), _both_known(left.known, other.known))

    def member_of(self, condition: MemberOf) -> _Truth:
        indexed = self.by_index(condition, condition.operand)
        if indexed is not None:
            return indexed
        values = self.values(condition.operand)
        if isinstance(values.rows, JsonColumn):
            holds = values.rows.is_member(condition.among)
        elif isinstance(values.rows, pa.Array):
            holds = texts_in(values.rows, condition.among.texts)
        elif values.rows.dtype == np.bool_:
            holds = np.isin(values.rows, condition.among.values)
        else:
            holds = condition.among.numbers.mask(values.rows)
        return _Truth.where(holds, values.known)

    def matched(self, condition: Matches) -> _Truth:
        indexed = self.by_index(condition, condition.operand)
        if indexed is not None:
            return indexed
        values = self.values(condition.operand)
        is_json = isinstance(values.rows, JsonColumn)
        holds = values.rows.matches(condition.pattern) if is_json else matches(values.rows, condition.pattern)
        return _Truth.where(holds, values.known)

    def null(self, condition: Null) -> _Truth:
        values = self.values(condition.operand)
        if isinstance(values.rows, JsonColumn):
            return _Truth(values.rows.is_null)
        return _Truth(np.zeros(self._columns.n_rows, dtype=bool) if values.known is None else ~values.known)

    def present(self, condition: Present) -> _Truth:
        values = self.values(condition.key)
        return _Truth.where(values.rows.is_present, values.known)

    def contains(self, condition: Contains) -> _Truth:
        values = self.values(condition.key)
        return _Truth.where(values.rows.contains(condition.among, condition.every), values.known)

    def values(self, operand: Operand) -> _Values:
        if isinstance(operand, Column):
            return self._column(operand)
        if isinstance(operand, JsonKey):
            return _Values(json_column(self._columns, operand, self._keys), self._known(operand.field))
        if isinstance(operand, JsonLength):
            inner = self.values(operand.of)
            return _Values(inner.rows.lengths, inner.known)
        if isinstance(operand, Computed):
            return self._computed_json(operand) if operand.kind is Kind.JSON else self._computed(operand)
        return _Values(operand.value)

    def _column(self, column: Column) -> _Values:
        """Return a field for comparisons, as NumPy or, for strings, as Arrow."""
        held = self._held(column)
        n_compared = held.n_compared = held.n_compared + 1
        if n_compared == _NARROWED_FROM and isinstance(held.whole.rows, np.ndarray):
            held.compared = _Values(narrowed(held.whole.rows), held.whole.known)
        return held.compared

    def _held(self, column: Column) -> _Held:
        held: _Held | None = self._memo.get(column)
        if held is None:
            array, known = self._columns.scalar(column.name), self._known(column.name)
            if column.kind is Kind.TEXT:
                whole = _Values(array, known)
            else:
                filled = array if known is None else array.fill_null(False if column.kind is Kind.BOOL else 0)
                whole = _Values(filled.to_numpy(zero_copy_only=False), known)
            held = self._memo[column] = _Held(whole, whole)
        return held

    def _known(self, name: str) -> Mask | None:
        array = self._columns.scalar(name)
        if not array.null_count:
            return None
        return np.array(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)

    def _computed(self, operand: Computed) -> _Values:
        left, right = self._whole(operand.left), self._whole(operand.right)
        dtype = {Kind.INT: np.int64, Kind.FLOAT: np.float32, Kind.DOUBLE: np.float64}[operand.kind]
        known = _both_known(left.known, right.known)
        divisor = right.rows
        if operand.operator in "/%" and isinstance(divisor, np.ndarray) and not divisor.all():
            known = _both_known(known, divisor != 0)
        with np.errstate(over="ignore"):
            first, second = (np.asarray(side.rows).astype(dtype, copy=False) for side in (left, right))
        return _Values(compute(operand.operator, first, second), known)

    def _whole(self, operand: Operand) -> _Values:
        """Return the rows of an operand to compute with, for which numbers in fewer bytes were to be converted."""
        return self._held(operand).whole if isinstance(operand, Column) else self.values(operand)

    def _computed_json(self, operand: Computed) -> _Values:
        constant_is_left = isinstance(operand.left, Constant)
        constant, other = (operand.left, operand.right) if constant_is_left else (operand.right, operand.left)
        values = self.values(other)
        rows = values.rows.computed(operand.operator, _constant(constant), constant_is_left)
        return _Values(rows, values.known)


def _constant(operand: Operand) -> Any:
    return operand.value if isinstance(operand, Constant) else None


def _compare_column(symbol: str, rows: Numbers, constant: Any) -> Mask:
    if rows.dtype == np.bool_:
        mask: Mask = COMPARE[symbol](rows, constant)
        return mask
    return compare_constant(symbol, rows, constant)


_RULES: Mapping[type, Callable[[_Evaluation, Any], _Truth]] = {
    Fixed: _Evaluation.fixed,
    Not: _Evaluation.negated,
    And: _Evaluation.all_of,
    Or: _Evaluation.any_of,
    Comparison: _Evaluation.comparison,
    MemberOf: _Evaluation.member_of,
    Matches: _Evaluation.matched,
    Null: _Evaluation.null,
    Present: _Evaluation.present,
    Contains: _Evaluation.contains,
}
