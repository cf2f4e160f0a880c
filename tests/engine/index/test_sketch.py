from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from roost.engine.columns import FloatArray, IntArray, Mask, Neighbours
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import exact_search, inverse_norms
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.filtered import search_segment
from roost.engine.index.narrow import as_float32, to_bfloat16
from roost.engine.index.scan import Scan
from roost.engine.index.sketch import EXCERPTED_PER_ROW, Excerpt, Sketch
from roost.engine.index.sketch_frame import MAX_NUMBERS
from roost.engine.plan import Task
from roost.engine.trace import Trace
from roost.errors import Corruption
from tests.engine.index.image_data import DIM, images

N_ROWS, K = 12_000, 10
METRICS = ("L2", "IP", "COSINE")


VECTORS, QUERIES = images(N_ROWS, 1), images(60, 2)
ALL = np.ones(N_ROWS, bool)


@pytest.fixture(scope="module", params=[(metric, way) for metric in METRICS for way in ("compiled", "by steps")])
def sketch(request: pytest.FixtureRequest) -> Sketch:
    metric, way = request.param
    built = Sketch.build(VECTORS, metric)
    if way == "by steps":
        built.compiled = None
    elif built.compiled is None:
        pytest.skip("needs a C compiler when Roost is installed, and AVX2")
    return built


def recall(found: Neighbours, queries: FloatArray, mask: Mask, metric: str, vectors: FloatArray = VECTORS) -> float:
    kth = exact_search(vectors, queries, K, metric, np.flatnonzero(mask)).distances[:, -1:]
    return float((found.distances <= kth + 1e-5 * np.abs(kth)).mean())


def filters() -> dict[str, Mask]:
    rng = np.random.default_rng(5)
    along = VECTORS @ rng.normal(size=DIM).astype(np.float32)
    from_query = np.square(VECTORS - QUERIES[0]).sum(axis=1)
    return {
        "a tenth": rng.random(N_ROWS) < 0.1,
        "half": rng.random(N_ROWS) < 0.5,
        "half of the space": along < np.median(along),
        "near one query": from_query < np.quantile(from_query, 0.3),
        "far from one query": from_query > np.quantile(from_query, 0.5),
    }


def test_the_rows_that_seem_nearest_hold_the_nearest(sketch: Sketch) -> None:
    allowed = Allowed(filters()["half"])
    numbers, is_strange = sketch.turned(QUERIES)
    found, _ = sketch.first(numbers, 400, allowed.selector)
    assert is_strange.mean() < 0.1
    assert sketch.n_numbers == MAX_NUMBERS
    assert allowed.mask[found].all()
    true = exact_search(VECTORS, QUERIES, K, sketch.metric, allowed.rows).ids
    assert np.mean([len(set(f) & set(t)) / K for f, t in zip(found.tolist(), true.tolist(), strict=True)]) > 0.97


def test_where_fewer_rows_are_allowed_the_rest_is_padded(sketch: Sketch) -> None:
    mask = np.zeros(N_ROWS, bool)
    mask[[3, 70, 900]] = True
    found, _ = sketch.first(sketch.turned(QUERIES[:2])[0], 8, Allowed(mask).selector)
    assert [sorted(row[:3]) for row in found.tolist()] == [[3, 70, 900]] * 2
    assert (found[:, 3:] == -1).all()


def test_what_was_saved_is_loaded(sketch: Sketch, tmp_path: Path) -> None:
    sketch.save(tmp_path / "s.bin")
    loaded = Sketch.load(tmp_path / "s.bin", sketch.metric)
    everything = Allowed(ALL).selector
    assert loaded.n_rows == N_ROWS
    assert all(
        (here == there).all()
        for here, there in zip(*(s.first(s.turned(QUERIES)[0], 20, everything) for s in (loaded, sketch)), strict=True)
    )


