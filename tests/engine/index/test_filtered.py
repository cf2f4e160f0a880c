from __future__ import annotations

import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from roost.engine.columns import Bitmap, FloatArray, Mask, Neighbours
from roost.engine.index import filtered
from roost.engine.index.allowed import Allowed, Recent
from roost.engine.index.compiled_sketch import LIBRARY, CompiledSketch
from roost.engine.index.exact import exact_search, inverse_norms
from roost.engine.index.faiss_flat import FaissFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_ivf import FaissIvfFlat
from roost.engine.index.filtered import _search_graph, search_segment
from roost.engine.index.sketch import Sketch
from roost.engine.plan import Plan, Task
from roost.engine.trace import Trace
from roost.errors import DimensionMismatch, InvalidArgument

K = 10
PARAMS = {"ef": 32}
N_ROWS = 12_000
# A graph of inner products leaves rows of small norm out of reach of any width, and a filter brings them forward.
ALLOWANCE = {"L2": 0.01, "COSINE": 0.01, "IP": 0.03}


def clustered(n: int, seed: int) -> FloatArray:
    centres = np.random.default_rng(0).normal(size=(60, 24)) * 2
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 60, n)] + rng.normal(size=(n, 24))).astype(np.float32)


VECTORS, QUERIES = clustered(N_ROWS, 1), clustered(100, 2)


@pytest.fixture(scope="module", params=["L2", "IP", "COSINE"])
def index(request: pytest.FixtureRequest) -> FaissHnsw:
    return FaissHnsw.build(VECTORS, request.param, {"M": 16, "efConstruction": 100})


def recall(found: Neighbours, mask: Mask | None, metric: str) -> float:
    rows = None if mask is None else np.flatnonzero(mask)
    true = exact_search(VECTORS, QUERIES, K, metric, rows).distances
    kth = true[:, -1:]
    return float((found.distances <= kth + 1e-5 * np.abs(kth))[np.isfinite(true)].mean())


def filters() -> dict[str, Mask]:
    rng = np.random.default_rng(5)
    along = VECTORS @ rng.normal(size=24).astype(np.float32)
    centre_of_queries = np.square(VECTORS - QUERIES[0]).sum(axis=1)
    masks = {f"random {kept}": rng.random(N_ROWS) < kept for kept in (0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999)}
    masks["half of the space"] = along < np.median(along)
    masks["near one query only"] = centre_of_queries < np.quantile(centre_of_queries, 0.4)
    masks["far from one query only"] = centre_of_queries > np.quantile(centre_of_queries, 0.4)
    return masks


@pytest.mark.parametrize("name", filters())
def test_recall_is_that_of_the_unfiltered_search(index: FaissHnsw, name: str) -> None:
    mask = filters()[name]
    unfiltered = recall(index.search(QUERIES, K, None, PARAMS), None, index.metric)
    together = search_segment(index, VECTORS, QUERIES, K, index.metric, Allowed(mask), PARAMS)
    assert mask[together.ids[together.ids >= 0]].all()
    assert recall(together, mask, index.metric) >= unfiltered - ALLOWANCE[index.metric]
    allowed = Allowed(mask)
    alone = [search_segment(index, VECTORS, QUERIES[q : q + 1], K, index.metric, allowed, PARAMS) for q in range(100)]
    joined = Neighbours(np.concatenate([a.ids for a in alone]), np.concatenate([a.distances for a in alone]))
    assert recall(joined, mask, index.metric) >= unfiltered - ALLOWANCE[index.metric]


def test_the_neighbourhood_of_every_query_may_be_forbidden(index: FaissHnsw) -> None:
    """The filter drops the 300 rows nearest to each query: a traversal meets little else."""
    for q in range(5):
        query = QUERIES[q : q + 1]
        mask = np.ones(N_ROWS, bool)
        mask[exact_search(VECTORS, query, 300, index.metric).ids[0]] = False
        found = search_segment(index, VECTORS, query, K, index.metric, Allowed(mask), {"ef": 16})
        true = exact_search(VECTORS, query, K, index.metric, np.flatnonzero(mask))
        assert len(set(found.ids[0].tolist()) & set(true.ids[0].tolist())) >= K - 1


