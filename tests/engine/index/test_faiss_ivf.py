from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from roost.engine.columns import FloatArray
from roost.engine.index.allowed import Allowed
from roost.engine.index.faiss_ivf import FaissIvfFlat, FaissIvfPq, FaissIvfRabitq, FaissIvfSq8, FaissScann
from roost.engine.index.filtered import search_segment
from roost.errors import InvalidArgument
from roost.testing.index_contract import IndexContract, brute_force, recall


class TestIvfFlat(IndexContract):
    index_class = FaissIvfFlat
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12}


class TestIvfSq8(IndexContract):
    index_class = FaissIvfSq8
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12}


class TestIvfPq(IndexContract):
    index_class = FaissIvfPq
    build_params: ClassVar = {"nlist": 16, "m": 12, "nbits": 8}
    search_params: ClassVar = {"nprobe": 12, "refine_k": 8}


class TestIvfRabitq(IndexContract):
    index_class = FaissIvfRabitq
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12, "refine_k": 50, "rbq_query_bits": 4}


class TestScann(IndexContract):
    index_class = FaissScann
    build_params: ClassVar = {"nlist": 16}
    search_params: ClassVar = {"nprobe": 12, "reorder_k": 80}


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (FaissIvfFlat, {"nlist": 0}, r"nlist=0 is out of range; it must be in \[1, 65536\]"),
        (FaissIvfFlat, {"nlist": 65_537}, "out of range"),
        (FaissIvfPq, {"m": 5}, "m=5 does not divide the dimension 24; use one of 1, 2, 3, 4, 6, 8, 12, 24"),
        (FaissIvfPq, {"nbits": 13}, r"nbits=13 is out of range; it must be in \[1, 12\]"),
        (FaissIvfPq, {"refine_type": "INT4"}, "refine_type='INT4' is not allowed; use one of: SQ6"),
        (FaissIvfRabitq, {"refine": "perhaps"}, "refine must be true or false"),
    ],
)
def test_build_parameters_out_of_range_are_refused(kind: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        kind.build(np.zeros((0, 24), np.float32), "L2", params)


def test_an_odd_dimension_is_refused_where_numbers_go_in_pairs() -> None:
    with pytest.raises(InvalidArgument, match="SCANN needs an even dimension, not 7"):
        FaissScann.build(np.zeros((0, 7), np.float32), "L2", {})


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (FaissIvfFlat, {"nprobe": 0}, r"nprobe=0 is out of range; it must be in \[1, 65536\]"),
        (FaissIvfFlat, {"ef": 64}, "unknown parameter 'ef' for IVF_FLAT; it takes: nprobe"),
        (FaissIvfPq, {"refine_k": 0.5}, r"refine_k=0.5 is out of range; it must be in \[1, 1000\]"),
        (FaissIvfPq, {"refine_k": "many"}, "refine_k must be a number, not 'many'"),
        (FaissIvfPq, {"refine_k": None}, "refine_k must be a number, not None"),
        (FaissIvfRabitq, {"rbq_query_bits": 9}, "out of range"),
        (FaissScann, {"reorder_k": 5}, "reorder_k=5 is less than k=10"),
    ],
)
def test_search_parameters_out_of_range_are_refused(kind: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        kind.search_width(10, params)


def test_there_are_fewer_lists_where_there_are_few_rows() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    assert FaissIvfFlat.build(vectors, "L2", {"nlist": 128})._index.nlist == 10


@pytest.mark.parametrize("kind", [FaissIvfFlat, FaissIvfSq8, FaissIvfPq, FaissIvfRabitq, FaissScann])
def test_rows_that_are_all_equal_are_found(kind: Any) -> None:
    vectors = np.ones((600, 8), np.float32)
    index = kind.build(vectors, "L2", {})
    found = index.search(vectors[:2], 10)
    assert (found.ids >= 0).all() and all(len(set(row)) == 10 for row in found.ids.tolist())
    assert np.allclose(found.distances, 0.0, atol=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 15, 16, 17, 31, 32])
