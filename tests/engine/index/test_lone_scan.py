from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roost.engine.columns import FloatArray
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import exact_search, inverse_norms
from roost.engine.index.filtered import search_segment
from roost.engine.index.lone_look import Look
from roost.engine.index.lone_scan import Known, LoneScan
from roost.engine.index.scan import Scan
from roost.engine.index.sketch import Sketch
from roost.engine.index.sketch_frame import MAX_NUMBERS
from roost.engine.plan import LoneTask, Task
from roost.engine.trace import Trace
from tests.engine.index.image_data import DIM, images

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


@pytest.mark.parametrize("n_first", [60, 7])
@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_one_query_is_judged_as_several_are(metric: str, n_first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On distances of any kind: off by much or little, with steps, and all equal."""
    rng = np.random.default_rng(3)
    task = Task(N_ROWS, N_ROWS, DIM, K, 16, lambda width: 10**9, 1, 1, n_sketched=MAX_NUMBERS)
    sketch, allowed = Sketch.build(VECTORS, metric), Allowed(ALL)
    scan = Scan(VECTORS, task, metric, allowed, None, sketch)
    of_task = replace(LoneTask.of(task), n_first=n_first)
    monkeypatch.setattr("roost.engine.index.scan.first_look", lambda task: n_first)
    lone = LoneScan(of_task, sketch, VECTORS, allowed)
    seen: list[int | None] = []
    for _ in range(400):
        seeming = np.sort(rng.choice([5.0, 0.2, 0.0]) * rng.random((1, 60)), axis=1).astype(np.float32)
        seeming = np.round(seeming, rng.integers(1, 4))
        found = (seeming + 7 + rng.choice([0.01, 0.3, 3.0]) * rng.normal(size=(1, 60))).astype(np.float32)
        places = found.argsort(axis=1, kind="stable")[:, :K]
        off = found[0] - seeming[0]
        look = Look(np.arange(60), seeming[0], found[0], float(off.mean()), float(off.std()))
        seen.append(lone._further(look, places[0]))
        assert [seen[-1]] == scan._further(found, seeming, places, of_task.n_most)
    assert set(seen) == ({60, 120} if n_first == 60 else {60, 120, None})
    assert all(seen.count(n) > 20 for n in set(seen))


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_the_farther_rows_may_lie_the_more_of_them_are_compared(metric: str, way: str) -> None:
    sketch, norms, allowed = Sketch.build(VECTORS, metric), inverse_norms(VECTORS), Allowed(ALL)
    lone = LoneTask.of(Task(N_ROWS, N_ROWS, DIM, 60, 0, lambda width: N_ROWS, 1, 1, n_sketched=MAX_NUMBERS))
    compared, shared = {}, []
    for rank in (5, 60):
        n_compared = []
        for query in QUERIES[:40]:
            asked = query[None]
            true = exact_search(VECTORS, asked, rank, metric, None, norms)
            farthest = float(true.distances[0, -1])
            trace, known = Trace(), Known(farthest + 1e-6 * abs(farthest), 40 * N_ROWS)
            found = LoneScan(lone, sketch, VECTORS, allowed, norms, known, trace)(asked, "")
            assert found is not None
            shared.append(len(set(found.ids[0].tolist()) & set(true.ids[0].tolist())) / rank)
            n_compared.append(max(step.comparisons for step in trace.steps))
        compared[rank] = np.mean(n_compared)
    assert np.mean(shared) >= 0.99
    assert compared[5] < compared[60]


@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_no_row_at_the_bound_or_beyond_is_found(metric: str, way: str) -> None:
    sketch, norms, allowed = Sketch.build(VECTORS, metric), inverse_norms(VECTORS), Allowed(ALL)
    lone = LoneTask.of(Task(N_ROWS, N_ROWS, DIM, K, 0, lambda width: N_ROWS, 1, 1, n_sketched=MAX_NUMBERS))
    shared = []
    for n_within in (0, 1, K - 1):
        for query in QUERIES[:40]:
            asked = query[None]
            true = exact_search(VECTORS, asked, K, metric, None, norms)
            bound = float(true.distances[0, n_within])
            known = Known(bound - 1e-6 * abs(bound), 40 * N_ROWS)
            found = LoneScan(lone, sketch, VECTORS, allowed, norms, known)(asked, "")
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


def test_an_order_that_says_nothing_is_asked_for_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.repeat(VECTORS[:1], 40_000, axis=0)
    sketch, asked = Sketch.build(VECTORS, "L2").of(vectors), []
    looked = LoneScan._look

    def noted(self: LoneScan, *arguments: Any) -> Look | None:
        asked.append(looked(self, *arguments))
        return asked[-1]

    monkeypatch.setattr(LoneScan, "_look", noted)
    found = search_segment(None, vectors, VECTORS[:1], K, "L2", Allowed(np.ones(40_000, bool)), {}, None, sketch)
    assert len(set(found.ids[0].tolist())) == K and not found.distances.any()
    assert len(asked) <= 2
    assert way == "by steps" or asked == [None]


def test_a_cosine_without_lengths_computes_those_of_the_compared_rows_alone(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketch, allowed, measured = Sketch.build(VECTORS, "COSINE"), Allowed(ALL), []

    def noted(vectors: FloatArray) -> FloatArray:
        measured.append(len(vectors))
        return inverse_norms(vectors)

    monkeypatch.setattr("roost.engine.index.exact.inverse_norms", noted)
    lone = LoneTask.of(Task(N_ROWS, N_ROWS, DIM, K, 0, lambda width: N_ROWS, 1, 1, n_sketched=MAX_NUMBERS))
    found = LoneScan(lone, sketch, VECTORS, allowed)(QUERIES[:1], "")
    assert found is not None and max(measured) < 2_000
    assert (
        found.ids.tolist() == exact_search(VECTORS, QUERIES[:1], K, "COSINE", None, inverse_norms(VECTORS)).ids.tolist()
    )
