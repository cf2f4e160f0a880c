"""Comparison and patterns of string columns. Strings order by their UTF-8 bytes, as in Milvus."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import Mask

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}

_PARTS = re.compile(r"\\[\\%_]|.", re.DOTALL)
_REGEX_OF = {"%": ".*", "_": "."}


def _mask(answers: pa.BooleanArray) -> Mask:
    """Return the answers as a mask in which null is false."""
    if answers.null_count:
        answers = answers.fill_null(False)
    return np.asarray(answers.to_numpy(zero_copy_only=False), dtype=bool)


def compare_texts(symbol: str, left: pa.Array, right: pa.Array | str) -> Mask:
    """Compare a string column with another one or with a constant; null compares as false."""
    other = pa.scalar(right, pa.large_string()) if isinstance(right, str) else right
    return _mask(_COMPARE[symbol](left, other))


def texts_in(texts: pa.Array, wanted: pa.Array) -> Mask:
    """Return which strings are among the wanted ones."""
    return _mask(pc.is_in(texts, value_set=wanted))


def matches(texts: pa.Array, pattern: str) -> Mask:
    r"""Return which strings match a `like` pattern: % is any run of characters, _ is one, \ takes the next as it is.

    A backslash before any other character is itself. The empty pattern matches every string, as in Milvus.
    """
    if not pattern:
        return _mask(texts.is_valid())
    if "\\" not in pattern:
        return _mask(pc.match_like(texts, pattern))
    # Arrow's `match_like` keeps the escapes of a pattern that it answers by prefix or suffix.
    expression = "".join(_REGEX_OF.get(part) or re.escape(part[-1]) for part in _PARTS.findall(pattern))
    return _mask(pc.match_substring_regex(texts, f"^(?s:{expression})$"))