@pytest.mark.parametrize("n_allowed", [0, 1, K])
def test_a_handful_of_rows_is_returned_whole(index: FaissHnsw, n_allowed: int) -> None:
    mask = np.zeros(N_ROWS, bool)
    mask[:n_allowed] = True
    found = search_segment(index, VECTORS, QUERIES, K, index.metric, Allowed(mask), PARAMS)
    for ids, distances in zip(found.ids, found.distances, strict=True):
        assert sorted(ids[:n_allowed].tolist()) == list(range(n_allowed))
        assert (ids[n_allowed:] == -1).all()
        assert np.isinf(distances[n_allowed:]).all()


def test_without_an_index_all_rows_are_compared(index: FaissHnsw) -> None:
    norms = inverse_norms(VECTORS)
    every = search_segment(None, VECTORS, QUERIES, K, index.metric, None, None, norms)
    assert recall(every, None, index.metric) == 1
    mask = np.arange(N_ROWS) % 3 == 0
    some = search_segment(None, VECTORS, QUERIES, K, index.metric, Allowed(mask), None, norms)
    assert recall(some, mask, index.metric) == 1
    assert mask[some.ids].all()


def test_no_queries(index: FaissHnsw) -> None:
    allowed = Allowed(filters()["random 0.5"])
    assert search_segment(index, VECTORS, QUERIES[:0], K, index.metric, allowed, PARAMS).ids.shape == (0, K)


def test_a_filter_that_keeps_all_rows_is_no_filter(index: FaissHnsw) -> None:
    all_rows = Allowed(np.ones(N_ROWS, bool))
    found = search_segment(index, VECTORS, QUERIES, K, index.metric, all_rows, PARAMS)
    assert np.array_equal(found.ids, index.search(QUERIES, K, None, PARAMS).ids)


def test_a_flat_index_stays_exact_under_any_filter() -> None:
    flat = FaissFlat.build(VECTORS, "L2", {})
    for mask in filters().values():
        assert recall(search_segment(flat, VECTORS, QUERIES, K, "L2", Allowed(mask)), mask, "L2") == 1


class ListsIndex(FaissFlat):
    """Stands for an index whose width the engine cannot set."""

    index_type = "LISTS"

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return self.n_rows // 10

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        self.was_given = allowed
        return super().search(queries, k, allowed, params)


def test_an_index_without_a_width_gets_the_bitmap() -> None:
    lists = ListsIndex.build(VECTORS, "L2", {})
    mask = filters()["random 0.5"]
    found = search_segment(lists, VECTORS, QUERIES, K, "L2", Allowed(mask))
    assert recall(found, mask, "L2") == 1
    assert np.array_equal(lists.was_given, np.packbits(mask, bitorder="little"))


@pytest.mark.parametrize("kept", [0.001, 0.5])
def test_bad_arguments_are_refused_whatever_the_plan(index: FaissHnsw, kept: float) -> None:
    allowed = Allowed(np.random.default_rng(0).random(N_ROWS) < kept)
    for params in ({"ef": 5}, {"no_such_parameter": 1}):
        with pytest.raises(InvalidArgument):
            search_segment(index, VECTORS, QUERIES, K, index.metric, allowed, params)
    with pytest.raises(InvalidArgument):
        search_segment(index, VECTORS, QUERIES, 0, index.metric, allowed, PARAMS)
    with pytest.raises(DimensionMismatch):
        search_segment(index, VECTORS, QUERIES[:, :8], K, index.metric, allowed, PARAMS)


def test_doubt_follows_the_share_of_scans() -> None:
    doubt = Recent()
    for _ in range(400):
        doubt.note(1, 1)
    assert doubt.mean > 0.95
    for _ in range(400):
        doubt.note(1, 0)
    assert doubt.mean < 0.05


def test_an_answer_weighs_less_the_more_there_were() -> None:
    shares = []
    for n_before in (0, 50, 10_000):
        doubt = Recent()
        doubt.note(n_before, 0)
        doubt.note(1, 1)
        shares.append(doubt.mean)
    assert shares == pytest.approx([1 / 20, 1 / 70, 1 / 100])
    doubt.note(1_000, 1_000)
    assert doubt.mean < 0.21, "answers of one call are often alike"


