"""What a filter expression means once a schema is known: operands with types, and conditions over them.

The checker makes these in one normal form (constants on the right and folded, `not in` as the negation of `in`,
operands of `and` and `or` in one order), so that `repr` is a key: conditions of the same `repr` hold for the same rows.
The commonest of them write it by hand, as the generated one takes several times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from functools import cached_property
from typing import TypeAlias

import pyarrow as pa

from roost.engine.filter.numeric import NumberSet

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"


class Kind(Enum):
    """The type of an operand in computations. Integers of every width compute in 64 bits."""

    BOOL = "BOOL"
    INT = "INT"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    TEXT = "VARCHAR"
    JSON = "JSON"


NUMERIC = frozenset({Kind.INT, Kind.FLOAT, Kind.DOUBLE})


@dataclass(frozen=True)
class Constant:
    """A value that is the same for every row."""

    value: Value

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"


@dataclass(frozen=True)
class Column:
    """A field of the schema."""

    name: str
    kind: Kind

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {self.kind.name})"


@dataclass(frozen=True)
class JsonKey:
    """A place inside the JSON of a field; an empty path is the whole value."""

    field: str
    path: tuple[str, ...]
    kind: Kind = Kind.JSON

    def __repr__(self) -> str:
        return f"JsonKey({self.field!r}, {self.path!r})"


@dataclass(frozen=True)
class JsonLength:
    """The number of elements of a JSON array."""

    of: JsonKey
    kind: Kind = Kind.JSON


@dataclass(frozen=True)
class Computed:
    """`left operator right` with one of + - * / % **."""

    operator: str
    left: Operand
    right: Operand
    kind: Kind


@dataclass(frozen=True)
class Fixed:
    """The same answer for every row."""

    value: bool


@dataclass(frozen=True)
class Comparison:
    """`left operator right`; a constant stands on the right."""

    operator: str
    left: Operand
    right: Operand

    def __repr__(self) -> str:
        return f"({self.left!r} {self.operator} {self.right!r})"


@dataclass(frozen=True)
class ValueSet:
    """The values of a list, in their written order, and made ready by kind when first needed."""

    values: tuple[Value, ...]

    @cached_property
    def numbers(self) -> NumberSet:
        """The numbers among the values."""
        return NumberSet([v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)])

    @cached_property
    def texts(self) -> pa.Array:
        """The strings among the values."""
        return pa.array([v for v in self.values if isinstance(v, str)], pa.large_string())

    @cached_property
    def others(self) -> tuple[Value, ...]:
        """The booleans and lists among the values."""
        return tuple(v for v in self.values if isinstance(v, bool | tuple))


@dataclass(frozen=True)
class MemberOf:
    """The operand equals one of the values."""

    operand: Operand
    among: ValueSet


@dataclass(frozen=True)
class Matches:
    """The string matches a `like` pattern."""

    operand: Operand
    pattern: str


@dataclass(frozen=True)
class Null:
    """The field is null; a JSON key also when it is missing."""

    operand: Operand


@dataclass(frozen=True)
class Present:
    """The JSON key is there, be it with the value null."""

    key: JsonKey


@dataclass(frozen=True)
class Contains:
    """The JSON array holds one of the values, or every one of them."""

    key: JsonKey
    among: ValueSet
    every: bool


@dataclass(frozen=True)
class Not:
    of: Condition


@dataclass(frozen=True)
class And:
    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    of: tuple[Condition, ...]


Operand: TypeAlias = "Constant | Column | JsonKey | JsonLength | Computed"
Condition: TypeAlias = "Fixed | Comparison | MemberOf | Matches | Null | Present | Contains | Not | And | Or"


def sources(node: Condition | Operand) -> Iterator[Column | JsonKey]:
    """Yield every field and JSON key that a condition reads."""
    if isinstance(node, Column | JsonKey):
        yield node
        return
    for part in fields(node):
        value = getattr(node, part.name)
        for child in value if isinstance(node, And | Or) else (value,):
            if hasattr(child, "__dataclass_fields__"):
                yield from sources(child)


def reads(condition: Condition) -> tuple[frozenset[str], tuple[JsonKey, ...]]:
    """Return the fields that a condition reads, and the JSON keys."""
    read = tuple(dict.fromkeys(sources(condition)))
    fields_read = frozenset(source.field if isinstance(source, JsonKey) else source.name for source in read)
    return fields_read, tuple(source for source in read if isinstance(source, JsonKey))
