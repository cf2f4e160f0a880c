"""From the text of a filter expression to a predicate over columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from roost.engine.columns import Columns, Mask
from roost.engine.filter.check import check
from roost.engine.filter.condition import Column, Comparison, Condition, Constant, JsonKey, MemberOf, ValueSet, reads
from roost.engine.filter.constants import check_characters
from roost.engine.filter.estimate import Estimate, estimate
from roost.engine.filter.evaluate import Leaf, evaluate
from roost.engine.filter.forms import Form, Scalars, learn, lift
from roost.engine.filter.parser import parse
from roost.engine.filter.place import invalid_filter
from roost.engine.filter.tree import Expression, Fault, Span
from roost.engine.schema import Schema
from roost.errors import InvalidFilter

_CACHED_EXPRESSIONS = 1024
_CACHED_LENGTH = 10_000
"""Longer expressions are lists of keys that hardly come twice; keeping them would cost megabytes."""

_KEY_LENGTH = 256
_SCALARS = frozenset({int, float, str})


@dataclass(frozen=True, eq=False)
class Predicate:
    """A compiled filter expression. It is immutable, holds no rows, and may be used by any number of threads.

    Attributes:
        key: predicates of one schema with the same key have the same mask over the same rows.
        fields: the scalar fields that are read; the dynamic field for its keys.
        primary_keys: the keys where the expression says nothing but which primary keys it wants, otherwise None.
    """

    key: str
    fields: frozenset[str]
    primary_keys: tuple[int, ...] | tuple[str, ...] | None
    _condition: Condition
    _json_keys: tuple[JsonKey, ...]

    def evaluate(self, columns: Columns, leaves: list[Leaf] | None = None) -> Mask:
        """Return the rows for which the expression is true; null and unknown count as false.

        Args:
            leaves: is given how each of its conditions was answered.
        Returns: (columns.n_rows,) bool, the caller's own.
        Raises: Corruption: a row of a JSON field is not JSON.
        """
        return evaluate(self._condition, columns, self._json_keys, leaves)

    def estimate(self, columns: Columns, among: Mask | None = None) -> Estimate:
        """Return which part of some rows (None: all) passes, from counts of indexes or a sample of rows.

        Raises: Corruption: a row of the sample is not JSON in a JSON field.
        """
        return estimate(self._condition, columns, self._json_keys, among)


class _Identity:
    """A schema as a key that costs nothing to hash and that no equal schema shares."""

    __slots__ = ("schema",)

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.schema is self.schema


def compile_filter(expression: str, schema: Schema, params: Mapping[str, Any] | None = None) -> Predicate:
    """Compile an expression of Milvus's boolean language; compiling it again for the same schema is a look-up.

    Args:
        expression: for example `age > 3 and tag in {tags}`; not empty.
        params: the values of the templates: bool, int, float, str, lists of them, or NumPy's.
    Raises: InvalidFilter: the expression is not of the language or does not fit the schema; the place is marked.
    """
    if not params and isinstance(expression, str) and len(expression) <= _CACHED_LENGTH:
        return _cached(expression, _Identity(schema))
    return _compile(expression, schema, params or {})


@lru_cache(maxsize=_CACHED_EXPRESSIONS)
def _cached(expression: str, identity: _Identity) -> Predicate:
    return _compile(expression, identity.schema, {})


@lru_cache(maxsize=_CACHED_EXPRESSIONS)
def _cached_tree(expression: str) -> Expression:
    return parse(expression)


class _Shape:
    """What expressions share that differ in their constants only. Its form is made when it comes a second time."""

    def __init__(self, text: str, names: tuple[str, ...], kinds: tuple[type, ...], schema: Schema) -> None:
        self._text, self._names, self._kinds = text, names, kinds
        self._schema = schema
        self._is_new = True

    def predicate(self, values: Scalars) -> Predicate | None:
        """Return the predicate with these values, or None where it has to be compiled anew."""
        if self._is_new:
            self._is_new = False
            return None
        form = self._form
        condition = None if form is None else form.condition(values)
        if form is None or condition is None:
            return None
        return _predicate(condition, self._schema, form.fields, form.json_keys)

    @cached_property
    def _form(self) -> Form | None:
        return learn(self._text, self._schema, self._names, self._kinds)


def _compile(expression: str, schema: Schema, params: Mapping[str, Any]) -> Predicate:
    if not isinstance(expression, str):
        raise InvalidFilter(f"a filter is a string, not {type(expression).__name__}")
    found = _compile_by_shape(expression, schema, params) if len(expression) <= _CACHED_LENGTH else None
    return found or _compile_anew(expression, schema, params)


def _compile_by_shape(expression: str, schema: Schema, params: Mapping[str, Any]) -> Predicate | None:
    if params:
        text, names, values = expression, tuple(params), tuple(params.values())
    else:
        text, values = lift(expression)
        names = tuple([f"_{slot}" for slot in range(len(values))])
    kinds = tuple(map(type, values))
    if not values or not _SCALARS.issuperset(kinds):
        return None
    return _shape(text, names, kinds, _Identity(schema)).predicate(values)


@lru_cache(maxsize=_CACHED_EXPRESSIONS)
def _shape(text: str, names: tuple[str, ...], kinds: tuple[type, ...], identity: _Identity) -> _Shape:
    return _Shape(text, names, kinds, identity.schema)


def _compile_anew(expression: str, schema: Schema, params: Mapping[str, Any]) -> Predicate:
    try:
        check_characters(expression, Span(0, len(expression)))
        tree = _cached_tree(expression) if len(expression) <= _CACHED_LENGTH else parse(expression)
        condition = check(tree, schema, params)
    except Fault as fault:
        raise invalid_filter(expression, fault) from None
    return _predicate(condition, schema, *reads(condition))


def _predicate(
    condition: Condition, schema: Schema, fields: frozenset[str], json_keys: tuple[JsonKey, ...]
) -> Predicate:
    return Predicate(_key(condition), fields, _primary_keys(condition, schema), condition, json_keys)


def _key(condition: Condition) -> str:
    text = repr(condition)
    return text if len(text) <= _KEY_LENGTH else hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _primary_keys(condition: Condition, schema: Schema) -> Any:
    name = schema.primary.name
    match condition:
        case Comparison("==", Column(name=column), Constant(value=value)) if column == name:
            return (value,)
        case MemberOf(Column(name=column), ValueSet(values)) if column == name:
            return values
    return None
