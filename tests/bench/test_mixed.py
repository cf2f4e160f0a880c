from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import mixed
from bench.arrays import FloatArray, IntArray
from bench.filters import Window
from bench.mixed import FreshRows, Inserting, quantiles_per_second, search_beside
from bench.systems.base import System
from bench.work import Plan, Work, make_work


class Forgetful(System):
    """Shows a row at the given look, or never."""

    def __init__(self, folder: Path, plan: Plan, shown_at: int | None) -> None:
        super().__init__(folder, 4, plan)
        self.shown_at, self.looks, self.keys = shown_at, 0, [0]

    def create(self) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        return ids.tolist()

    def insert(self, rows: Any) -> None:
        self.keys, self.looks = rows, 0

    def flush(self) -> None:
        raise NotImplementedError

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        self.looks += 1
        return self.keys if self.looks == self.shown_at else []

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.random((30, 4), dtype=np.float32)
    return make_work(vectors, vectors[:5], Plan(batch_rows=20))


def test_two_threads_search_and_the_third_acts_at_once() -> None:
    asked: list[int] = []
    acted: list[float] = []
    found = search_beside(lambda number: (asked.append(number), time.sleep(0.001)), 0.2, lambda: acted.append(1.0))
    assert len(found) == len(asked)
    assert {0, 500} <= set(asked)
    assert len(acted) == 1
    assert (np.diff(found[:, 0]) >= 0).all()
    assert (found[:, 1] >= 0.001).all()


def test_a_search_that_fails_is_not_passed_over() -> None:
    def fail(number: int) -> None:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        search_beside(fail, 0.05)


def test_an_insert_that_fails_is_not_passed_over() -> None:
    def fail() -> None:
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        search_beside(lambda number: time.sleep(0.001), 0.05, fail)


def test_quantiles_are_taken_second_by_second() -> None:
    searches = np.array([[0.1, 0.001], [0.2, 0.003], [2.5, 0.010]])
    found = quantiles_per_second(searches, 3.0)
    assert found[0, 0] == pytest.approx(2.0)
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == pytest.approx([10.0, 10.0])


def test_fresh_rows_have_new_keys_and_differ_from_the_rows_of_the_work(work: Work) -> None:
    rows = FreshRows(work)
    batches = [rows.next_batch() for _ in range(2)]
    keys = np.concatenate([keys for keys, _, _ in batches])
    np.testing.assert_array_equal(keys, np.arange(30, 70))
    np.testing.assert_array_equal(batches[0][1][0], np.roll(work.vectors[0], 1))
    for _, vectors, columns in batches:
        assert list(columns) == ["rank", "axis"]
        assert not (vectors[:, None] == work.vectors).all(axis=2).any()


def test_a_row_is_looked_for_until_it_is_found(work: Work, tmp_path: Path) -> None:
    inserting = Inserting(Forgetful(tmp_path, work.plan, shown_at=3), FreshRows(work))
    inserting()
    inserting()
    assert inserting.looks == [3, 3]
    assert None not in inserting.found_s
    assert len(inserting.insert_s) == 2


def test_a_row_that_stays_away_is_given_up(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "LOOK_S", 0.01)
    inserting = Inserting(Forgetful(tmp_path, work.plan, shown_at=None), FreshRows(work))
    inserting()
    assert inserting.found_s == [None]
    assert inserting.looks[0] > 1
