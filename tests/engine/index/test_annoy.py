from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("annoy", reason="needs the extra: pip install 'roost[annoy]'")

from roost.engine.columns import FloatArray, Mask
from roost.engine.index import annoy
from roost.engine.index.annoy import AnnoyForest
from roost.engine.index.exact import exact_search
from roost.errors import Corruption, InvalidArgument
from roost.testing.index_contract import IndexContract, packed, same

VECTORS = np.random.default_rng(1).normal(size=(6000, 12)).astype(np.float32)
QUERIES = np.random.default_rng(2).normal(size=(60, 12)).astype(np.float32)
K = 10
METRICS = ("L2", "IP", "COSINE")


class TestAnnoyForest(IndexContract):
    index_class = AnnoyForest
    build_params: ClassVar[Mapping[str, Any]] = {"n_trees": 50}
    search_params: ClassVar[Mapping[str, Any]] = {"search_k": 2000}


@pytest.fixture(scope="module", params=METRICS)
def index(request: pytest.FixtureRequest) -> AnnoyForest:
    return AnnoyForest.build(VECTORS, request.param, {"n_trees": 10})


def recall(index: AnnoyForest, queries: FloatArray, mask: Mask, params: Mapping[str, Any]) -> float:
    found = index.search(queries, K, packed(mask), params)
    assert mask[found.ids].all()
    true = exact_search(VECTORS, queries, K, index.metric, np.flatnonzero(mask))
    kth = true.distances[:, -1:]
    return float((found.distances <= kth + 1e-5 * np.abs(kth)).mean())


@pytest.mark.parametrize("params", [{"n_trees": 0}, {"n_trees": 10_001}, {"n_trees": "many"}, {"n_trees": 1.5}])
def test_a_build_parameter_out_of_range_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="n_trees"):
        AnnoyForest.build(VECTORS[:10], "L2", params)


@pytest.mark.parametrize("search_k", [0, -1, "x", 2.5, 2**31])
def test_a_search_parameter_out_of_range_is_refused(index: AnnoyForest, search_k: object) -> None:
    with pytest.raises(InvalidArgument, match="search_k"):
        index.search(QUERIES[:1], K, None, {"search_k": search_k})
    with pytest.raises(InvalidArgument, match="search_k"):
        index.search_width(K, {"search_k": search_k})


def test_numbers_may_be_text_as_in_milvus(index: AnnoyForest) -> None:
    given, text = ({"search_k": value} for value in (300, "300"))
    assert same(index.search(QUERIES, K, None, given), index.search(QUERIES, K, None, text))


def test_rows_are_not_added(index: AnnoyForest) -> None:
    with pytest.raises(InvalidArgument, match="all of its rows at once"):
        index.add(VECTORS[:1])


def test_a_search_that_names_few_rows_still_returns_k(index: AnnoyForest) -> None:
    found = index.search(QUERIES, 100, None, {"search_k": 1})
    assert all(len(set(row)) == 100 for row in found.ids.tolist()) and (found.ids >= 0).all()


def test_all_rows_may_be_asked_for(index: AnnoyForest) -> None:
    found = index.search(QUERIES[:2], len(VECTORS) + 5, None, {})
    assert sorted(found.ids[0, : len(VECTORS)].tolist()) == list(range(len(VECTORS)))
    assert (found.ids[:, len(VECTORS) :] == -1).all()


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.3, 0.6, 0.95])
def test_recall_under_a_filter_is_that_without_one(index: AnnoyForest, kept: float) -> None:
    params = {"search_k": 200}
    unfiltered = recall(index, QUERIES, np.ones(len(VECTORS), bool), params)
    assert unfiltered < 0.99, "the search is too wide to show a loss"
    assert recall(index, QUERIES, np.random.default_rng(3).random(len(VECTORS)) < kept, params) >= unfiltered - 0.01


