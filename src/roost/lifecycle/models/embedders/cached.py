"""Vectors of content that was embedded before: kept by the digest of the content, in memory or in a file."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from roost.errors import InvalidArgument, StorageFailure
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.models.embedders.wrapped import Wrapped
from roost.lifecycle.models.preprocess.base import Batch

DEFAULT_MAX_BYTES = 256 << 20

_ENTRY_BYTES = 200
"""What an entry takes beside its vector: two objects, a key, a place in the dictionary."""

_BUSY_TIMEOUT_S = 10.0
_ASKED_AT_ONCE = 500
_CHECK_BYTES = 8


class CachedEmbedder(Wrapped):
    """Keeps the vectors of an embedder, so that the same content is embedded once.

    Content is known by its digest: text, bytes, arrays, numbers, and what JSON can hold of these. Other content, such
    as the path of a file that may change, goes to the embedder each time. Two threads that miss the same content at
    once both embed it.
    """

    kind = "cached"

    def __init__(self, embedder: Embedder, path: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Wrap an embedder.

        Args:
            path: a SQLite file that keeps vectors beyond the process; it may serve several models and processes.
                None keeps them in memory, and so does a registered model after loading: its files name no paths.
            max_bytes: what the cache may take; in memory the least recently used make room, in a file the oldest.
        Raises:
            InvalidArgument: the bound is not positive.
            StorageFailure: the file cannot be opened.
        """
        if max_bytes < 1:
            raise InvalidArgument(f"max_bytes={max_bytes} is not the size of a cache")
        super().__init__(embedder)
        self.max_bytes = max_bytes
        self.n_hits = 0
        self.n_misses = 0
        self._counting = threading.Lock()
        self._vectors: _Cache = (
            _Memory(max_bytes) if path is None else _File(path, embedder.fingerprint, embedder.dim, max_bytes)
        )

    def embed(self, batch: Batch) -> FloatArray:
        """Return the vectors; those of content that is not in the cache are checked before they are kept.

        Raises: InvalidData, DimensionMismatch, NotFinite: as `embed_checked`.
        """
        keys = [content_digest(content) for content in batch]
        known = self._vectors.get([key for key in keys if key is not None])
        vectors = np.empty((len(keys), self.dim), dtype=np.float32)
        missing: dict[bytes | int, list[int]] = {}
        for row, key in enumerate(keys):
            found = known.get(key) if key is not None else None
            if found is not None:
                vectors[row] = np.frombuffer(found, dtype=np.float32)
            else:
                missing.setdefault(key if key is not None else row, []).append(row)
        if missing:
            self._fill(batch, vectors, missing)
        with self._counting:
            self.n_hits += len(keys) - len(missing)
            self.n_misses += len(missing)
        return vectors

    def _fill(self, batch: Batch, vectors: FloatArray, missing: Mapping[bytes | int, Sequence[int]]) -> None:
        """Embed what is missing, once for equal content, and keep it."""
        firsts = [rows[0] for rows in missing.values()]
        wanted = batch[np.array(firsts)] if isinstance(batch, np.ndarray) else [batch[row] for row in firsts]
        made = embed_checked(self.embedder, wanted)
        for vector, rows in zip(made, missing.values(), strict=True):
            vectors[list(rows)] = vector
        kept = zip(missing, made, strict=True)
        self._vectors.put({key: vector.tobytes() for key, vector in kept if isinstance(key, bytes)})

    def close(self) -> None:
        """Close the file, where there is one."""
        self._vectors.close()

    def options(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __repr__(self) -> str:
        return f"CachedEmbedder({self.embedder!r}, n_hits={self.n_hits}, n_misses={self.n_misses})"


def content_digest(content: Any) -> bytes | None:
    """Return a digest that equal content has and other content has not; None where content cannot be told by one."""
    if isinstance(content, str):
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16, person=b"text").digest()
    if isinstance(content, (bytes, bytearray)):
        return hashlib.blake2b(content, digest_size=16, person=b"bytes").digest()
    if isinstance(content, np.ndarray):
        if content.dtype.hasobject:
            return None
        digest = hashlib.blake2b(f"{content.dtype.str}{content.shape}".encode(), digest_size=16, person=b"array")
        digest.update(np.ascontiguousarray(content).data if content.size else b"")
        return digest.digest()
    if isinstance(content, (bool, int, float, list, tuple, dict)):
        try:
            text = canonical_json(content)
        except InvalidArgument:
            return None
        return hashlib.blake2b(text.encode(), digest_size=16, person=b"json").digest()
    return None


def _check(key: bytes, vector: bytes) -> bytes:
    return xxhash.xxh3_64_digest(key + vector)


class _Cache(ABC):
    """Vectors, as bytes, by the digest of their content. Safe to use from any thread."""

    @abstractmethod
    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return those that are there."""

    @abstractmethod
    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors, and make room for them."""

    def close(self) -> None:
        """Give up what is open."""
        return


class _Memory(_Cache):
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        found = {}
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[key] = vector
        return found

    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    self._n_bytes += len(vector) + _ENTRY_BYTES
                self._vectors[key] = vector
            while self._n_bytes > self._max_bytes and self._vectors:
                self._n_bytes -= len(self._vectors.popitem(last=False)[1]) + _ENTRY_BYTES


class _File(_Cache):
    """One table; the rows' numbers grow, so the smallest are the oldest."""

    def __init__(self, path: Path, fingerprint: str, dim: int, max_bytes: int) -> None:
        self._space = hashlib.blake2b(fingerprint.encode(), digest_size=16).digest()
        self._n_bytes = 4 * dim
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._path = path
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)"
            )
        except sqlite3.Error as error:
            raise StorageFailure(f"the cache {path} cannot be opened: {error}") from error

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        size = len(self._space)
        for start in range(0, len(keys), _ASKED_AT_ONCE):
            part = [self._space + key for key in keys[start : start + _ASKED_AT_ONCE]]
            query = f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            for key, vector in self._run(query, part):
                # What is damaged is embedded again rather than answered with.
                content = bytes(vector[_CHECK_BYTES:])
                if len(content) == self._n_bytes and _check(key, content) == vector[:_CHECK_BYTES]:
                    found[key[size:]] = content
        return found

    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        if not vectors:
            return
        named = ((self._space + key, vector) for key, vector in vectors.items())
        rows = [(key, _check(key, vector) + vector) for key, vector in named]
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)", rows)
                self._make_room()
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise StorageFailure(f"the cache {self._path} cannot be written: {error}") from error

    def _make_room(self) -> None:
        first, last = self._connection.execute("SELECT min(number), max(number) FROM vectors").fetchone()
        most = max(1, self._max_bytes // (self._n_bytes + _ENTRY_BYTES))
        if last - first >= most:
            self._connection.execute("DELETE FROM vectors WHERE number <= ?", (last - most,))

    def _run(self, query: str, values: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StorageFailure(f"the cache {self._path} cannot be read: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()
