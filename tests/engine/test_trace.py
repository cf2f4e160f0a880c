"""What a search says that it did, against what was asked of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from roost.engine.columns import Mask, Neighbours
from roost.engine.index.allowed import Allowed
from roost.engine.index.exact import exact_search
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_hnsw_compressed import FaissHnswSq
from roost.engine.index.faiss_ivf import FaissIvfSq8
from roost.engine.index.filtered import search_segment
from roost.engine.index.scan import Scan
from roost.engine.index.sketch import Sketch
from roost.engine.plan import Task
from roost.engine.trace import Trace

N_ROWS, DIM, K = 8_000, 64, 10

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return np.random.default_rng(0).normal(size=(N_ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def index(vectors: Vectors) -> FaissHnsw:
    return FaissHnsw.build(vectors, "L2", {"M": 16, "efConstruction": 64})


def random_mask(share: float) -> Mask:
    return np.random.default_rng(1).random(N_ROWS) < share


def traced(
    index: FaissHnsw | FaissIvfSq8 | None, vectors: Vectors, queries: Vectors, mask: Mask | None, k: int = K
) -> tuple[Trace, Neighbours]:
    """Search with a trace; the answer is held against that of the same search without one."""
    trace = Trace()
    params = {"ef": 16} if isinstance(index, FaissHnsw) else {}
    found, again = (
        search_segment(
            index, vectors, queries, k, "L2", None if mask is None else Allowed(mask), params, None, trace=given
        )
        for given in (trace, None)
    )
    np.testing.assert_array_equal(found.ids, again.ids)
    np.testing.assert_array_equal(found.distances, again.distances)
    return trace, found


def test_a_filter_that_keeps_most_rows(index: FaissHnsw, vectors: Vectors) -> None:
    trace, _ = traced(index, vectors, vectors[:4], random_mask(0.9))
    (step,) = trace.steps
    assert (step.method, step.n_queries, step.n_kept, step.reason) == ("traverse", 4, 4, "the cheapest plan")
    assert 16 <= step.width < 40 and K < step.comparisons < N_ROWS
    assert step.cost_ms is not None and step.cost_ms > 0


def test_a_filter_that_keeps_few_rows(index: FaissHnsw, vectors: Vectors) -> None:
    mask = random_mask(0.01)
    trace, _ = traced(index, vectors, vectors[:4], mask)
    (step,) = trace.steps
    assert (step.method, step.width, step.comparisons) == ("exact", 0, mask.sum())


def test_answers_that_are_not_trusted_are_searched_more_widely_and_then_scanned(
    index: FaissHnsw, vectors: Vectors
) -> None:
    """Every row near the first two queries is forbidden; the others are themselves rows that are allowed."""
    lengths = (vectors**2).sum(axis=1)
    mask = lengths >= np.quantile(lengths, 0.01)
    queries = np.concatenate([np.zeros((2, DIM), np.float32), vectors[lengths > np.quantile(lengths, 0.5)][:2]])
    trace, found = traced(index, vectors, queries, mask)
    assert [(step.method, step.n_queries, step.n_kept, step.reason) for step in trace.steps] == [
        ("traverse", 4, 2, "the cheapest plan"),
        ("traverse", 2, 0, "answers not trusted: searched more widely"),
        ("exact", 2, 2, "answers not trusted: scanned"),
    ]
    assert trace.steps[0].width < trace.steps[1].width
    assert mask[found.ids].all()


def test_without_a_filter_and_without_an_index(index: FaissHnsw, vectors: Vectors) -> None:
    (step,) = traced(index, vectors, vectors[:1], None)[0].steps
    assert (step.method, step.width, step.cost_ms, step.reason) == ("index", 16, None, "every row is allowed")
    (step,) = traced(None, vectors, vectors[:1], random_mask(0.5))[0].steps
    assert (step.method, step.reason) == ("exact", "no index covers the rows")
    assert step.comparisons == random_mask(0.5).sum()
    (step,) = traced(None, vectors, vectors[:1], None)[0].steps
    assert step.comparisons == N_ROWS


def test_an_index_that_compresses(vectors: Vectors) -> None:
    index = FaissIvfSq8.build(vectors, "L2", {"nlist": 64})
    steps = traced(index, vectors, vectors[:2], None)[0].steps
    assert [step.method for step in steps] == ["index", "refine"]
    assert steps[1].comparisons >= K


def test_a_graph_that_hides_rows() -> None:
    """Of equal vectors a graph reaches a few."""
    equal = np.ones((200, 16), np.float32)
    index = FaissHnswSq.build(equal, "L2", {"M": 4, "efConstruction": 8})
    trace = Trace()
    found = search_segment(index, equal, equal[:1], 20, "L2", None, {}, None, trace=trace)
    assert found.is_full
    assert [step.method for step in trace.steps] == ["index", "refine", "exact"]
    assert (trace.steps[2].comparisons, trace.steps[2].reason) == (200, "fewer rows were found than there are")


def scanned(vectors: Vectors, queries: Vectors, n_allowed: int) -> tuple[list[tuple[str, int, int, str]], int]:
    """Scan the first rows by a sketch; return each step in short, and how many vectors the first compared."""
    sketch, allowed, trace = Sketch.build(vectors, "L2"), Allowed(np.arange(len(vectors)) < n_allowed), Trace()
    n_rows, dim = vectors.shape
    task = Task(n_rows, n_allowed, dim, K, 0, lambda width: n_rows, len(queries), 1, n_sketched=sketch.n_numbers)
    found = Scan(vectors, task, "L2", allowed, None, sketch, trace=trace)(queries)
    np.testing.assert_array_equal(
        found.ids, exact_search(vectors, queries, K, "L2", np.arange(n_allowed)).ids, "the sketch misled the scan"
    )
    assert all(step.cost_ms is not None and step.cost_ms > 0 for step in trace.steps)
    return [(s.method, s.n_queries, s.n_kept, s.reason) for s in trace.steps], trace.steps[0].comparisons


def test_a_scan_of_a_sketch() -> None:
    """Rows near a plane of few dimensions: the sketch tells them apart."""
    rng = np.random.default_rng(2)
    vectors = (rng.normal(size=(4_000, 4)) @ rng.normal(size=(4, 512))).astype(np.float32)
    steps, n_compared = scanned(vectors, vectors[:2], 3_000)
    assert steps == [("sketch", 2, 2, "the cheapest plan")]
    assert K < n_compared < 200
    steps, n_compared = scanned(vectors, vectors[:2], 100)
    assert steps == [("exact", 2, 2, "the cheapest plan")]
    assert n_compared == 100


def test_a_sketch_that_is_not_trusted() -> None:
    """Rows without any structure: their sketch says little of what is near."""
    rows = np.random.default_rng(2).normal(size=(4_002, 512)).astype(np.float32)
    steps, _ = scanned(rows[2:], rows[:2], 3_000)
    first, *later = steps
    assert first == ("sketch", 2, 0, "the cheapest plan")
    assert [step[:3] for step in later[:-1]] == [("sketch", 2, 0)] * (len(later) - 1)
    assert {step[3] for step in later[:-1]} <= {
        "answers not trusted: compared more",
        "answers not trusted: looked further",
    }
    assert later[-1] == ("exact", 2, 2, "answers not trusted: scanned")
