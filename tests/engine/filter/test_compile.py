import threading

import numpy as np
import pytest

from roost.engine.filter import Predicate, compile_filter
from roost.engine.schema import Field, Schema
from roost.errors import InvalidFilter
from tests.engine.filter.rows import SCHEMA, Rows, make_schema


def test_a_compiled_expression_is_kept_for_its_schema() -> None:
    assert compile_filter("pk > 11", SCHEMA) is compile_filter("pk > 11", SCHEMA)
    assert compile_filter("pk > 11", SCHEMA, {}) is compile_filter("pk > 11", SCHEMA)
    other = make_schema(dynamic=False)
    assert compile_filter("pk > 11", other) is not compile_filter("pk > 11", SCHEMA)
    with pytest.raises(InvalidFilter):
        compile_filter("colour == 1", other)
    assert compile_filter("colour == 1", SCHEMA).fields == {"$meta"}


def test_templates_are_filled_anew() -> None:
    one, two = (compile_filter("pk == {x}", SCHEMA, {"x": value}) for value in (1, 2))
    assert (one.primary_keys, two.primary_keys) == ((1,), (2,)) and one.key != two.key


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("pk == 5", (5,)),
        ("5 == pk", (5,)),
        ("(pk) == (5)", (5,)),
        ("pk in [3, 1, 3]", (3, 1)),
        ("PK == 5", None),
        ("pk IN[2+3]", (5,)),
        ("pk in []", ()),
        ("not (pk != 5)", None),
        ("pk != 5", None),
        ("pk not in [5]", None),
        ("pk == 5 and i8 == 1", None),
        ("pk >= 5", None),
        ("i64 == 5", None),
        ("pk == 5 and true", (5,)),
    ],
)
def test_primary_keys(expression: str, keys: tuple[int, ...] | None) -> None:
    assert compile_filter(expression, SCHEMA).primary_keys == keys


def test_primary_keys_may_be_strings() -> None:
    pk, *rest = SCHEMA.fields
    schema = Schema((Field("pk", rest[7].dtype, pk.field_id, is_primary=True), *rest))
    assert compile_filter("pk in ['a', \"b\"]", schema).primary_keys == ("a", "b")


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("pk == 1", {"pk"}),
        ("i8 + i16 > 3 and not (s like 'a%')", {"i8", "i16", "s"}),
        ('j["a"] == 1 or exists colour', {"j", "$meta"}),
        ("array_length(tags) > 1 or d is null", {"$meta", "d"}),
        ("true", set()),
    ],
)
def test_fields_that_are_read(expression: str, fields: set[str]) -> None:
    assert compile_filter(expression, SCHEMA).fields == fields


def test_a_filter_is_a_string_of_characters() -> None:
    with pytest.raises(InvalidFilter, match="a filter is a string, not int"):
        compile_filter(3, SCHEMA)  # type: ignore[arg-type]
    with pytest.raises(InvalidFilter, match="half of a surrogate pair"):
        compile_filter("s == '\ud800'", SCHEMA)
    with pytest.raises(InvalidFilter, match="half of a surrogate pair"):
        compile_filter("s == {x}", SCHEMA, {"x": "\ud800"})
    with pytest.raises(InvalidFilter, match="ends too early"):
        compile_filter("   ", SCHEMA)


def test_a_long_expression_is_not_kept_and_its_key_is_short() -> None:
    expression = f"i64 in {list(range(5_000))}"
    first, second = compile_filter(expression, SCHEMA), compile_filter(expression, SCHEMA)
    assert first is not second and first.key == second.key and len(first.key) < 100


def test_threads_share_a_predicate() -> None:
    columns = Rows([{"pk": row, "n": row} for row in range(1_000)])
    predicate = compile_filter("n >= 500 and pk % 2 == 0", SCHEMA)
    masks: list[np.ndarray] = []

    def work(shared: Predicate) -> None:
        masks.append(shared.evaluate(columns))

    threads = [threading.Thread(target=work, args=(predicate,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [mask.sum() for mask in masks] == [250] * 8
