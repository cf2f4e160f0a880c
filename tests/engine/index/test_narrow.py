"""Vectors of fewer bits: the arithmetic, and the indexes that hold them in their own width."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.index import narrow
from roost.engine.index.base import VectorIndex
from roost.engine.index.exact import exact_search, inverse_norms, rank_again
from roost.engine.index.faiss_flat import FaissFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_hnsw_compressed import FaissHnswSq
from roost.engine.index.faiss_ivf import FaissIvfFlat, FaissIvfSq8
from roost.engine.index.filtered import search_segment
from roost.engine.index.narrow import as_float32, not_finite, to_bfloat16
from roost.errors import Corruption, InvalidArgument
from roost.testing.index_contract import IndexContract, asked, brute_force, recall, stored

NARROW = (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR)
METRICS = ("L2", "IP", "COSINE")
VECTORS = np.random.default_rng(1).normal(size=(3_000, 32)).astype(np.float32)


def test_every_half_precision_number_is_converted_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 8)
    assert np.array_equal(as_float32(finite), finite.astype(np.float32))
    assert np.array_equal(np.signbit(as_float32(finite)), np.signbit(finite)), "zeros keep their signs"


def test_bfloat16_is_the_upper_half_rounded_to_even() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs the extra: pip install 'roost[onnx]'")
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    assert np.array_equal(to_bfloat16(numbers), numbers.astype(ml_dtypes.bfloat16).view(np.uint16))
    every = np.arange(2**16, dtype=np.uint16)
    finite = every[~not_finite(every)]
    assert np.array_equal(as_float32(finite), finite.view(ml_dtypes.bfloat16).astype(np.float32))
    assert np.array_equal(not_finite(every), ~np.isfinite(every.view(ml_dtypes.bfloat16).astype(np.float32)))


def test_halfway_numbers_are_rounded_to_even() -> None:
    numbers = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF818000, 0x7F7FFFFF], np.uint32).view(np.float32)
    assert to_bfloat16(numbers).tolist() == [0x3F80, 0x3F82, 0x3F81, 0xBF82, 0x7F80]


def test_what_is_not_finite_is_found() -> None:
    assert not_finite(np.array([1, np.inf, np.nan, 65504], np.float16)).tolist() == [False, True, True, False]
    assert not not_finite(np.array([-128, 127], np.int8)).any()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_queries", [1, 3, 20])
@pytest.mark.parametrize("vector_type", NARROW)
def test_exact_search_is_that_of_the_numbers_in_float32(
    vector_type: DataType, n_queries: int, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stored(VECTORS, vector_type)
    rows.flags.writeable = False
    queries, full = asked(rows[:n_queries]) + np.float32(0.25), as_float32(rows)
    monkeypatch.setattr(narrow, "BLOCK_FLOATS", 32 * 700)
    for picked in (None, np.arange(3, 3_000, 7), np.array([5, 2]), np.empty(0, np.int64)):
        for lengths in (None, inverse_norms(rows)):
            found = exact_search(rows, queries, 10, metric, picked, lengths)
            true = exact_search(full, queries, 10, metric, picked)
            assert np.array_equal(found.ids, true.ids)
            np.testing.assert_allclose(found.distances, true.distances, rtol=1e-5, atol=1e-5)
    again = rank_again(rows, queries, np.tile(np.arange(50, 70), (n_queries, 1)), 10, metric)
    true = exact_search(full, queries, 10, metric, np.arange(50, 70))
    assert np.array_equal(again.ids, true.ids)


@pytest.mark.parametrize("vector_type", NARROW)
def test_ranks_again_where_fewer_were_found(vector_type: DataType) -> None:
    rows = stored(VECTORS, vector_type)
    again = rank_again(rows, asked(rows[:1]), np.array([[7, -1, 0, -1]]), 3, "L2")
    assert again.ids.tolist() == [[0, 7, -1]]
    assert np.isinf(again.distances[0, 2])


class TestFlatOfFloat16(IndexContract):
    index_class: ClassVar[type[VectorIndex]] = FaissFlat
    vector_type = DataType.FLOAT16_VECTOR
    recall_floor = 1.0


class TestFlatOfInt8(TestFlatOfFloat16):
    vector_type = DataType.INT8_VECTOR


class TestHnswOfFloat16(IndexContract):
    index_class: ClassVar[type[VectorIndex]] = FaissHnsw
    vector_type = DataType.FLOAT16_VECTOR
    build_params: ClassVar = {"M": 16, "efConstruction": 100}
    search_params: ClassVar = {"ef": 128}


class TestHnswOfBfloat16(TestHnswOfFloat16):
    vector_type = DataType.BFLOAT16_VECTOR


class TestHnswOfInt8(TestHnswOfFloat16):
    vector_type = DataType.INT8_VECTOR


class TestIvfFlatOfBfloat16(IndexContract):
    index_class: ClassVar[type[VectorIndex]] = FaissIvfFlat
    vector_type = DataType.BFLOAT16_VECTOR
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12}


class TestIvfFlatOfInt8(TestIvfFlatOfBfloat16):
    vector_type = DataType.INT8_VECTOR


@pytest.mark.parametrize(("vector_type", "n_bytes"), [*((t, 2) for t in NARROW[:2]), (NARROW[2], 1)])
@pytest.mark.parametrize("kind", [FaissFlat, FaissHnsw, FaissIvfFlat])
def test_rows_are_held_in_their_own_width(kind: Any, vector_type: DataType, n_bytes: int, tmp_path: Path) -> None:
    rows = stored(np.tile(VECTORS[:1_000], (1, 8)), vector_type)
    params = {"M": 4, "efConstruction": 10} if kind is FaissHnsw else {}
    for metric in ("L2", "IP"):
        kind.build(rows, metric, params).save(tmp_path / "narrow")
        kind.build(as_float32(rows), metric, params).save(tmp_path / "full")
        spared = (tmp_path / "full").stat().st_size - (tmp_path / "narrow").stat().st_size
        assert spared >= 0.95 * (4 - n_bytes) * rows.size


@pytest.mark.parametrize("kind", [FaissHnsw, FaissIvfFlat])
@pytest.mark.parametrize("vector_type", NARROW)
def test_distances_of_a_graph_and_of_lists_are_exact(kind: Any, vector_type: DataType) -> None:
    rows = stored(VECTORS[:1_500], vector_type)
    queries = asked(stored(VECTORS[:20] + np.float32(0.125), vector_type))
    params = {"M": 8, "efConstruction": 40} if kind is FaissHnsw else {}
    for metric in METRICS:
        found = search_segment(kind.build(rows, metric, params), rows, queries, 10, metric)
        true = np.take_along_axis(brute_force(rows, queries, metric), found.ids, axis=1)
        np.testing.assert_allclose(found.distances, true, rtol=1e-5, atol=1e-5)


def test_long_rows_of_half_precision_are_lifted_without_overflow() -> None:
    rows = (VECTORS * 15_000).clip(-60_000, 60_000).astype(np.float16)
    queries = VECTORS[:20]
    index = FaissIvfFlat.build(rows, "IP", {"nlist": 16})
    found = search_segment(index, rows, queries, 10, "IP", None, {"nprobe": 12})
    assert recall(found, brute_force(rows, queries, "IP"), 10) >= 0.95


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_a_search_reads_what_fits_the_file_alone(metric: str, tmp_path: Path) -> None:
    rows = stored(VECTORS, DataType.INT8_VECTOR)
    FaissIvfSq8.build(rows, metric, {}).save(tmp_path / "sq8")
    with pytest.raises(Corruption, match="IVF_FLAT"):
        FaissIvfFlat.load(tmp_path / "sq8", metric, {})
    FaissHnsw.build(rows, metric, {}).save(tmp_path / "hnsw")
    with pytest.raises(Corruption, match="type FLAT"):
        FaissFlat.load(tmp_path / "hnsw", metric, {})


@pytest.mark.parametrize("kind", [FaissFlat, FaissHnsw, FaissIvfFlat, FaissHnswSq])
def test_metrics_of_bits_are_refused(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"metric 'HAMMING' is not allowed for .*L2, IP, COSINE"):
        kind.build(np.zeros((0, 8), np.int8), "HAMMING", {})