def test_doubt_fades_slowly_where_another_way_is_taken() -> None:
    doubt = Recent()
    doubt.fade()
    assert doubt.mean == 0
    for _ in range(20):
        doubt.note(1, 1)
    before = doubt.mean
    for _ in range(50):
        doubt.fade()
    assert 0.9 * before < doubt.mean < before
    for _ in range(10_000):
        doubt.fade()
    assert doubt.mean < 0.01


@pytest.mark.parametrize("way", ["traverse", "scan", "exact", "exact, several queries"])
def test_what_was_doubted_is_tried_again_in_time(way: str) -> None:
    """While queries are answered in another way, the doubt fades, and then the doubted way is taken."""
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(4_000, 200)).astype(np.float32) / np.sqrt(1 + np.arange(200, dtype=np.float32))
    graph = None if way.startswith("exact") else FaissHnsw.build(vectors, "L2", {"M": 8, "efConstruction": 20})
    sketch = None if way == "scan" else Sketch.build(vectors, "L2")
    allowed = Allowed(rng.random(4_000) < 0.9)
    doubt = allowed.doubt if sketch is None else allowed.use(sketch).extra
    before = doubt.mean = 1.0 if sketch is None else 1_000.0
    n_queries = 3 if "several" in way else 1

    def ask() -> str:
        trace = Trace()
        search_segment(graph, vectors, vectors[:n_queries], K, "L2", allowed, {"ef": 16}, None, sketch, trace)
        return trace.steps[0].method

    assert [ask() for _ in range(3)] == [{"scan": "exact"}.get(way, way.partition(",")[0])] * 3
    assert 0.99 * before < doubt.mean < before
    doubt.mean = 0.001
    assert ask() == ("traverse" if way == "scan" else "sketch")


def test_a_plan_that_nothing_speaks_against_is_made_once(index: FaissHnsw, monkeypatch: pytest.MonkeyPatch) -> None:
    planned, plan_search = [], filtered.plan_search

    def noted(task: Task, doubt: float = 0.0) -> Plan:
        planned.append((task.k, doubt))
        return plan_search(task, doubt)

    monkeypatch.setattr(filtered, "plan_search", noted)
    filtered._plans_of(index).clear()
    allowed = Allowed(np.random.default_rng(9).random(N_ROWS) < 0.99)

    def ask(k: int = K, ef: int = 32, n_queries: int = 1) -> Neighbours:
        asked = QUERIES[:n_queries]
        return search_segment(index, VECTORS, asked, k, index.metric, allowed, {"ef": ef})

    found = [ask().ids.tolist() for _ in range(20)]
    assert all(ids == found[0] for ids in found)
    assert planned == [(K, 0.0)] * 2, "the first search knows less than those after it"
    planned.clear()
    kept = np.flatnonzero(allowed.mask)
    fewer = allowed.mask.copy()
    fewer[kept[0]] = False
    search_segment(index, VECTORS, QUERIES[:1], K, index.metric, Allowed(fewer), {"ef": 32})
    assert not planned, "a filter that keeps about as many rows is searched likewise"
    fewer[kept[:500]] = False
    search_segment(index, VECTORS, QUERIES[:1], K, index.metric, Allowed(fewer), {"ef": 32})
    assert planned, "one that keeps others needs a plan of its own"
    for other in ({"k": 5}, {"ef": 33}, {"n_queries": 2}):
        planned.clear()
        ask(**other)
        assert planned, f"{other} needs a plan of its own"
    other_index = FaissHnsw.build(VECTORS, index.metric, {"M": 8, "efConstruction": 40})
    ask()
    planned.clear()
    search_segment(other_index, VECTORS, QUERIES[:1], K, index.metric, allowed, {"ef": 32})
    assert planned, "another index needs a plan of its own"
    ask()
    planned.clear()
    allowed.doubt.note(1, 1)
    ask()
    assert planned and planned[0][1] > 0


