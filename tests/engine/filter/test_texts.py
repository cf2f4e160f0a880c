import re

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from roost.engine.filter.texts import compare_texts, matches, texts_in

ALPHABET = "ab%_\\.\n*é"
words = st.lists(st.text(ALPHABET, max_size=6))


def column(values: list[str | None]) -> pa.Array:
    return pa.array(values, pa.large_string())


def like(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression, written from its definition."""
    out, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        follower = pattern[position + 1 : position + 2]
        if char == "\\" and follower in ("%", "_", "\\") and follower:
            out, position = out + re.escape(follower), position + 1
        else:
            out += {"%": ".*", "_": "."}.get(char, re.escape(char))
        position += 1
    return re.compile(out, re.DOTALL)


@given(words, st.text(ALPHABET, min_size=1, max_size=6))
def test_patterns(values: list[str], pattern: str) -> None:
    expected = [like(pattern).fullmatch(value) is not None for value in values]
    assert matches(column(list(values)), pattern).tolist() == expected


def test_the_empty_pattern_matches_every_string() -> None:
    assert matches(column(["", "a", None]), "").tolist() == [True, True, False]


@given(words, st.text(ALPHABET, max_size=2))
def test_strings_order_by_their_bytes(values: list[str], constant: str) -> None:
    array = column(list(values))
    assert compare_texts("<", array, constant).tolist() == [v.encode() < constant.encode() for v in values]
    assert compare_texts(">=", array, constant).tolist() == [v.encode() >= constant.encode() for v in values]
    assert compare_texts("!=", array, constant).tolist() == [v != constant for v in values]


def test_null_is_false() -> None:
    array = column(["a", None])
    assert compare_texts("!=", array, "b").tolist() == [True, False]
    assert compare_texts("==", array, array).tolist() == [True, False]
    assert texts_in(array, column(["a", "b"])).tolist() == [True, False]
