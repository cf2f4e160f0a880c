from __future__ import annotations

import numpy as np
import pytest

from roost.engine.keys import as_keys
from roost.engine.schema import PARTITION_FIELD
from roost.engine.tail import Tail, live_rows
from tests.engine.model import make_batch, make_schema, vectors_of


@pytest.mark.parametrize("string_keys", [False, True])
def test_a_view_does_not_change_with_later_writes(string_keys: bool) -> None:
    schema = make_schema(string_keys)
    tail = Tail(schema)
    names = [f"k{n}" if string_keys else n for n in range(1000)]
    views = []
    for i in range(100):
        tail.append(make_batch(schema, names[10 * i : 10 * i + 10], i), i % 3)
        tail.remove(as_keys([names[10 * i]], string_keys))
        views.append(tail.view())
    for i, view in enumerate(views):
        n = 10 * (i + 1)
        assert view.n_rows == n
        assert view.key_column.tolist() == names[:n]
        assert view.dead is not None and np.flatnonzero(view.dead).tolist() == list(range(0, n, 10))
        gs = [j // 10 for j in range(n)]
        assert view.scalar("g").to_pylist() == gs
        assert view.scalar(PARTITION_FIELD).to_pylist() == [g % 3 for g in gs]
        np.testing.assert_array_equal(view.vectors("vector"), vectors_of(names[:n], gs))
        assert not view.vectors("vector").flags.writeable
        assert view.keys.find(as_keys([names[7], names[n - 1]], string_keys)).tolist() == [7, n - 1]
        np.testing.assert_allclose(
            view.inverse_norms("vector"), 1 / np.linalg.norm(view.vectors("vector"), axis=1), rtol=1e-6
        )


def test_few_batches_are_kept() -> None:
    schema = make_schema()
    tail = Tail(schema)
    for i in range(500):
        tail.append(make_batch(schema, [i], 1), 0)
    assert len(tail._batches) <= 10
    assert tail.n_rows == 500
    assert tail.size_bytes >= 500 * (8 + 8 + 16)


def test_removed_keys_are_not_found_and_may_come_again() -> None:
    schema = make_schema()
    tail = Tail(schema)
    tail.append(make_batch(schema, [1, 2, 3], 1), 0)
    tail.remove(np.array([2, 9]))
    tail.remove(np.array([2]))
    assert tail.find(np.array([1, 2, 3, 9])) == [0, 2]
    tail.append(make_batch(schema, [2], 2), 0)
    assert tail.find(np.array([2])) == [3]
    view = tail.view()
    assert live_rows(view.n_rows, view.dead).tolist() == [0, 2, 3]


def test_an_empty_tail() -> None:
    view = Tail(make_schema()).view()
    assert view.n_rows == 0 and view.dead is None
    assert view.scalars.num_rows == 0
    assert live_rows(0, None).tolist() == []