def test_a_plan_is_of_its_search_parameters_and_keeps_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    index = FaissIvfFlat.build(VECTORS, "L2", {"nlist": 64})
    allowed, used = Allowed(np.random.default_rng(9).random(N_ROWS) < 0.6), weakref.ref(index)
    compared, plan_search = [], filtered.plan_search

    def noted(task: Task, doubt: float = 0.0) -> Plan:
        compared.append(task.comparisons(0))
        return plan_search(task, doubt)

    monkeypatch.setattr(filtered, "plan_search", noted)
    for nprobe in [1] * 20 + [64] * 20:
        search_segment(index, VECTORS, QUERIES[:1], K, "L2", allowed, {"nprobe": nprobe})
    few, many = (index.comparisons(0, K, {"nprobe": nprobe}) for nprobe in (1, 64))
    assert compared == [few, few, many] and few < many
    del index
    assert used() is None, "a plan kept the index"


def test_an_index_that_cannot_be_hashed_is_searched_under_a_filter() -> None:
    """As one of a third party that is a dataclass, whose instances are compared by what they hold."""

    class Compared(FaissHnsw):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("indexes are not compared")

    index, allowed = Compared.build(VECTORS, "L2", {"M": 8, "efConstruction": 40}), Allowed(np.arange(N_ROWS) % 3 == 0)
    for _ in range(3):
        found = search_segment(index, VECTORS, QUERIES[:1], K, "L2", allowed, {"ef": 32})
        assert allowed.mask[found.ids].all()


def test_an_index_keeps_no_more_plans_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered, "MAX_PLANS", 3)
    index = FaissHnsw.build(VECTORS, "L2", {"M": 8, "efConstruction": 40})
    for n_allowed in range(1_000, 3_000, 200):
        allowed = Allowed(np.arange(N_ROWS) < n_allowed)
        search_segment(index, VECTORS, QUERIES[:1], K, "L2", allowed, {"ef": 32})
        assert len(filtered._plans_of(index)) <= 3