@pytest.mark.parametrize(("n_axes", "code_type"), [(100, np.uint8), (8, np.int64), (0, np.uint8)])
def test_a_file_of_another_kind_of_numbers_is_refused(n_axes: int, code_type: type, tmp_path: Path) -> None:
    """Its parts fit each other, and what compares them has no room for so many, or reads them as bytes."""
    with open(tmp_path / "other", "wb") as file:
        for array in (np.zeros(200, np.float32), np.zeros((n_axes, 200), np.float32), np.array(False), np.array(1.0)):
            np.save(file, array)
        for array in (np.zeros((n_axes, 16), np.float32), np.zeros((50, (n_axes + 1) // 2), code_type)):
            np.save(file, array)
    with pytest.raises(Corruption, match="not of the kind"):
        Sketch.load(tmp_path / "other", "L2")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no sketch at all")
    with pytest.raises(Corruption, match="cannot be read as a sketch"):
        Sketch.load(tmp_path / "text", "L2")
    flat = faiss.IndexFlatL2(4)
    faiss.write_index(flat, str(tmp_path / "flat"))
    with pytest.raises(Corruption, match="cannot be read as a sketch"):
        Sketch.load(tmp_path / "flat", "L2")
    with pytest.raises(Corruption, match="do not fit each other"):
        with open(tmp_path / "other", "wb") as file:
            for array in (
                np.zeros(9),
                np.zeros((4, 8)),
                np.array(False),
                np.zeros(1),
                np.zeros((4, 16)),
                np.zeros((2, 2)),
            ):
                np.save(file, array)
        Sketch.load(tmp_path / "other", "L2")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_rows_of_fewer_bits(dtype: str) -> None:
    """The sketch is of the rows as they are stored, and so is what they are compared by."""
    if dtype == "int8":
        stored: Any = np.clip(np.rint(VECTORS * 12), -128, 127).astype(np.int8)
    else:
        stored = VECTORS.astype(np.float16) if dtype == "float16" else to_bfloat16(VECTORS)
    rows, queries, mask = as_float32(stored), as_float32(stored[:40]), filters()["half of the space"]
    task = Task(N_ROWS, int(mask.sum()), DIM, K, 16, lambda width: 10**9, 1, 1, n_sketched=MAX_NUMBERS)
    scan = Scan(stored, task, "L2", Allowed(mask), None, Sketch.build(stored, "L2"))
    parts = [scan(queries[q : q + 1]) for q in range(40)]
    found = Neighbours(np.concatenate([p.ids for p in parts]), np.concatenate([p.distances for p in parts]))
    assert recall(found, queries, mask, "L2", rows) >= 0.98


def test_an_excerpt_finds_what_the_whole_finds(sketch: Sketch) -> None:
    for name, mask in filters().items():
        allowed = Allowed(mask)
        excerpt = Holding(sketch, allowed.rows).excerpt
        assert excerpt is not None and excerpt.n_rows == allowed.count
        numbers, _ = sketch.turned(QUERIES)
        whole, _ = sketch.first(numbers, 50, allowed.selector)
        found, _ = excerpt.first(numbers, 50)
        shared = [len(set(f) & set(w)) / 50 for f, w in zip(found.tolist(), whole.tolist(), strict=True)]
        assert np.mean(shared) > 0.99, name


def test_an_excerpt_of_few_rows_is_padded(sketch: Sketch) -> None:
    excerpt = Holding(sketch, np.array([3, 70, 900])).excerpt
    assert excerpt is not None
    found, _ = excerpt.first(sketch.turned(QUERIES[:2])[0], 8)
    assert [sorted(row[:3]) for row in found.tolist()] == [[3, 70, 900]] * 2
    assert (found[:, 3:] == -1).all()


class Holding:
    """Somebody who asks for an excerpt."""

    def __init__(self, sketch: Sketch, rows: IntArray) -> None:
        self.excerpt: Excerpt | None = None
        sketch.lend(rows, self)


def test_the_excerpts_that_were_not_used_for_longest_are_taken_back() -> None:
    sketch, quarter = Sketch.build(VECTORS, "L2"), EXCERPTED_PER_ROW * N_ROWS // 4
    holders: list[Holding] = []

    def lend(n_rows: int) -> list[int]:
        """Lend an excerpt of so many rows to another; return who holds one."""
        holders.append(Holding(sketch, np.arange(n_rows)))
        return [number for number, holder in enumerate(holders) if holder.excerpt is not None]

    for _ in range(3):
        lend(quarter)
    assert lend(quarter) == [0, 1, 2, 3]
    for number in (1, 0, 3):
        excerpt = holders[number].excerpt
        assert excerpt is not None
        if number == 1:
            excerpt.use_compiled()
        else:
            excerpt.first(sketch.turned(QUERIES[:1])[0], 5)
    assert lend(10) == [0, 1, 3, 4], "number 2 was used least recently"
    assert lend(quarter - 10) == [0, 1, 3, 4, 5], "there was room left"
    del excerpt
    assert lend(2 * quarter) == [3, 4, 5, 6]
    assert lend(2 * quarter) == [6, 7]
    assert lend(2 * quarter) == [7, 8]


def test_room_that_a_failed_excerpt_took_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sketch, rows = Sketch.build(VECTORS, "L2"), np.arange(N_ROWS)
    with monkeypatch.context() as patch:
        patch.setattr("roost.engine.index.sketch.Excerpt", lambda *_: (_ for _ in ()).throw(MemoryError()))
        for _ in range(3):
            with pytest.raises(MemoryError):
                Holding(sketch, rows)
    holders = [Holding(sketch, rows) for _ in range(EXCERPTED_PER_ROW)]
    assert all(holder.excerpt is not None for holder in holders)


def test_excerpts_that_are_being_made_count() -> None:
    sketch, rows = Sketch.build(VECTORS, "L2"), np.arange(N_ROWS)
    held = Holding(sketch, rows[:100])
    sketch._n_packing = EXCERPTED_PER_ROW * N_ROWS
    assert Holding(sketch, rows[:1]).excerpt is None
    assert held.excerpt is not None, "nothing is taken back in vain"


def test_a_filter_that_comes_again_gets_an_excerpt() -> None:
    """The answers stay the same; what it costs was lost by searches before."""
    graph, sketch = FaissHnsw.build(VECTORS, "L2", {"M": 8, "efConstruction": 60}), Sketch.build(VECTORS, "L2")
    allowed = Allowed(filters()["half of the space"])

    def ask(n: int, trace: Trace | None = None) -> Neighbours:
        return search_segment(graph, VECTORS, QUERIES[n : n + 1], K, "L2", allowed, {"ef": 200}, None, sketch, trace)

    first = ask(0)
    assert allowed.use(sketch).excerpt is None
    for _ in range(60):
        ask(1)
    assert allowed.use(sketch).excerpt is not None
    trace = Trace()
    again = ask(0, trace)
    assert trace.steps[0].method == "excerpt"
    assert recall(again, QUERIES[:1], allowed.mask, "L2") >= recall(first, QUERIES[:1], allowed.mask, "L2")


@pytest.mark.parametrize("dim", [24, 63, 64, 65])
def test_every_dimension(dim: int) -> None:
    vectors = np.random.default_rng(3).normal(size=(1_500, dim)).astype(np.float32)
    sketch = Sketch.build(vectors, "L2")
    found, _ = sketch.first(sketch.turned(vectors[:20])[0], 40, Allowed(np.ones(1_500, bool)).selector)
    assert (found == np.arange(20)[:, None]).any(axis=1).all()


@pytest.mark.parametrize("vectors", [np.zeros((1_100, 32), np.float32), np.ones((1_100, 100), np.float32)])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_all_equal(vectors: FloatArray, metric: str) -> None:
    task = Task(100_000, 1_000, 10_000, 5, 16, lambda width: 10**9, 2, 1, n_sketched=1)
    allowed = Allowed(np.arange(1_100) >= 100)
    found = Scan(vectors, task, metric, allowed, inverse_norms(vectors), Sketch.build(vectors, metric))(vectors[:2])
    assert (found.ids >= 100).all()


@pytest.mark.parametrize("name", filters())
@pytest.mark.parametrize("n_at_once", [1, 60])
def test_a_scan_holds_recall_whatever_the_filter(sketch: Sketch, name: str, n_at_once: int) -> None:
    mask = filters()[name]
    task = Task(N_ROWS, int(mask.sum()), DIM, K, 16, lambda width: 10**9, n_at_once, 1, n_sketched=sketch.n_numbers)
    scan = Scan(VECTORS, task, sketch.metric, Allowed(mask), inverse_norms(VECTORS), sketch)
    parts = [scan(QUERIES[q : q + n_at_once]) for q in range(0, 60, n_at_once)]
    found = Neighbours(np.concatenate([p.ids for p in parts]), np.concatenate([p.distances for p in parts]))
    assert mask[found.ids].all()
    assert recall(found, QUERIES, mask, sketch.metric) >= 0.98


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_among_rows_that_lie_off_the_axes(metric: str) -> None:
    """A few rows share a direction that is no axis; a query from among them must not be told that they are far."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(40, DIM // 2)) * 2

    def make(n: int, cluster: Any) -> FloatArray:
        near = centres[cluster] + rng.normal(size=(n, DIM // 2)) / 2
        return np.concatenate([near, rng.normal(size=(n, DIM // 2)) / 100], axis=1).astype(np.float32)

    cluster = rng.integers(0, 40, N_ROWS)
    cluster[:60] = 0
    vectors, queries = make(N_ROWS, cluster), make(40, np.zeros(40, int))
    vectors[:60, 150] += 6
    queries[:, 150] += 6
    mask = rng.random(N_ROWS) < 0.5
    task = Task(N_ROWS, int(mask.sum()), DIM, K, 16, lambda width: 10**9, 1, 1, n_sketched=MAX_NUMBERS)
    scan = Scan(vectors, task, metric, Allowed(mask), inverse_norms(vectors), Sketch.build(vectors, metric))
    parts = [scan(queries[q : q + 1]) for q in range(40)]
    found = Neighbours(np.concatenate([p.ids for p in parts]), np.concatenate([p.distances for p in parts]))
    assert recall(found, queries, mask, metric, vectors) >= 0.98


def test_rows_that_no_axes_describe_are_compared_one_by_one() -> None:
    rng = np.random.default_rng(7)
    vectors, queries = (rng.normal(size=(n, 768)).astype(np.float32) for n in (8_000, 40))
    mask = rng.random(8_000) < 0.5
    allowed = Allowed(mask)
    task = Task(8_000, int(mask.sum()), 768, K, 16, lambda width: 10**9, 1, 1, n_sketched=MAX_NUMBERS)
    scan = Scan(vectors, task, "L2", allowed, None, Sketch.build(vectors, "L2"))
    parts = [scan(queries[q : q + 1]) for q in range(40)]
    found = Neighbours(np.concatenate([p.ids for p in parts]), np.concatenate([p.distances for p in parts]))
    assert recall(found, queries, mask, "L2", vectors) >= 0.98
    assert allowed.use(scan.sketch).extra.mean > 0


@pytest.mark.parametrize("name", ["half of the space", "far from one query"])
def test_a_filtered_search_of_a_graph_may_use_it(name: str) -> None:
    graph = FaissHnsw.build(VECTORS, "L2", {"M": 8, "efConstruction": 60})
    mask = filters()[name]
    found = search_segment(
        graph, VECTORS, QUERIES, K, "L2", Allowed(mask), {"ef": 16}, None, Sketch.build(VECTORS, "L2")
    )
    assert mask[found.ids].all()
    assert recall(found, QUERIES, mask, "L2") >= recall(graph.search(QUERIES, K, None, {"ef": 16}), QUERIES, ALL, "L2")
