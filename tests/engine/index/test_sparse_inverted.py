from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.columns import Neighbours
from roost.engine.index.base import VectorIndex
from roost.engine.index.exact import exact_search
from roost.engine.index.filtered import Allowed, search_segment
from roost.engine.index.registry import index_types, resolve_index
from roost.engine.index.sparse_inverted import SparseInverted, SparseWand
from roost.engine.index.sparse_rows import NOMINAL_DIM, sparse_rows
from roost.errors import Corruption, DimensionMismatch, InvalidArgument, MissingDependency
from roost.testing.index_contract import packed, same
from tests.engine.index.sparse_data import as_rows, clustered, draw

K = 10
ROWS, DENSE = draw(4_000, 300, 0)
QUERIES, ASKED = draw(40, 300, 1)


@pytest.fixture(scope="module")
def index() -> SparseInverted:
    return SparseInverted.build(ROWS, "IP", {})


def true_distances(dense: Any, asked: Any, kept: Any, k: int) -> Any:
    every = -(asked.astype(np.float64) @ dense.T)
    every[:, ~kept] = np.inf
    every[every == 0] = np.inf
    return np.sort(every, axis=1)[:, :k]


@pytest.mark.parametrize("k", [1, 10, 200, 5_000])
@pytest.mark.parametrize("signed", [False, True])
def test_the_answer_is_exact(signed: bool, k: int) -> None:
    rows, dense = draw(4_000, 300, 2, signed=signed)
    queries, asked = draw(40, 300, 3, signed=signed)
    found = SparseInverted.build(rows, "IP", {}).search(queries, k)
    true = true_distances(dense, asked, np.ones(4_000, bool), k)
    assert found.ids.shape == (40, k)
    np.testing.assert_allclose(found.distances[:, :4_000], true, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.ids < 0, np.isinf(found.distances))
    some, places = np.nonzero(found.ids >= 0)
    products = (asked.astype(np.float64) @ dense.T)[some, found.ids[some, places]]
    np.testing.assert_allclose(-found.distances[some, places], products, rtol=1e-4, atol=1e-5)


def test_a_search_ends_before_it_has_read_the_longest_lists(
    index: SparseInverted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    completed = SparseInverted._completed

    def count(*arguments: Any) -> Any:
        ended.append(arguments[2])
        return completed(*arguments)

    monkeypatch.setattr(SparseInverted, "_completed", count)
    rare = as_rows(np.where(np.arange(300) % 40 == 39, np.float32(1), np.float32(0.05))[None])
    found = index.search(rare, K)
    assert len(ended) == 1 and ended[0] < 300
    assert same(found, index.search(rare, K))


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.1, 0.5, 0.99])
def test_a_filter_keeps_the_answer_exact(index: SparseInverted, kept: float) -> None:
    mask = np.random.default_rng(4).random(4_000) < kept
    true = true_distances(DENSE, ASKED, mask, K)
    for found in (
        index.search(QUERIES, K, packed(mask)),
        search_segment(index, ROWS, QUERIES, K, "IP", Allowed(mask)),
    ):
        np.testing.assert_allclose(found.distances, true, rtol=1e-4, atol=1e-5)
        assert mask[found.ids[found.ids >= 0]].all()


