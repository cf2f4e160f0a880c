from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from roost.engine.columns import FloatArray, IntArray
from roost.engine.index import compiled_sketch
from roost.engine.index.allowed import Allowed
from roost.engine.index.compiled_sketch import LIBRARY, MAX_LISTED, CompiledSketch, Judge, Scanned
from roost.engine.index.exact import exact_search, inverse_norms, normalised
from roost.engine.index.filtered import search_segment
from roost.engine.index.lone_scan import LoneScan
from roost.engine.index.scan import lower_spread
from roost.engine.index.sketch import Sketch
from roost.engine.index.sketch_frame import MAX_NUMBERS
from roost.engine.plan import (
    LISTED_PER_COMPARED,
    Task,
    first_look,
    further_look,
    is_complete,
    is_judged,
    likely_look,
    most_compared,
    next_look,
    stands_early,
)
from roost.engine.trace import Trace
from tests.engine.index.image_data import DIM, images

compiled = pytest.mark.skipif(LIBRARY is None, reason="needs a C compiler when Roost is installed, and AVX2")
N_ROWS, K = 12_000, 10
METRICS = ("L2", "IP", "COSINE")


VECTORS, QUERIES = images(N_ROWS, 1), images(60, 2)
ALL = np.ones(N_ROWS, bool)


