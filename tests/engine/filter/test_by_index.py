"""Filters over columns that have an index: the same rows as without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from roost.engine.filter import by_index, compile_filter, evaluate
from roost.engine.filter.by_index import Found
from tests.engine.filter.rows import BIG, ROWS, Rows
from tests.engine.filter.rows import SCHEMA as PLAIN
from tests.engine.filter.test_differential import SCHEMA, Row, Written, conditions, rows

TYPES = ["INVERTED", "BITMAP"]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an index wherever it can answer."""
    monkeypatch.setattr(evaluate, "pays", lambda *_: True)
    monkeypatch.setattr(by_index, "TEXT_STEP_NS", 0.0)
    monkeypatch.setattr(by_index, "MATCHED_FRACTION", 1.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("index_type", TYPES)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions, found=rows)
def test_an_index_agrees_with_a_reading_row_by_row(index_type: str, condition: Written, found: list[Row]) -> None:
    columns = Rows([{"pk": pk, **row} for pk, row in enumerate(found)], SCHEMA).indexed(index_type)
    expected = [condition.value(row) is True for row in found]
    assert compile_filter(condition.text, SCHEMA).evaluate(columns).tolist() == expected


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("index_type", TYPES)
@pytest.mark.parametrize(
    "expression",
    [
        "i8 == 100",
        "i8 != 100",
        "i8 < 1000",
        "i8 > -1000",
        "i8 in [7, 1000, -1000, -7]",
        "i8 not in [7, -7]",
        f"i64 > {BIG}",
        f"i64 == {BIG + 1}",
        "i64 in [1, 5, -7]",
        "f == 0.1",
        "f <= 0.1",
        "f in [0.1, 7]",
        f"d > {BIG + 1}",
        "d in [-1.5, 0]",
        "d >= -1",
        "b == true",
        "b != true",
        "b in [false]",
        "s == 'a%b'",
        "s != ''",
        "s < 'ab'",
        "s >= 'é'",
        "s in ['zz', 'none', '', 'a']",
        "s like ''",
        "s like 'a%'",
        "s like 'a%%'",
        "s like 'ab'",
        "s like '%b'",
        "s like 'a_b'",
        r"s like 'a\\%b'",
        "s like 'zzz%'",
        "i8 < 3 and not (s like 'a%') or i32 in [1, 2, 9]",
        "1 < i8 <= 7",
    ],
)
def test_an_index_agrees_with_the_column(index_type: str, expression: str) -> None:
    predicate = compile_filter(expression, PLAIN)
    expected = predicate.evaluate(Rows(ROWS)).tolist()
    assert predicate.evaluate(Rows(ROWS).indexed(index_type)).tolist() == expected


def used(monkeypatch: pytest.MonkeyPatch, expression: str, columns: Rows) -> bool:
    """Whether an index answers the expression."""
    asked: list[Found] = []
    monkeypatch.setattr(evaluate, "mask_of", lambda found, index: asked.append(found) or by_index.mask_of(found, index))
    mask = compile_filter(expression, PLAIN).evaluate(columns)
    assert np.array_equal(mask, compile_filter(expression, PLAIN).evaluate(Rows(_many())))
    return bool(asked)


def _many() -> list[dict[str, Any]]:
    return [{**ROWS[k % 30], "pk": k, "i32": k, "s": f"{k % 997} name"} for k in range(20_000)]


def test_an_index_is_used_where_it_costs_less_than_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = Rows(_many()).indexed("INVERTED")
    assert used(monkeypatch, "s == '7 name'", columns)
    assert used(monkeypatch, "s like '7%'", columns)
    assert used(monkeypatch, "s like '%7 name'", columns), "the entries are fewer than the rows"
    assert not used(monkeypatch, "i8 < 100", columns), "a column of bytes is read in no time"
    assert not used(monkeypatch, f"s in {[f'{k} other' for k in range(900)]}", columns), "each string is looked up"
    assert not used(monkeypatch, "i32 + 1 < 7", columns)
    assert not used(monkeypatch, "i32 < i64", columns)
    assert not used(monkeypatch, "s == '7 name'", Rows(_many()))
