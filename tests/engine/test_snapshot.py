from __future__ import annotations

import numpy as np
import pytest

from roost.engine import snapshot
from roost.engine.contents import Contents
from roost.engine.filter import compile_filter
from roost.engine.snapshot import Part
from roost.engine.tail import Tail
from tests.engine.model import make_batch, make_schema, vectors_of

SCHEMA = make_schema()


def part_of(dead: list[int]) -> Part:
    tail = Tail(SCHEMA)
    tail.append(make_batch(SCHEMA, range(5), 1), 0)
    tail.append(make_batch(SCHEMA, range(5, 10), 2), 7)
    tail.remove(np.array(dead, dtype=np.int64))
    view = tail.view()
    return Part(view, view.dead)


def rows(part: Part, expression: str | None, partitions: tuple[int, ...] | None) -> list[int] | None:
    allowed = part.select(None if expression is None else compile_filter(expression, SCHEMA), partitions)
    return None if allowed is None else allowed.rows.tolist()


@pytest.mark.parametrize(
    ("dead", "expression", "partitions", "expected"),
    [
        ([], None, None, None),
        ([], "g > 0", (0, 7), None),
        ([3], None, None, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ([], "id % 2 == 0", None, [0, 2, 4, 6, 8]),
        ([], None, (7,), [5, 6, 7, 8, 9]),
        ([4, 6], "id % 2 == 0", (7,), [8]),
        ([], "g == 9", None, []),
        ([], None, (3,), []),
    ],
)
def test_the_rows_of_a_part(
    dead: list[int], expression: str | None, partitions: tuple[int, ...] | None, expected: list[int] | None
) -> None:
    part = part_of(dead)
    assert rows(part, expression, partitions) == expected
    assert rows(part, expression, partitions) == expected


def test_a_selection_is_kept_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_MAX_MASKS", 4)
    part = part_of([])
    predicates = [compile_filter(f"id != {i}", SCHEMA) for i in range(10)]
    selected = [part.select(predicate, None) for predicate in predicates]
    assert part.select(predicates[9], None) is selected[9]
    assert part.select(predicates[0], None) is not selected[0]
    assert len(part._selections) <= 4 and len(part.rows.memo["masks"]) <= 4


def test_a_delete_makes_a_new_part_with_selections_of_its_own() -> None:
    contents = Contents(SCHEMA)
    contents.insert(make_batch(SCHEMA, range(4), 1), 0, {})
    sealed = contents.freeze()
    assert sealed is not None
    before = contents.snapshot()
    predicate = compile_filter("id >= 2", SCHEMA)
    assert rows(before.parts[0], "id >= 2", None) == [2, 3]
    keys = np.array([2])
    contents.delete(keys, contents.find(keys))
    after = contents.snapshot()
    assert rows(after.parts[0], "id >= 2", None) == [3]
    assert rows(before.parts[0], "id >= 2", None) == [2, 3]
    assert (before.n_rows, after.n_rows) == (4, 3)
    assert predicate.key in after.parts[0].rows.memo["masks"]


def test_columns_at_rows() -> None:
    part = part_of([])
    assert part.column("g", np.array([9, 0])).to_pylist() == [2, 1]
    np.testing.assert_array_equal(part.column("vector", np.array([9, 0])), vectors_of([9, 0], [2, 1]))
    part.open_files()
