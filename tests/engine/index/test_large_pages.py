"""Index files in memory of large pages."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from roost.engine.index import large_pages as pages
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_ivf import FaissIvfFlat
from roost.engine.index.large_pages import large_pages
from roost.engine.segment import IndexSpec, SegmentIndex
from roost.engine.storage.durable import digest_file, write_durable
from roost.errors import Corruption

VECTORS = np.random.default_rng(0).normal(size=(2_000, 24)).astype(np.float32)

needs_large_pages = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="needs a system that gives larger pages when asked: Linux"
)


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MIN_BYTES", 1)


@needs_large_pages
def test_memory_of_the_size_of_a_file() -> None:
    content = large_pages(100_000)
    assert content is not None and content.shape == (100_000,) and content.dtype == np.uint8
    content[:] = 7


@pytest.mark.parametrize(
    ("name", "value"), [("MIN_BYTES", 1_000), ("MAX_BYTES", 10), ("MAX_SHARE", 0.0)], ids=["short", "long", "no memory"]
)
def test_a_file_that_is_to_be_mapped(name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, name, value)
    assert large_pages(100) is None


@needs_large_pages
def test_a_system_that_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert large_pages(100) is None
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -7, raising=False)
    assert large_pages(100) is None


def read(path: Path, metric: str) -> FaissHnsw:
    """Load a graph as segments do."""
    content = FaissHnsw.memory_for(path.stat().st_size)
    assert content is not None
    digest_file(path, content.data)
    return FaissHnsw.load_from(content, path, metric, {})


@needs_large_pages
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_a_graph_is_searched_where_it_lies(tmp_path: Path, metric: str, dtype: type) -> None:
    rows = (40 * VECTORS).astype(dtype)
    built = FaissHnsw.build(rows, metric, {"M": 8, "efConstruction": 40})
    path = tmp_path / "index.bin"
    built.save(path)
    loaded, mapped = read(path, metric), FaissHnsw.load(path, metric, {})
    path.unlink()
    assert loaded._content is not None and not loaded._content.flags.writeable and mapped._content is None
    for index in (loaded, mapped):
        found, expected = (each.search(40 * VECTORS[:50], 5, None, {"ef": 50}) for each in (index, built))
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


@needs_large_pages
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index.bin"
    FaissHnsw.build(VECTORS, "L2", {"M": 8}).save(path)
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(Corruption, match="cannot be read"):
        read(path, "L2")
    with pytest.raises(Corruption, match="cannot be read"):
        FaissHnsw.load(path, "L2", {})


@needs_large_pages
@pytest.mark.parametrize("change", ["altered", "longer", "gone", None])
def test_a_segment_reads_and_verifies_its_graph_in_one_go(tmp_path: Path, change: str | None) -> None:
    path = tmp_path / "index.bin"
    record = write_durable(path, FaissHnsw.build(VECTORS, "L2", {"M": 8}).save)
    held = SegmentIndex(path, record, IndexSpec("v", "v", "HNSW", "L2", {"M": 8}))
    body = path.read_bytes()
    if change == "gone":
        path.unlink()
    elif change is not None:
        path.write_bytes(body + b"x" if change == "longer" else body[:5_000] + bytes([body[5_000] ^ 1]) + body[5_001:])
    index = held.usable()
    assert held.is_damaged == (index is None) == (change is not None)
    if index is not None:
        assert index.search(VECTORS[:5], 1, None, {"ef": 20}).ids[:, 0].tolist() == list(range(5))


def test_lists_are_mapped() -> None:
    assert FaissIvfFlat.memory_for(1 << 20) is None
