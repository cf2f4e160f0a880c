"""Files in large pages, mapped or read, and graphs that are searched in them."""

from __future__ import annotations

import gc
import math
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roost.engine import file_map
from roost.engine.block_file import BLOCK_BYTES
from roost.engine.columns import Bytes
from roost.engine.index.binary_flat import BinaryFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_ivf import FaissIvfFlat
from roost.engine.segment import IndexSpec, SegmentIndex
from roost.engine.storage import large_pages
from roost.engine.storage.durable import FileRecord, write_durable
from roost.engine.storage.large_pages import read_in_large_pages
from roost.errors import Corruption, StorageFailure

VECTORS = np.random.default_rng(0).normal(size=(2_000, 24)).astype(np.float32)
CONTENT = np.random.default_rng(1).integers(0, 256, 3 * BLOCK_BYTES + 5_000, np.uint8)

needs_large_pages = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="needs a system that gives larger pages when asked: Linux"
)


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "MIN_BYTES", 1)


Give = Callable[[str], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Say what the system does with a file that is mapped."""

    def give(pages: str) -> None:
        in_large = {"large": lambda content: len(content), "small": lambda content: 0}
        if pages in in_large:
            monkeypatch.setattr(large_pages, "_in_large_pages", in_large[pages])
        else:
            monkeypatch.setattr(file_map, "_POPULATE_READ", -7)

    return give


def written(path: Path, content: Bytes = CONTENT) -> FileRecord:
    return write_durable(path, lambda target: target.write_bytes(content.tobytes()) and None)


def is_file_mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


@needs_large_pages
@pytest.mark.parametrize("pages", ["large", "small", "none"])
def test_the_content_of_a_file(tmp_path: Path, pages: str, give: Give) -> None:
    give(pages)
    path = tmp_path / "a"
    content = read_in_large_pages(path, written(path))
    assert content is not None and content.dtype == np.uint8 and not content.flags.writeable
    np.testing.assert_array_equal(content, CONTENT)
    assert is_file_mapped(path) == (pages == "large")
    if pages == "large":
        with pytest.raises(ValueError, match="WRITEABLE"):
            content.flags.writeable = True
    path.unlink()
    np.testing.assert_array_equal(content, CONTENT)
    del content
    assert not is_file_mapped(path)


@needs_large_pages
@pytest.mark.parametrize("pages", ["large", "small", "none"])
@pytest.mark.parametrize("change", ["altered", "longer", "shorter", "empty", "gone"])
def test_a_changed_file_is_noticed(tmp_path: Path, pages: str, change: str, give: Give) -> None:
    give(pages)
    path = tmp_path / "a"
    record, body = written(path), CONTENT.tobytes()
    if change == "altered":
        path.write_bytes(body[:5_000] + bytes([body[5_000] ^ 1]) + body[5_001:])
    else:
        path.write_bytes({"longer": body + b"x", "shorter": body[:-1], "empty": b"", "gone": b""}[change])
    if change == "gone":
        path.unlink()
    with pytest.raises(Corruption, match="is missing" if change == "gone" else "is damaged"):
        read_in_large_pages(path, record)
    assert not is_file_mapped(path)


@needs_large_pages
def test_a_file_that_cannot_be_read(tmp_path: Path, give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    give("none")
    path = tmp_path / "a"
    record = written(path)
    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(StorageFailure, match="Input/output error"):
        read_in_large_pages(path, record)


@needs_large_pages
def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A touch of its map would kill the process."""
    path = tmp_path / "a"
    record, region = written(path), large_pages._region

    def cut(mapped: Path, size: int) -> Bytes:
        content = region(mapped, size)
        os.truncate(mapped, 100)
        return content

    monkeypatch.setattr(large_pages, "_region", cut)
    monkeypatch.setattr(large_pages, "verify", lambda path, record, digest=None: digest(path) if digest else None)
    assert large_pages._mapped.take(record.size_bytes, math.inf)
    assert large_pages._map(path, record) is None
    assert not is_file_mapped(path)


@needs_large_pages
def test_files_are_mapped_while_they_fit_together(tmp_path: Path, give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    give("large")
    gc.collect()
    before = large_pages._mapped.n_bytes
    monkeypatch.setattr(large_pages, "available_bytes", lambda: 5 * len(CONTENT) + 2 * before)
    monkeypatch.setattr(large_pages, "MAX_COPIED_SHARE", 0.0)
    held = []
    for number in range(3):
        path = tmp_path / str(number)
        held.append(read_in_large_pages(path, written(path)))
    assert [content is not None for content in held] == [True, True, False]
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not any(name.startswith(str(tmp_path)) for name in opened), "a map holds no file open"
    view = held.pop(0)
    assert view is not None
    view = view[:10]
    assert large_pages._mapped.n_bytes == before + 2 * len(CONTENT), "a view keeps it"
    del view
    held.clear()
    assert large_pages._mapped.n_bytes == before
    for changed in (b"", CONTENT.tobytes()[:-1] + b"?"):
        record = written(path)
        path.write_bytes(changed)
        with pytest.raises(Corruption):
            read_in_large_pages(path, record)
        assert large_pages._mapped.n_bytes == before
    assert read_in_large_pages(path, written(path)) is not None


@needs_large_pages
def test_a_file_of_whole_blocks_is_mapped_in_large_pages(tmp_path: Path) -> None:
    """For real, and searched there; one that was written in small pieces is not."""
    rows = np.random.default_rng(0).normal(size=(3_000, 1_500)).astype(np.float32)
    built, path = FaissHnsw.build(rows, "L2", {"M": 4, "efConstruction": 8}), tmp_path / "index.bin"
    record = write_durable(path, built.save)
    assert large_pages._mapped.take(2 * record.size_bytes, math.inf)
    content = large_pages._map(path, record)
    assert content is not None
    share = large_pages._in_large_pages(content) / len(content)
    if share < large_pages.MIN_SHARE_IN_LARGE_PAGES:
        pytest.skip("needs XFS, or ext4 from Linux 6.16 on, and free memory in large pieces")
    loaded = FaissHnsw.load_from(content, path, "L2", {})
    found, expected = (index.search(rows[:20], 5, None, {"ef": 20}).ids for index in (loaded, built))
    np.testing.assert_array_equal(found, expected)
    body, path = content.tobytes(), tmp_path / "other.bin"
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(body), 12_000):
            file.write(body[start : start + 12_000])
    small = large_pages._region(path, len(body))
    assert large_pages._in_large_pages(small) < 0.1 * len(small)


@needs_large_pages
@pytest.mark.parametrize(
    ("limits", "pages", "expected"),
    [
        ({"MIN_BYTES": len(CONTENT) + 1}, "large", "nothing"),
        ({"MAX_MAPPED_SHARE": 0.0}, "large", "copied"),
        ({"MAX_MAPPED_SHARE": 0.0, "MAX_COPIED_SHARE": 0.0}, "large", "nothing"),
        ({"MAX_COPIED_BYTES": len(CONTENT) - 1}, "large", "mapped"),
        ({"MAX_COPIED_BYTES": len(CONTENT) - 1}, "small", "nothing"),
        ({"MAX_COPIED_SHARE": 0.0}, "small", "nothing"),
        ({"MAX_COPIED_SHARE": 0.0}, "none", "nothing"),
    ],
)
def test_what_is_done_within_the_limits(
    tmp_path: Path, limits: dict[str, float], pages: str, expected: str, give: Give, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(pages)
    for name, value in limits.items():
        monkeypatch.setattr(large_pages, name, value)
    path = tmp_path / "a"
    content = read_in_large_pages(path, written(path))
    assert (content is None) == (expected == "nothing")
    assert is_file_mapped(path) == (expected == "mapped")


@needs_large_pages
def test_a_system_that_gives_no_memory(tmp_path: Path, give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    record = written(path)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -7)
    assert read_in_large_pages(path, record) is None
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert read_in_large_pages(path, record) is None


MAPS = """\
1000-200000 r--p 00000000 fe:00 77 /a b: c
Rss:                2048 kB
FilePmdMapped:      2048 kB
VmFlags: rd mr
201000-202000 r--p 00000000 fe:00 78 /model\x0cweights\r\x85caf\xe9
FilePmdMapped:        16 kB
{0:x}-{1:x} r--p 00000000 fe:00 77 /a b: c
Rss:                4096 kB
FilePmdMapped:        24 kB
{1:x}-{2:x} r--p 00002000 fe:00 77 /a b: c
FilePmdMapped:         8 kB
{2:x}-{3:x} rw-p 00000000 00:00 0
FilePmdMapped:      6144 kB
"""


@needs_large_pages
def test_what_the_system_has_mapped_in_large_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.zeros(100_000, np.uint8)
    at = content.ctypes.data
    maps = tmp_path / "smaps"
    maps.write_bytes(MAPS.format(at, at + 50_000, at + 100_000, at + 200_000).encode("latin-1"))
    monkeypatch.setattr(large_pages, "_MAPS", maps)
    assert large_pages._in_large_pages(content) == 32 * 1024
    maps.unlink()
    assert large_pages._in_large_pages(content) == 0


@needs_large_pages
@pytest.mark.parametrize("pages", ["large", "small"])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_a_graph_is_searched_where_it_lies(tmp_path: Path, pages: str, metric: str, dtype: type, give: Give) -> None:
    give(pages)
    rows = (40 * VECTORS).astype(dtype)
    built = FaissHnsw.build(rows, metric, {"M": 8, "efConstruction": 40})
    path = tmp_path / "index.bin"
    content = read_in_large_pages(path, write_durable(path, built.save))
    assert content is not None
    loaded, mapped = FaissHnsw.load_from(content, path, metric, {}), FaissHnsw.load(path, metric, {})
    path.unlink()
    del content
    for index in (loaded, mapped):
        found, expected = (each.search(40 * VECTORS[:50], 5, None, {"ef": 50}) for each in (index, built))
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_content_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index.bin"
    FaissHnsw.build(VECTORS, "L2", {"M": 8}).save(path)
    body = path.read_bytes()[:-1_000]
    path.write_bytes(body)
    with pytest.raises(Corruption, match="cannot be read"):
        FaissHnsw.load_from(np.frombuffer(body, np.uint8), path, "L2", {})
    with pytest.raises(Corruption, match="cannot be read"):
        FaissHnsw.load(path, "L2", {})


@needs_large_pages
@pytest.mark.parametrize("pages", ["large", "small", "none"])
@pytest.mark.parametrize("is_altered", [False, True])
def test_a_segment_reads_its_graph_in_large_pages(tmp_path: Path, pages: str, is_altered: bool, give: Give) -> None:
    give(pages)
    path = tmp_path / "index.bin"
    record = write_durable(path, FaissHnsw.build(VECTORS, "L2", {"M": 8}).save)
    held = SegmentIndex(path, record, IndexSpec("v", "v", "HNSW", "L2", {"M": 8}))
    if is_altered:
        body = path.read_bytes()
        path.write_bytes(body[:5_000] + bytes([body[5_000] ^ 1]) + body[5_001:])
    index = held.usable()
    assert held.is_damaged == (index is None) == is_altered
    if index is not None:
        assert isinstance(index, FaissHnsw) and index._content is not None
        assert index.search(VECTORS[:5], 1, None, {"ef": 20}).ids[:, 0].tolist() == list(range(5))


def test_other_types_are_not_read_in_place() -> None:
    assert not FaissIvfFlat.in_place and not BinaryFlat.in_place
    with pytest.raises(NotImplementedError, match="BinaryFlat is not searched in place"):
        BinaryFlat.load_from(CONTENT, Path("a"), "HAMMING", {})
