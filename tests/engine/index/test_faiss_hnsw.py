from __future__ import annotations

import gc
import itertools
import mmap
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np
import pytest

from roost.engine.index import faiss_hnsw
from roost.engine.index.exact import exact_search
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


def lies_at(index: FaissHnsw) -> int:
    """Return where the vectors of an index lie in memory."""
    return int(faiss.downcast_index(index._index.storage).codes.data().__int__())


@pytest.mark.parametrize("metric", ["L2", "COSINE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("n_rows", [500, 501, 503])
def test_vectors_of_a_large_file_begin_with_a_cache_line(
    n_rows: int, dtype: type, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(n_rows + 10, 32)).astype(dtype)
    queries = rows[:20].astype(np.float32)
    built, path = FaissHnsw.build(rows[:-10], metric, {"M": 4}), tmp_path / "index"
    built.save(path)
    n_bytes = path.stat().st_size
    monkeypatch.setattr(faiss_hnsw, "ALIGNED_FROM_BYTES", n_bytes + 1)
    built.save(path)
    assert path.stat().st_size == n_bytes
    monkeypatch.setattr(faiss_hnsw, "ALIGNED_FROM_BYTES", n_bytes)
    built.save(path)
    assert path.stat().st_size > n_bytes
    content = mmap.mmap(-1, path.stat().st_size)
    content[:] = path.read_bytes()
    mapped, owned = (FaissHnsw.load(path, metric, {}, mmap=mmap) for mmap in (True, False))
    in_memory = FaissHnsw.load_from(np.frombuffer(content, np.uint8), path, metric, {})
    assert lies_at(mapped) % 64 == lies_at(in_memory) % 64 == 0
    expected = built.search(queries, 5, None, {"ef": 20})
    for index in (mapped, owned, in_memory):
        found = index.search(queries, 5, None, {"ef": 20})
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)
    owned.add(rows[-10:])
    owned.save(path)
    assert lies_at(FaissHnsw.load(path, metric, {})) % 64 == 0
    assert FaissHnsw.load(path, metric, {}).n_rows == n_rows + 10


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("content", [None, b"", bytes(5), bytes(100), bytes(6) + b"IHNf" + bytes(50)])
def test_a_file_that_holds_no_graph_is_damaged(content: bytes | None, mmap: bool, tmp_path: Path) -> None:
    path = tmp_path / "index"
    if content is not None:
        path.write_bytes(content)
        with pytest.raises(Corruption, match="cannot be read as an index of type HNSW"):
            FaissHnsw.load_from(np.frombuffer(content, np.uint8), path, "L2", {})
    with pytest.raises(Corruption, match="cannot be read as an index of type HNSW"):
        FaissHnsw.load(path, "L2", {}, mmap=mmap)


def test_a_mapped_graph_holds_no_descriptor_and_reads_nothing_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    monkeypatch.setattr(faiss_hnsw, "ALIGNED_FROM_BYTES", 1)
    path = tmp_path / "index"
    FaissHnsw.build(VECTORS, "L2", {"M": 4}).save(path)
    index = FaissHnsw.load(path, "L2", {})
    held = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert str(path) not in held
    maps = Path("/proc/self/smaps").read_text().split("VmFlags:")
    flags = [after.split("\n")[0] for before, after in itertools.pairwise(maps) if before.find(str(path)) >= 0]
    assert ["rr" in each.split() for each in flags] == [False, True], "links are read ahead, vectors are not"
    path.unlink()
    assert index.search(VECTORS[:3], 1, None, {"ef": 16}).ids[:, 0].tolist() == [0, 1, 2]
    del index
    gc.collect()
    assert str(path) not in Path("/proc/self/maps").read_text(), "it is mapped no longer than it is used"


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_as_many_rows_are_found_as_there_are_where_equal_ones_part_the_graph(metric: str, dtype: type) -> None:
    rng = np.random.default_rng(1)
    distinct = rng.normal(size=(40, 64)).astype(dtype)
    vectors = np.ascontiguousarray(distinct[rng.integers(0, 40, 2_000)])
    index = FaissHnsw.build(vectors, metric, {"M": 8, "efConstruction": 40})
    queries = rng.normal(size=(30, 64)).astype(np.float32)
    raw = index._index.search(queries, 1_000, params=faiss.SearchParametersHNSW(efSearch=1_000))[1]
    short = np.flatnonzero(raw[:, -1] < 0)
    assert len(short), "Faiss's graph alone does not reach a half of the rows"
    for k in (1_000, 2_000, 2_100):
        found = index.search(queries, k, None, {"ef": k})
        n_wanted = min(k, 2_000)
        assert (found.ids[:, :n_wanted] >= 0).all() and (found.ids[:, n_wanted:] < 0).all()
        assert all(len(set(ids)) == n_wanted for ids in found.ids[:, :n_wanted].tolist())
        assert (np.diff(found.distances[:, :n_wanted]) >= 0).all() and np.isinf(found.distances[:, n_wanted:]).all()
        true = exact_search(vectors.astype(np.float32), queries[short], k, metric).distances[:, :n_wanted]
        np.testing.assert_allclose(found.distances[short][:, :n_wanted], true, rtol=2e-3, atol=2e-3)
