"""Random expressions over random rows, answered by the evaluator and by a plain reading of each row."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.engine.filter import compile_filter
from tests.engine.filter.rows import BIG, Rows, make_schema

SCHEMA = make_schema(nullable=True)
ABSENT = object()
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A piece of an expression and its value in a row; None is null or unknown."""

    text: str
    value: Callable[[Row], Any]


def literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def integer_arithmetic(symbol: str, left: int | None, right: int | None) -> int | None:
    if left is None or right is None or (symbol in "/%" and right == 0):
        return None
    if symbol in "+-*":
        return wrap({"+": operator.add, "-": operator.sub, "*": operator.mul}[symbol](left, right))
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return wrap(quotient) if symbol == "/" else left - quotient * right


def number(value: Any) -> bool:
    return type(value) in (int, float)


def equal(left: Any, right: Any) -> bool:
    """Equality by kind: numbers with numbers, and a boolean is no number."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return left is not ABSENT and (type(left) is type(right) or (number(left) and number(right))) and left == right


def json_compare(symbol: str, left: Any, right: Any) -> bool:
    if symbol in ("==", "!="):
        return equal(left, right) == (symbol == "==")
    comparable = (number(left) and number(right)) or (isinstance(left, str) and isinstance(right, str))
    return comparable and COMPARE[symbol](left, right)


def json_arithmetic(symbol: str, left: Any, right: float) -> Any:
    if not number(left):
        return ABSENT
    if type(left) is int and type(right) is int:
        return integer_arithmetic(symbol, left, right)
    return (
        ABSENT
        if symbol == "%"
        else {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[symbol]
    )


def key(row: Row, path: tuple[str | int, ...]) -> Any:
    value: Any = row if path[0] != "j" else row["j"]
    if value is None:
        return None
    for step in path if path[0] != "j" else path[1:]:
        try:
            fits = isinstance(value, list) if isinstance(step, int) else isinstance(value, dict)
            value = value[step] if fits else ABSENT
        except (KeyError, IndexError):
            value = ABSENT
    return value


INTS = [0, 1, -1, 2, 3, 7, -7, 100, BIG, BIG + 1, -BIG - 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, 0.5, -1.5, 2.0, 3.0, 0.1, 1e300, float(BIG), 2.0**63]
TEXTS = ["", "a", "ab", "a%b", "a_b", 'q"q', "it's", "b\\", "é", "x\n"]
ints, floats, texts = st.sampled_from(INTS), st.sampled_from(FLOATS), st.sampled_from(TEXTS)
scalars = ints | floats | texts | st.booleans()
constants = scalars | st.lists(scalars, max_size=3)
documents = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)
PATHS: dict[str, tuple[str | int, ...]] = {
    'j["a"]': ("j", "a"),
    "j['a'][\"b\"]": ("j", "a", "b"),
    'j["a"][1]': ("j", "a", 1),
    "colour": ("colour",),
    '$meta["colour"]': ("colour",),
    'colour["b"]': ("colour", "b"),
}
symbols = st.sampled_from(sorted(COMPARE))
equality = st.sampled_from(["==", "!="])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "i8": st.none() | st.integers(-128, 127),
            "i64": st.none() | ints,
            "d": st.none() | floats,
            "f": st.none() | floats.map(lambda v: float(np.float32(min(v, 1e38)))),
            "s": st.none() | texts,
            "b": st.none() | st.booleans(),
            "j": st.none() | st.dictionaries(st.sampled_from(["a", "b"]), documents, max_size=2),
        },
        optional={"colour": documents},
    ),
    min_size=1,
    max_size=8,
)


@st.composite
def integer_operand(draw: st.DrawFn, depth: int = 2) -> Written:
    name = draw(st.sampled_from(["i8", "i64"]))
    field = Written(name, lambda row: row[name])
    if depth == 0 or draw(st.booleans()):
        return field
    left, symbol = draw(integer_operand(depth - 1)), draw(st.sampled_from("+-*/%"))
    if draw(st.booleans()):
        right = draw(integer_operand(depth - 1))
    else:
        constant = draw(ints.filter(bool))
        right = Written(literal(constant), lambda row: constant)
    return Written(
        f"({left.text} {symbol} {right.text})",
        lambda row: integer_arithmetic(symbol, left.value(row), right.value(row)),
    )


def compared(left: Written, symbol: str, right: Written, flip: bool = False) -> Written:
    def value(row: Row) -> bool | None:
        first, second = left.value(row), right.value(row)
        return None if first is None or second is None else COMPARE[symbol](first, second)

    flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(symbol, symbol)
    text = f"{right.text} {flipped} {left.text}" if flip else f"{left.text} {symbol} {right.text}"
    return Written(text, value)


def fixed(value: Any) -> Written:
    return Written(literal(value), lambda row: value)


@st.composite
def typed(draw: st.DrawFn) -> Written:
    """A condition on fields of the schema."""
    symbol, flip = draw(symbols), draw(st.booleans())
    left = draw(integer_operand())
    double, text = Written("d", lambda row: row["d"]), Written("s", lambda row: row["s"])
    single, constant = Written("f", lambda row: row["f"]), draw(floats)
    rounded = (
        Written(literal(constant), lambda row: float(np.float32(min(constant, 3e38)))) if constant < 1e38 else None
    )
    truth, name = Written("b", lambda row: row["b"]), draw(st.sampled_from(["i8", "i64", "d", "f", "s", "b", "j"]))
    wanted = draw(st.lists(ints, max_size=4))
    words = draw(st.lists(texts, max_size=4))
    return draw(
        st.sampled_from(
            [
                compared(left, symbol, fixed(draw(ints)), flip),
                compared(left, symbol, draw(integer_operand()), flip),
                compared(left, symbol, double, flip),
                compared(double, symbol, fixed(draw(ints | floats)), flip),
                compared(single, symbol, rounded or fixed(0.5), flip),
                compared(single, symbol, double, flip),
                compared(text, symbol, fixed(draw(texts)), flip),
                compared(truth, draw(equality), fixed(draw(st.booleans())), flip),
                Written(f"{left.text} in {literal(wanted)}", known(left, lambda value: value in wanted)),
                Written(f"s in {literal(words)}", known(text, lambda value: value in words)),
                Written("s like 'a%'", known(text, lambda value: value.startswith("a"))),
                Written(f"{name} is null", lambda row: row[name] is None),
            ]
        )
    )


def known(operand: Written, test: Callable[[Any], bool]) -> Callable[[Row], bool | None]:
    def value(row: Row) -> bool | None:
        found = operand.value(row)
        return None if found is None else test(found)

    return value


@st.composite
def of_json(draw: st.DrawFn) -> Written:
    """A condition on a JSON key."""
    spelled = draw(st.sampled_from(sorted(PATHS)))
    path = PATHS[spelled]

    def here(test: Callable[[Any], bool]) -> Callable[[Row], bool | None]:
        def value(row: Row) -> bool | None:
            if path[0] == "j" and row["j"] is None:
                return None
            return test(key(row, path))

        return value

    constant, several = draw(constants), draw(st.lists(constants, max_size=3))
    ordered, symbol = draw(ints | floats | texts), draw(symbols)
    arithmetic, factor = draw(st.sampled_from("+-*/%")), draw((ints | floats).filter(bool))
    against = draw(ints | floats)
    low, high = draw(ints), draw(ints | floats)
    contains = [
        Written(
            f"{prefix}_{how}({spelled}, {literal(several)})",
            here(
                lambda found, test=test: (
                    isinstance(found, list) and test(any(equal(item, value) for item in found) for value in several)
                )
            ),
        )
        for prefix, how, test in (("json", "contains_any", any), ("ARRAY", "CONTAINS_ALL", all))
    ]
    return draw(
        st.sampled_from(
            [
                Written(f"{spelled} {symbol} {literal(ordered)}", here(lambda v: json_compare(symbol, v, ordered))),
                Written(f"{spelled} != {literal(constant)}", here(lambda v: not equal(v, constant))),
                Written(f"{literal(constant)} == {spelled}", here(lambda v: equal(v, constant))),
                Written(f"{spelled} in {literal(several)}", here(lambda v: any(equal(v, one) for one in several))),
                Written(f"{spelled} like '%b'", here(lambda v: isinstance(v, str) and v.endswith("b"))),
                Written(f"exists {spelled}", here(lambda v: v is not ABSENT)),
                Written(f"{spelled} is null", lambda row: key(row, path) in (None, ABSENT)),
                Written(
                    f"{spelled} {arithmetic} {literal(factor)} {symbol} {literal(against)}",
                    here(lambda v: json_compare(symbol, json_arithmetic(arithmetic, v, factor), against)),
                ),
                Written(
                    f"{low} < {spelled} <= {literal(high)}",
                    here(lambda v: json_compare(">", v, low) and json_compare("<=", v, high)),
                ),
                Written(
                    f"array_length({spelled}) {symbol} 2",
                    here(lambda v: json_compare(symbol, len(v) if isinstance(v, list) else ABSENT, 2)),
                ),
                *contains,
            ]
        )
    )


def negated(operand: Written, spelling: str) -> Written:
    return Written(f"{spelling} ({operand.text})", known(operand, lambda value: not value))


def joined(operands: list[Written], spelling: str, decisive: bool) -> Written:
    def value(row: Row) -> bool | None:
        found = [operand.value(row) for operand in operands]
        if decisive in found:
            return decisive
        return None if None in found else not decisive

    return Written(f" {spelling} ".join(f"({operand.text})" for operand in operands), value)


conditions = st.recursive(
    typed() | of_json(),
    lambda inner: (
        st.builds(negated, inner, st.sampled_from(["not", "NOT", "!"]))
        | st.builds(
            joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "AND", "&&"]), st.just(False)
        )
        | st.builds(joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["or", "OR", "||"]), st.just(True))
    ),
    max_leaves=6,
)


@settings(max_examples=400)
@given(conditions, rows)
def test_the_evaluator_agrees_with_a_reading_row_by_row(condition: Written, found: list[Row]) -> None:
    columns = Rows([{"pk": pk, **row} for pk, row in enumerate(found)], SCHEMA)
    predicate = compile_filter(condition.text, SCHEMA)
    expected = [condition.value(row) is True for row in found]
    for _ in range(9):  # columns are read in another form when they come again
        assert predicate.evaluate(columns).tolist() == expected
