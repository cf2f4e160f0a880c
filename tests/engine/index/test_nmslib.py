from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("nmslib", reason="needs the extra: pip install 'roost[nmslib]'")

from roost.engine.columns import Mask
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import exact_search
from roost.engine.index.filtered import search_segment
from roost.engine.index.nmslib import NmslibGraph, NmslibHnsw, NmslibSwGraph, _SharedSetting
from roost.errors import Corruption, InvalidArgument
from roost.testing.index_contract import IndexContract, packed, same

VECTORS = np.random.default_rng(1).normal(size=(6000, 12)).astype(np.float32)
QUERIES = np.random.default_rng(2).normal(size=(60, 12)).astype(np.float32)
K = 10
TYPES = (NmslibHnsw, NmslibSwGraph)
SMALL = {NmslibHnsw: {"M": 6, "efConstruction": 40}, NmslibSwGraph: {"NN": 6, "efConstruction": 40}}


class TestNmslibHnsw(IndexContract):
    index_class = NmslibHnsw
    build_params: ClassVar[Mapping[str, Any]] = {"M": 16, "efConstruction": 100}
    search_params: ClassVar[Mapping[str, Any]] = {"ef": 128}


class TestNmslibSwGraph(IndexContract):
    index_class = NmslibSwGraph
    build_params: ClassVar[Mapping[str, Any]] = {"NN": 16, "efConstruction": 100}
    search_params: ClassVar[Mapping[str, Any]] = {"efSearch": 128}


@pytest.fixture(scope="module", params=TYPES)
def index(request: pytest.FixtureRequest) -> NmslibGraph:
    built: NmslibGraph = request.param.build(VECTORS, "L2", SMALL[request.param])
    return built


def width(index: NmslibGraph, value: object) -> dict[str, Any]:
    return {str(index.width_param): value}


def recall(distances: Any, mask: Mask) -> float:
    kth = exact_search(VECTORS, QUERIES, K, "L2", np.flatnonzero(mask)).distances[:, -1:]
    return float((distances <= kth + 1e-5 * kth).mean())


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        *((NmslibHnsw, {"M": value}) for value in (0, 1, 2049, "many", 1.5, True, None)),
        *((NmslibSwGraph, {"NN": value}) for value in (0, 2049, "many", 1.5)),
        *((kind, {"efConstruction": value}) for kind in TYPES for value in (0, 2**31)),
        (NmslibHnsw, {"NN": 5}),
        (NmslibSwGraph, {"M": 5}),
    ],
)
def test_a_build_parameter_out_of_range_is_refused(kind: type[NmslibGraph], params: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(params))):
        kind.build(VECTORS[:50], "L2", params)


@pytest.mark.parametrize("value", [0, 9, "x", 12.0])
def test_the_width_must_be_a_whole_number_of_at_least_k(index: NmslibGraph, value: object) -> None:
    with pytest.raises(InvalidArgument, match=str(index.width_param)):
        index.search(QUERIES[:1], K, None, width(index, value))


def test_the_width_is_k_but_at_least_sixteen_when_it_is_not_given(index: NmslibGraph) -> None:
    assert index.search_width(3, {}) == 16
    assert index.search_width(50, {}) == 50
    assert index.search_width(50, width(index, "70")) == 70


def test_a_wider_search_compares_more_rows_and_never_more_than_there_are(index: NmslibGraph) -> None:
    assert (
        index.comparisons(1, 10, {}) < index.comparisons(16, 10, {}) <= index.comparisons(10**6, 10, {}) == len(VECTORS)
    )


def test_a_wider_search_finds_more(index: NmslibGraph) -> None:
    every = np.ones(len(VECTORS), bool)
    narrow, wide = (recall(index.search(QUERIES, K, None, width(index, w)).distances, every) for w in (10, 200))
    assert narrow < wide and wide > 0.98


def test_rows_are_not_added(index: NmslibGraph) -> None:
    with pytest.raises(InvalidArgument, match="all of its rows at once"):
        index.add(VECTORS[:1])


@pytest.mark.parametrize("n_queries", [1, 3])
def test_all_rows_may_be_asked_for(index: NmslibGraph, n_queries: int) -> None:
    found = index.search(QUERIES[:n_queries], len(VECTORS) + 5, None, {})
    for ids, distances in zip(found.ids, found.distances, strict=True):
        n_found = int((ids >= 0).sum())
        assert len(set(ids[:n_found].tolist())) == n_found
        assert np.isinf(distances[n_found:]).all()
        # No link of the levelled graph leads to a few of the rows.
        assert 0.99 * len(VECTORS) < n_found <= len(VECTORS)


