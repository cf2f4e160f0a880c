"""Estimated against true selectivity, on columns of several distributions, with and without indexes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roost.engine.filter import compile_filter
from tests.engine.filter.rows import SCHEMA, Rows

N_ROWS = 30_000
FILTERS = [
    "i32 < 300",
    "i32 == 17",
    "i32 != 17",
    "100 <= i32 < 900",
    "i16 == 1",
    "i16 > 20",
    "i16 in [1, 2, 5]",
    "not (i16 in [1, 2, 5])",
    "d < -2.5",
    "d > 0.0 and i16 == 1",
    "s like 'word 1%'",
    "s == 'word 3'",
    "s == 'no such word'",
    "s like '%7'",
    "b == true and s like 'word 1%'",
    "i32 < 30 and i64 < 60",
    "i32 < 30 or s == 'word 3'",
    "i32 + i16 > 500",
    "j['a'] > 5",
    "i64 == 4 and j['a'] == 4",
]


def _row(key: int, uniform: int, skewed: int, normal: float) -> dict[str, Any]:
    return {
        "pk": key,
        "i32": uniform,
        "i64": 2 * uniform,
        "i16": min(skewed, 30_000),
        "d": normal,
        "s": f"word {min(skewed, 30_000)}",
        "b": skewed == 1,
        "j": {"a": uniform % 10},
        "i8": 0,
        "f": 0.0,
    }


@pytest.fixture(scope="module")
def plain() -> Rows:
    rng = np.random.default_rng(3)
    columns = rng.integers(0, 1_000, N_ROWS).tolist(), rng.zipf(1.5, N_ROWS).tolist(), rng.normal(size=N_ROWS).tolist()
    return Rows([_row(key, *values) for key, values in enumerate(zip(*columns, strict=True))])


@pytest.fixture(scope="module", params=["", "INVERTED", "BITMAP"])
def rows(request: pytest.FixtureRequest, plain: Rows) -> Rows:
    return plain if not request.param else plain.copy().indexed(request.param)


@pytest.mark.parametrize("expression", FILTERS)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_estimate_is_near_the_truth(rows: Rows, expression: str, share: float) -> None:
    predicate = compile_filter(expression, SCHEMA)
    among = None if share == 1 else np.random.default_rng(1).random(N_ROWS) < share
    mask = predicate.evaluate(rows)
    true = float((mask if among is None else mask[among]).mean())
    found = predicate.estimate(rows, among)
    assert abs(found.fraction - true) < 0.05
    if found.origin == "index":
        assert found.fraction == pytest.approx(true)
    if found.origin == "index and sample" and true:
        assert true / 2 < found.fraction < 2 * true


def test_where_estimates_come_from(plain: Rows) -> None:
    def origin(expression: str, columns: Rows) -> str:
        return compile_filter(expression, SCHEMA).estimate(columns).origin

    indexed = plain.copy().indexed("INVERTED")
    assert origin("i32 < 300", plain) == "sample"
    assert origin("i32 < 300", indexed) == origin("not (i32 < 300)", indexed) == "index"
    assert origin("i32 < 300 and j['a'] == 4", indexed) == "index and sample"
    assert origin("i32 < 300 or i16 == 1", indexed) == "sample"
    assert origin("not (i32 < 300) and j['a'] == 4", indexed) == "sample"


def test_conditions_that_depend_on_each_other_are_not_multiplied(plain: Rows) -> None:
    predicate = compile_filter("i32 == 17 and i64 == 34", SCHEMA)
    true = float(predicate.evaluate(plain).mean())
    assert 0 < true < 0.002
    assert predicate.estimate(plain.copy().indexed("INVERTED")).fraction == pytest.approx(true)


def test_no_rows() -> None:
    predicate = compile_filter("i32 == 17", SCHEMA)
    assert predicate.estimate(Rows([])).fraction == 0.0
    rows = Rows([_row(1, 17, 1, 0.0)])
    assert predicate.estimate(rows, np.array([False])).fraction == 0.0
    assert predicate.estimate(rows).fraction == 1.0
    assert compile_filter("i32 == 18 and i16 == 1", SCHEMA).estimate(rows.indexed("INVERTED")).fraction == 0.0
