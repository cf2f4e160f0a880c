from typing import Any

import numpy as np
import pytest

from roost.engine.filter import Predicate, compile_filter
from roost.errors import InvalidFilter
from tests.engine.filter.rows import SCHEMA, make_schema

PLAIN = make_schema(dynamic=False)


def refused(expression: str, says: str, place: str, **params: Any) -> None:
    with pytest.raises(InvalidFilter, match=says) as caught:
        compile_filter(expression, PLAIN, params)
    _, shown, carets = str(caught.value.message).split("\n")
    assert shown[carets.index("^") : len(carets)] == place
    assert caught.value.code == 1100


@pytest.mark.parametrize(
    ("expression", "says", "place"),
    [
        ("i46 == 1", "unknown field 'i46'; did you mean 'i64'", "i46"),
        ("pk == 1 and colour == 'red'", "unknown field 'colour'; the collection has: pk, b, i8", "colour"),
        ('$meta["x"] == 1', "unknown field", '$meta["x"]'),
        ("v == 1", "vector field", "v"),
        ("s == 1", "VARCHAR cannot be compared with an integer", "1"),
        ("1 == s", "VARCHAR cannot be compared with an integer", "1"),
        ("s > 1.5", "VARCHAR cannot be compared with a float", "1.5"),
        ("s == true", "VARCHAR cannot be compared with a boolean", "true"),
        ("i8 == 'x'", "INT cannot be compared with a string", "'x'"),
        ("i8 == true", "INT cannot be compared with a boolean", "true"),
        ("i8 == 1.5", "an integer field takes integers only", "1.5"),
        ("1 <= i8 < 3.5", "an integer field takes integers only", "3.5"),
        ("b == 1", "BOOL cannot be compared with an integer", "1"),
        ("b < true", "no order", "b < true"),
        ("b < b", "BOOL has no order", "b < b"),
        ('j["a"] < true', "no order", 'j["a"] < true'),
        ('j["a"] < [1]', "no order", 'j["a"] < [1]'),
        ("i8 == s", "the INT field 'i8' cannot be compared with the VARCHAR field 's'", "i8 == s"),
        ('i8 == j["a"]', "a JSON key compares with constants only", 'i8 == j["a"]'),
        ("j == 1", 'name a key: j\\["key"\\]', "j"),
        ("exists j", "exists takes a key", "j"),
        ("exists pk", "exists takes a JSON key, not the INT field 'pk'", "pk"),
        ('s["a"] == 1', "'s' is a VARCHAR field and has no keys", 's["a"]'),
        ("b", "not a condition; compare it, for example with == true", "b"),
        ("i8 > 1 and 1", "an integer \\(1\\) is not a condition", "1"),
        ("i8 + 1", "a computed INT is not a condition", "i8 + 1"),
        ("(i8 > 1) == true", "a condition cannot be compared", "i8 > 1"),
        ("i8 in 1", "in takes a list", "1"),
        ("1 in [1]", "in takes a field on its left", "1"),
        ("i8 in [1, 'a']", "INT cannot be compared with a string", "'a'"),
        ("i8 in [1, i16]", "expected a constant", "i16"),
        ("i8 in [1.5]", "integers only", "[1.5]"),
        ("s in [1]", "VARCHAR cannot be compared", "[1]"),
        ("b in [1]", "BOOL cannot be compared", "[1]"),
        ("i8 like 'a'", "like takes a VARCHAR field or a JSON key, not the INT field 'i8'", "i8"),
        ("s like 1", "like takes a string as its pattern", "1"),
        ("s like s", "expected a constant", "s"),
        ("(i8 + 1) is null", "is null takes a field", "i8 + 1"),
        ("s + 1 == 2", "\\+ takes numbers, not the VARCHAR field 's'", "s"),
        ("1 + b == 2", "\\+ takes numbers, not the BOOL field 'b'", "b"),
        ("-s == 1", "- takes numbers", "s"),
        ("i8 / 0 == 1", "division by zero", "0"),
        ("i8 % 0 == 1", "division by zero", "0"),
        ("d / 0.0 == 1", "division by zero", "0.0"),
        ("d % 2 == 1", "% takes integers only", "d % 2"),
        ('j["a"] + i8 == 1', "takes a constant as its other operand", 'j["a"] + i8'),
        ("i8 == 9223372036854775808", "more than 64 bits", "9223372036854775808"),
        ("1 == 'a'", "do not compare with ==", "1 == 'a'"),
        ("foo(1) == 1", "unknown function 'foo'; known: json_contains", "foo"),
        ("json_contain(j, 1)", "unknown function 'json_contain'; did you mean 'json_contains'", "json_contain"),
        ("Json_Contains(j, 1)", "unknown function", "Json_Contains"),
        ("json_contains(j)", "takes 2 arguments, found 1", "json_contains(j)"),
        ("json_contains(s, 1)", "takes a JSON key", "s"),
        ("json_contains_any(j, 1)", "takes a list", "1"),
        ("json_contains(j, 1) == true", "a condition cannot be compared", "json_contains(j, 1)"),
        ("array_length(j)", "a length is not a condition", "array_length(j)"),
    ],
)
def test_what_does_not_fit_the_schema_is_marked(expression: str, says: str, place: str) -> None:
    refused(expression, says, place)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "is a NoneType"),
        ({"a": 1}, "is a dict"),
        ([1, object()], "is a object"),
        (2**63, "more than 64 bits"),
        ("text", "INT cannot be compared with a string"),
    ],
)
def test_a_template_of_the_wrong_kind_is_marked(value: Any, says: str) -> None:
    refused("i8 == {x}" if not isinstance(value, list) else "i8 in {x}", says, "{x}", x=value)


