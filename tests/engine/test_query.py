from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.filter import compile_filter
from tests.engine.model import lower_thresholds, make_batch, make_schema, rows_of, vectors_of


@pytest.fixture(params=[False, True], ids=["numbers", "texts"])
def collection(request: pytest.FixtureRequest, db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    """Keys 0 to 39 sealed in descending order with g = 1, of which 30 to 49 are then written with g = 2."""
    lower_thresholds(monkeypatch.setattr)
    database = Database.open(db_path, durability="normal")
    collection = database.create_collection("default", "c", make_schema(request.param))
    names = [f"k{n:02}" if request.param else n for n in range(50)]
    collection.insert(make_batch(collection.schema, names[:40][::-1], 1))
    collection.flush()
    collection.insert(make_batch(collection.schema, names[30:], 2))
    yield collection
    database.close()


def named(collection: Collection, *numbers: int) -> list[object]:
    return [f"k{n:02}" if collection.schema.primary.max_length else n for n in numbers]


def test_rows_come_in_the_order_of_their_keys(collection: Collection) -> None:
    places = collection.query()
    assert places.keys.tolist() == named(collection, *range(50))
    assert places.take("g").to_pylist() == [1] * 30 + [2] * 20
    np.testing.assert_array_equal(places.take("vector"), vectors_of(places.keys.tolist(), [1] * 30 + [2] * 20))


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [(0, 3, range(3)), (48, 9, range(48, 50)), (60, 1, range(0)), (28, 4, range(28, 32))],
)
def test_pages(collection: Collection, offset: int, limit: int, expected: range) -> None:
    page = collection.query().page(offset, limit)
    assert page.keys.tolist() == named(collection, *expected)
    assert len(page) == len(expected)
    assert len(collection.query().page(offset, None)) == max(0, 50 - offset)


def test_keys_and_filter_together(collection: Collection) -> None:
    keys = named(collection, 45, 45, 3, 99, 31)
    assert rows_of(collection.query(keys=keys)) == dict(zip(named(collection, 3, 31, 45), (1, 2, 2), strict=True))
    predicate = compile_filter("g == 2", collection.schema)
    assert collection.query(keys=keys, predicate=predicate).keys.tolist() == named(collection, 31, 45)
    assert collection.count(predicate) == 20
    assert collection.count() == 50


def test_nothing_found(collection: Collection) -> None:
    places = collection.query(predicate=compile_filter("g > 5", collection.schema))
    assert len(places) == 0
    assert places.keys.tolist() == [] and places.take("g").to_pylist() == []
    assert places.take("vector").shape == (0, 4)
    assert len(collection.query(keys=[])) == 0


@pytest.mark.parametrize("first", [1, 3, 31, 49, 50, 99])
@pytest.mark.parametrize("expression", ["", "g == 2", "g == 1"])
def test_the_first_rows_are_those_of_the_whole_answer(collection: Collection, first: int, expression: str) -> None:
    collection.delete(named(collection, 0, 7, 45))
    predicate = compile_filter(expression, collection.schema) if expression else None
    every = collection.query(predicate=predicate)
    some = collection.query(predicate=predicate, first=first)
    assert some.keys.tolist() == every.keys.tolist()[:first]
    assert some.take("g").to_pylist() == every.take("g").to_pylist()[:first]
