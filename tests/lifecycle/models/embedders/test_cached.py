from __future__ import annotations

import sqlite3
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import DimensionMismatch, InvalidArgument, StorageFailure
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.models.embedders.batched import BatchedEmbedder
from roost.lifecycle.models.embedders.cached import CachedEmbedder, content_digest
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.model_files import load_model, save_model
from tests.lifecycle.conftest import Digits


class Counting(Embedder):
    """Writes down what it is asked to embed."""

    kind = "test-counting"

    def __init__(self, dim: int = 2, fingerprint: str = "sha256:counting") -> None:
        self.batches: list[int] = []
        self._dim, self._fingerprint = dim, fingerprint

    @property
    def dim(self) -> int:
        return 2

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def n_embedded(self) -> int:
        return sum(self.batches)

    def embed(self, batch: Any) -> FloatArray:
        self.batches.append(len(batch))
        values = [float(len(str(content))) for content in batch]
        return np.array([[value] * self._dim for value in values], dtype=np.float32).reshape(len(batch), self._dim)

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Counting:
        raise NotImplementedError


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "cache.db" if request.param == "file" else None


def test_content_is_embedded_once(path: Path | None) -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, path)
    first = embed_checked(cached, ["a", "bb", "a", "ccc"])
    np.testing.assert_array_equal(first, [[1, 1], [2, 2], [1, 1], [3, 3]])
    assert inner.batches == [3]
    np.testing.assert_array_equal(embed_checked(cached, ["ccc", "dddd"]), [[3, 3], [4, 4]])
    assert inner.batches == [3, 1] and (cached.n_hits, cached.n_misses) == (2, 4)
    assert cached.embed([]).shape == (0, 2) and inner.batches == [3, 1]
    cached.close()


def test_arrays_are_content_row_by_row(path: Path | None, digits: Digits) -> None:
    inner = digits.embedder(4)
    cached = CachedEmbedder(inner, path)
    for rows in (digits.images[:6], digits.images[3:9], digits.images[:9]):
        np.testing.assert_allclose(cached.embed(rows), inner.embed(rows), rtol=1e-4, atol=1e-4)
    assert (cached.n_hits, cached.n_misses) == (12, 9)
    assert (cached.dim, cached.fingerprint) == (4, inner.fingerprint)
    cached.close()


def test_content_without_a_digest_is_embedded_each_time(path: Path | None) -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, path)
    for _ in range(2):
        assert cached.embed([Path("a.png"), Path("a.png"), "b"]).shape == (3, 2)
    assert inner.batches == [3, 2]
    cached.close()


def test_the_cache_stays_within_its_bound(path: Path | None) -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, path, max_bytes=10 * (8 + 200))
    cached.embed([f"text {number}" for number in range(100)])
    cached.embed(["text 99", "text 95"])
    assert inner.n_embedded == 100
    cached.embed(["text 0"])
    assert inner.n_embedded == 101
    cached.close()


def test_in_memory_the_least_recently_used_make_room() -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, max_bytes=2 * (8 + 200))
    cached.embed(["a", "b"])
    cached.embed(["a"])
    cached.embed(["c"])
    cached.embed(["a"])
    assert inner.n_embedded == 3
    cached.embed(["b"])
    assert inner.n_embedded == 4