def test_a_template_that_is_not_finite_is_marked() -> None:
    refused("d == {x}", "not finite", "{x}", x=float("nan"))
    refused('j["a"] in {x}', "not finite", "{x}", x=[1, float("inf")])


def test_a_template_without_a_value_is_marked() -> None:
    refused("i8 == {x}", "the template 'x' has no value; given: 'xx'; did you mean 'xx'", "{x}", xx=1)


@pytest.mark.parametrize("value", [[1, 2], (1, 2), np.array([1, 2]), [np.int8(1), np.int64(2)]])
def test_a_template_takes_numpy_and_python(value: Any) -> None:
    assert compile_filter("pk in {x}", SCHEMA, {"x": value}).primary_keys == (1, 2)


def compiled(expression: str) -> Predicate:
    return compile_filter(expression, SCHEMA)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pk > 3", "3 < pk"),
        ("pk > 1 and s == 'a'", 's == "a" && 1 < pk'),
        ("1 < pk <= 5", "pk <= 5 AND pk > 1"),
        ("pk == 1 or (pk == 2 or s == 'a')", "(pk == 1 or pk == 2) or s == 'a'"),
        ("pk in [7]", "pk == 3 + 4"),
        ("pk not in [1, 2]", "!(pk in [1, 2])"),
        ("not not (pk == 1)", "pk == 1"),
        ("pk == 1 and true", "pk == 1"),
        ("pk == 1 or 1 == 2", "pk == 1"),
        ("colour == 'red'", '$meta["colour"] == "red"'),
        ("j[0] == 1", "j['0'] == 1"),
    ],
)
def test_what_means_the_same_has_one_key(one: str, other: str) -> None:
    assert compiled(one).key == compiled(other).key


def test_what_differs_has_another_key() -> None:
    expressions = ["pk == 1", "pk == 2", "pk != 1", "n == 1", "n == true", "n == '1'", "i8 == 1", "pk in [1, 2]"]
    expressions += [f"pk in {list(range(size))}" for size in (1_000, 1_001)]
    assert len({compiled(expression).key for expression in expressions}) == len(expressions)


def test_fixed_conditions_fold() -> None:
    assert compiled("pk == 1 and 1 > 2").fields == frozenset()
    assert compiled("pk == 1 or 2 > 1").fields == frozenset()


@pytest.mark.parametrize("expression", ["s == abc3", "abc3 != s", "i8 < abc3", "abc3 == j['a']"])
def test_a_text_without_quotes_is_taken_for_a_dynamic_key_and_hinted_at(expression: str) -> None:
    with pytest.raises(
        InvalidFilter, match='constants only; abc3 is no field: if it is a text, put it in quotes: "abc3"'
    ):
        compile_filter(expression, SCHEMA)
