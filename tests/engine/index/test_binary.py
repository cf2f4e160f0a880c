"""Binary vectors: their distances, exact search, and lists."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.index import narrow
from roost.engine.index.base import VectorIndex
from roost.engine.index.binary import BINARY_METRICS, bit_distances
from roost.engine.index.binary_flat import BinaryFlat
from roost.engine.index.binary_ivf import BinaryIvf
from roost.engine.index.exact import exact_search
from roost.engine.index.filtered import Allowed, search_segment
from roost.errors import Corruption, InvalidArgument
from roost.testing.index_contract import IndexContract, brute_force, recall

BITS = BINARY_METRICS


def rows_of(n_rows: int, n_bytes: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return vectors of bits in clusters, as fingerprints lie."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (20, n_bytes), np.uint8)
    noise = rng.integers(0, 256, (3, n_rows, n_bytes), np.uint8)
    return np.asarray(centres[rng.integers(0, 20, n_rows)] ^ (noise[0] & noise[1] & noise[2]))


@pytest.mark.parametrize("metric", BITS)
@pytest.mark.parametrize("n_bytes", [1, 3, 8, 13, 98])
def test_distances(n_bytes: int, metric: str) -> None:
    rows, queries = rows_of(200, n_bytes), rows_of(7, n_bytes, 1)
    rows[0] = queries[0] = 0
    found = bit_distances(rows, queries, metric)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, brute_force(rows, queries, metric), rtol=1e-6)


def test_two_vectors_without_a_one_are_as_far_apart_as_can_be() -> None:
    zeros = np.zeros((1, 4), np.uint8)
    assert bit_distances(zeros, zeros, "JACCARD").tolist() == [[1.0]]
    assert bit_distances(zeros, zeros, "HAMMING").tolist() == [[0.0]]


def test_no_rows_and_other_metrics() -> None:
    rows = rows_of(3, 4)
    assert bit_distances(rows[:0], rows, "JACCARD").shape == (3, 0)
    with pytest.raises(InvalidArgument, match="'L2' is not one of binary vectors; use one of: HAMMING, JACCARD"):
        bit_distances(rows, rows, "L2")


@pytest.mark.parametrize("metric", BITS)
def test_exact_search_by_blocks(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = rows_of(3_000, 8), rows_of(5, 8, 1)
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 8 * 700)
    every = brute_force(rows, queries, metric)
    for picked in (np.arange(3_000), np.arange(1, 3_000, 3)):
        found = exact_search(rows, queries, 10, metric, picked)
        np.testing.assert_allclose(found.distances, np.sort(every[:, picked], axis=1)[:, :10], rtol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(every, found.ids, 1), found.distances, rtol=1e-6)


class TestBinaryFlat(IndexContract):
    index_class: ClassVar[type[VectorIndex]] = BinaryFlat
    vector_type = DataType.BINARY_VECTOR
    metrics: ClassVar = BITS
    recall_floor = 1.0


class TestBinaryIvf(TestBinaryFlat):
    index_class: ClassVar[type[VectorIndex]] = BinaryIvf
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12}
    recall_floor = 0.95


@pytest.mark.parametrize("metric", BITS)
def test_a_filter_over_lists_keeps_the_recall(metric: str) -> None:
    drawn = rows_of(6_040, 16)
    rows, queries = drawn[:6_000], drawn[6_000:]
    index, every = BinaryIvf.build(rows, metric, {"nlist": 64}), brute_force(rows, queries, metric)
    unfiltered = recall(search_segment(index, rows, queries, 10, metric, None, {"nprobe": 6}), every, 10)
    assert unfiltered >= 0.95
    near = np.zeros(6_000, bool)
    near[np.argsort(every[0])[1_500:]] = True
    for mask in (np.random.default_rng(2).random(6_000) < 0.3, np.arange(6_000) % 50 == 0, near):
        found = search_segment(index, rows, queries, 10, metric, Allowed(mask), {"nprobe": 6})
        assert mask[found.ids].all()
        assert recall(found, np.where(mask, every, np.inf).astype(np.float32), 10) >= unfiltered - 0.01


def test_parameters_of_lists() -> None:
    rows = rows_of(2_000, 8)
    for params, message in (({"nlist": 0}, "nlist=0 is out of range"), ({"m": 4}, "unknown parameter 'm'")):
        with pytest.raises(InvalidArgument, match=message):
            BinaryIvf.build(rows, "HAMMING", params)
    index = BinaryIvf.build(rows, "HAMMING", {"nlist": 40})
    with pytest.raises(InvalidArgument, match="nprobe=0 is out of range"):
        index.search(rows[:1], 3, None, {"nprobe": 0})
    assert BinaryIvf.with_width(10, {"nprobe": 4}, 320)["nprobe"] == 16
    narrow_search, wide = (index.comparisons(20, 10, {"nprobe": n}) for n in (1, 40))
    assert narrow_search < wide <= 2_040


def test_lists_take_rows_and_queries_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = rows_of(6_000, 8), rows_of(600, 8, 1)
    expected = BinaryIvf.build(rows, "HAMMING", {"nlist": 150}).search(queries, 5)
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 150 * 256)
    tracemalloc.start()
    try:
        index = BinaryIvf.build(rows, "HAMMING", {"nlist": 150})
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3_000_000, "the distances of all rows from all centroids take 7,200,000"
    found = index.search(queries, 5)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert index.search(queries[:0], 5).ids.shape == (0, 5)


def test_all_rows_may_be_asked_for() -> None:
    rows = rows_of(500, 8)
    found = BinaryIvf.build(rows, "HAMMING", {"nlist": 8}).search(rows[:1], 505, None, {"nprobe": 1})
    assert sorted(found.ids[0, :500].tolist()) == list(range(500))
    assert (found.ids[0, 500:] == -1).all()


def test_a_file_of_the_other_type_is_refused(tmp_path: Path) -> None:
    rows = rows_of(500, 8)
    BinaryFlat.build(rows, "HAMMING", {}).save(tmp_path / "flat")
    BinaryIvf.build(rows, "HAMMING", {"nlist": 8}).save(tmp_path / "lists")
    with pytest.raises(Corruption, match="lists cannot be read as an index"):
        BinaryFlat.load(tmp_path / "lists", "HAMMING", {})
    with pytest.raises(Corruption, match="flat cannot be read as an index"):
        BinaryIvf.load(tmp_path / "flat", "HAMMING", {})
