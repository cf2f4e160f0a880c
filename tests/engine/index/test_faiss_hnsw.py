from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from roost.engine.index.faiss_flat import FaissFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.errors import Corruption, InvalidArgument
from roost.testing.index_contract import IndexContract

VECTORS = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)


class TestFaissHnsw(IndexContract):
    index_class = FaissHnsw
    build_params: ClassVar[Mapping[str, Any]] = {"M": 16, "efConstruction": 100}
    search_params: ClassVar[Mapping[str, Any]] = {"ef": 128}


@pytest.mark.parametrize(
    "params",
    [
        {"M": 1},
        {"M": 2049},
        {"M": "many"},
        {"M": 16.5},
        {"M": True},
        {"M": None},
        {"efConstruction": 0},
        {"efConstruction": 2**31},
    ],
)
def test_a_build_parameter_out_of_range_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(params))):
        FaissHnsw.build(VECTORS, "L2", params)


def test_numbers_may_be_text_as_in_milvus() -> None:
    index = FaissHnsw.build(VECTORS, "L2", {"M": "4", "efConstruction": "40"})
    assert index.search_width(10, {"ef": "20"}) == 20


@pytest.mark.parametrize("ef", [0, 9, "x", 12.0])
def test_ef_must_be_a_whole_number_of_at_least_k(ef: object) -> None:
    index = FaissHnsw.build(VECTORS, "L2", {"M": 4})
    with pytest.raises(InvalidArgument, match="ef"):
        index.search(VECTORS[:1], 10, None, {"ef": ef})


def test_ef_is_k_but_at_least_sixteen_when_it_is_not_given() -> None:
    index = FaissHnsw.build(VECTORS, "L2", {"M": 4})
    assert index.search_width(3, {}) == 16
    assert index.search_width(50, {}) == 50


def test_a_wider_search_compares_more_rows_and_never_more_than_there_are() -> None:
    index = FaissHnsw.build(VECTORS, "L2", {"M": 4})
    assert (
        index.comparisons(1, 10, {}) < index.comparisons(16, 10, {}) <= index.comparisons(10**6, 10, {}) == len(VECTORS)
    )


def test_a_file_of_another_type_or_metric_is_refused(tmp_path: Path) -> None:
    FaissFlat.build(VECTORS, "L2", {}).save(tmp_path / "flat")
    FaissHnsw.build(VECTORS, "L2", {}).save(tmp_path / "hnsw")
    with pytest.raises(Corruption, match="flat"):
        FaissHnsw.load(tmp_path / "flat", "L2", {})
    with pytest.raises(Corruption, match="hnsw"):
        FaissHnsw.load(tmp_path / "hnsw", "IP", {})
