from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from roost.engine.filter import compile_filter
from roost.engine.filter.evaluate import _NARROWED_FROM, _Held
from tests.engine.filter.rows import SCHEMA, Rows, make_schema

Select = Callable[..., list[int]]
EVERY = list(range(12))


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("i64 == 7", [8]),
        ("i64 != 7", [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]),
        ("i64 < -7", [2, 4]),
        ("i64 <= -7", [2, 4, 9]),
        ("i64 > 7", [0, 1, 3]),
        ("i64 >= 7", [0, 1, 3, 8]),
        ("7 == i64", [8]),
        ("7 < i64", [0, 1, 3]),
        ("i64 == 9007199254740993", [1]),
        ("i64 > 9007199254740992", [1, 3]),
        ("i64 == -9223372036854775808", [4]),
        ("i8 == 1000", []),
        ("i8 < 1000", EVERY),
        ("i8 in [1, 1000]", [3]),
        ("f == 0.1", [0]),
        ("f > 0.1", [1, 4, 5, 6, 8, 9, 10, 11]),
        ("f in [2, 3.0]", [4, 5]),
        ("d >= 0.1", [0, 1, 4, 5, 6, 8, 9, 10, 11]),
        ("d in [0.1, 2]", [0, 4]),
        ("b == true", [0, 2, 4, 6, 8, 10]),
        ("b != True", [1, 3, 5, 7, 9, 11]),
        ("b in [FALSE]", [1, 3, 5, 7, 9, 11]),
        ("b in [true, false]", EVERY),
        ("b in []", []),
        ("b not in []", EVERY),
        ("s in []", []),
        ("f not in []", EVERY),
        ("b == b", EVERY),
        ("i8 < i16", [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("i8 < f", [0, 4, 6, 8, 10, 11]),
        ("s == s", EVERY),
        ("1 < i8 <= 7", [5, 7, 11]),
        ("10 > i8 >= 2", [5, 7, 11]),
        ("5 < i8 < 1", []),
        ('"a" < s < "b"', [2, 3, 4, 9]),
    ],
)
def test_comparisons(select: Select, expression: str, kept: list[int]) -> None:
    assert select(expression) == kept


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("i64 + 1 == 8", [8]),
        ("1 + i64 == 8", [8]),
        ("i64 - 1 == 2", [10]),
        ("10 - i64 == 3", [8]),
        ("i64 * 2 == 14", [8]),
        ("i64 / 2 == 3", [8]),
        ("i64 / 2 == -3", [9]),
        ("i64 % 3 == 1", [3, 6, 8]),
        ("i64 % 3 == -1", [7, 9]),
        ("i64 ** 2 == 49", [8, 9]),
        ("-i32 == 3", [3]),
        ("+i32 == 3", [9]),
        ("i8 + 100 == 227", [1]),
        ("i64 + 1 == -9223372036854775808", [3]),
        ("(i64 + 1) * 2 == 16", [8]),
        ("i8 + i16 == 204", []),
        ("i8 + i16 == 201", []),
        ("i8 + i16 == 300 + 1", [3]),
        ("f + 0.2 == 0.3", [0]),
        ("d + 0.2 == 0.3", []),
        ("i8 / 2.0 == 1.5", [7]),
        ("i64 % 2 in [1]", [1, 3, 6, 8, 10]),
        ("i64 == 15 / 2", [8]),
        ("i64 == -7 / 2", [11]),
        ("f == 3 ** 2", [10]),
    ],
)
def test_arithmetic(select: Select, expression: str, kept: list[int]) -> None:
    assert select(expression) == kept


