from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from roost.engine.index.faiss_disk import FaissDisk
from roost.errors import InvalidArgument
from roost.testing.index_contract import IndexContract

VECTORS = np.random.default_rng(0).normal(size=(3_000, 24)).astype(np.float32)


class TestDisk(IndexContract):
    index_class = FaissDisk
    build_params: ClassVar = {}
    search_params: ClassVar = {"search_list": 80}


def test_lists_grow_with_the_rows_and_searches_with_search_list() -> None:
    index = FaissDisk.build(VECTORS, "L2", {})
    assert index._nlist == 3_000 // 39
    assert FaissDisk.build(np.tile(VECTORS, (3, 1)), "L2", {})._nlist == 190
    assert FaissDisk.n_refined(10, {}) == 80
    assert FaissDisk.n_refined(100, {}) == 500
    assert index.comparisons(20, 10, {"search_list": 60}) > index.comparisons(20, 10, {"search_list": 12})


def test_a_wider_search_looks_through_more_lists() -> None:
    params: Any = FaissDisk.with_width(10, {"search_list": 16}, 80)
    index = FaissDisk.build(VECTORS, "L2", {})
    assert index.comparisons(80, 10, params) > index.comparisons(20, 10, {"search_list": 16})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"search_list": 9}, "search_list=9 is less than k=10"),
        ({"search_list": 0}, r"search_list=0 is out of range; it must be in \[1, 65535\]"),
        ({"nprobe": 3}, "nprobe"),
        ({"widened": 3}, "widened"),
    ],
)
def test_search_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        FaissDisk.search_width(10, params)


def test_build_parameters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="nlist"):
        FaissDisk.build(VECTORS, "L2", {"nlist": 3})