@pytest.mark.parametrize("kind", [FaissIvfFlat, FaissIvfSq8, FaissIvfPq, FaissIvfRabitq, FaissScann])
def test_the_inner_product_is_searched_at_any_dimension(kind: Any, dim: int, tmp_path: Path) -> None:
    if kind is FaissScann and dim % 2:
        pytest.skip("the type takes pairs of numbers")
    vectors = np.random.default_rng(dim).normal(size=(600, dim)).astype(np.float32)
    kind.build(vectors, "IP", {"nlist": 4}).save(tmp_path / "index")
    index = kind.load(tmp_path / "index", "IP", {"nlist": 4})
    assert index.dim == dim
    found = search_segment(
        index,
        vectors,
        vectors[:20],
        10,
        "IP",
        None,
        {"nprobe": 4, **({"refine_k": 30} if "refine_k" in kind.search_params else {})},
    )
    if dim > 2:  # a few bits say little of vectors of one number or two
        assert recall(found, brute_force(vectors, vectors[:20], "IP"), 10) > 0.9


@pytest.fixture(scope="module")
def clustered() -> tuple[FloatArray, FloatArray]:
    """Rows around forty centres, and queries there."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(40, 16)) * 4
    rows = (centres[rng.integers(0, 40, 8_000)] + rng.normal(size=(8_000, 16))).astype(np.float32)
    queries = (centres[rng.integers(0, 40, 30)] + rng.normal(size=(30, 16))).astype(np.float32)
    return rows, queries


@pytest.mark.parametrize("kind", [FaissIvfFlat, FaissIvfSq8, FaissIvfPq, FaissIvfRabitq, FaissScann])
def test_a_filter_holds_the_recall_wherever_its_rows_lie(kind: Any, clustered: tuple[FloatArray, FloatArray]) -> None:
    vectors, queries = clustered
    # The codes of so few numbers are coarse.
    refined = {FaissIvfPq: {"refine_k": 16}, FaissIvfRabitq: {"refine_k": 60}, FaissScann: {"reorder_k": 300}}.get(
        kind, {}
    )
    index, params = kind.build(vectors, "L2", {"nlist": 64}), {"nprobe": 8, **refined}
    distances = brute_force(vectors, queries, "L2")
    plain = recall(search_segment(index, vectors, queries, 10, "L2", None, params), distances, 10)
    assert plain >= 0.95
    lengths = np.linalg.norm(vectors, axis=1)
    for mask in (
        np.random.default_rng(1).random(8_000) < 0.5,
        np.random.default_rng(1).random(8_000) < 0.1,
        lengths > np.quantile(lengths, 0.9),
        lengths > np.median(lengths),
    ):
        found = search_segment(index, vectors, queries, 10, "L2", Allowed(mask), params)
        assert recall(found, np.where(mask, distances, np.inf), 10) >= plain - 0.01
    for forbidden in (0.01, 0.1, 0.3):  # the neighbourhood of each query
        shares = []
        for query, row in zip(queries, distances, strict=True):
            mask = row > np.quantile(row, forbidden)
            found = search_segment(index, vectors, query[None], 10, "L2", Allowed(mask), params)
            shares.append(recall(found, np.where(mask, row, np.inf)[None], 10))
        assert np.mean(shares) >= plain - 0.03


@pytest.mark.parametrize("kind", [FaissIvfFlat, FaissIvfSq8, FaissIvfPq, FaissIvfRabitq, FaissScann])
@pytest.mark.parametrize("times", [10.0, 100.0])
def test_one_long_row_costs_the_others_nothing_under_the_inner_product(kind: Any, times: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4_000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.normal(size=(40, 32)).astype(np.float32)

    def measured() -> float:
        index = kind.build(vectors, "IP", {"nlist": 32})
        found = search_segment(index, vectors, queries, 10, "IP", None, {"nprobe": 32})
        return recall(found, brute_force(vectors, queries, "IP"), 10)

    alike = measured()
    vectors[0] *= times
    lost = 0.2 if kind is FaissScann else 0.05  # its tables of distances have eight bits, up to the largest
    assert measured() >= alike - lost


def test_no_more_rows_are_compared_again_than_there_are() -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    index = FaissScann.build(vectors, "L2", {})
    found = search_segment(index, vectors, vectors[:3], 10, "L2", None, {"reorder_k": 2_000_000_000, "nprobe": 128})
    assert recall(found, brute_force(vectors, vectors[:3], "L2"), 10) == 1.0


def test_a_wider_search_reads_more_lists_and_compares_as_many_rows_again() -> None:
    assert FaissIvfFlat.with_width(10, {"nprobe": 8}, 20) == {"nprobe": 8}
    assert FaissIvfFlat.with_width(10, {"nprobe": 8}, 80) == {"nprobe": 16}
    assert FaissIvfFlat.with_width(10, {}, 80) == {"nprobe": 16}
    assert FaissScann.with_width(10, {"nprobe": 8, "reorder_k": 40}, 80) == {"nprobe": 16, "reorder_k": 80}
