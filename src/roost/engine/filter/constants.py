"""Constants of a filter as the checker uses them: values of templates, the kinds that fit a field, comparisons."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from roost.engine.filter.condition import Kind, Value
from roost.engine.filter.literals import INT64_MAX, INT64_MIN
from roost.engine.filter.tree import Fault, Span

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The operator that says the same with the operands exchanged."""

_FITTING: Mapping[Kind, frozenset[type]] = {
    Kind.BOOL: frozenset({bool}),
    Kind.INT: frozenset({int}),
    Kind.FLOAT: frozenset({int, float}),
    Kind.DOUBLE: frozenset({int, float}),
    Kind.TEXT: frozenset({str}),
    Kind.JSON: frozenset({bool, int, float, str, tuple}),
}

_WRITTEN = {bool: "a boolean", int: "an integer", float: "a floating-point number", str: "a string", tuple: "a list"}


def written(value: Value) -> str:
    """Return the value with its kind for a message, shortened."""
    shown = repr(value) if not isinstance(value, tuple) else f"{len(value)} values"
    return f"{_WRITTEN[type(value)]} ({shown if len(shown) <= 40 else shown[:37] + '...'})"


def check_values(values: Iterable[Value], kind: Kind, span: Span) -> None:
    """Check that each value can be compared with an operand of that kind.

    Raises: Fault: a value is of another kind or needs more than 64 bits.
    """
    values = tuple(values)
    kinds = set(map(type, values))
    if not kinds <= _FITTING[kind]:
        wrong = next(v for v in values if type(v) not in _FITTING[kind])
        advice = "; an integer field takes integers only" if kind is Kind.INT and isinstance(wrong, float) else ""
        raise Fault(span, f"{kind.value} cannot be compared with {written(wrong)}{advice}")
    if int in kinds:
        integers = [v for v in values if type(v) is int]
        if min(integers) < INT64_MIN or max(integers) > INT64_MAX:
            raise Fault(span, "an integer of more than 64 bits")
    if float in kinds and not all(math.isfinite(v) for v in values if type(v) is float):
        raise Fault(span, "a floating-point number that is not finite")
    for value in values if tuple in kinds else ():
        if isinstance(value, tuple):
            check_values(value, Kind.JSON, span)


def compare_constants(symbol: str, left: Value, right: Value, span: Span) -> bool:
    """Compare two constants.

    Raises: Fault: they are of kinds that do not compare.
    """
    number = (int, float)
    same = type(left) is type(right) or (type(left) in number and type(right) in number)
    ordered = symbol in ("==", "!=") or type(left) in (*number, str)
    if not (same and ordered):
        raise Fault(span, f"{written(left)} and {written(right)} do not compare with {symbol}")
    return bool(COMPARISONS[symbol](left, right))


def template_value(value: Any, name: str, span: Span) -> Value:
    """Return the value of a template as Python scalars and tuples.

    Raises: Fault: the value is of a type that filters do not have.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        kinds = set(map(type, value))
        if kinds == {str}:
            check_characters("".join(value), span)
        if kinds <= {int} or kinds == {str}:
            return tuple(value)
        return tuple(template_value(item, name, span) for item in value)
    if type(value) not in _WRITTEN:
        raise Fault(span, f"the template {name!r} is a {type(value).__name__}; bool, int, float, str or a list of them")
    if isinstance(value, str):
        check_characters(value, span)
    return value  # type: ignore[no-any-return]


def check_characters(text: str, span: Span) -> None:
    """Check that a string can be written in UTF-8.

    Raises: Fault: it holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Fault(span, "half of a surrogate pair is not a character") from None
