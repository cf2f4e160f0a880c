"""Large index files that are searched before they are verified."""

from __future__ import annotations

import gc
import logging
import mmap
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roost
from roost.engine import file_map, segment
from roost.engine.file_map import advise, map_file
from roost.engine.index import faiss_hnsw
from roost.engine.index.base import VectorIndex
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.segment import IndexSpec, SegmentIndex
from roost.engine.storage import column_files, large_pages
from roost.engine.storage.durable import FileRecord, is_as_written, stamp_of, write_durable
from roost.errors import Corruption, StorageFailure

VECTORS = np.random.default_rng(0).normal(size=(2_000, 24)).astype(np.float32)
SPEC = IndexSpec("v", "v", "HNSW", "L2", {"M": 8})


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "MIN_BYTES", 1)
    monkeypatch.setattr(segment, "VERIFIED_LATER_FROM", 1)
    monkeypatch.setattr(faiss_hnsw, "ALIGNED_FROM_BYTES", 1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Verification begins when it is set."""
    gate, load = threading.Event(), segment._verified_index

    def waiting(*arguments: Any) -> VectorIndex:
        assert gate.wait(60)
        return load(*arguments)

    monkeypatch.setattr(segment, "_verified_index", waiting)
    return gate


def written(path: Path) -> FileRecord:
    return write_durable(path, FaissHnsw.build(VECTORS, "L2", {"M": 8}).save)


def is_right(index: VectorIndex | None) -> bool:
    return index is not None and index.search(VECTORS[:5], 1, None, {"ef": 20}).ids[:, 0].tolist() == list(range(5))


def flipped(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize("has_large_pages", [True, False])
def test_it_answers_at_once_and_is_verified_meanwhile(
    has_large_pages: bool, tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_large_pages:
        monkeypatch.setattr(segment, "read_in_large_pages", lambda *_: None)
    held = SegmentIndex(tmp_path / "index", written(tmp_path / "index"), SPEC)
    first = held.usable()
    assert is_right(first) and held.usable() is first
    gate.set()
    held.settle()
    verified = held.usable()
    assert verified is not first and is_right(verified) and is_right(first) and not held.is_damaged
    assert isinstance(verified, FaissHnsw) and verified._content is not None


@pytest.mark.parametrize("change", ["written to", "copied", "no stamp", "short"])
def test_a_file_that_may_have_changed_is_verified_first(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index"
    record = written(path)
    assert is_as_written(path, record)
    if change == "written to":
        flipped(path)
    elif change == "copied":
        shutil.copy2(path, tmp_path / "copy")
        path.unlink()
        shutil.copy2(tmp_path / "copy", path)
    elif change == "no stamp":
        record = replace(record, stamp="")
    else:
        monkeypatch.setattr(segment, "VERIFIED_LATER_FROM", record.size_bytes + 1)
    held = SegmentIndex(path, record, SPEC)
    usable = held.usable()
    assert held._verifying is None
    assert held.is_damaged == (usable is None) == (change == "written to")
    assert usable is None or is_right(usable)


def test_damage_that_the_system_does_not_see_is_found_meanwhile(
    tmp_path: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    path, told = tmp_path / "index", []
    record = written(path)
    flipped(path)
    held = SegmentIndex(path, replace(record, stamp=stamp_of(path)), SPEC)
    held.on_damage = lambda: told.append(True)
    assert held.usable() is not None and not held.is_damaged
    with caplog.at_level(logging.WARNING):
        gate.set()
        held.settle()
    assert held.usable() is None and held.is_damaged and told == [True]
    assert "its checksum does not match" in caplog.text and "compared one by one" in caplog.text


def test_a_file_that_cannot_be_read_now_is_opened_again(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise StorageFailure("too many open files")

    monkeypatch.setattr(segment, "read_in_large_pages", fails)
    held = SegmentIndex(tmp_path / "index", written(tmp_path / "index"), SPEC)
    first = held.usable()
    gate.set()
    with caplog.at_level(logging.WARNING), pytest.raises(StorageFailure, match="too many"):
        held.settle()
    assert is_right(first) and "could not be verified" in caplog.text
    monkeypatch.undo()
    assert is_right(held.usable()) and not held.is_damaged, "it is opened again"


def test_a_file_that_a_writer_removed_is_no_damage(
    tmp_path: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    held = SegmentIndex(tmp_path / "index", written(tmp_path / "index"), SPEC)
    first = held.usable()
    (tmp_path / "index").unlink()
    gate.set()
    with caplog.at_level(logging.WARNING):
        held.settle()
    assert held.usable() is first and is_right(first) and not held.is_damaged and not caplog.text


def test_a_removed_file_that_was_damaged_is_given_up(tmp_path: Path, gate: threading.Event) -> None:
    path = tmp_path / "index"
    record = written(path)
    flipped(path)
    held = SegmentIndex(path, replace(record, stamp=stamp_of(path)), SPEC)
    assert held.usable() is not None
    path.unlink()
    gate.set()
    held.settle()
    assert held.usable() is None and held.is_damaged


def test_where_no_thread_is_to_be_had_it_is_verified_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "index"
    record = written(path)
    flipped(path)
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda thread: (fails if thread.name == "roost-verify" else start)(thread)
    )
    held = SegmentIndex(path, replace(record, stamp=stamp_of(path)), SPEC)
    assert held.usable() is None and held.is_damaged
    held.settle()


def test_what_nobody_holds_any_more_is_not_verified(
    tmp_path: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()  # what other tests left
    before, path = large_pages._mapped.n_bytes, tmp_path / "index"
    held = SegmentIndex(path, written(path), SPEC)
    held.usable()
    verifying = held._verifying
    assert verifying is not None
    held._is_awaited.set()
    del held
    gate.set()
    with caplog.at_level(logging.WARNING):
        path.unlink()
        verifying.join()
    gc.collect()
    assert not caplog.text and large_pages._mapped.n_bytes <= before
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_it_is_verified_by_itself_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "VERIFIED_AFTER_S", 0.05)
    held = SegmentIndex(tmp_path / "index", written(tmp_path / "index"), SPEC)
    first = held.usable()
    assert held._verifying is not None
    held._verifying.join(60)
    assert held.usable() is not first and is_right(held.usable())


def test_what_lies_in_small_pieces_is_read_again_in_large_ones(tmp_path: Path) -> None:
    """For real, where the file system can."""
    rows = np.random.default_rng(0).normal(size=(3_000, 1_500)).astype(np.float32)
    path = tmp_path / "index"
    record = write_durable(path, FaissHnsw.build(rows, "L2", {"M": 4, "efConstruction": 8}).save)
    assert large_pages._mapped.take(record.size_bytes, float("inf"))
    whole = large_pages._map(path, record)
    if whole is None or large_pages._in_large_pages(whole) < 0.5 * len(whole):
        pytest.skip("needs XFS, or ext4 from Linux 6.16 on, and free memory in large pieces")
    del whole
    gc.collect()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    mapped = map_file(path, record.size_bytes)
    advise(mapped, mmap.MADV_RANDOM)
    assert sum(int(mapped[i]) for i in range(0, len(mapped), 50_000)) > 0
    assert large_pages._mapped.take(record.size_bytes, float("inf"))
    content = large_pages._map(path, record, mapped)
    assert content is not None
    assert large_pages._in_large_pages(content) > 0.4 * len(content)
    np.testing.assert_array_equal(content, mapped)


def test_what_is_closed_is_not_read_further(tmp_path: Path, gate: threading.Event) -> None:
    gc.collect()  # what other tests left
    before = large_pages._mapped.n_bytes
    held = SegmentIndex(tmp_path / "index", written(tmp_path / "index"), SPEC)
    held.usable()
    held.close()
    gate.set()
    held.settle()
    assert held._opened is None and not held.is_damaged
    assert large_pages._mapped.n_bytes <= before
    assert is_right(held.usable()), "and opened again when it is needed"
    held.settle()
    assert is_right(held.usable())


def test_loading_waits_for_the_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load_collection` says that files are whole."""
    with roost.connect(tmp_path / "db") as client:
        client.create_collection("rows", 24, metric_type="L2")
        client.insert("rows", [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS)])
        client.flush("rows")
    [path] = (tmp_path / "db").rglob("index-*.bin")
    flipped(path)
    ended, verify = [], segment._verify_later

    def slow(*arguments: Any) -> None:
        time.sleep(0.5)
        verify(*arguments)
        ended.append(True)

    with monkeypatch.context() as patch:
        patch.setattr(segment, "is_as_written", lambda *_: True)
        patch.setattr(segment, "_verify_later", slow)
        with roost.connect(tmp_path / "db") as client:
            client.release_collection("rows")
            client.load_collection("rows")
            assert len(ended) == 1
            [hits] = client.search("rows", VECTORS[:1], limit=1)
            assert hits.ids == [0]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path]:
    """A database, and the file of its vectors."""
    with roost.connect(tmp_path / "db") as client:
        client.create_collection("rows", 24, metric_type="L2")
        client.insert("rows", [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS)])
        client.flush("rows")
    [path] = (tmp_path / "db").rglob("vectors-*.arrow")
    return tmp_path / "db", path