def test_division_by_a_zero_of_a_row_is_neither_true_nor_false(select: Select) -> None:
    # i32 is 0 in row 6 alone.
    assert select("i64 / i32 == 0 or i64 / i32 != 0") == [r for r in EVERY if r != 6]
    assert 6 not in select("not (i64 % i32 == 0)")
    assert 6 not in select("d / i32 > 0") and 6 not in select("not (d / i32 > 0)")
    assert select("i64 / i32 == 0 or pk == 6")[-1] >= 6


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ('s == "ab"', [2]),
        (r's == "q\"q"', [7]),
        (r"s == 'it\'s'", [8]),
        (r's == "abc\n"', [9]),
        ('s == "é"', [10]),
        ("s in [\"a\", 'ab']", [1, 2]),
        ("s not in ['a', 'ab']", [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ('s like "a%"', [1, 2, 3, 4, 9]),
        ('s like "%b"', [2, 3, 4]),
        ('s like "%b%"', [2, 3, 4, 6, 9]),
        ('s like "a_b"', [3, 4]),
        (r's like "a\_b"', [4]),
        (r's like "a\\%b"', [3]),
        ('s like ""', EVERY),
        ('not s like "a%"', [0, 5, 6, 7, 8, 10, 11]),
    ],
)
def test_strings(select: Select, expression: str, kept: list[int]) -> None:
    assert select(expression) == kept


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("b == true and i8 < -2", [0, 6, 8, 10]),
        ("b == true && i8 < -2 || s == 'zz'", [0, 6, 8, 10, 11]),
        ("b == true OR i8 > 0 AND s == 'zz'", [0, 2, 4, 6, 8, 10, 11]),
        ("not (i8 > 0)", [0, 2, 4, 6, 8, 10]),
        ("!(i8 > 0) and NOT (s == '')", [2, 4, 6, 8, 10]),
        ("true", EVERY),
        ("false or 1 > 2", []),
        ("i64 in []", []),
        ("i64 not in []", EVERY),
    ],
)
def test_logic(select: Select, expression: str, kept: list[int]) -> None:
    assert select(expression) == kept


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ('j["a"] == 1', [0]),
        ('j["a"] == 1.0', [0]),
        ('j["a"] == "x"', [2]),
        ('j["a"] == true', [3]),
        ('j["a"] != 1', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ('j["a"] not in [1]', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ('j["a"] > 0', [0, 1, 7, 10]),
        ('j["a"] == 9007199254740993', [7]),
        ('j["a"] > 9007199254740992', [7]),
        ('j["a"] in [1, 2.5, "x", true, [1, 2, 3]]', [0, 1, 2, 3, 5]),
        ('1 <= j["a"] < 3.0', [0, 1]),
        ('j["a"] == [1.0, 2, 3]', [5]),
        ('j["a"] + 1 == 3.5', [1]),
        ('-j["a"] == 3', [11]),
        ('j["a"] like "x%"', [2]),
        ('j["a"]["b"] == 5', [6]),
        ('j["a"][0] == 1', [5]),
        ('j["c"][4][1] == 2', [8]),
        ('exists j["a"]', [0, 1, 2, 3, 4, 5, 6, 7, 10, 11]),
        ('exists j["c"][20]', []),
        ('j["a"] is null', [4, 8, 9]),
        ('j["a"] is not null', [0, 1, 2, 3, 5, 6, 7, 10, 11]),
        ("colour == 'red'", [3, 9]),
        ("colour != 'red'", [0, 1, 2, 4, 5, 6, 7, 8, 10, 11]),
        ('$meta["colour"] == "red"', [3, 9]),
        ("exists n and not exists colour", [4, 5, 7, 8]),
        ("n * 2 == 15", [7]),
        ('n in ["5", 4]', [4, 5]),
        ("zzz == 1", []),
        ('json_contains(j["c"], [1, 2])', [8]),
        ('JSON_CONTAINS(j["a"], 1)', [5]),
        ('json_contains_all(j["c"], [1, "x"])', [8]),
        ('json_contains_any(tags, ["x", true])', [3, 8]),
        ('not json_contains(j["a"], 1)', [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
        ("array_contains(tags, 1)", [8]),
        ("array_length(tags) == 3", [3, 8]),
    ],
)
def test_json(select: Select, expression: str, kept: list[int]) -> None:
    assert select(expression) == kept


def test_templates(select: Select) -> None:
    assert select("i64 in {x}", x=[7, 3]) == [8, 10]
    assert select("s == {x}", x="it's") == [8]
    assert select("{low} < i8 < {high} and b == {flag}", low=1, high=10, flag=False) == [5, 7, 11]
    assert select('json_contains_any(j["c"], {x})', x=[[1, 2], 9]) == [8]
    assert select("i64 + {x} == 8", x=1) == [8]


def test_null_fields_follow_sql() -> None:
    schema = make_schema(nullable=True)
    columns = Rows([{"pk": 0, "i8": 1, "s": "a", "b": True, "j": {"a": 1}}, {"pk": 1}], schema)

    def kept(expression: str) -> list[bool]:
        mask: list[bool] = compile_filter(expression, schema).evaluate(columns).tolist()
        return mask

    for condition in ("i8 == 1", "s == 'a'", "s like 'a%'", "s in ['a']", "i8 in [1, 2]", "b == true", 'j["a"] == 1'):
        assert kept(condition) == [True, False]
        assert kept(f"not ({condition})") == [False, False]
        assert kept(f"{condition} or pk == 1") == [True, True]
        assert kept(f"not ({condition} and pk == 0)") == [False, True]
    assert kept("i8 is null") == kept("j is null") == kept('j["a"] is null') == [False, True]
    assert kept("s is not null") == [True, False]
    assert kept("i8 + 1 == 2") == [True, False] and kept("i8 + 1 != 2") == [False, False]
    assert kept('exists j["a"]') == [True, False] and kept('json_contains(j["a"], 1)') == [False, False]


def test_the_mask_belongs_to_the_caller(rows: Rows) -> None:
    for expression in ("i8 > 0", "true", "colour is null", "b == true", "i8 is null", "s == 'a'", "s in ['a']"):
        predicate = compile_filter(expression, SCHEMA)
        first = predicate.evaluate(rows)
        kept = first.copy()
        first[:] = ~first
        assert np.array_equal(predicate.evaluate(rows), kept)


@pytest.mark.parametrize("expression", ["i8 > 0", "s like 'a%' or colour == 'x'", "i64 in [1, 2]", "true", "f is null"])
def test_no_rows_give_an_empty_mask(expression: str) -> None:
    assert compile_filter(expression, SCHEMA).evaluate(Rows([])).shape == (0,)


@pytest.mark.parametrize("field", ["i64", "s", "n"])
def test_a_list_of_100_000_values(rows: Rows, field: str) -> None:
    values: list[Any] = [f"k{value}" for value in range(100_000)] if field == "s" else list(range(100_000))
    written = compile_filter(f"{field} in {values}", SCHEMA).evaluate(rows)
    given = compile_filter(f"{field} in {{x}}", SCHEMA, {"x": values}).evaluate(rows)
    assert np.array_equal(written, given)
    assert np.flatnonzero(written).tolist() == {"i64": [5, 6, 8, 10], "s": [], "n": [0, 4, 8]}[field]


def test_numbers_that_are_compared_again_and_again_take_fewer_bytes() -> None:
    small = Rows([{"pk": n, "i64": n, "d": n / 2, "s": str(n)} for n in range(100)])
    predicate = compile_filter("i64 < 50 and i64 % 7 == 3", SCHEMA)
    expected = [n for n in range(50) if n % 7 == 3]
    kinds = []
    for _ in range(20):
        assert np.flatnonzero(predicate.evaluate(small)).tolist() == expected
        (held,) = [held for held in small.memo.values() if isinstance(held, _Held)]
        kinds.append(held.compared.rows.dtype)
        assert held.whole.rows.dtype == np.int64, "to compute with"
    assert kinds == [np.dtype(np.int64)] * (_NARROWED_FROM - 1) + [np.dtype(np.uint8)] * (21 - _NARROWED_FROM)