def test_a_file_outlives_the_process_and_serves_several_models(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    first = CachedEmbedder(Counting(), path)
    first.embed(["a", "b"])
    first.close()
    again, other = Counting(), Counting(fingerprint="sha256:other")
    for inner in (again, other):
        cached = CachedEmbedder(inner, path)
        cached.embed(["a", "b"])
        cached.close()
    assert (again.n_embedded, other.n_embedded) == (0, 2)


def test_a_damaged_vector_is_embedded_again(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cached = CachedEmbedder(Counting(), path)
    cached.embed(["a", "b", "c"])
    cached.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(16) WHERE number = 1")
        connection.execute("UPDATE vectors SET vector = x'00' WHERE number = 2")
    connection.close()
    inner = Counting()
    again = CachedEmbedder(inner, path)
    np.testing.assert_array_equal(again.embed(["a", "b", "c"]), [[1, 1], [1, 1], [1, 1]])
    assert inner.n_embedded == 2
    again.close()


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database at all, and longer than its head")
    with pytest.raises(StorageFailure, match="cannot be opened"):
        CachedEmbedder(Counting(), tmp_path / "text")
    cached = CachedEmbedder(Counting(), tmp_path / "cache.db")
    cached.close()
    with pytest.raises(StorageFailure, match="cannot be read"):
        cached.embed(["a"])
    with pytest.raises(InvalidArgument, match="max_bytes=0"):
        CachedEmbedder(Counting(), max_bytes=0)


def test_a_table_that_is_gone_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cached = CachedEmbedder(Counting(), path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON vectors BEGIN SELECT RAISE(ABORT, 'full'); END")
    connection.close()
    with pytest.raises(StorageFailure, match="cannot be written: full"):
        cached.embed(["a"])
    cached.close()


def test_what_is_wrong_is_not_kept() -> None:
    inner = Counting(dim=3)
    cached = CachedEmbedder(inner)
    for _ in range(2):
        with pytest.raises(DimensionMismatch):
            cached.embed(["a"])
    assert inner.batches == [1, 1]


def test_threads_share_a_cache(path: Path | None) -> None:
    cached = CachedEmbedder(Counting(), path)
    texts = ["x" * (number % 50) for number in range(400)]

    def some(start: int) -> FloatArray:
        return cached.embed(texts[start : start + 20])

    with ThreadPoolExecutor(8) as pool:
        made = np.concatenate(list(pool.map(some, range(0, 400, 20))))
    np.testing.assert_array_equal(made[:, 0], [len(text) for text in texts])
    assert cached.n_hits + cached.n_misses == 400
    cached.close()


def test_digests_tell_contents_apart() -> None:
    contents: list[Any] = [
        "1",
        b"1",
        1,
        1.0,
        True,
        ["1"],
        {"a": 1},
        {"a": 2},
        np.array([1, 2]),
        np.array([[1, 2]]),
        np.array([1.0, 2.0]),
        np.zeros(0),
        "\ud800",
    ]
    digests = [content_digest(content) for content in contents]
    assert None not in digests and len(set(digests)) == len(contents)
    assert content_digest({"a": 1, "b": 2}) == content_digest({"b": 2, "a": 1})
    strided = np.arange(6).reshape(2, 3).T
    assert content_digest(strided) == content_digest(strided.copy())
    for unknown in (Path("a"), object(), {"a": object()}, float("nan"), np.array([object()]), None):
        assert content_digest(unknown) is None


def test_batches_are_cut() -> None:
    inner = Counting()
    batched = BatchedEmbedder(inner, batch_size=4)
    np.testing.assert_array_equal(batched.embed(["x" * number for number in range(10)])[:, 1], range(10))
    assert inner.batches == [4, 4, 2]
    assert batched.embed([]).shape == (0, 2) and batched.embed(["a"]).tolist() == [[1.0, 1.0]]
    with pytest.raises(InvalidArgument, match="batch_size=0"):
        BatchedEmbedder(inner, 0)


def test_wrappers_are_stored_with_what_they_wrap(tmp_path: Path, digits: Digits) -> None:
    inner = digits.embedder(4)
    wrapped = CachedEmbedder(BatchedEmbedder(inner, 3), tmp_path / "cache.db", max_bytes=1 << 20)
    files = save_model(tmp_path / "artifacts", "digits", wrapped)
    loaded = load_model(tmp_path / "artifacts", files)
    assert isinstance(loaded, CachedEmbedder) and isinstance(loaded.embedder, BatchedEmbedder)
    assert isinstance(loaded.embedder.embedder, SklearnEmbedder)
    assert (loaded.max_bytes, loaded.embedder.batch_size) == (1 << 20, 3)
    assert loaded.fingerprint == inner.fingerprint
    np.testing.assert_array_equal(loaded.embed(digits.images[:9]), inner.embed(digits.images[:9]))
    assert "cache.db" not in "".join(
        file.read_text() for file in (tmp_path / "artifacts").rglob("*.json") if file.is_file()
    )
    wrapped.close()