class TestRecallUnderFilters:
    """What every search of sparse vectors promises: a filter takes less than 0.01 of the recall at the same parameters.

    The rows are in clusters, so the nearest of all stand out, and those that a filter leaves do not.
    """

    rows, dense = clustered(4_000, 8)
    queries, asked = clustered(50, 9)

    @staticmethod
    def sparse_types() -> list[str]:
        found = []
        for name in index_types():
            try:
                if DataType.SPARSE_FLOAT_VECTOR in resolve_index(name).vector_types:
                    found.append(name)
            except MissingDependency:
                pass  # an extra; those that there are take no sparse vectors
        return found

    @classmethod
    @lru_cache
    def built(cls, index_type: str, dropped: float) -> VectorIndex:
        return resolve_index(index_type).build(cls.rows, "IP", {"drop_ratio_build": dropped})

    def recall(self, found: Neighbours, mask: Any) -> float:
        true = true_distances(self.dense, self.asked, mask, K)
        return float((found.distances <= true + 1e-4)[np.isfinite(true)].mean())

    def masks(self, index: VectorIndex) -> dict[str, Any]:
        rng, n_rows = np.random.default_rng(10), len(self.dense)
        masks = {f"random {kept}": rng.random(n_rows) < kept for kept in (0.01, 0.1, 0.5, 0.9, 0.999)}
        along = self.dense @ rng.normal(size=self.dense.shape[1])
        masks |= {f"half space {kept}": along < np.quantile(along, kept) for kept in (0.1, 0.5)}
        masks["all but the nearest"] = np.ones(n_rows, bool)
        masks["all but the nearest"][index.search(self.queries, K).ids[:, 0]] = False
        return masks

    @pytest.mark.parametrize(
        ("left_out", "dropped"), [(0, 0), (0, 0.2), (0, 0.6), (0, 0.9), (0.2, 0), (0.6, 0), (0.9, 0), (0.6, 0.6)]
    )
    @pytest.mark.parametrize("index_type", sparse_types())
    def test_a_filter_keeps_the_recall(self, index_type: str, left_out: float, dropped: float) -> None:
        index, params = self.built(index_type, left_out), {"drop_ratio_search": dropped}
        unfiltered = search_segment(index, self.rows, self.queries, K, "IP", None, params)
        every = np.ones(len(self.dense), bool)
        assert same(search_segment(index, self.rows, self.queries, K, "IP", Allowed(every), params), unfiltered)
        least = self.recall(unfiltered, every) - 0.01
        for name, mask in self.masks(index).items():
            allowed = Allowed(mask)
            found = search_segment(index, self.rows, self.queries, K, "IP", allowed, params)
            assert mask[found.ids[found.ids >= 0]].all()
            assert self.recall(found, mask) >= least, name
            for q in range(3):
                alone = search_segment(index, self.rows, self.queries[q : q + 1], K, "IP", allowed, params)
                np.testing.assert_allclose(alone.distances[0], found.distances[q], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", [SparseInverted, SparseWand])
def test_a_loaded_index_answers_the_same(
    index: SparseInverted, kind: type[SparseInverted], mmap: bool, tmp_path: Path
) -> None:
    kind.build(ROWS, "IP", {}).save(tmp_path / "index")
    loaded = kind.load(tmp_path / "index", "IP", {}, mmap=mmap)
    assert (loaded.n_rows, loaded.dim, loaded.metric, loaded.index_type) == (4_000, NOMINAL_DIM, "IP", kind.index_type)
    assert loaded.memory_bytes == index.memory_bytes > 8 * np.count_nonzero(DENSE)
    assert same(loaded.search(QUERIES, K), index.search(QUERIES, K))


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing", "other"])
def test_a_file_that_is_no_index_is_refused(index: SparseInverted, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "index"
    if damage == "other":
        SparseInverted(index._postings._replace(values=index._postings.values[:-1]), "IP").save(path)
    else:
        index.save(path)
        whole = path.read_bytes()
        path.write_bytes({"truncated": whole[: len(whole) // 2]}.get(damage, b"not an index " * 100))
    if damage == "missing":
        path.unlink()
    with pytest.raises(Corruption, match="index"):
        SparseInverted.load(path, "IP", {})


def test_small_numbers_of_a_query_only_rank(index: SparseInverted) -> None:
    found = index.search(QUERIES, K, None, {"drop_ratio_search": 0.3})
    true = true_distances(DENSE, ASKED, np.ones(4_000, bool), K)
    hit = found.distances <= true + 1e-5
    assert hit[np.isfinite(true)].mean() >= 0.9
    place = np.flatnonzero(found.ids[0] >= 0)
    products = -(DENSE[found.ids[0, place]] @ ASKED[0])
    np.testing.assert_allclose(found.distances[0, place], products, rtol=1e-4)


@pytest.mark.parametrize("kind", [SparseInverted, SparseWand])
def test_small_numbers_of_rows_may_be_left_out(kind: type[SparseInverted], tmp_path: Path) -> None:
    params = {"drop_ratio_build": 0.3}
    smaller = kind.build(ROWS, "IP", params)
    smaller.save(tmp_path / "index")
    assert smaller.memory_bytes < 0.8 * kind.build(ROWS, "IP", {}).memory_bytes
    true = true_distances(DENSE, ASKED, np.ones(4_000, bool), K)
    for held in (smaller, kind.load(tmp_path / "index", "IP", params)):
        assert held.compresses and held.index_type == kind.index_type
        found = search_segment(held, ROWS, QUERIES, K, "IP")
        assert (found.distances <= true + 1e-5)[np.isfinite(true)].mean() >= 0.95
        exact = exact_search(ROWS, QUERIES[:1], 4_000, "IP")
        products = dict(zip(exact.ids[0].tolist(), exact.distances[0].tolist(), strict=True))
        assert [products[i] for i in found.ids[0].tolist()] == pytest.approx(found.distances[0].tolist())


@pytest.mark.parametrize("kept", [0.2, 1.0])
@pytest.mark.parametrize("params", [{}, {"drop_ratio_search": 0.2}])
@pytest.mark.parametrize(("of_rows", "of_queries"), [(1e38, 1.0), (1e30, 1e30), (1e19, 1e19)])
def test_products_that_float32_cannot_hold(
    of_rows: float, of_queries: float, params: dict[str, Any], kept: float
) -> None:
    _, dense = draw(800, 300, 6, signed=True)
    _, asked = draw(20, 300, 7, signed=True)
    dense, asked = dense * np.float32(of_rows), asked * np.float32(of_queries)
    rows, queries = as_rows(dense), as_rows(asked)
    mask = np.random.default_rng(8).random(800) < kept
    found = SparseInverted.build(rows, "IP", {}).search(queries, K, packed(mask), params)
    same_scale = SparseInverted.build(as_rows(dense / np.float32(of_rows)), "IP", {})
    expected = same_scale.search(as_rows(asked / np.float32(of_queries)), K, packed(mask), params)
    overlap = np.mean([len(set(a) & set(b)) / len(set(b)) for a, b in zip(found.ids, expected.ids, strict=True)])
    assert overlap > 0.99
    true = -np.einsum("qd,qkd->qk", asked.astype(np.float64), dense[found.ids].astype(np.float64))
    hit = found.ids >= 0
    assert np.isfinite(found.distances[hit]).all()
    largest = float(np.finfo(np.float32).max)
    np.testing.assert_allclose(found.distances[hit], np.clip(true, -largest, largest)[hit], rtol=1e-4)
    ranked = np.where(hit, true, np.inf)
    unit = np.max(np.abs(true))
    assert (ranked[:, 1:] >= ranked[:, :-1] - 1e-5 * unit).all(), "ranked by what the products are"
    if not params:
        exact = exact_search(rows, queries, K, "IP", np.flatnonzero(mask))
        np.testing.assert_allclose(found.distances, exact.distances, rtol=1e-4)


def test_nothing_to_find() -> None:
    empty = SparseInverted.build(sparse_rows([]), "IP", {})
    assert (empty.n_rows, (empty.search(QUERIES, 3).ids == -1).all()) == (0, True)
    bare = SparseInverted.build(sparse_rows([b"", b""]), "IP", {})
    assert (bare.search(QUERIES, 3).ids == -1).all()
    assert bare.n_rows == 2
    found = SparseInverted.build(ROWS, "IP", {}).search(sparse_rows([b""]), 3)
    assert (found.ids == -1).all() and np.isinf(found.distances).all()


def test_eight_threads_get_the_answers_of_one(index: SparseInverted) -> None:
    alone = [index.search(QUERIES[q : q + 1], K) for q in range(40)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda q: index.search(QUERIES[q : q + 1], K), range(40)))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("metric", "params", "message"),
    [
        ("L2", {}, "metric 'L2' is not allowed for SPARSE_INVERTED_INDEX; use one of: IP"),
        ("IP", {"drop_ratio_build": 1.0}, "drop_ratio_build=1.0 is out of range"),
        ("IP", {"drop_ratio_build": "x"}, "drop_ratio_build must be a number"),
        ("IP", {"inverted_index_algo": "BM"}, "inverted_index_algo='BM' is not allowed; use one of: DAAT_MAXSCORE"),
        ("IP", {"nlist": 4}, "unknown parameter 'nlist'"),
    ],
)
def test_bad_parameters_are_refused(metric: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        SparseInverted.build(sparse_rows([]), metric, params)


def test_bad_searches_are_refused(index: SparseInverted) -> None:
    for params in ({"drop_ratio_search": 1}, {"ef": 4}):
        with pytest.raises(InvalidArgument, match=next(iter(params))):
            index.search(QUERIES, K, None, params)
        with pytest.raises(InvalidArgument, match=next(iter(params))):
            index.search_width(K, params)
    with pytest.raises(InvalidArgument, match="bitmap"):
        index.search(QUERIES, K, packed(np.ones(8, bool)))
    with pytest.raises(InvalidArgument, match="k=0"):
        index.search(QUERIES, 0)
    with pytest.raises(DimensionMismatch):
        index.search(np.ones((1, 3), np.float32), K)
    with pytest.raises(InvalidArgument, match="all of its rows"):
        index.add(ROWS)