@pytest.mark.parametrize("knows_how", [True, False])
def test_a_reader_reads_large_vectors_when_they_are_needed(
    knows_how: bool, stored: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a writer has removed them meanwhile."""
    folder, path = stored
    if not knows_how:
        monkeypatch.setattr(file_map, "_POPULATE_READ", -7)
    read: list[Path] = []
    verified = column_files.digest_pieces
    monkeypatch.setattr(column_files, "digest_pieces", lambda *given: read.append(path) or verified(*given))
    with roost.connect(folder, read_only=True) as reader:
        [hits] = reader.search("rows", VECTORS[:1], limit=1)
        assert hits.ids == [0] and not read
        path.unlink()
        [row] = reader.query("rows", ids=[7], output_fields=["vector"])
        np.testing.assert_array_equal(np.array(row["vector"], np.float32), VECTORS[7])
        reader.query("rows", ids=[8], output_fields=["vector"])
        assert read == [path]


def test_a_reader_measures_large_vectors_that_a_writer_removed(tmp_path: Path) -> None:
    with roost.connect(tmp_path / "db") as client:
        client.create_collection("rows", 24, metric_type="COSINE")
        client.insert("rows", [{"id": i, "vector": vector, "n": i} for i, vector in enumerate(VECTORS)])
        client.flush("rows")
    with roost.connect(tmp_path / "db", read_only=True) as reader:
        for path in (tmp_path / "db").rglob("vectors-*.arrow"):
            path.unlink()
        [hits] = reader.search("rows", VECTORS[9:10], limit=1, filter="n < 50")
        assert hits.ids == [9]


def test_a_reader_finds_damaged_vectors_when_they_are_needed(
    stored: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, path = stored
    flipped(path)
    monkeypatch.setattr(segment, "is_as_written", lambda *_: True)
    with roost.connect(folder, read_only=True) as reader:
        [hits] = reader.search("rows", VECTORS[:1], limit=1)
        assert hits.ids == [0], "the graph has vectors of its own"
        for _ in range(2):
            with pytest.raises(Corruption, match="checksum"):
                reader.query("rows", ids=[7], output_fields=["vector"])


def test_vectors_that_may_have_changed_are_verified_before_they_are_held(stored: tuple[Path, Path]) -> None:
    folder, path = stored
    flipped(path)
    with roost.connect(folder, read_only=True) as reader, pytest.raises(Corruption, match="checksum"):
        reader.query("rows", ids=[7], output_fields=["vector"])
    path.write_bytes(path.read_bytes()[:-1])
    record = FileRecord(path.name, path.stat().st_size + 1, "", stamp_of(path))
    with pytest.raises(Corruption, match="bytes long"):
        column_files.map_vectors(path.parent, record)
