"""The tests that every vector index must pass.

A plug-in's own tests subclass `IndexContract` and name the class under test:

    class TestMyIndex(IndexContract):
        index_class = MyIndex
        build_params = {"lists": 16}
        search_params = {"probes": 16}
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.columns import Bitmap, FloatArray, Mask, Neighbours, VectorArray
from roost.engine.index.base import VectorIndex
from roost.engine.index.filtered import search_segment
from roost.engine.index.narrow import as_float32, to_bfloat16
from roost.errors import Corruption, DimensionMismatch, InvalidArgument

N_ROWS, N_QUERIES, DIM, K = 1500, 24, 24, 10
TOLERANCE = 1e-4
"""Relative and absolute: how far a float32 distance may be from that of a float64 computation."""


def brute_force(vectors: VectorArray, queries: VectorArray, metric: str) -> FloatArray:
    """Return every distance, (n_queries, n_rows) float32, smaller is closer, computed in float64."""
    if metric in ("HAMMING", "JACCARD"):
        return _brute_force_bits(np.unpackbits(vectors, axis=1), np.unpackbits(queries, axis=1), metric)
    v, q = as_float32(vectors).astype(np.float64), queries.astype(np.float64)
    if metric == "COSINE":
        v, q = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-30) for a in (v, q))
    products = q @ v.T
    if metric != "L2":
        return np.asarray(-products, np.float32)
    squares = np.square(q).sum(axis=1)[:, None] + np.square(v).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * products, 0.0), np.float32)


def _brute_force_bits(vectors: Bitmap, queries: Bitmap, metric: str) -> FloatArray:
    v, q = vectors.astype(np.float64), queries.astype(np.float64)
    common, ones = q @ v.T, q.sum(axis=1)[:, None] + v.sum(axis=1)[None]
    if metric == "HAMMING":
        return np.asarray(ones - 2 * common, np.float32)
    either = ones - common
    return np.asarray(np.where(either > 0, 1 - common / np.maximum(either, 1), 1.0), np.float32)


def stored(vectors: FloatArray, vector_type: DataType) -> VectorArray:
    """Return vectors as a type is stored: rounded, scaled to whole numbers, or their signs as bits."""
    if vector_type == DataType.FLOAT16_VECTOR:
        return vectors.astype(np.float16)
    if vector_type == DataType.BFLOAT16_VECTOR:
        return to_bfloat16(vectors)
    if vector_type == DataType.INT8_VECTOR:
        return np.clip(np.round(40 * vectors), -128, 127).astype(np.int8)
    return np.packbits(vectors > 0, axis=1) if vector_type == DataType.BINARY_VECTOR else vectors


def asked(vectors: VectorArray) -> VectorArray:
    """Return stored vectors as queries: float32, of binary ones as they are."""
    return vectors if vectors.dtype == np.uint8 else as_float32(vectors)


def recall(found: Neighbours, distances: FloatArray, k: int) -> float:
    """Return the fraction of the answer that is as near as the true k-th neighbour; ties count as hits.

    Args:
        found: an answer.
        distances: (n_queries, n_rows), as `brute_force` returns them; inf for rows that are not allowed.
        k: neighbours of a query.
    """
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    true = np.take_along_axis(distances, np.maximum(found.ids, 0), axis=1)
    return float(((found.ids >= 0) & (true <= kth + 1e-6 * np.abs(kth))).mean())


def packed(mask: Mask) -> Bitmap:
    return np.packbits(mask, bitorder="little")


def same(left: Neighbours, right: Neighbours) -> bool:
    return np.array_equal(left.ids, right.ids) and np.array_equal(left.distances, right.distances)


class IndexContract:
    """What `VectorIndex` promises, as tests, of one type of vectors; every metric of `metrics` is tried."""

    index_class: ClassVar[type[VectorIndex]]
    vector_type: ClassVar[DataType] = DataType.FLOAT_VECTOR
    build_params: ClassVar[Mapping[str, Any]] = {}
    search_params: ClassVar[Mapping[str, Any]] = {}
    metrics: ClassVar[tuple[str, ...]] = ("L2", "IP", "COSINE")
    recall_floor: ClassVar[float] = 0.95

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "metric" in metafunc.fixturenames:
            metafunc.parametrize("metric", self.metrics)

    @pytest.fixture
    def vectors(self) -> VectorArray:
        rows = np.random.default_rng(7).normal(size=(N_ROWS, DIM)).astype(np.float32)
        return stored(rows, self.vector_type)

    @pytest.fixture
    def queries(self) -> VectorArray:
        rows = np.random.default_rng(8).normal(size=(N_QUERIES, DIM)).astype(np.float32)
        return asked(stored(rows, self.vector_type))

    @pytest.fixture
    def index(self, vectors: VectorArray, metric: str) -> VectorIndex:
        return self.build(vectors, metric)

    def build(self, vectors: VectorArray, metric: str) -> VectorIndex:
        return self.index_class.build(vectors, metric, self.build_params)

    def search(self, index: VectorIndex, queries: VectorArray, k: int = K, allowed: Bitmap | None = None) -> Neighbours:
        return index.search(queries, k, allowed, self.search_params)

    def answer(self, index: VectorIndex, vectors: VectorArray, queries: VectorArray) -> Neighbours:
        """Search as the engine does, which compares what an index that compresses has found with the full vectors."""
        return search_segment(index, vectors, queries, K, index.metric, None, self.search_params)

    def test_describes_itself(self, index: VectorIndex, metric: str) -> None:
        assert index.index_type == self.index_class.index_type
        assert (index.metric, index.dim, index.n_rows) == (metric, DIM, N_ROWS)
        assert index.memory_bytes > 0
        assert self.vector_type in self.index_class.vector_types

    def test_answers_have_the_promised_form(self, index: VectorIndex, queries: VectorArray) -> None:
        found = self.search(index, queries)
        assert found.ids.shape == found.distances.shape == (N_QUERIES, K)
        assert found.ids.dtype == np.dtype(np.int64)
        assert found.distances.dtype == np.dtype(np.float32)
        assert np.all(np.diff(found.distances, axis=1) >= 0)
        assert all(len(set(row)) == K for row in found.ids.tolist())

    def test_recall(self, index: VectorIndex, vectors: VectorArray, queries: VectorArray, metric: str) -> None:
        found = self.answer(index, vectors, queries)
        assert recall(found, brute_force(vectors, queries, metric), K) >= self.recall_floor

    def test_distances(self, index: VectorIndex, vectors: VectorArray, queries: VectorArray, metric: str) -> None:
        found = self.answer(index, vectors, queries)
        true = np.take_along_axis(brute_force(vectors, queries, metric), found.ids, axis=1)
        np.testing.assert_allclose(found.distances, true, rtol=TOLERANCE, atol=TOLERANCE)

    def test_one_query_or_many(self, index: VectorIndex, queries: VectorArray) -> None:
        together = self.search(index, queries)
        for q in range(3):
            alone = self.search(index, queries[q : q + 1])
            np.testing.assert_allclose(alone.distances[0], together.distances[q], rtol=TOLERANCE, atol=TOLERANCE)

    def test_vectors_and_queries_are_not_modified(
        self, vectors: VectorArray, queries: VectorArray, metric: str
    ) -> None:
        before = vectors.copy(), queries.copy()
        vectors.flags.writeable = queries.flags.writeable = False
        self.search(self.build(vectors, metric), queries)
        assert np.array_equal(vectors, before[0])
        assert np.array_equal(queries, before[1])

    def test_a_zero_vector_is_an_ordinary_row_and_query(
        self, vectors: VectorArray, queries: VectorArray, metric: str
    ) -> None:
        vectors[3] = queries[0] = 0
        found = self.answer(self.build(vectors, metric), vectors, queries)
        assert np.isfinite(found.distances).all()

    @pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
    def test_only_allowed_rows_are_returned(self, index: VectorIndex, queries: VectorArray, kept: float) -> None:
        mask = np.random.default_rng(9).random(N_ROWS) < kept
        found = self.search(index, queries, K, packed(mask))
        assert mask[found.ids[found.ids >= 0]].all()
        assert np.array_equal(np.isinf(found.distances), found.ids < 0)

    def test_no_row_allowed(self, index: VectorIndex, queries: VectorArray) -> None:
        found = self.search(index, queries, K, packed(np.zeros(N_ROWS, bool)))
        assert (found.ids == -1).all()
        assert np.isinf(found.distances).all()

    def test_a_bitmap_of_the_wrong_length_is_refused(self, index: VectorIndex, queries: VectorArray) -> None:
        with pytest.raises(InvalidArgument):
            self.search(index, queries, K, packed(np.ones(N_ROWS - 8, bool)))

    def test_fewer_rows_than_k(self, vectors: VectorArray, queries: VectorArray, metric: str) -> None:
        found = self.search(self.build(vectors[:4], metric), queries)
        assert sorted(found.ids[0, :4].tolist()) == [0, 1, 2, 3]
        assert (found.ids[:, 4:] == -1).all()
        assert np.isinf(found.distances[:, 4:]).all()

    def test_empty(self, vectors: VectorArray, queries: VectorArray, metric: str) -> None:
        index = self.build(vectors[:0], metric)
        assert index.n_rows == 0
        assert (self.search(index, queries).ids == -1).all()
        if not index.learns:
            index.add(vectors[:20])
            assert (self.search(index, queries).ids >= 0).all()

    def test_one_row(self, vectors: VectorArray, queries: VectorArray, metric: str) -> None:
        found = self.search(self.build(vectors[:1], metric), queries)
        assert (found.ids[:, 0] == 0).all() and (found.ids[:, 1:] == -1).all()

    def test_duplicates_are_different_rows(self, vectors: VectorArray, metric: str) -> None:
        vectors[:40] = vectors[0]
        found = self.answer(self.build(vectors, metric), vectors, asked(vectors[:1]))
        assert len(set(found.ids[0].tolist())) == K
        if metric != "IP":
            assert set(found.ids[0].tolist()) <= set(range(40))

    def test_rows_that_are_all_equal(self, metric: str) -> None:
        vectors = stored(np.ones((N_ROWS, DIM), np.float32), self.vector_type)
        found = self.answer(self.build(vectors, metric), vectors, asked(vectors[:3]))
        assert all(len(set(row) - {-1}) == K for row in found.ids.tolist())
        assert np.ptp(found.distances) < TOLERANCE * DIM

    @pytest.mark.parametrize("mmap", [False, True])
    def test_a_loaded_index_answers_the_same(
        self, index: VectorIndex, queries: VectorArray, metric: str, mmap: bool, tmp_path: Path
    ) -> None:
        index.save(tmp_path / "index")
        loaded = self.index_class.load(tmp_path / "index", metric, self.build_params, mmap=mmap)
        assert (loaded.n_rows, loaded.dim, loaded.metric) == (N_ROWS, DIM, metric)
        assert same(self.search(loaded, queries), self.search(index, queries))

    def test_a_loaded_index_grows_unless_it_learns(
        self, vectors: VectorArray, queries: VectorArray, metric: str, tmp_path: Path
    ) -> None:
        self.build(vectors[:1000], metric).save(tmp_path / "index")
        grown = self.index_class.load(tmp_path / "index", metric, self.build_params, mmap=False)
        if grown.learns:
            with pytest.raises(InvalidArgument, match="all of its rows"):
                grown.add(vectors[1000:])
            assert grown.n_rows == 1000
            return
        grown.add(vectors[1000:])
        assert grown.n_rows == N_ROWS
        found = self.answer(grown, vectors, queries)
        assert recall(found, brute_force(vectors, queries, metric), K) >= self.recall_floor

    @pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
    def test_a_file_that_is_no_index_is_refused(
        self, index: VectorIndex, metric: str, damage: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "index"
        index.save(path)
        whole = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"not an index " * 100)
        with pytest.raises(Corruption, match="index"):
            self.index_class.load(path, metric, self.build_params, mmap=False)

    def test_eight_threads_get_the_answers_of_one(self, index: VectorIndex, queries: VectorArray) -> None:
        mask = packed(np.random.default_rng(9).random(N_ROWS) < 0.5)
        jobs = [(queries[i : i + 1], allowed) for i in range(N_QUERIES) for allowed in (None, mask)] * 4
        alone = [self.search(index, q, K, allowed) for q, allowed in jobs]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda job: self.search(index, job[0], K, job[1]), jobs))
        assert all(same(a, b) for a, b in zip(alone, together, strict=True))

    def test_unknown_parameters_are_refused(
        self, index: VectorIndex, vectors: VectorArray, queries: VectorArray
    ) -> None:
        with pytest.raises(InvalidArgument, match="no_such_parameter"):
            self.index_class.build(vectors, index.metric, {**self.build_params, "no_such_parameter": 1})
        with pytest.raises(InvalidArgument, match="no_such_parameter"):
            index.search(queries, K, None, {**self.search_params, "no_such_parameter": 1})

    def test_an_unknown_metric_is_refused(self, vectors: VectorArray) -> None:
        with pytest.raises(InvalidArgument, match="MANHATTAN"):
            self.build(vectors, "MANHATTAN")

    def test_queries_of_another_dimension_are_refused(self, index: VectorIndex, queries: VectorArray) -> None:
        with pytest.raises(DimensionMismatch):
            self.search(index, np.ascontiguousarray(queries[:, :-1]))

    def test_k_must_be_positive(self, index: VectorIndex, queries: VectorArray) -> None:
        with pytest.raises(InvalidArgument):
            self.search(index, queries, 0)