def test_a_filter_may_forbid_the_neighbourhood_of_the_query(index: AnnoyForest) -> None:
    params = {"search_k": 200}
    unfiltered = recall(index, QUERIES, np.ones(len(VECTORS), bool), params)
    kept = []
    for query in QUERIES[:20]:
        mask = np.ones(len(VECTORS), bool)
        mask[exact_search(VECTORS, query[None], 3000, index.metric).ids[0]] = False
        kept.append(recall(index, query[None], mask, params))
    assert np.mean(kept) >= unfiltered - 0.01


def test_an_exact_comparison_does_not_depend_on_its_blocks(index: AnnoyForest, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = packed(np.arange(len(VECTORS)) % 100 == 0)
    whole = index.search(QUERIES, K, mask)
    monkeypatch.setattr(annoy, "BLOCK_FLOATS", 12 * 7)
    assert np.array_equal(index.search(QUERIES, K, mask).ids, whole.ids)


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("metric", METRICS)
def test_the_header_fits_any_dimension(metric: str, dim: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(4).normal(size=(40, dim)).astype(np.float32)
    AnnoyForest.build(vectors, metric, {}).save(tmp_path / "index")
    loaded = AnnoyForest.load(tmp_path / "index", metric, {})
    assert (loaded.n_rows, loaded.dim) == (40, dim)
    found, true = loaded.search(vectors, 3), exact_search(vectors, vectors, 3, metric)
    np.testing.assert_allclose(found.distances, true.distances, rtol=1e-4, atol=1e-5)


def test_vectors_of_very_different_length_keep_their_inner_products() -> None:
    lengths = np.exp(np.random.default_rng(5).normal(size=(len(VECTORS), 1))).astype(np.float32)
    vectors = VECTORS * lengths
    index = AnnoyForest.build(vectors, "IP", {})
    found, true = index.search(QUERIES, K, None, {"search_k": 3000}), exact_search(vectors, QUERIES, K, "IP")
    assert (found.distances <= true.distances[:, -1:] * (1 - 1e-5)).mean() >= 0.9
    np.testing.assert_allclose(found.distances[:, 0], true.distances[:, 0], rtol=0.2)


def test_an_index_of_no_rows_is_kept(tmp_path: Path) -> None:
    AnnoyForest.build(VECTORS[:0], "L2", {}).save(tmp_path / "index")
    loaded = AnnoyForest.load(tmp_path / "index", "L2", {})
    assert (loaded.n_rows, loaded.dim) == (0, 12)
    assert (loaded.search(QUERIES, K).ids == -1).all()


def test_a_loaded_index_is_saved_again_and_outlives_its_file(index: AnnoyForest, tmp_path: Path) -> None:
    index.save(tmp_path / "first")
    loaded = AnnoyForest.load(tmp_path / "first", index.metric, {"n_trees": 10})
    loaded.save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    (tmp_path / "first").unlink()
    assert same(loaded.search(QUERIES, K), index.search(QUERIES, K))


def test_a_file_of_another_metric_is_refused(tmp_path: Path) -> None:
    AnnoyForest.build(VECTORS[:100], "L2", {}).save(tmp_path / "index")
    for metric in ("IP", "COSINE"):
        with pytest.raises(Corruption, match="its metric is L2"):
            AnnoyForest.load(tmp_path / "index", metric, {})


@pytest.mark.parametrize("n_bytes", [0, 8, 40, 64 * 300, -64, -1])
def test_a_file_that_lost_its_end_is_refused(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "index"
    AnnoyForest.build(VECTORS[:500], "L2", {}).save(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(Corruption, match="index"):
        AnnoyForest.load(path, "L2", {})


@pytest.mark.parametrize(("place", "value"), [(16, 11), (16, 0), (24, 499), (24, 501), (24, 10**9)])
def test_a_header_that_does_not_fit_the_trees_is_refused(tmp_path: Path, place: int, value: int) -> None:
    path = tmp_path / "index"
    AnnoyForest.build(VECTORS[:500], "L2", {}).save(path)
    whole = bytearray(path.read_bytes())
    whole[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(Corruption, match="index"):
        AnnoyForest.load(path, "L2", {})