@pytest.fixture(params=["compiled", "by steps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Searches with and without the compiled step."""
    if request.param == "by steps":
        monkeypatch.setattr("roost.engine.index.sketch.LIBRARY", None)
    elif Sketch.build(VECTORS[:100], "L2").compiled is None:
        pytest.skip("needs a C compiler when Roost is installed, and AVX2")
    return str(request.param)


def order_of(sketch: Sketch, query: FloatArray, vectors: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return all rows in the order in which they seem near, at what distance they seem to be, and are."""
    assert sketch.compiled is not None
    n, norms = len(vectors), inverse_norms(vectors) if sketch.metric == "COSINE" else None
    asked = normalised(query) if sketch.metric == "COSINE" else query
    whole = Judge(1, n, n, n, 0)
    assert sketch.compiled.scan(asked, vectors, norms, None, whole, math.inf) is not None
    _, rows, seeming, found, _ = compiled_sketch._room._held
    return rows[0, :n].copy(), seeming[0, :n].copy(), found[0, :n].copy()


def expected_looks(task: Task, n_known: int, seeming: FloatArray, found: FloatArray, bound: float) -> list[int]:
    """Return how many rows a scan compares by the end of each look, as the planner's own functions say; 0 for all."""
    n_first, n_most = first_look(task, n_known), most_compared(task)
    n, n_listed, looks = n_first, min(LISTED_PER_COMPARED * n_first, task.n_allowed), [n_first]
    while True:
        off = found[:n].astype(np.float64) - seeming[:n]
        spread, near = float(lower_spread(off.astype(np.float32))), [i for i in range(n) if found[i] < bound]
        places = sorted(near, key=lambda i: found[i])[: task.k]
        if not is_judged(task, n, len(set(seeming[:n].tolist()))):
            further = next_look(task, n, n_most)
            if not further:
                return [*looks, 0]
            n_listed = (
                n_listed if further <= n_listed else min(2_048 if further <= 2_048 else MAX_LISTED, task.n_allowed)
            )
            n = further
            looks.append(n)
            continue
        if bound == math.inf and stands_early(task, sum(places), n, len(set(found[places].tolist()))):
            return looks
        farthest = float(found[places[-1]]) if len(places) == task.k else bound

        def judged(n: int, off: float = off.mean() - farthest, spread: float = spread) -> tuple[float, float, float]:
            last, half = int(np.searchsorted(seeming[:n], seeming[n - 1])) - 1, n // 2 - 1
            return float(seeming[n - 1]) + off, spread, float(seeming[max(last, half)]) - float(seeming[half])

        if is_complete(task, n, *judged(n)):
            return looks
        if bound == math.inf:
            further: int | None = further_look(task, n_first, n, n_most, *judged(n))
        else:
            before = n
            further = next_look(task, n, n_most)
            while further and further <= n_listed and not is_complete(task, further, *judged(further)):
                further, before = next_look(task, further, n_most), further
            if further and further > n_listed and n_listed == task.n_allowed:
                further = likely_look(task, before, n_most, *judged(before))
        if not further:
            return [*looks, 0]
        if further > n_listed:
            n_listed = min(2_048 if further <= 2_048 else MAX_LISTED, task.n_allowed)
        n = further
        looks.append(n)


@compiled
@pytest.mark.parametrize("metric", METRICS)
def test_rows_are_judged_as_the_planner_says(metric: str) -> None:
    """With a bound and without one, of data that a sketch orders well, less well, and not at all."""
    rng, seen = np.random.default_rng(3), set()
    for noise in (0.0, 0.3, 0.6, 1.0, 3.0):
        vectors = VECTORS[:6_000] + noise * rng.normal(size=(6_000, DIM)).astype(np.float32)
        if noise == 1.0:
            vectors = vectors[rng.integers(0, 200, 6_000)]
        sketch, norms = Sketch.build(vectors, metric), inverse_norms(vectors) if metric == "COSINE" else None
        task = Task(len(vectors), len(vectors), DIM, K, 0, lambda width: 10**9, 1, 1, n_sketched=sketch.n_numbers)
        assert sketch.compiled is not None
        for query in QUERIES + noise * rng.normal(size=QUERIES.shape).astype(np.float32):
            if sketch.turned(query[None])[1].all() and not sketch.has_rests:
                continue
            asked = normalised(query[None]) if metric == "COSINE" else query[None]
            rows, seeming, found = order_of(sketch, query[None], vectors)
            nearest = np.sort(found)
            for bound, n_known in ((math.inf, 0), *((float(nearest[i]), 40 * N_ROWS) for i in (0, 3, 40))):
                scanned = sketch.compiled.scan(asked, vectors, norms, None, Judge.of(task, n_known), bound)
                assert scanned is not None
                looks = expected_looks(task, n_known, seeming, found, bound)
                seen.update(looks)
                if looks[-1] == 0:
                    assert (scanned.looks, scanned.neighbours) == (looks[:-1], None)
                    continue
                assert scanned.looks == looks and scanned.neighbours is not None
                places = [i for i in np.argsort(found[: looks[-1]], kind="stable").tolist() if found[i] < bound][:K]
                assert scanned.neighbours.ids[0].tolist() == rows[places].tolist()
                assert scanned.neighbours.distances[0].tolist() == found[places].tolist()
    assert 0 in seen, "some queries were compared with all rows"
    assert len(seen) >= 8 and max(seen) > 4 * max(first_look(task), 100), "and some had a longer list"


@compiled
@pytest.mark.parametrize("metric", METRICS)
def test_the_farther_rows_may_lie_the_more_of_them_are_compared(metric: str) -> None:
    sketch, norms, allowed = Sketch.build(VECTORS, metric), inverse_norms(VECTORS), Allowed(ALL)
    task = Task(N_ROWS, N_ROWS, DIM, 60, 0, lambda width: N_ROWS, 1, 1, n_sketched=MAX_NUMBERS)
    judge = Judge.of(task, 40 * N_ROWS)
    compared, shared = {}, []
    for rank in (5, 60):
        n_compared = []
        for query in QUERIES[:40]:
            asked = query[None]
            true = exact_search(VECTORS, asked, rank, metric, None, norms)
            farthest = float(true.distances[0, -1])
            trace, bound = Trace(), farthest + 1e-6 * abs(farthest)
            found = LoneScan(task, judge, sketch, VECTORS, allowed, norms, bound, trace)(asked, "")
            assert found is not None
            shared.append(len(set(found.ids[0].tolist()) & set(true.ids[0].tolist())) / rank)
            n_compared.append(max(step.comparisons for step in trace.steps))
        compared[rank] = np.mean(n_compared)
    assert np.mean(shared) >= 0.99
    assert compared[5] < compared[60]


@compiled
@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_no_row_at_the_bound_or_beyond_is_found(metric: str) -> None:
    sketch, norms, allowed = Sketch.build(VECTORS, metric), inverse_norms(VECTORS), Allowed(ALL)
    task = Task(N_ROWS, N_ROWS, DIM, K, 0, lambda width: N_ROWS, 1, 1, n_sketched=MAX_NUMBERS)
    judge, shared = Judge.of(task, 40 * N_ROWS), []
    for n_within in (0, 1, K - 1):
        for query in QUERIES[:40]:
            asked = query[None]
            true = exact_search(VECTORS, asked, K, metric, None, norms)
            bound = float(true.distances[0, n_within])
            bound -= 1e-6 * abs(bound)
            found = LoneScan(task, judge, sketch, VECTORS, allowed, norms, bound)(asked, "")
            assert found is not None and found.distances.shape == found.ids.shape
            assert set(found.ids[0].tolist()) <= set(true.ids[0, :n_within].tolist())
            shared.append(found.ids.shape[1] / max(n_within, 1))
    assert np.mean(shared[40:]) >= 0.99 and not any(shared[:40])


@pytest.mark.parametrize("metric", METRICS)
def test_rows_behind_the_sketch_are_found_once(metric: str, way: str) -> None:
    """By vectors that no sketch orders, so that all rows are compared in the end."""
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(9_000, 256)).astype(np.float32)
    sketch, norms, allowed = (
        Sketch.build(vectors[:8_000], metric),
        inverse_norms(vectors),
        Allowed(np.ones(9_000, bool)),
    )
    shared = []
    for query in rng.normal(size=(30, 256)).astype(np.float32):
        true = exact_search(vectors, query[None], K, metric, None, norms)
        found = search_segment(None, vectors, query[None], K, metric, allowed, {}, norms, sketch)
        assert len(set(found.ids[0].tolist())) == K
        shared.append(len(set(found.ids[0].tolist()) & set(true.ids[0].tolist())) / K)
    assert np.mean(shared) >= 0.98
    assert allowed.first(8_000).use(sketch).extra.mean > 0, "the last way was taken"


@compiled
def test_an_order_that_says_nothing_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.repeat(VECTORS[:1], 40_000, axis=0)
    sketch, scanned = Sketch.build(VECTORS, "L2").of(vectors), []
    scan = CompiledSketch.scan

    def noted(self: CompiledSketch, *arguments: Any) -> Scanned | None:
        scanned.append(scan(self, *arguments))
        return scanned[-1]

    monkeypatch.setattr(CompiledSketch, "scan", noted)
    found = search_segment(None, vectors, VECTORS[:1], K, "L2", Allowed(np.ones(40_000, bool)), {}, None, sketch)
    assert len(set(found.ids[0].tolist())) == K and not found.distances.any()
    assert scanned == [None]


def test_a_cosine_without_lengths_computes_those_of_the_compared_rows_alone(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketch, allowed, measured = Sketch.build(VECTORS, "COSINE"), Allowed(ALL), []

    def noted(vectors: FloatArray) -> FloatArray:
        measured.append(len(vectors))
        return inverse_norms(vectors)

    monkeypatch.setattr("roost.engine.index.exact.inverse_norms", noted)
    found = search_segment(None, VECTORS, QUERIES[:1], K, "COSINE", allowed, {}, None, sketch)
    assert max(measured) < 2_000
    true = exact_search(VECTORS, QUERIES[:1], K, "COSINE", None, inverse_norms(VECTORS))
    assert found.ids.tolist() == true.ids.tolist()


@compiled
@pytest.mark.parametrize("k", [1, 78, 1_000, 11_999])
def test_any_number_of_neighbours_is_found(k: int) -> None:
    """Of some there is no room for the list, so they are found by steps."""
    sketch, allowed = Sketch.build(VECTORS, "L2"), Allowed(ALL)
    true = exact_search(VECTORS, QUERIES[:1], k, "L2")
    found = search_segment(None, VECTORS, QUERIES[:1], k, "L2", allowed, {}, None, sketch)
    assert len(set(found.ids[0].tolist()) & set(true.ids[0].tolist())) >= 0.99 * k


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_equal", [10, 60])
def test_rows_that_are_equal_to_each_other_say_little_of_others(metric: str, n_equal: int, way: str) -> None:
    """The nearest by the sketch are one row many times, which stands early and is off by the same."""
    rng = np.random.default_rng(6)
    distinct = rng.normal(size=(12_000 // n_equal, 200)).astype(np.float32)
    vectors = np.ascontiguousarray(distinct[rng.integers(0, len(distinct), 12_000)])
    sketch, norms, allowed, near = Sketch.build(vectors, metric), inverse_norms(vectors), Allowed(ALL), []
    for query in rng.normal(size=(100, 200)).astype(np.float32):
        true = exact_search(vectors, query[None], K, metric, None, norms).distances
        found = search_segment(None, vectors, query[None], K, metric, allowed, {}, norms, sketch).distances
        near.append(np.mean(found <= true[:, -1:] + 1e-5 * np.abs(true[:, -1:])))
    assert np.mean(near) >= 0.98
