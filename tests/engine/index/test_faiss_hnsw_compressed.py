from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from roost.engine.index.faiss_hnsw_compressed import FaissHnswPq, FaissHnswRabitq, FaissHnswSq
from roost.engine.index.filtered import search_segment
from roost.errors import InvalidArgument
from roost.testing.index_contract import IndexContract, brute_force, recall


class TestHnswSq(IndexContract):
    index_class = FaissHnswSq
    build_params: ClassVar = {"M": 16, "efConstruction": 100}
    search_params: ClassVar = {"ef": 100}


class TestHnswPq(IndexContract):
    index_class = FaissHnswPq
    build_params: ClassVar = {"M": 16, "efConstruction": 100, "m": 12}
    search_params: ClassVar = {"ef": 200, "refine_k": 8}
    metrics: ClassVar = ("L2", "COSINE")


class TestHnswRabitq(IndexContract):
    index_class = FaissHnswRabitq
    build_params: ClassVar = {"M": 16, "efConstruction": 100}
    search_params: ClassVar = {"ef": 300, "refine_k": 20}
    metrics: ClassVar = ("L2", "COSINE")


@pytest.mark.parametrize("sq_type", ["SQ4", "sq6", "SQ8", "BF16", "FP16"])
def test_every_width_of_numbers_is_searched(sq_type: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    index = FaissHnswSq.build(vectors, "L2", {"sq_type": sq_type})
    assert index.search(vectors[:5], 1).ids[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (FaissHnswSq, {"sq_type": "SQ5"}, "sq_type='SQ5' is not allowed; use one of: SQ4, SQ6, SQ8, BF16, FP16"),
        (FaissHnswSq, {"sq_type": 8}, "sq_type=8 is not allowed"),
        (FaissHnswSq, {"M": 0}, r"M=0 is out of range; it must be in \[2, 2048\]"),
        (FaissHnswPq, {"m": 7}, "m=7 does not divide the dimension 24"),
        (FaissHnswRabitq, {"nbits": 2}, "unknown parameter 'nbits' for HNSW_RABITQ"),
    ],
)
def test_build_parameters_out_of_range_are_refused(kind: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        kind.build(np.zeros((0, 24), np.float32), "L2", params)


@pytest.mark.parametrize("kind", [FaissHnswPq, FaissHnswRabitq])
def test_the_inner_product_is_refused_where_codes_are_not_compared_by_it(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"metric .IP. is not allowed for HNSW_.*; use one of: L2, COSINE"):
        kind.build(np.zeros((0, 24), np.float32), "IP", {})


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_the_inner_product_holds_its_recall_however_lengths_differ(spread: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3_000, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = (vectors * np.exp(spread * rng.normal(size=(3_000, 1)))).astype(np.float32)
    queries = rng.normal(size=(50, 32)).astype(np.float32)
    FaissHnswSq.build(rows, "IP", {"M": 16, "efConstruction": 200}).save(tmp_path / "index")
    index = FaissHnswSq.load(tmp_path / "index", "IP", {})
    assert index.dim == 32
    found = search_segment(index, rows, queries, 10, "IP", None, {"ef": 128})
    assert recall(found, brute_force(rows, queries, "IP"), 10) > 0.9


def test_a_list_of_candidates_shorter_than_the_answer_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="ef=5 is less than k=10"):
        FaissHnswSq.search_width(10, {"ef": 5})
