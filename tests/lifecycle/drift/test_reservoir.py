from __future__ import annotations

import numpy as np
import pytest

from roost.errors import DimensionMismatch, InvalidArgument, InvalidData
from roost.lifecycle.drift import Reservoir


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_every_row_is_kept_with_the_same_probability(batch: int) -> None:
    n_rows, capacity, n_rounds = 200, 20, 150
    counts = np.zeros(n_rows)
    stream = np.arange(n_rows, dtype=np.float64)[:, None]
    for seed in range(n_rounds):
        reservoir = Reservoir(1, capacity, dtype=np.float64, seed=seed)
        for start in range(0, n_rows, batch):
            reservoir.add(stream[start : start + batch])
        kept = reservoir.rows[:, 0].astype(int)
        assert len(set(kept)) == capacity
        counts[kept] += 1
    expected = n_rounds * capacity / n_rows
    spread = ((counts - expected) ** 2 / (expected * (1 - capacity / n_rows))).sum()
    assert spread < n_rows + 5 * np.sqrt(2 * n_rows)
    assert abs(counts[:20].mean() - expected) < 5 and abs(counts[-20:].mean() - expected) < 5


def test_it_fills_up_and_forgets() -> None:
    reservoir = Reservoir(2, 3)
    reservoir.add([1, 2])
    reservoir.add(np.ones((1, 2)))
    assert len(reservoir) == 2 and reservoir.n_seen == 2 and reservoir.capacity == 3
    assert reservoir.rows.tolist() == [[1, 2], [1, 1]] and reservoir.rows.dtype == np.float32
    reservoir.add(np.zeros((10, 2)))
    assert len(reservoir) == 3 and repr(reservoir) == "Reservoir(3 of 12 rows kept, 24 bytes)"
    reservoir.clear()
    assert len(reservoir) == 0 and reservoir.rows.shape == (0, 2)


def test_the_rows_are_a_copy() -> None:
    reservoir = Reservoir(1, 2)
    reservoir.add([1])
    reservoir.rows[:] = 9
    assert reservoir.rows.tolist() == [[1]]


def test_rows_that_do_not_fit_are_refused() -> None:
    reservoir = Reservoir(2, 3)
    with pytest.raises(DimensionMismatch, match="3 values, not 2"):
        reservoir.add([1, 2, 3])
    with pytest.raises(InvalidData, match="shape"):
        reservoir.add(np.zeros((1, 1, 2)))
    with pytest.raises(InvalidData, match="numbers"):
        reservoir.add(["a", "b"])
    with pytest.raises(InvalidArgument, match="capacity"):
        Reservoir(2, 0)
    assert reservoir.n_seen == 0