@pytest.mark.parametrize("kept", [0.002, 0.02, 0.1, 0.3, 0.6, 0.95])
def test_recall_under_a_filter_is_that_without_one(index: NmslibGraph, kept: float) -> None:
    every, mask = np.ones(len(VECTORS), bool), np.random.default_rng(3).random(len(VECTORS)) < kept
    params = width(index, 16)
    unfiltered = recall(index.search(QUERIES, K, None, params).distances, every)
    found = index.search(QUERIES, K, packed(mask), params)
    assert mask[found.ids].all()
    assert recall(found.distances, mask) >= unfiltered - 0.01
    planned = search_segment(index, VECTORS, QUERIES, K, "L2", Allowed(mask), params)
    assert mask[planned.ids].all()
    assert recall(planned.distances, mask) >= unfiltered - 0.01


def test_a_filter_may_forbid_the_neighbourhood_of_the_query(index: NmslibGraph) -> None:
    for query in QUERIES[:10, None]:
        mask = np.ones(len(VECTORS), bool)
        mask[exact_search(VECTORS, query, 3000, "L2").ids[0]] = False
        found = index.search(query, K, packed(mask), width(index, 16))
        assert mask[found.ids].all() and (found.ids >= 0).all()


def test_threads_that_search_with_different_widths_get_the_answers_of_each(index: NmslibGraph) -> None:
    jobs = [(QUERIES[q : q + 1], width(index, w)) for q in range(30) for w in (10, 11, 200)] * 3
    alone = [index.search(query, K, None, params) for query, params in jobs]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda job: index.search(job[0], K, None, job[1]), jobs))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_a_setting_is_shared_and_is_not_changed_under_a_call_that_runs() -> None:
    applied: list[int] = []
    setting = _SharedSetting(applied.append)
    ran: list[int] = []

    def run(value: int) -> None:
        with setting.at(value):
            assert applied[-1] == value
            ran.append(value)

    with setting.at(1):
        same_value = threading.Thread(target=run, args=(1,))
        same_value.start()
        same_value.join(60)
        assert ran == [1]
        other = threading.Thread(target=run, args=(2,))
        other.start()
        other.join(0.05)
        assert applied == [1] and ran == [1]
    other.join(60)
    assert applied == [1, 2] and ran == [1, 2]


def test_a_call_that_fails_frees_the_setting() -> None:
    applied: list[int] = []
    setting = _SharedSetting(applied.append)
    with pytest.raises(KeyError), setting.at(1):
        raise KeyError
    with setting.at(2):
        assert applied == [1, 2]


def test_a_loaded_index_is_saved_again(index: NmslibGraph, tmp_path: Path) -> None:
    params = SMALL[type(index)]
    index.save(tmp_path / "first")
    type(index).load(tmp_path / "first", "L2", params).save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    again = type(index).load(tmp_path / "second", "L2", params)
    assert same(again.search(QUERIES, K), index.search(QUERIES, K))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dim", [1, 3, 17])
def test_any_dimension(kind: type[NmslibGraph], metric: str, dim: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(4).normal(size=(40, dim)).astype(np.float32)
    kind.build(vectors, metric, {}).save(tmp_path / "index")
    found = kind.load(tmp_path / "index", metric, {}).search(vectors, 40)
    true = exact_search(vectors, vectors, 40, metric)
    np.testing.assert_allclose(found.distances, true.distances, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_an_index_of_no_rows_is_kept(kind: type[NmslibGraph], tmp_path: Path) -> None:
    kind.build(VECTORS[:0], "L2", {}).save(tmp_path / "index")
    loaded = kind.load(tmp_path / "index", "L2", {})
    assert (loaded.n_rows, loaded.dim) == (0, 12)
    assert (loaded.search(QUERIES, K).ids == -1).all()


def test_a_file_of_another_type_or_metric_is_refused(tmp_path: Path) -> None:
    for kind, other in (TYPES, TYPES[::-1]):
        kind.build(VECTORS[:100], "L2", {}).save(tmp_path / "index")
        with pytest.raises(Corruption, match=kind.index_type):
            other.load(tmp_path / "index", "L2", {})
        with pytest.raises(Corruption, match="with metric L2, not IP"):
            kind.load(tmp_path / "index", "IP", {})


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("n_bytes", [0, 8, 56, 64, -64, -1])
def test_a_file_that_lost_its_end_is_refused(tmp_path: Path, kind: type[NmslibGraph], n_bytes: int) -> None:
    path = tmp_path / "index"
    kind.build(VECTORS[:500], "L2", {}).save(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(Corruption, match="index"):
        kind.load(path, "L2", {})
