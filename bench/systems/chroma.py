"""Chroma in process, on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import chromadb
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings

from bench.arrays import FloatArray, IntArray
from bench.filters import Window
from bench.systems.base import System


class Adapter(System):
    def _client(self) -> Any:
        return chromadb.PersistentClient(str(self.folder / "chroma"), Settings(anonymized_telemetry=False))

    def create(self) -> None:
        hnsw = {
            "space": "l2",
            "max_neighbors": self.build["M"],
            "ef_construction": self.build["efConstruction"],
            "ef_search": self.query["ef"],
        }
        self.collection = self._client().create_collection(
            "bench", configuration={"hnsw": hnsw}, embedding_function=None
        )

    def open(self) -> None:
        self.collection = self._client().get_collection("bench", embedding_function=None)

    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        return {
            "ids": [str(key) for key in ids.tolist()],
            "embeddings": vectors,
            "metadatas": [
                dict(zip(columns, row, strict=True))
                for row in zip(*(c.tolist() for c in columns.values()), strict=True)
            ],
        }

    def insert(self, rows: Any) -> None:
        self.collection.add(**rows)

    def flush(self) -> None:
        """Do nothing: Chroma builds its graph within the inserts."""

    def _query(self, queries: FloatArray, where: Any) -> list[list[int]]:
        answer = self.collection.query(query_embeddings=queries, n_results=self.k, where=where, include=[])
        return [[int(key) for key in keys] for keys in answer["ids"]]

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        if window is None:
            return self._query(query[None], None)[0]
        limits = [{window.column: {"$gte": window.low}}, {window.column: {"$lt": window.high}}]
        return self._query(query[None], {"$and": limits})[0]

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        return self._query(queries, None)

    def set_ef(self, ef: int) -> None:
        """Change the collection, and open it again: what is loaded keeps the setting that it was loaded with."""
        super().set_ef(ef)
        self.collection.modify(configuration={"hnsw": {"ef_search": ef}})
        SharedSystemClient.clear_system_cache()
        self.open()

    def close(self) -> None:
        """Do nothing: the client ends with the process."""
