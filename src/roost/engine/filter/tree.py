"""The parse tree of a filter expression: what was written and where, before any schema is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

MAX_DEPTH = 100
"""Levels of a tree. The checker and the evaluator recurse, so this bounds their use of the stack in any caller."""


class Fault(Exception):
    """A mistake at a place of the expression, which `compile_filter` shows in an `InvalidFilter`."""

    def __init__(self, span: Span, message: str) -> None:
        super().__init__(message)
        self.span = span
        self.message = message


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the expression, the end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Node:
    """What every node has: its place, and the levels beneath it and itself."""

    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A boolean, a number or a string; a tuple where a list holds nothing but plain numbers or plain strings."""

    value: Any


@dataclass(frozen=True, slots=True)
class Template(Node):
    """`{name}`: a value that comes with the call."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A field, or a key of the dynamic field."""

    name: str


@dataclass(frozen=True, slots=True)
class Path(Node):
    """`name["key"][0]`: a place inside a JSON value. An index is kept as its digits, as Milvus does."""

    name: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """A list whose elements are expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Sign(Node):
    """`+x` or `-x`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """`left operator right` with one of + - * / % **."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`a < b`, or `a < b < c` with two operators that point the same way."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member(Node):
    """`operand in values`."""

    operand: Expression
    values: Expression


@dataclass(frozen=True, slots=True)
class Like(Node):
    """`operand like pattern`."""

    operand: Expression
    pattern: Expression


@dataclass(frozen=True, slots=True)
class IsNull(Node):
    """`operand is null`."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Exists(Node):
    """`exists operand`."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)`; `name_span` is the function's name alone."""

    function: str
    arguments: tuple[Expression, ...]
    name_span: Span


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """`not operand`."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class AllOf(Node):
    """Operands joined by `and`."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Node):
    """Operands joined by `or`."""

    operands: tuple[Expression, ...]


Expression: TypeAlias = (
    "Literal | Template | Name | Path | ListOf | Sign | Arithmetic | Compare | Member | Like | IsNull | Exists"
    " | Call | Negate | AllOf | AnyOf"
)