def test_what_is_learnt_of_a_filter_meanwhile_is_not_kept_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another thread that searches under the same filter may change what is known, while this one plans."""
    index, sketch = FaissHnsw.build(VECTORS, "L2", {"M": 16, "efConstruction": 100}), Sketch.build(VECTORS, "L2")
    mask, plan_task = np.random.default_rng(9).random(N_ROWS) < 0.5, filtered._Asked.task
    asked = (index, VECTORS, QUERIES[:1], K, "L2")
    search_segment(*asked, Allowed(mask), {"ef": 32}, sketch=sketch)
    undisturbed = dict(filtered._plans_of(index))
    filtered._plans_of(index).clear()
    disturbed = Allowed(mask)

    def changed(self: filtered._Asked, n_queries: int) -> Task:
        disturbed.is_new = False
        disturbed.use(sketch).extra.mean = 5.0
        sketch.lend(disturbed.rows, disturbed.use(sketch))
        return plan_task(self, n_queries)

    monkeypatch.setattr(filtered._Asked, "task", changed)
    search_segment(*asked, disturbed, {"ef": 32}, sketch=sketch)
    kept = filtered._plans_of(index)
    assert undisturbed and {key: kept[key][:3] for key in undisturbed} == {
        key: plan[:3] for key, plan in undisturbed.items()
    }


@pytest.mark.skipif(LIBRARY is None, reason="needs a C compiler when Roost is installed, and AVX2")
def test_a_scan_by_a_kept_plan_is_of_the_filters_own_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    index, sketch = FaissHnsw.build(VECTORS, "L2", {"M": 16, "efConstruction": 100}), Sketch.build(VECTORS, "L2")
    judged, scan = [], CompiledSketch.scan

    def noted(self: CompiledSketch, *given: Any) -> Any:
        judged.append((given[4].n_allowed, given[4].n_first, given[4].n_listed))
        return scan(self, *given)

    monkeypatch.setattr(CompiledSketch, "scan", noted)
    monkeypatch.setattr("roost.engine.plan.EXACT_CALL_NS", 1e9)
    monkeypatch.setattr("roost.engine.plan.SIEVED_QUERY_NS", 1e9)
    for n_allowed in (8_000, 8_001, 8_100):
        search_segment(
            index, VECTORS, QUERIES[:1], K, "L2", Allowed(np.arange(N_ROWS) < n_allowed), {"ef": 32}, None, sketch
        )
    assert len(filtered._plans_of(index)) == 1
    assert [n_allowed for n_allowed, *_ in judged] == [8_000, 8_001, 8_100]
    assert len({tuple(others) for _, *others in judged}) == 1


@pytest.mark.parametrize("n_allowed", [K, K + 1, 31, 33, 63, 64, 65, 105, 1_023, 2_047])
def test_a_plan_for_about_as_many_rows_finds_the_nearest_of_all(n_allowed: int) -> None:
    index, sketch = FaissHnsw.build(VECTORS, "L2", {"M": 16, "efConstruction": 100}), Sketch.build(VECTORS, "L2")
    rng, found = np.random.default_rng(11), []
    for query in QUERIES[:40]:
        rows = np.sort(rng.choice(N_ROWS, n_allowed, replace=False))
        mask = np.zeros(N_ROWS, bool)
        mask[rows] = True
        answer = search_segment(index, VECTORS, query[None], K, "L2", Allowed(mask), {"ef": 64}, None, sketch)
        expected = exact_search(VECTORS, query[None], K, "L2", rows)
        found.append(len(set(answer.ids[0].tolist()) & set(expected.ids[0].tolist())) / K)
    assert np.mean(found) >= 0.99


def test_an_excerpt_ends_a_plan_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    index = FaissHnsw.build(VECTORS, "L2", {"M": 16, "efConstruction": 100})
    allowed, sketch = Allowed(np.random.default_rng(9).random(N_ROWS) < 0.99), Sketch.build(VECTORS, "L2")
    # As where a sketch costs more than the graph, until the filter has an excerpt.
    monkeypatch.setattr("roost.engine.plan.SKETCH_CALL_NS", 1e6)
    for _ in range(20):
        search_segment(index, VECTORS, QUERIES[:1], K, "L2", allowed, {"ef": 32}, sketch=sketch)
    assert filtered._plans_of(index)
    monkeypatch.undo()
    sketch.lend(allowed.rows, allowed.use(sketch))
    trace = Trace()
    search_segment(index, VECTORS, QUERIES[:1], K, "L2", allowed, {"ef": 32}, sketch=sketch, trace=trace)
    assert allowed.use(sketch).excerpt is not None
    assert [step.method for step in trace.steps] == ["excerpt"]


def test_vectors_that_no_sketch_orders_are_searched_in_the_graph() -> None:
    """Nearly all of them being allowed, where a sketch and its excerpt would be read a little faster."""
    rng = np.random.default_rng(5)
    vectors, queries = (rng.normal(size=(n, 200)).astype(np.float32) for n in (20_000, 300))
    graph, sketch = FaissHnsw.build(vectors, "L2", {"M": 8, "efConstruction": 20}), Sketch.build(vectors, "L2")
    allowed, ways = Allowed(rng.random(20_000) < 0.96), []
    for query in queries:
        trace = Trace()
        search_segment(graph, vectors, query[None], K, "L2", allowed, {"ef": 64}, None, sketch, trace)
        ways.append(trace.steps[0].method)
    assert allowed.use(sketch).extra.mean > 0, "the sketch was tried"
    assert ways[100:].count("traverse") > 190
    calls = [search_segment(graph, vectors, queries[:60], K, "L2", allowed, {"ef": 64}, None, sketch) for _ in range(3)]
    assert all(np.array_equal(call.ids, calls[0].ids) for call in calls)


def test_eight_threads_share_a_filter(index: FaissHnsw) -> None:
    mask = filters()["random 0.2"]
    allowed = Allowed(mask)

    def search(q: int) -> Neighbours:
        return search_segment(index, VECTORS, QUERIES[q : q + 1], K, index.metric, allowed, PARAMS)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(search, list(range(100)) * 3))
    assert all(mask[answer.ids].all() for answer in found)


@pytest.mark.parametrize("kept", [0.0005, 0.01, 0.1, 0.9])
def test_a_lone_query_is_answered_as_in_company(index: FaissHnsw, kept: float) -> None:
    allowed = Allowed(np.random.default_rng(8).random(N_ROWS) < kept)
    together, ranks = _search_graph(index, QUERIES, K, allowed, 64, {})
    for q in range(len(QUERIES)):
        alone, (rank,) = _search_graph(index, QUERIES[q : q + 1], K, allowed, 64, {})
        assert np.array_equal(alone.ids[0], together.ids[q]) and rank == ranks[q]
        assert np.array_equal(alone.distances[0], together.distances[q])
