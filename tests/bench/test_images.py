from __future__ import annotations

import numpy as np
import pytest
from pymilvus import DataType

from bench import index_rows
from bench.images import Nearest, recall
from bench.index_rows import Rows
from bench.vector_kinds import KINDS, Kind
from roost.demo.images import load_images


def test_the_nearest_of_all_batches_are_kept(rng: np.random.Generator) -> None:
    rows, queries = rng.random((90, 8), dtype=np.float32), rng.random((5, 8), dtype=np.float32)
    nearest = Nearest(queries)
    for start in range(0, 90, 30):
        nearest.add(rows[start : start + 30])
    distances = ((queries[:, None] - rows) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest.ids, np.argsort(distances, axis=1)[:, :10])
    assert recall([row[:5].tolist() for row in nearest.ids], nearest.ids) == 0.5


def test_images_as_bits_and_as_bright_pixels() -> None:
    images = np.array([[0.0, 0.9, 0.6, 0.1, 0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    bits = KINDS["binary"].of_images(images)
    assert bits.tolist() == [[0b01100001]]
    assert KINDS["binary"].as_sent(bits) == [b"a"]
    sparse = KINDS["sparse"].of_images(images)
    assert KINDS["sparse"].as_sent(sparse) == [{1: pytest.approx(0.9), 2: pytest.approx(0.6), 7: 1.0}]


@pytest.mark.parametrize("name", KINDS)
def test_distances_are_those_of_the_metric(name: str, rng: np.random.Generator) -> None:
    kind, images = KINDS[name], rng.random((6, 16), dtype=np.float32)
    rows = kind.of_images(images)
    found = kind.distances(rows, rows[:2])
    if kind.metric == "HAMMING":
        expected = ((images[:2, None] >= 0.5) != (images >= 0.5)).sum(axis=2)
    elif kind.metric == "IP":
        expected = -(rows[:2, None] * rows).sum(axis=2)
    else:
        expected = ((images[:2, None] - images) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    digits = load_images("digits")
    monkeypatch.setattr(index_rows, "load_images", lambda name: digits)
    return Rows(Kind(DataType.FLOAT_VECTOR, "L2"), 400, 20)


@pytest.mark.parametrize("name", ["", *index_rows.FILTERS])
def test_exact_answers_have_full_recall_under_every_filter(rows: Rows, name: str) -> None:
    kept = np.flatnonzero(rows.passing(name))
    exact = [kept[np.argsort(distances[kept])][:10].tolist() for distances in rows.distances]
    assert rows.recall(exact, name) == 1.0
    assert rows.recall([[] for _ in exact], name) == 0.0


def test_rows_that_do_not_pass_count_as_wrong(rows: Rows) -> None:
    unfiltered = [np.argsort(distances)[:10].tolist() for distances in rows.distances]
    assert rows.recall(unfiltered, "1 %") < 0.2
