"""Faiss called directly: the ceiling for every system that searches with an HNSW graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import faiss
import numpy as np

from bench.arrays import FloatArray, IntArray
from bench.filters import COLUMNS, Window
from bench.systems.base import System


class Adapter(System):
    inserts = False

    def create(self) -> None:
        self.parts: list[tuple[FloatArray, Mapping[str, IntArray]]] = []

    def open(self) -> None:
        columns = {name: np.load(self.folder / f"{name}.npy") for name in COLUMNS}
        self._use(faiss.read_index(str(self.folder / "index.faiss")), columns)

    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        return vectors, columns

    def insert(self, rows: Any) -> None:
        self.parts.append(rows)

    def flush(self) -> None:
        index = faiss.IndexHNSWFlat(self.dim, self.build["M"])
        index.hnsw.efConstruction = self.build["efConstruction"]
        index.add(np.concatenate([vectors for vectors, _ in self.parts]))
        self._use(index, {name: np.concatenate([columns[name] for _, columns in self.parts]) for name in COLUMNS})
        self.parts.clear()
        faiss.write_index(index, str(self.folder / "index.faiss"))
        for name, column in self.columns.items():
            np.save(self.folder / f"{name}.npy", column)

    def _use(self, index: Any, columns: Mapping[str, IntArray]) -> None:
        self.index, self.columns = index, columns
        self.set_ef(self.query["ef"])

    def set_ef(self, ef: int) -> None:
        super().set_ef(ef)
        self.params = faiss.SearchParametersHNSW(efSearch=ef)
        self.filtered: dict[Window, Any] = {}

    def _params(self, window: Window | None) -> Any:
        if window is None:
            return self.params
        if window not in self.filtered:
            column = self.columns[window.column]
            allowed = np.packbits((column >= window.low) & (column < window.high), bitorder="little")
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
