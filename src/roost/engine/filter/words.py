"""Conditions as a reader writes them, for reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
    Matches,
    MemberOf,
    Not,
    Null,
    Operand,
    Or,
    Present,
    Value,
)

MAX_VALUES = 5
"""Values of a list that are shown."""


def in_words(node: Condition | Operand) -> str:
    """Return a condition or an operand as an expression of the language; long lists are cut."""
    return _WORDS[type(node)](node)


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return _listed(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _listed(values: tuple[Value, ...]) -> str:
    shown = ", ".join(map(_value, values[:MAX_VALUES]))
    return f"[{shown}]" if len(values) <= MAX_VALUES else f"[{shown}, ... {len(values)} values]"


def _key(node: JsonKey) -> str:
    return node.field + "".join(f"[{step}]" if step.isdigit() else f"[{step!r}]" for step in node.path)


def _contains(node: Contains) -> str:
    return f"json_contains_{'all' if node.every else 'any'}({in_words(node.key)}, {_listed(node.among.values)})"


def _joined(node: And | Or) -> str:
    word = " and " if isinstance(node, And) else " or "
    return word.join(f"({in_words(part)})" if isinstance(part, And | Or) else in_words(part) for part in node.of)


_WORDS: Mapping[type, Callable[[Any], str]] = {
    Constant: lambda node: _value(node.value),
    Column: lambda node: str(node.name),
    JsonKey: _key,
    JsonLength: lambda node: f"array_length({in_words(node.of)})",
    Computed: lambda node: f"({in_words(node.left)} {node.operator} {in_words(node.right)})",
    Fixed: lambda node: _value(node.value),
    Comparison: lambda node: f"{in_words(node.left)} {node.operator} {in_words(node.right)}",
    MemberOf: lambda node: f"{in_words(node.operand)} in {_listed(node.among.values)}",
    Matches: lambda node: f"{in_words(node.operand)} like {_value(node.pattern)}",
    Null: lambda node: f"{in_words(node.operand)} is null",
    Present: lambda node: f"exists {in_words(node.key)}",
    Contains: _contains,
    Not: lambda node: f"not ({in_words(node.of)})",
    And: _joined,
    Or: _joined,
}
