"""Index files in memory of large pages."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from roost.engine.index import large_pages
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_ivf import FaissIvfFlat
from roost.engine.index.large_pages import read_into_large_pages
from roost.errors import Corruption

VECTORS = np.random.default_rng(0).normal(size=(2_000, 24)).astype(np.float32)

needs_large_pages = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="needs a system that gives larger pages when asked: Linux"
)


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "MIN_BYTES", 1)


@needs_large_pages
def test_what_is_read_is_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 100)
    content = read_into_large_pages(tmp_path / "f")
    assert content is not None and content.tobytes() == bytes(range(256)) * 100
    with pytest.raises(ValueError, match="read-only"):
        content[0] = 1


@pytest.mark.parametrize(
    ("name", "value"), [("MIN_BYTES", 1_000), ("MAX_BYTES", 10), ("MAX_SHARE", 0.0)], ids=["short", "long", "no memory"]
)
def test_a_file_that_is_to_be_mapped(tmp_path: Path, name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(bytes(100))
    monkeypatch.setattr(large_pages, name, value)
    assert read_into_large_pages(tmp_path / "f") is None


@needs_large_pages
def test_a_system_that_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(bytes(100))
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert read_into_large_pages(tmp_path / "f") is None
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -7, raising=False)
    assert read_into_large_pages(tmp_path / "f") is None


@needs_large_pages
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_a_graph_is_searched_where_it_lies(tmp_path: Path, metric: str, dtype: type) -> None:
    rows = (40 * VECTORS).astype(dtype)
    built = FaissHnsw.build(rows, metric, {"M": 8, "efConstruction": 40})
    path = tmp_path / "index.bin"
    built.save(path)
    loaded, mapped = FaissHnsw.load(path, metric, {}), FaissHnsw.load(path, metric, {}, mmap=False)
    path.unlink()
    assert loaded._content is not None and mapped._content is None
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
        FaissHnsw.load(path, "L2", {})
    path.unlink()
    with pytest.raises(Corruption, match="cannot be read"):
        FaissHnsw.load(path, "L2", {})


def test_lists_are_mapped(tmp_path: Path) -> None:
    FaissIvfFlat.build(VECTORS, "L2", {"nlist": 8}).save(tmp_path / "index.bin")
    assert FaissIvfFlat.load(tmp_path / "index.bin", "L2", {})._content is None
