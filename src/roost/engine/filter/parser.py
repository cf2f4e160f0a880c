"""From the text of a filter expression to its tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar

import orjson
from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from roost.engine.filter import tree
from roost.engine.filter.literals import decode_string, parse_float, parse_integer
from roost.engine.filter.tree import MAX_DEPTH, Expression, Fault, Span

Placed: TypeAlias = "Expression | Token"
AnyNode = TypeVar("AnyNode", bound=tree.Node)

_STEP = re.compile(r"\[\s*(?:(\d+)|([rR]?(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')))\s*\]")

_EXPECTED = (
    (frozenset({"NAME", "PATH", "INTEGER", "FLOAT", "STRING"}), "a field or a value"),
    (frozenset({"COMPARISON"}), "a comparison (== != < <= > >=, in, like)"),
    (frozenset({"SIGN", "FACTOR", "POWER"}), "an arithmetic operator"),
    (frozenset({"_AND", "_OR"}), "and / or"),
    (frozenset({"_IN"}), "in"),
    (frozenset({"CLOSE"}), "')'"),
    (frozenset({"RIGHT"}), "']'"),
    (frozenset({"COMMA"}), "','"),
    (frozenset({"$END"}), "the end"),
)

_HINTS = {
    "=": "write == to compare",
    "===": "write == to compare",
    "<>": "write != for unequal",
    "&": "write && or and",
    "|": "write || or or",
    '"': "the string is not closed",
    "'": "the string is not closed",
    "{": "a template is written {name}",
}

_KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "exists", "null"})


def parse(text: str) -> Expression:
    """Return the tree of an expression.

    Raises: Fault: the text is not an expression of the language, or is nested too deeply.
    """
    try:
        return _grammar().parse(text)  # type: ignore[return-value]
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        word = _word(text, at)
        raise Fault(Span(at, at + len(word)), f"unexpected {word!r}; {_HINTS.get(word, 'it has no meaning')}") from None
    except UnexpectedToken as error:
        at = len(text) if error.token.type == "$END" else error.token.start_pos or 0
        raise _unexpected(text, at, set(error.accepts or error.expected)) from None


def _word(text: str, at: int) -> str:
    found = re.compile(r"[\w.]+|[=<>]+|\S").match(text, at)
    return found.group() if found else ""


def _unexpected(text: str, at: int, expected: set[str]) -> Fault:
    """Say what stands at a place where no expression can go on, and what could."""
    word = _word(text, at)
    found = f"unexpected {word!r}" if word else "the expression ends too early"
    allowed = ", ".join(label for names, label in _EXPECTED if names & expected)
    lower, upper = word.lower(), word.upper()
    hint = ""
    if lower in _KEYWORDS and word not in (lower, upper):
        hint = f"; keywords are all lower or all upper case: {lower} or {upper}"
    return Fault(Span(at, at + len(word)), f"{found}; expected {allowed}{hint}")


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    text = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="basic", transformer=_TreeBuilder(), maybe_placeholders=False)


def _span(first: Placed, last: Placed) -> Span:
    start = first.start_pos if isinstance(first, Token) else first.span.start
    end = last.end_pos if isinstance(last, Token) else last.span.end
    return Span(start or 0, end or 0)


def _node(kind: Callable[..., AnyNode], span: Span, children: tuple[Expression, ...], *fields: Any) -> AnyNode:
    """Build a node over its children.

    Raises: Fault: the tree would be deeper than `MAX_DEPTH`.
    """
    depth = 1 + max((child.depth for child in children), default=0)
    if depth > MAX_DEPTH:
        raise Fault(span, f"nested {depth} levels deep; at most {MAX_DEPTH} are allowed")
    return kind(span, depth, *fields)


def _leaf(kind: Callable[..., AnyNode], token: Token, *fields: Any) -> AnyNode:
    return _node(kind, _span(token, token), (), *fields)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Expression]):
    """One method a rule; lark calls it bottom-up while it parses, so depth costs no stack."""

    def any_of(self, *operands: Expression) -> tree.AnyOf:
        return _node(tree.AnyOf, _span(operands[0], operands[-1]), operands, operands)

    def all_of(self, *operands: Expression) -> tree.AllOf:
        return _node(tree.AllOf, _span(operands[0], operands[-1]), operands, operands)

    def negate(self, operator: Token, operand: Expression) -> tree.Negate:
        return _node(tree.Negate, _span(operator, operand), (operand,), operand)

    def compare(self, left: Expression, operator: Token, right: Expression) -> tree.Compare:
        operands = (left, right)
        return _node(tree.Compare, _span(left, right), operands, (str(operator),), operands)

    def between(
        self, low: Expression, first: Token, middle: Expression, second: Token, high: Expression
    ) -> tree.Compare:
        if first[0] != second[0] or first[0] not in "<>":
            raise Fault(_span(second, second), f"a chain has two of < <=, or two of > >=; found {first} and {second}")
        operands = (low, middle, high)
        return _node(tree.Compare, _span(low, high), operands, (str(first), str(second)), operands)

    def member(self, operand: Expression, values: Expression) -> tree.Member:
        return _node(tree.Member, _span(operand, values), (operand, values), operand, values)

    def not_member(self, operand: Expression, _: Token, values: Expression) -> tree.Negate:
        inner = self.member(operand, values)
        return _node(tree.Negate, inner.span, (inner,), inner)

    def like(self, operand: Expression, pattern: Expression) -> tree.Like:
        return _node(tree.Like, _span(operand, pattern), (operand, pattern), operand, pattern)

    def is_null(self, operand: Expression, end: Token) -> tree.IsNull:
        return _node(tree.IsNull, _span(operand, end), (operand,), operand)

    def is_not_null(self, operand: Expression, end: Token) -> tree.Negate:
        inner = self.is_null(operand, end)
        return _node(tree.Negate, inner.span, (inner,), inner)

    def exists(self, operator: Token, operand: Expression) -> tree.Exists:
        return _node(tree.Exists, _span(operator, operand), (operand,), operand)

    def arithmetic(self, left: Expression, operator: Token, right: Expression) -> tree.Arithmetic:
        return _node(tree.Arithmetic, _span(left, right), (left, right), str(operator), left, right)

    def sign(self, operator: Token, operand: Expression) -> tree.Sign:
        return _node(tree.Sign, _span(operator, operand), (operand,), str(operator), operand)

    def list_of(self, left: Token, *rest: Placed) -> tree.ListOf:
        items: tuple[Expression, ...] = rest[:-1]  # type: ignore[assignment]
        return _node(tree.ListOf, _span(left, rest[-1]), items, items)

    def call(self, name: Token, *rest: Placed) -> tree.Call:
        arguments: tuple[Expression, ...] = rest[:-1]  # type: ignore[assignment]
        return _node(tree.Call, _span(name, rest[-1]), arguments, str(name), arguments, _span(name, name))

    def boolean(self, token: Token) -> tree.Literal:
        return _leaf(tree.Literal, token, token.lower() == "true")

    def integer(self, token: Token) -> tree.Literal:
        return _leaf(tree.Literal, token, parse_integer(token, _span(token, token)))

    def floating(self, token: Token) -> tree.Literal:
        return _leaf(tree.Literal, token, parse_float(token, _span(token, token)))

    def string(self, token: Token) -> tree.Literal:
        return _leaf(tree.Literal, token, decode_string(token, _span(token, token)))

    def template(self, token: Token) -> tree.Template:
        return _leaf(tree.Template, token, token[1:-1].strip())

    def name(self, token: Token) -> tree.Name:
        return _leaf(tree.Name, token, str(token))

    def path(self, token: Token) -> tree.Path:
        name = token[: token.index("[")].rstrip()
        span = _span(token, token)
        steps = tuple(
            str(int(found[1])) if found[1] else decode_string(found[2], span) for found in _STEP.finditer(token)
        )
        return _leaf(tree.Path, token, name, steps)

    def plain_list(self, token: Token) -> tree.Literal:
        body = token[1:-1].rstrip().rstrip(",")
        if body.lstrip().startswith("'"):
            body = body.replace("'", '"')
        span = _span(token, token)
        try:
            values = orjson.loads(f"[{body}]")
        except orjson.JSONDecodeError as error:
            raise Fault(span, f"a value of the list cannot be read: {error}") from None
        return _leaf(tree.Literal, token, tuple(values))
