"""The fast way of an expression whose constants are new, against the way that every expression can take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.engine.filter import Predicate, compile_filter, forms
from roost.engine.filter.compile import _compile_anew, _compile_by_shape
from roost.engine.filter.forms import learn, lift
from roost.errors import InvalidFilter
from tests.engine.filter.rows import SCHEMA

NOTHING: Mapping[str, Any] = {}


def meaning(predicate: Predicate) -> tuple[Any, ...]:
    condition = predicate._condition
    return predicate.key, repr(condition), predicate.fields, set(predicate._json_keys), predicate.primary_keys


def outcome(compiled: Any, *given: Any) -> Any:
    try:
        return meaning(compiled(*given))
    except InvalidFilter as error:
        return str(error)


def fast(expression: str, params: Mapping[str, Any] = NOTHING) -> Predicate | None:
    """Compile by shape alone; the form is made when a shape comes a second time."""
    _compile_by_shape(expression, SCHEMA, params)
    return _compile_by_shape(expression, SCHEMA, params)


def agree(expression: str, params: Mapping[str, Any] = NOTHING) -> None:
    """Check that the fast way, where it answers, and the public function say what the slow way says."""
    slow = outcome(_compile_anew, expression, SCHEMA, params)
    found = fast(expression, params)
    if found is not None:
        assert meaning(found) == slow
    assert outcome(compile_filter, expression, SCHEMA, params) == slow


NUMBERS = st.one_of(
    st.integers(0, 30).map(str),
    st.integers(0, 2**65).map(str),
    st.floats(0, 100).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["0", "00", "017", "08", "0x1F", "0b11", "0.5", ".5", "5.", "1e5", "1e-5", "1.5e-7", "1e999"]),
    st.sampled_from(["1.5.2", "7L", "1e", "9223372036854775808", "٣"]),
)
STRINGS = st.one_of(
    st.text("ab%_\\ü{}'\"[] 1\ud800", max_size=4).map(lambda text: f"'{text}'"),
    st.text("ab%_\\\n1", max_size=4).map(lambda text: f'"{text}"'),
    st.sampled_from(["r'a'", 'R"\\d"', "'a", '"', "''", "'\\q'", "'\\x41'", "'a''b'"]),
)
LITERALS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "False", "[1, 2]", "{x}", "pk", "-1", "- -1", "+2.5"]))
FIELDS = st.sampled_from(["pk", "i8", "i64", "f", "d", "s", "b", 'j["a"]', "j['a'][0]", "colour", "a1", "unknown", "r"])
SYMBOLS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "=", " "])
HOLE = "\x00"


def operands(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    calculated = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", "**", "-"]), inner).map(" ".join)
    return calculated | inner.map("-{}".format) | inner.map("({})".format)


OPERANDS = st.recursive(st.just(HOLE) | FIELDS, operands, max_leaves=3)
LISTS = st.lists(st.just(HOLE), max_size=3).map(lambda items: f"[{', '.join(items)}]")
CALLS = st.sampled_from(["json_contains", "ARRAY_CONTAINS_ANY", "array_length", "contains"])
CONDITIONS = st.recursive(
    st.one_of(
        st.tuples(OPERANDS, SYMBOLS, OPERANDS).map("".join),
        st.tuples(FIELDS, SYMBOLS, st.just(HOLE)).map("".join),
        st.tuples(OPERANDS, st.just("<"), OPERANDS, st.sampled_from(["<", "<=", ">"]), OPERANDS).map("".join),
        st.tuples(FIELDS, st.sampled_from([" in ", " not in", " IN"]), LISTS | OPERANDS).map("".join),
        st.tuples(FIELDS, st.just(" like "), OPERANDS).map("".join),
        st.tuples(FIELDS, st.sampled_from([" is null", " is not null"])).map("".join),
        st.tuples(CALLS, st.just("("), FIELDS, st.just(","), LISTS | OPERANDS, st.just(")")).map("".join),
        OPERANDS,
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or ", "&&", "||"]), inner).map("".join),
        inner.map("not ({})".format),
        inner.map("({})".format),
    ),
    max_leaves=4,
)


def filled(form: str, literals: list[str]) -> str:
    pieces = form.split(HOLE)
    return "".join(piece + literal for piece, literal in zip(pieces, [*literals, ""], strict=True))


@settings(max_examples=800, deadline=None)
@given(st.data(), CONDITIONS)
def test_the_fast_way_says_what_the_slow_way_says(data: st.DataObject, form: str) -> None:
    n_holes = form.count(HOLE)
    likely = data.draw(st.lists(st.sampled_from([NUMBERS, STRINGS, LITERALS]), min_size=n_holes, max_size=n_holes))
    for _ in range(3):
        agree(filled(form, [data.draw(literals) for literals in likely]))


WHOLE = st.integers(0, 4) | st.integers(0, 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "\x01": WHOLE,
    "\x02": WHOLE | st.floats(0, 9, width=16),
    "\x03": st.text("ab%_1é", max_size=2),
}
TYPED = st.recursive(
    st.sampled_from(
        [
            "i64 < \x01", "\x01 <= i8", "\x02 < d < \x02", "d > -\x02", "f != \x02", "s == '\x03'",
            "s like '\x03%'", "b == true", "pk in [\x01]", "pk in [\x01, \x01]", "d not in [-\x02, \x02, 7]",
            "s in ['\x03', '\x03']", "i64 % \x01 + \x01 == 3", "d * \x02 < 5", "colour == '\x03'",
            "j['a'][0] > \x02", "j['a'] == [\x01, '\x03']", "d is null", "exists colour",
            "json_contains_any(j['a'], ['\x03', \x01])", "array_contains(colour, \x02)", "i64 > d + \x02",
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join), inner.map("not ({})".format)
    ),
    max_leaves=3,
)  # fmt: skip


def drawn(data: st.DataObject, form: str, write: Any) -> str:
    return "".join(write(data.draw(VALUES[c])) if c in VALUES else c for c in form)


@settings(max_examples=600, deadline=None)
@given(st.data(), TYPED)
def test_expressions_of_fitting_types_agree(data: st.DataObject, form: str) -> None:
    for _ in range(4):
        agree(drawn(data, form, str))


@settings(max_examples=600, deadline=None)
@given(st.data(), TYPED.map(lambda form: form.replace("'\x03%'", "'\x03'").replace("'\x03'", "\x03")))
def test_templates_of_fitting_types_agree(data: st.DataObject, form: str) -> None:
    for _ in range(4):
        params: dict[str, Any] = {}

        def write(value: Any, params: dict[str, Any] = params) -> str:
            params[f"t{len(params)}"] = value
            return f"{{t{len(params) - 1}}}"

        agree(drawn(data, form, write), params)


@settings(max_examples=400, deadline=None)
@given(st.data(), CONDITIONS)
def test_a_slip_of_the_pen_is_marked_in_the_same_place(data: st.DataObject, form: str) -> None:
    text = filled(form, [data.draw(LITERALS) for _ in range(form.count(HOLE))])
    at = data.draw(st.integers(0, len(text)))
    slip = data.draw(st.sampled_from(["", *"\"'[](){}.,5rexü \\"]))
    agree(text[:at] + slip + text[at + data.draw(st.integers(0, 1)) :])


PARAMS = st.one_of(
    st.integers(-5, 5), st.integers(-(2**64), 2**64), st.floats(), st.text(max_size=3), st.booleans(), st.none(),
    st.lists(st.integers(0, 3), max_size=3), st.just("\ud800"), st.just(-(2**63)), st.just(2**63),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data(), CONDITIONS)
def test_templates_take_the_fast_way_too(data: st.DataObject, form: str) -> None:
    fillings = st.sampled_from(["{x}", "{y}", "{ z }", "5", "0.5", "'a'"])
    text = filled(form, [data.draw(fillings) for _ in range(form.count(HOLE))])
    for _ in range(3):
        agree(text, {name: data.draw(PARAMS) for name in data.draw(st.sampled_from(["x", "xy", "xyz", "zx"]))})


@pytest.mark.parametrize(
    ("expression", "text", "values"),
    [
        ("d < 17.31", "d < {_0}", (17.31,)),
        ("s=='a' and a1 in [1,-2]", "s=={_0} and a1 in [{_1},-{_2}]", ("a", 1, 2)),
        ('j["a"][0] == 1', 'j["a"][0] == {_0}', (1,)),
        ("x in[5]", "x in[{_0}]", (5,)),
        (r's == "a\"b" or s == r"x"', r's == "a\"b" or s == r"x"', ()),
        ("a == 0x1F or a == 017 or a == 12345678901234567890", None, ()),
        ("a == {x} and b == 1", None, ()),
        ("s == 'open", None, ()),
        ("1e5 < d and d < 2.5e-7", "{_0} < d and d < {_1}", (1e5, 2.5e-7)),
    ],
)
def test_constants_are_lifted_out(expression: str, text: str | None, values: tuple[Any, ...]) -> None:
    assert lift(expression) == (text or expression, values)
    assert [type(value) for value in lift(expression)[1]] == [type(value) for value in values]


@pytest.mark.parametrize(
    "expression",
    [
        "i64 < 5", "5 <= i64", "1.5 < d < 2.5", "s == 'a' and i8 != 3 or not (s like 'a%')", "pk in [3, 1, 2]",
        "pk not in [4]", 'j["a"] == [1, "b"]', "json_contains_any(j['a'], [1, 2])", "i64 % 10 + 2 == 3", "d > -0.5",
        "colour == 'red' and i64 > 3",
    ],
)  # fmt: skip
def test_usual_expressions_take_the_fast_way(expression: str) -> None:
    assert fast(expression) is not None
    agree(expression)


@pytest.mark.parametrize(
    "expression",
    ["1 < 2", "i64 < 2 + 3", "5 < 6 < i64", "i64 > 5 or 1 < 2", "i8 like 'a'", "nothing_here < 'a", "pk in [1, 1]",
     "i64 == 1 or i64 == 1", "i64 % 0 == 1", "s == '\ud800'"],
)  # fmt: skip
def test_unusual_expressions_take_the_slow_way(expression: str) -> None:
    assert fast(expression) is None
    agree(expression)


def test_values_that_mean_something_else_leave_the_fast_way() -> None:
    assert fast("pk in [{x}, {y}]", {"x": 1, "y": 2}) is not None
    for x, y in ((1, 1), (2**63, 1), (-(2**63), 1)):
        assert fast("pk in [{x}, {y}]", {"x": x, "y": y}) is None
        agree("pk in [{x}, {y}]", {"x": x, "y": y})
    assert fast("d < {x}", {"x": 0.5}) is not None
    for value in (math.inf, math.nan):
        assert fast("d < {x}", {"x": value}) is None
        agree("d < {x}", {"x": value})
    assert fast("i64 / {x} > 3", {"x": 2}) is not None
    assert fast("i64 / {x} > 3", {"x": 0}) is None
    with pytest.raises(InvalidFilter, match="division by zero"):
        compile_filter("i64 / {x} > 3", SCHEMA, {"x": 0})


def test_a_form_needs_each_template_once() -> None:
    assert learn("i64 > {x}", SCHEMA, ["x"], [int]) is not None
    assert learn("i64 > {x} or {x} < 5", SCHEMA, ["x"], [int]) is None
    assert learn("i64 > {x}", SCHEMA, ["x", "y"], [int, int]) is None
    assert learn("i64 > 5 and s == '{x}'", SCHEMA, ["x"], [int]) is None


@pytest.mark.parametrize("expression", ["5 < {x} < i64", "i64 < {x} % 10000000000000", "i64 < {x} * 1"])
def test_a_value_that_meets_a_constant_takes_the_slow_way(expression: str) -> None:
    for value in (7, 3, 10**15):
        assert fast(expression, {"x": value}) is None
        agree(expression, {"x": value})


def test_the_same_constant_twice_in_a_list_is_learned_as_no_form() -> None:
    assert fast("f in [{x}, 0.5, 0.5]", {"x": 1}) is None
    agree("f in [{x}, 0.5, 0.5]", {"x": 1})


@pytest.mark.parametrize(
    ("expression", "is_sorted"),
    [
        ("i64 < 5 and i64 >= 3", False),
        ("s == 'a' or i8 == 1", False),
        ("i64 == 4 and (i8 == 2 or d > 0.5)", False),
        ("i64 < 5 and i64 < 3", True),
        ("pk in [7, 8] and pk in [8, 9]", True),
        ("(i8 == 2 or d > 0.5) and (i8 == 3 or d > 1.5)", True),
    ],
)
def test_parts_are_sorted_by_their_values_only_where_these_decide(
    expression: str, is_sorted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, values = lift(expression)
    form = learn(text, SCHEMA, [f"_{slot}" for slot in range(len(values))], [type(value) for value in values])
    assert form is not None
    sorts: list[Any] = []

    def noted(*given: Any) -> list[Any]:
        sorts.append(given)
        return sorted(*given)

    monkeypatch.setattr(forms, "sorted", noted, raising=False)
    condition = form.condition(values)
    assert bool(sorts) == is_sorted
    assert repr(condition) == repr(_compile_anew(expression, SCHEMA, NOTHING)._condition)


def test_a_form_of_many_parts_is_learnt_quickly() -> None:
    """Five hundred parts, each of which begins as every other does."""
    expression = " or ".join(f"pk == {n}" for n in range(500))
    agree(expression)
    agree(expression.replace("pk == 7 ", "pk == 700000008 "))
