"""Faiss called directly: the ceiling for every system that searches with an HNSW graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from bench.systems.base import System
from bench.work import FloatArray, IntArray, Window


class Adapter(System):
    inserts = False

    def create(self) -> None:
        self.parts: list[tuple[FloatArray, IntArray]] = []

    def open(self) -> None:
        self._use(faiss.read_index(str(self.folder / "index.faiss")), np.load(self.folder / "ranks.npy"))

    def prepare(self, ids: IntArray, vectors: FloatArray, ranks: IntArray) -> Any:
        return vectors, ranks

    def insert(self, rows: Any) -> None:
        self.parts.append(rows)

    def flush(self) -> None:
        index = faiss.IndexHNSWFlat(self.dim, self.build["M"])
        index.hnsw.efConstruction = self.build["efConstruction"]
        index.add(np.concatenate([vectors for vectors, _ in self.parts]))
        self._use(index, np.concatenate([ranks for _, ranks in self.parts]))
        self.parts.clear()
        faiss.write_index(index, str(self.folder / "index.faiss"))
        np.save(self.folder / "ranks.npy", self.ranks)

    def _use(self, index: Any, ranks: IntArray) -> None:
        self.index, self.ranks = index, ranks
        self.params = faiss.SearchParametersHNSW(efSearch=self.query["ef"])
        self.filtered: dict[Window, Any] = {}

    def _params(self, window: Window | None) -> Any:
        if window is None:
            return self.params
        if window not in self.filtered:
            allowed = np.packbits((self.ranks >= window[0]) & (self.ranks < window[1]), bitorder="little")
            selector = faiss.IDSelectorBitmap(allowed)
            self.filtered = {window: faiss.SearchParametersHNSW(efSearch=self.query["ef"], sel=selector)}
        return self.filtered[window]

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        _, ids = self.index.search(query[None], self.k, params=self._params(window))
        found: list[int] = ids[0].tolist()
        return found

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        _, ids = self.index.search(queries, self.k, params=self.params)
        found: list[list[int]] = ids.tolist()
        return found

    def close(self) -> None:
        """Do nothing: there is nothing open."""
