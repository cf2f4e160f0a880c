from __future__ import annotations

import pytest

from roost.engine.filter import compile_filter
from roost.engine.filter.words import in_words
from tests.engine.filter.rows import SCHEMA


@pytest.mark.parametrize(
    "expression",
    [
        "i8 < 3",
        "b == true",
        "s == 'it'",
        "s like 'a%'",
        "i8 in [1, 2, 3]",
        "not (i8 in [1, 2])",
        "(i8 + i16) > 3",
        "j['a']['b'] == [1, 'x']",
        "j['a'][1] is null",
        "exists j['a']",
        "array_length(j['a']) > 2",
        "json_contains_all(j['a'], [1, 2])",
        "json_contains_any(j['a'], [1])",
        "i16 == 2 and i8 == 1 or s == 'x'",
        "(i8 == 1 or s == 'x') and i16 == 2",
        "true",
    ],
)
def test_a_condition_in_words_means_the_same(expression: str) -> None:
    predicate = compile_filter(expression, SCHEMA)
    again = compile_filter(in_words(predicate._condition), SCHEMA)
    assert again.key == predicate.key


def test_a_long_list_is_cut() -> None:
    predicate = compile_filter(f"i8 in {list(range(20))}", SCHEMA)
    assert in_words(predicate._condition) == "i8 in [0, 1, 2, 3, 4, ... 20 values]"
