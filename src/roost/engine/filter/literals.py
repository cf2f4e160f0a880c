"""Numbers and strings as they are written in a filter expression, and constant arithmetic on them."""

from __future__ import annotations

import math
import re
from typing import TypeAlias

from roost.engine.filter.tree import Fault, Span

Number: TypeAlias = "int | float"

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

_SIMPLE_ESCAPES = {
    "'": "'",
    '"': '"',
    "?": "?",
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    # The escapes of a `like` pattern pass through, so that "50\%" needs no second backslash.
    "%": "\\%",
    "_": "\\_",
}

_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")


def parse_integer(text: str, span: Span) -> int:
    """Read a decimal, 0x, 0b or 0-led octal integer. 2**63 is let through: a minus may stand before it.

    Raises: Fault: the integer needs more than 64 bits.
    """
    if text[:2] in ("0x", "0X"):
        value = int(text, 16)
    elif text[:2] in ("0b", "0B"):
        value = int(text, 2)
    elif len(text) > 20:
        raise Fault(span, "an integer of more than 64 bits")
    else:
        value = int(text, 8 if text[0] == "0" else 10)
    if value > -INT64_MIN:
        raise Fault(span, "an integer of more than 64 bits")
    return value


def parse_float(text: str, span: Span) -> float:
    """Read a decimal or hexadecimal floating-point number.

    Raises: Fault: the number is too large for 64 bits.
    """
    try:
        value = float.fromhex(text) if text[:2] in ("0x", "0X") else float(text)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise Fault(span, "a floating-point number beyond the range of 64 bits")
    return value


def decode_string(text: str, span: Span) -> str:
    """Read a string with its quotes; after r or R backslashes stand for themselves.

    Raises: Fault: an escape is unknown or names no character.
    """
    if text[0] in "rR":
        return text[2:-1]
    body = text[1:-1]
    if "\\" not in body:
        return body

    def replace(found: re.Match[str]) -> str:
        octal, *hexadecimal, simple = found.groups()
        if simple is not None:
            if simple not in _SIMPLE_ESCAPES:
                raise Fault(span, f"unknown escape \\{simple}; write \\\\ for a backslash")
            return _SIMPLE_ESCAPES[simple]
        code = int(octal, 8) if octal else int(next(h for h in hexadecimal if h), 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise Fault(span, f"{found.group()} is not a character")
        return chr(code)

    return _ESCAPE.sub(replace, body)


def fold(operator: str, left: Number, right: Number, span: Span) -> Number:
    """Compute a constant: integers as in C++ (division truncates towards zero), otherwise in float64.

    Raises: Fault: division by zero, `%` of a float, or a result out of range.
    """
    if operator in "/%" and right == 0:
        raise Fault(span, "division by zero")
    if operator == "%" and not (isinstance(left, int) and isinstance(right, int)):
        raise Fault(span, "% takes integers only")
    try:
        value = _compute(operator, left, right)
    except (OverflowError, ZeroDivisionError):
        raise Fault(span, "the result is beyond the range of 64 bits") from None
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise Fault(span, "the result is not a number of 64 bits")
    if isinstance(value, int) and not INT64_MIN <= value <= -INT64_MIN:
        raise Fault(span, "the result is an integer of more than 64 bits")
    return value


def _compute(operator: str, left: Number, right: Number) -> Number | complex:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "**":
        value = float(left) ** float(right)
        exact = isinstance(left, int) and isinstance(right, int) and right >= 0 and abs(value) < 2.0**63
        return left**right if exact else value
    if not (isinstance(left, int) and isinstance(right, int)):
        return left / right
    quotient = abs(left) // abs(right)
    if (left < 0) != (right < 0):
        quotient = -quotient
    return quotient if operator == "/" else left - quotient * right
