"""From the tree of a filter expression to its meaning under a schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from pymilvus import DataType

from roost.engine.filter import tree
from roost.engine.filter.condition import (
    NUMERIC,
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
    Value,
    ValueSet,
    sources,
)
from roost.engine.filter.constants import FLIPPED, check_values, compare_constants, template_value, written
from roost.engine.filter.literals import fold
from roost.engine.filter.place import near
from roost.engine.filter.tree import Expression, Fault, Span
from roost.engine.schema import DYNAMIC_FIELD, Schema

_KINDS = {
    DataType.BOOL: Kind.BOOL,
    DataType.INT8: Kind.INT,
    DataType.INT16: Kind.INT,
    DataType.INT32: Kind.INT,
    DataType.INT64: Kind.INT,
    DataType.FLOAT: Kind.FLOAT,
    DataType.DOUBLE: Kind.DOUBLE,
    DataType.VARCHAR: Kind.TEXT,
}

_CONTAINS = {f"{kind}_contains{how}": how for kind in ("json", "array") for how in ("", "_all", "_any")}
_LENGTH = "array_length"


def check(expression: Expression, schema: Schema, params: Mapping[str, Any]) -> Condition:
    """Return what the expression means for rows of the schema, in the normal form of `condition`.

    Raises: Fault: it names what the schema does not have, its kinds do not fit, or a template has no value.
    """
    return _Checker(schema, params).condition(expression)


def _negation(of: Condition) -> Condition:
    if isinstance(of, Fixed):
        return Fixed(not of.value)
    return of.of if isinstance(of, Not) else Not(of)


def _joined(kind: type[And] | type[Or], parts: Iterable[Condition]) -> Condition:
    """Join conditions, flat and without fixed ones; those that need no JSON come first, as they are cheap."""
    flat: list[Condition] = []
    for part in parts:
        flat.extend(part.of if isinstance(part, kind) else (part,))
    if len(flat) == 1:
        return flat[0]
    neutral, decisive = Fixed(kind is And), Fixed(kind is Or)
    if decisive in flat:
        return decisive
    left = {repr(part): part for part in flat if part != neutral}
    if len(left) <= 1:
        return next(iter(left.values()), neutral)
    costly = {key: any(isinstance(source, JsonKey) for source in sources(part)) for key, part in left.items()}
    return kind(tuple(left[key] for key in sorted(left, key=lambda key: (costly[key], key))))


class _Checker:
    def __init__(self, schema: Schema, params: Mapping[str, Any]) -> None:
        self._schema = schema
        self._params = params

    def condition(self, node: Expression) -> Condition:
        rule = _CONDITIONS.get(type(node))
        if rule is not None:
            return rule(self, node)
        operand = self._operand(node)
        if isinstance(operand, Constant) and isinstance(operand.value, bool):
            return Fixed(operand.value)
        raise Fault(node.span, f"{_described(operand)} is not a condition; compare it, for example with == true")

    def _operand(self, node: Expression) -> Operand:
        rule = _OPERANDS.get(type(node))
        if rule is None:
            raise Fault(node.span, "a condition cannot be compared or calculated with; join conditions by and, or, not")
        return rule(self, node)

    def _value(self, node: Expression) -> Value:
        operand = self._operand(node)
        if not isinstance(operand, Constant):
            raise Fault(node.span, f"expected a constant, found {_described(operand)}")
        return operand.value

    def _template(self, node: tree.Template) -> Constant:
        if node.name not in self._params:
            given = ", ".join(map(repr, self._params)) or "none"
            advice = near(node.name, self._params)
            raise Fault(node.span, f"the template {node.name!r} has no value; given: {given}{advice}")
        return Constant(template_value(self._params[node.name], node.name, node.span))

    def _field(self, name: str, steps: tuple[str, ...], span: Span) -> Column | JsonKey:
        field = self._schema.by_name.get(name)
        if field is None:
            if self._schema.enable_dynamic and name != DYNAMIC_FIELD:
                return JsonKey(DYNAMIC_FIELD, (name, *steps))
            known = [f.name for f in self._schema.scalars if not f.is_vector]
            raise Fault(span, f"unknown field {name!r}{near(name, known)}; the collection has: {', '.join(known)}")
        if field.is_vector:
            raise Fault(span, f"{name!r} is a vector field; filters read scalar fields only")
        if field.dtype == DataType.JSON:
            return JsonKey(name, steps)
        if steps:
            raise Fault(span, f"{name!r} is a {field.dtype.name} field and has no keys; only JSON has")
        return Column(name, _KINDS[field.dtype])

    def _source(self, node: Expression, use: str) -> Column | JsonKey:
        operand = self._operand(node)
        if not isinstance(operand, Column | JsonKey):
            raise Fault(node.span, f"{use} takes a field or a JSON key, not {_described(operand)}")
        return operand

    def _json_key(self, node: Expression, use: str) -> JsonKey:
        operand = self._operand(node)
        if not isinstance(operand, JsonKey):
            raise Fault(node.span, f"{use} takes a JSON key, not {_described(operand)}")
        return operand

    def _comparable(self, node: Expression) -> Operand:
        """Return an operand that has values to compare: not the whole of a JSON field."""
        operand = self._operand(node)
        if isinstance(operand, JsonKey) and not operand.path:
            raise Fault(node.span, f'a JSON field has no value of its own; name a key: {operand.field}["key"]')
        return operand

    def _compare(self, node: tree.Compare) -> Condition:
        operands = [(self._comparable(child), child.span) for child in node.operands]
        pairs = zip(node.operators, operands, operands[1:], strict=False)
        return _joined(And, [self._comparison(symbol, left, right) for symbol, left, right in pairs])

    def _comparison(self, symbol: str, left: tuple[Operand, Span], right: tuple[Operand, Span]) -> Condition:
        if isinstance(left[0], Constant) and not isinstance(right[0], Constant):
            return self._comparison(FLIPPED[symbol], right, left)
        (first, first_span), (second, second_span) = left, right
        both = Span(min(first_span.start, second_span.start), max(first_span.end, second_span.end))
        if isinstance(first, Constant) and isinstance(second, Constant):
            return Fixed(compare_constants(symbol, first.value, second.value, both))
        ordering = symbol not in ("==", "!=")
        if isinstance(second, Constant):
            kind = _kind(first)
            check_values([second.value], kind, second_span)
            if ordering and (kind is Kind.BOOL or isinstance(second.value, bool | tuple)):
                raise Fault(both, f"{written(second.value)} has no order; use == or !=")
            return Comparison(symbol, first, second)
        kinds = {_kind(first), _kind(second)}
        if Kind.JSON in kinds:
            raise Fault(both, f"a JSON key compares with constants only{_quoted(second) or _quoted(first)}")
        if not (kinds <= NUMERIC or len(kinds) == 1):
            raise Fault(both, f"{_described(first)} cannot be compared with {_described(second)}")
        if ordering and Kind.BOOL in kinds:
            raise Fault(both, "BOOL has no order; use == or !=")
        return Comparison(symbol, first, second)

    def _member(self, node: tree.Member) -> Condition:
        operand = self._comparable(node.operand)
        if isinstance(operand, Constant):
            raise Fault(node.operand.span, "in takes a field on its left")
        values = self._values(node.values, "in")
        kind = _kind(operand)
        if isinstance(node.values, tree.ListOf):
            for item, value in zip(node.values.items, values, strict=True):
                check_values([value], kind, item.span)
        else:
            check_values(values, kind, node.values.span)
        kinds = set(map(type, values))
        if len(kinds) == 1 and kinds != {tuple}:
            values = tuple(dict.fromkeys(values))
        return (
            Comparison("==", operand, Constant(values[0])) if len(values) == 1 else MemberOf(operand, ValueSet(values))
        )

    def _values(self, node: Expression, use: str) -> tuple[Value, ...]:
        values = self._value(node)
        if not isinstance(values, tuple):
            raise Fault(node.span, f"{use} takes a list such as [1, 2], not {written(values)}")
        return values

    def _like(self, node: tree.Like) -> Condition:
        operand = self._comparable(node.operand)
        if isinstance(operand, Constant) or _kind(operand) not in (Kind.TEXT, Kind.JSON):
            raise Fault(node.operand.span, f"like takes a VARCHAR field or a JSON key, not {_described(operand)}")
        pattern = self._value(node.pattern)
        if not isinstance(pattern, str):
            raise Fault(node.pattern.span, f"like takes a string as its pattern, not {written(pattern)}")
        return Matches(operand, pattern)

    def _exists(self, node: tree.Exists) -> Condition:
        key = self._json_key(node.operand, "exists")
        if not key.path:
            raise Fault(node.operand.span, f'exists takes a key of a JSON field: {key.field}["key"]')
        return Present(key)

    def _contains(self, node: tree.Call) -> Condition:
        function = node.function.lower()
        if function not in _CONTAINS or node.function not in (function, function.upper()):
            if function == _LENGTH:
                raise Fault(node.span, "a length is not a condition; compare it, for example with > 0")
            _unknown_function(node)
        key_node, value_node = self._arguments(node, 2)
        key = self._json_key(key_node, function)
        every = _CONTAINS[function] == "_all"
        values = self._values(value_node, function) if _CONTAINS[function] else (self._value(value_node),)
        check_values(values, Kind.JSON, value_node.span)
        return Contains(key, ValueSet(values), every)

    def _length(self, node: tree.Call) -> Operand:
        function = node.function.lower()
        if function in _CONTAINS:
            raise Fault(node.span, "a condition cannot be compared or calculated with; join conditions by and, or, not")
        if function != _LENGTH or node.function not in (function, function.upper()):
            _unknown_function(node)
        return JsonLength(self._json_key(self._arguments(node, 1)[0], function))

    def _arguments(self, node: tree.Call, count: int) -> tuple[Expression, ...]:
        if len(node.arguments) != count:
            raise Fault(node.span, f"{node.function} takes {count} arguments, found {len(node.arguments)}")
        return node.arguments

    def _sign(self, node: tree.Sign) -> Operand:
        operand = self._comparable(node.operand)
        if isinstance(operand, Constant) and type(operand.value) in (int, float):
            return Constant(-operand.value if node.operator == "-" else operand.value)  # type: ignore[operator]
        self._check_number(operand, node.operator, node.operand.span)
        return operand if node.operator == "+" else Computed("*", operand, Constant(-1), _kind(operand))

    def _arithmetic(self, node: tree.Arithmetic) -> Operand:
        left, right = self._comparable(node.left), self._comparable(node.right)
        self._check_number(left, node.operator, node.left.span)
        self._check_number(right, node.operator, node.right.span)
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Constant(fold(node.operator, left.value, right.value, node.span))  # type: ignore[arg-type]
        if node.operator in "/%" and isinstance(right, Constant) and right.value == 0:
            raise Fault(node.right.span, "division by zero")
        kinds = {_kind(side) for side in (left, right) if not isinstance(side, Constant)}
        if Kind.JSON in kinds:
            if not (isinstance(left, Constant) or isinstance(right, Constant)):
                raise Fault(node.span, "arithmetic on a JSON key takes a constant as its other operand")
            return Computed(node.operator, left, right, Kind.JSON)
        kind = _result_kind(node.operator, left, right, kinds)
        if node.operator == "%" and kind is not Kind.INT:
            raise Fault(node.span, "% takes integers only")
        return Computed(node.operator, left, right, kind)

    def _check_number(self, operand: Operand, symbol: str, span: Span) -> None:
        if isinstance(operand, Constant):
            is_number = type(operand.value) in (int, float)
        else:
            is_number = operand.kind in NUMERIC or operand.kind is Kind.JSON
        if not is_number:
            raise Fault(span, f"{symbol} takes numbers, not {_described(operand)}")
        if isinstance(operand, Constant):
            check_values([operand.value], Kind.DOUBLE, span)


_CONDITIONS: Mapping[type, Callable[[_Checker, Any], Condition]] = {
    tree.AllOf: lambda checker, node: _joined(And, map(checker.condition, node.operands)),
    tree.AnyOf: lambda checker, node: _joined(Or, map(checker.condition, node.operands)),
    tree.Negate: lambda checker, node: _negation(checker.condition(node.operand)),
    tree.Compare: _Checker._compare,
    tree.Member: _Checker._member,
    tree.Like: _Checker._like,
    tree.IsNull: lambda checker, node: Null(checker._source(node.operand, "is null")),
    tree.Exists: _Checker._exists,
    tree.Call: _Checker._contains,
}

_OPERANDS: Mapping[type, Callable[[_Checker, Any], Operand]] = {
    tree.Literal: lambda checker, node: Constant(node.value),
    tree.Template: _Checker._template,
    tree.ListOf: lambda checker, node: Constant(tuple(checker._value(item) for item in node.items)),
    tree.Name: lambda checker, node: checker._field(node.name, (), node.span),
    tree.Path: lambda checker, node: checker._field(node.name, node.steps, node.span),
    tree.Sign: _Checker._sign,
    tree.Arithmetic: _Checker._arithmetic,
    tree.Call: _Checker._length,
}


def _kind(operand: Operand) -> Kind:
    if isinstance(operand, Constant):
        return {bool: Kind.BOOL, int: Kind.INT, float: Kind.DOUBLE, str: Kind.TEXT}.get(type(operand.value), Kind.JSON)
    return operand.kind


def _result_kind(symbol: str, left: Operand, right: Operand, kinds: set[Kind]) -> Kind:
    """FLOAT stays FLOAT against constants, as in Milvus; everything else with a float computes in 64 bits."""
    if symbol == "**":
        return Kind.DOUBLE
    if kinds == {Kind.FLOAT}:
        return Kind.FLOAT
    return Kind.INT if {_kind(left), _kind(right)} == {Kind.INT} else Kind.DOUBLE


def _described(operand: Operand) -> str:
    if isinstance(operand, Constant):
        return written(operand.value)
    if isinstance(operand, Column):
        return f"the {operand.kind.value} field {operand.name!r}"
    return "a JSON key" if operand.kind is Kind.JSON else f"a computed {operand.kind.value}"


def _quoted(operand: Operand) -> str:
    """Return the hint that a text goes in quotes, for what may be a text without them."""
    if isinstance(operand, JsonKey) and operand.field == DYNAMIC_FIELD and len(operand.path) == 1:
        [word] = operand.path
        return f'; {word} is no field: if it is a text, put it in quotes: "{word}"'
    return ""


def _unknown_function(node: tree.Call) -> NoReturn:
    known = [*_CONTAINS, _LENGTH]
    advice = near(node.function, known)
    raise Fault(node.name_span, f"unknown function {node.function!r}{advice}; known: {', '.join(known)}")
