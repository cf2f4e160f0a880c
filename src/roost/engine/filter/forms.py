"""Expressions that differ in nothing but their constants are parsed and checked once.

`lift` takes the plain constants out of an expression and leaves templates in their place. `learn` checks such a
text with probes for the values, finds where the probes went, and returns a `Form`: it puts other values of the same
types in their place. A form is only made where the types of the values decide all that the checker does; whatever is
unusual, mistakes included, yields None and takes the way of every expression.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, TypeAlias

from roost.engine.filter import tree
from roost.engine.filter.check import check
from roost.engine.filter.condition import (
    And,
    Comparison,
    Computed,
    Condition,
    Constant,
    Contains,
    JsonKey,
    Matches,
    MemberOf,
    Not,
    Operand,
    Or,
    ValueSet,
    reads,
    sources,
)
from roost.engine.filter.constants import check_characters
from roost.engine.filter.literals import INT64_MAX, INT64_MIN
from roost.engine.filter.parser import parse
from roost.engine.filter.tree import Expression, Fault, Span
from roost.engine.schema import Schema

Scalar: TypeAlias = "int | float | str"
Scalars: TypeAlias = Sequence[Scalar]
Build: TypeAlias = Callable[[Scalars], Any]

# A number of few enough digits to be in range, and a string without escapes.
_NUMBER = r"(?:0|[1-9][0-9]{0,16})(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,2})?(?![\w.])"
_QUOTED = r"\"(?:[^\"\\\r\n]|\\[^\r\n])*\"|'(?:[^'\\\r\n]|\\[^\r\n])*'"
_PLAIN = r"\"[^\"\\\r\n]*\"|'[^'\\\r\n]*'"
_PATH = rf"(?!(?:in|IN)\b)[^\W\d]\w*(?:\s*\[\s*(?:[rR]?(?:{_QUOTED})|\d+)\s*\])+"
# What stands before a constant, passed over as the grammar's lexer would, and the constant. What it passes over stays
# in the text, so that passing over too much costs time and nothing else.
_PIECES = re.compile(
    rf"((?:[rR](?:{_QUOTED})|{_PATH}|(?!{_NUMBER})\w[\w.]*|(?!{_PLAIN})(?:{_QUOTED})|[^\w\"']+)*)({_NUMBER}|{_PLAIN})?"
)

_FIELDS = (tree.Name, tree.Path)

_FIRST_PROBE = 700_000_007
# In the text of a condition, a probe for a value, or where parts begin whose order values may decide.
_VARIES = re.compile(r"-?'?(?:\\ue000)?70000\d{4}|(And\(of=|Or\(of=)")


def lift(expression: str) -> tuple[str, tuple[Scalar, ...]]:
    """Return the expression with the templates {_0}, {_1} and so on in the place of constants, and their values.

    The values are empty where there are none, or where the expression has templates of its own.
    """
    if "{" in expression:
        return expression, ()
    pieces = _PIECES.findall(expression)
    values: list[Scalar] = []
    text = ""
    for before, written in pieces:
        text += before
        if written:
            text += f"{{_{len(values)}}}"
            values.append(_value(written))
    # A character that begins nothing known has stopped the search or was left out: not for a fast way.
    if sum(len(before) + len(written) for before, written in pieces) != len(expression):
        return expression, ()
    return text, tuple(values)


def _value(written: str) -> Scalar:
    if written[0] in "\"'":
        return written[1:-1]
    return int(written) if written.isdigit() else float(written)


@dataclass(frozen=True, slots=True)
class Form:
    """The meaning of an expression but for its constants.

    Attributes:
        fields: the fields that are read.
        json_keys: the JSON keys that are read.
    """

    fields: frozenset[str]
    json_keys: tuple[JsonKey, ...]
    _build: Build
    _divisors: tuple[int, ...]

    def condition(self, values: Scalars) -> Condition | None:
        """Return the condition with these values, or None where they are unusual."""
        try:
            for value in values:
                _check_usual(value)
            if self._divisors and any(values[slot] == 0 for slot in self._divisors):
                return None
            condition: Condition = self._build(values)
        except (_Unusual, Fault):
            return None
        return condition


class _Unusual(Exception):
    """Values on which the checker may decide otherwise than on the probes."""


def _check_usual(value: Scalar) -> None:
    if type(value) is str:
        if not value.isascii():
            check_characters(value, Span(0, 0))
    elif type(value) is int:
        if not INT64_MIN < value <= INT64_MAX:
            raise _Unusual
    elif not math.isfinite(value):  # type: ignore[arg-type]
        raise _Unusual


def learn(text: str, schema: Schema, names: Sequence[str], kinds: Sequence[type]) -> Form | None:
    """Return the form of an expression with templates, or None where values may decide what it means.

    Args:
        text: an expression in which templates stand for the constants.
        names: the templates.
        kinds: int, float or str for each.
    """
    # Each template stands in one place: no other place can hide in which its value decides something.
    if text.count("{") != len(names):
        return None
    first, second = _probes(kinds, 1), _probes(kinds, 2)
    try:
        check_characters(text, Span(0, len(text)))
        parsed = parse(text)
        if not _is_plain(parsed):
            return None
        condition = check(parsed, schema, dict(zip(names, first, strict=True)))
        other = check(parsed, schema, dict(zip(names, second, strict=True)))
    except Fault:
        return None
    former = _Former(first)
    build = former.condition(condition) or _always(condition)
    form = Form(*reads(condition), build, tuple(former.divisors))
    return form if len(former.found) == len(names) and repr(form.condition(second)) == repr(other) else None


def _probes(kinds: Sequence[type], which: int) -> tuple[Scalar, ...]:
    """Return values that hardly anybody writes; each is one of a kind."""
    start = _FIRST_PROBE * which
    return tuple(f"\ue000{start + i}" if kind is str else kind(start + i) for i, kind in enumerate(kinds))


def _start(text: str) -> str:
    """Return how the text of a condition begins whatever the values are: up to the first, or to an order by them."""
    found = _VARIES.search(text)
    return text if found is None else text[: found.start() if found[1] is None else found.end()]


def _always(value: Any) -> Build:
    return lambda values: value


def _is_plain(node: Expression) -> bool:
    """Say whether constants are only compared with fields: never with each other, nor calculated with each other."""
    match node:
        case tree.AllOf(operands=parts) | tree.AnyOf(operands=parts):
            return all(map(_is_plain, parts))
        case tree.Negate(operand=part):
            return _is_plain(part)
        case tree.Compare(operands=(left, right)):
            return (_is_computed(left) or _is_constant(left)) and (_is_computed(right) or _is_constant(right))
        case tree.Compare(operands=(low, tree.Name() | tree.Path(), high)):
            return _is_constant(low) and _is_constant(high)
        case tree.Member(operand=tree.Name() | tree.Path(), values=values):
            return _is_constant(values)
        case tree.Like(operand=tree.Name() | tree.Path(), pattern=pattern):
            return _is_constant(pattern)
        case tree.Call(arguments=(tree.Name() | tree.Path(), value)):
            return _is_constant(value)
        case tree.IsNull(operand=part) | tree.Exists(operand=part):
            return isinstance(part, _FIELDS)
    return False


def _is_computed(node: Expression) -> bool:
    if isinstance(node, tree.Arithmetic):
        sides = (node.left, node.right)
        return any(map(_is_computed, sides)) and all(_is_computed(side) or _is_constant(side) for side in sides)
    return isinstance(node, _FIELDS)


def _is_constant(node: Expression) -> bool:
    if isinstance(node, tree.ListOf):
        return all(map(_is_constant, node.items))
    if isinstance(node, tree.Sign):
        return isinstance(node.operand, tree.Literal | tree.Template)
    return isinstance(node, tree.Literal | tree.Template)


class _Former:
    """Makes builders: functions from values to a condition; None stands for a part that no value enters.

    Attributes:
        found: the slots whose values enter.
        divisors: those of them that are calculated with, where zero may be a mistake.
    """

    def __init__(self, probes: Scalars) -> None:
        self.found: set[int] = set()
        self.divisors: set[int] = set()
        self._slots = {(type(probe), probe): (slot, False) for slot, probe in enumerate(probes)}
        for slot, probe in enumerate(probes):
            if not isinstance(probe, str):
                self._slots[type(probe), -probe] = (slot, True)

    def condition(self, node: Condition) -> Build | None:
        match node:
            case And(of=parts) | Or(of=parts):
                return self._joined(type(node), parts)
            case Not(of=part):
                return _mapped(Not, self.condition(part))
            case Comparison(operator=symbol, left=left, right=right):
                return self._pair(lambda one, two: Comparison(symbol, one, two), left, right)
            case MemberOf(operand=operand, among=ValueSet(values)):
                among = self._distinct(values)
                return _mapped(lambda values: MemberOf(operand, ValueSet(values)), among)
            case Contains(key=key, among=ValueSet(values), every=every):
                return _mapped(lambda values: Contains(key, ValueSet(values), every), self._value(values))
            case Matches(operand=operand, pattern=pattern):
                return _mapped(lambda pattern: Matches(operand, pattern), self._value(pattern))
        return None

    def _joined(self, kind: type[And] | type[Or], parts: Iterable[Condition]) -> Build | None:
        """Join as the checker does, where the order is that of the texts."""
        builds, costly, starts = [], [], []
        for part in parts:
            builds.append(self.condition(part) or _always(part))
            costly.append(any(isinstance(source, JsonKey) for source in sources(part)))
            starts.append(_start(repr(part)))
        # Where one text begins with another they are neighbours in their order, or what is between begins with it too.
        if not any(later.startswith(one) for one, later in pairwise(sorted(starts))):
            ordered = [build for _, _, build in sorted(zip(costly, starts, builds, strict=True), key=itemgetter(0, 1))]
            return lambda values: kind(tuple([build(values) for build in ordered]))

        def join(values: Scalars) -> Condition:
            built = [build(values) for build in builds]
            keyed = sorted(zip(costly, map(repr, built), range(len(built)), strict=True))
            if any(one[1] == two[1] for one, two in pairwise(keyed)):
                raise _Unusual
            return kind(tuple(built[at] for _, _, at in keyed))

        return join

    def _pair(self, make: Callable[[Any, Any], Any], left: Operand, right: Operand) -> Build | None:
        one, two = self._operand(left), self._operand(right)
        if one is None and two is None:
            return None
        if one is None and two is not None:
            return lambda values: make(left, two(values))
        first, second = one or _always(left), two or _always(right)
        return lambda values: make(first(values), second(values))

    def _operand(self, node: Operand) -> Build | None:
        if isinstance(node, Constant):
            return _mapped(Constant, self._value(node.value))
        if isinstance(node, Computed):
            before = set(self.found)
            build = self._pair(lambda one, two: Computed(node.operator, one, two, node.kind), node.left, node.right)
            self.divisors |= self.found - before
            return build
        return None

    def _distinct(self, values: tuple[Any, ...]) -> Build | None:
        inner = self._value(values)
        if inner is None:
            return None

        def distinct(given: Scalars) -> Any:
            built = inner(given)
            if len(set(built)) < len(built):
                raise _Unusual
            return built

        return distinct

    def _value(self, value: Any) -> Build | None:
        if isinstance(value, tuple):
            builds = [self._value(item) for item in value]
            if not any(builds):
                return None
            every = [build or _always(item) for build, item in zip(builds, value, strict=True)]
            return lambda values: tuple([build(values) for build in every])
        place = self._slots.get((type(value), value))
        if place is None:
            return None
        slot, is_negative = place
        self.found.add(slot)
        return (lambda values: -values[slot]) if is_negative else (lambda values: values[slot])  # type: ignore[operator]


def _mapped(make: Callable[[Any], Any], inner: Build | None) -> Build | None:
    return None if inner is None else lambda values: make(inner(values))
