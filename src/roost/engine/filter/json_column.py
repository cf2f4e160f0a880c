"""One key of a JSON field as typed columns, so that filters on it run without a step of Python for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import Columns, IntArray, Mask
from roost.engine.filter.condition import JsonKey, Value, ValueSet
from roost.engine.filter.numeric import Numbers, compare_constant, compute
from roost.engine.filter.texts import compare_texts, matches, texts_in
from roost.errors import Corruption

MISSING, NULL, BOOL, INT, FLOAT, TEXT, LIST, OBJECT = range(8)
"""The kinds of a JSON value. An integer that int64 cannot hold counts as a float."""

_ABSENT = object()
_KIND_OF = {object: MISSING, type(None): NULL, bool: BOOL, int: INT, float: FLOAT, str: TEXT, list: LIST, dict: OBJECT}

_ROWS_AT_ONCE = 8192


def json_column(columns: Columns, key: JsonKey, wanted: Iterable[JsonKey]) -> JsonColumn:
    """Return the values at a key, read once for each run of rows.

    Args:
        wanted: the keys that the filter reads; those of the same field are read in the same pass.
    Raises: Corruption: a row of the field is not JSON.
    """
    found = columns.memo.get(key)
    if found is None:
        paths = {k.path for k in wanted if k.field == key.field and k not in columns.memo} | {key.path}
        for path, values in _read(columns.scalar(key.field), tuple(paths), key.field).items():
            columns.memo[JsonKey(key.field, path)] = JsonColumn.of(values)
        found = columns.memo[key]
    return found  # type: ignore[no-any-return]


def _read(texts: pa.Array, paths: tuple[tuple[str, ...], ...], name: str) -> dict[tuple[str, ...], list[Any]]:
    """Return the value of each row at each path; `_ABSENT` where there is none."""
    values: dict[tuple[str, ...], list[Any]] = {path: [] for path in paths}
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        rows = texts.slice(start, _ROWS_AT_ONCE)
        # Many rows become one JSON array, joined and parsed without a Python string for each.
        listed = pa.LargeListArray.from_arrays([0, len(rows)], rows.fill_null("null"))
        joined = pc.binary_join(listed, pa.scalar(",", pa.large_string()))[0]
        try:
            parsed = orjson.loads(b"".join((b"[", joined.as_buffer(), b"]")))
        except orjson.JSONDecodeError as error:
            raise Corruption(f"field {name!r} holds a row that is not JSON: {error.msg}") from error
        if len(parsed) != len(rows):
            raise Corruption(f"field {name!r} holds a row that is more or less than one JSON value")
        for path, found in values.items():
            found.extend(_follow(parsed, path))
    return values


def _follow(values: list[Any], path: tuple[str, ...]) -> list[Any]:
    for step in path:
        if step.isascii() and step.isdigit():
            index = int(step)
            values = [_element(value, step, index) for value in values]
        else:
            values = [value.get(step, _ABSENT) if type(value) is dict else _ABSENT for value in values]
    return values


def _element(value: Any, step: str, index: int) -> Any:
    """Return what digits name: an element of an array, or a key of an object, as in Milvus."""
    if type(value) is list:
        return value[index] if index < len(value) else _ABSENT
    return value.get(step, _ABSENT) if type(value) is dict else _ABSENT


def _int64(values: list[int]) -> tuple[IntArray, Mask]:
    """Return integers as int64, and which of them int64 holds."""
    try:
        return np.array(values, dtype=np.int64), np.ones(len(values), dtype=bool)
    except OverflowError:
        held = [-(2**63) <= value < 2**63 for value in values]
        kept = [value if is_held else 0 for value, is_held in zip(values, held, strict=True)]
        return np.array(kept, dtype=np.int64), np.array(held)


@dataclass(frozen=True, eq=False)
class JsonColumn:
    """A JSON value a row, split by kind; each array is (n_rows,) and counts only where `kinds` says so.

    Attributes:
        kinds: uint8, one of the constants of this module.
        integers: int64, the value of INT, and 0 or 1 of BOOL.
        floats: float64, the value of FLOAT.
        texts: the value of TEXT, otherwise null; None when no row is TEXT.
        lists: the values of the rows that are LIST, in the order of rows.
    """

    kinds: npt.NDArray[np.uint8]
    integers: IntArray
    floats: npt.NDArray[np.float64]
    texts: pa.Array | None = None
    lists: Sequence[list[Any]] = field(default=())

    @classmethod
    def of(cls, values: list[Any]) -> JsonColumn:
        """Split Python values by kind."""
        n_rows = len(values)
        kinds = np.fromiter(map(_KIND_OF.__getitem__, map(type, values)), np.uint8, n_rows)
        integers, floats = np.zeros(n_rows, dtype=np.int64), np.zeros(n_rows)
        whole = np.flatnonzero((kinds == INT) | (kinds == BOOL))
        integers[whole], held = _int64([values[row] for row in whole.tolist()])
        kinds[whole[~held]] = FLOAT
        real = np.flatnonzero(kinds == FLOAT)
        floats[real] = [float(values[row]) for row in real.tolist()]
        texts = None
        if np.any(kinds == TEXT):
            texts = pa.array([value if type(value) is str else None for value in values], pa.large_string())
        lists = tuple(values[row] for row in np.flatnonzero(kinds == LIST).tolist())
        return cls(kinds, integers, floats, texts, lists)

    @property
    def is_present(self) -> Mask:
        return np.not_equal(self.kinds, MISSING)

    @property
    def is_null(self) -> Mask:
        return np.less_equal(self.kinds, NULL)

    @cached_property
    def _is_integer(self) -> Mask:
        return np.equal(self.kinds, INT)

    @cached_property
    def _is_float(self) -> Mask | None:
        mask = self.kinds == FLOAT
        return mask if mask.any() else None

    def compare(self, symbol: str, constant: Value) -> Mask:
        """Compare with a constant; a row of another kind, or without the key, is equal to nothing and unordered."""
        if symbol == "!=":
            return ~self.compare("==", constant)
        if isinstance(constant, bool):
            mask: Mask = (self.kinds == BOOL) & (self.integers == constant)
            return mask
        if isinstance(constant, str):
            return self._none() if self.texts is None else compare_texts(symbol, self.texts, constant)
        if isinstance(constant, tuple):
            return self._equals_list(constant)
        mask = compare_constant(symbol, self.integers, constant) & self._is_integer
        if self._is_float is not None:
            mask |= compare_constant(symbol, self.floats, constant) & self._is_float
        return mask

    def is_member(self, among: ValueSet) -> Mask:
        """Return which rows equal one of the values."""
        mask: Mask = among.numbers.mask(self.integers) & self._is_integer
        if self._is_float is not None:
            mask |= among.numbers.mask(self.floats) & self._is_float
        if self.texts is not None:
            mask |= texts_in(self.texts, among.texts)
        for value in among.others:
            mask |= self.compare("==", value)
        return mask

    def matches(self, pattern: str) -> Mask:
        """Return which rows are strings that match a `like` pattern."""
        return self._none() if self.texts is None else matches(self.texts, pattern)

    def contains(self, among: ValueSet, every: bool) -> Mask:
        """Return which rows are arrays with one of the values among their elements, or with every one."""
        if not every:
            return self._rows_with(self._items.is_member(among))
        mask: Mask = np.equal(self.kinds, LIST)
        for value in among.values:
            mask &= self._rows_with(self._items.compare("==", value))
        return mask

    @property
    def lengths(self) -> JsonColumn:
        """The number of elements of each array; missing for what is no array."""
        counts = np.zeros(len(self.kinds), dtype=np.int64)
        counts[self.kinds == LIST] = np.diff(self._offsets)
        return JsonColumn(np.where(self.kinds == LIST, INT, MISSING).astype(np.uint8), counts, self._no_floats())

    def computed(self, symbol: str, constant: float, constant_is_left: bool) -> JsonColumn:
        """Compute with a constant; what is no number, and a division by zero, comes out as missing."""
        divides_by_row = constant_is_left and symbol in "/%"
        integers, floats = self.integers, self._no_floats()
        exact = isinstance(constant, int) and symbol != "**"
        kinds = np.full(len(self.kinds), MISSING, dtype=np.uint8)
        if exact:
            kinds[self._is_integer & ((integers != 0) | (not divides_by_row))] = INT
            integers = _ordered(symbol, integers, np.int64(constant), constant_is_left)
        if symbol != "%":
            real = self.kinds == FLOAT if exact else (self.kinds == FLOAT) | self._is_integer
            operands = np.where(self._is_integer, self.integers, self.floats)
            kinds[real & ((operands != 0) | (not divides_by_row))] = FLOAT
            floats = _ordered(symbol, operands, np.float64(constant), constant_is_left)
        return JsonColumn(kinds, integers, floats)

    @cached_property
    def _offsets(self) -> IntArray:
        """Where the elements of each array begin among `_items`, and where the last ends."""
        return np.cumsum([0, *map(len, self.lists)], dtype=np.int64)

    @cached_property
    def _items(self) -> JsonColumn:
        return JsonColumn.of([item for values in self.lists for item in values])

    def _rows_with(self, item_mask: Mask) -> Mask:
        mask = self._none()
        owners = np.repeat(np.flatnonzero(self.kinds == LIST), np.diff(self._offsets))
        mask[owners[item_mask]] = True
        return mask

    def _equals_list(self, constant: tuple[Value, ...]) -> Mask:
        equal = np.diff(self._offsets) == len(constant)
        for position, value in enumerate(constant):
            same = self._items.compare("==", value)
            equal[equal] = same[self._offsets[:-1][equal] + position]
        mask = self._none()
        mask[np.flatnonzero(self.kinds == LIST)[equal]] = True
        return mask

    def _none(self) -> Mask:
        return np.zeros(len(self.kinds), dtype=bool)

    def _no_floats(self) -> npt.NDArray[np.float64]:
        return np.zeros(len(self.kinds))


def _ordered(symbol: str, values: Numbers, constant: Any, constant_is_left: bool) -> Numbers:
    return compute(symbol, constant, values) if constant_is_left else compute(symbol, values, constant)
