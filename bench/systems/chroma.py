"""Chroma in process, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chromadb
from chromadb.config import Settings

from bench.systems.base import System
from bench.work import FloatArray, IntArray, Window


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

    def prepare(self, ids: IntArray, vectors: FloatArray, ranks: IntArray) -> Any:
        return {
            "ids": [str(key) for key in ids.tolist()],
            "embeddings": vectors,
            "metadatas": [{"rank": rank} for rank in ranks.tolist()],
        }

    def insert(self, rows: Any) -> None:
        self.collection.add(**rows)

    def flush(self) -> None:
        """Do nothing: Chroma builds its graph within the inserts."""

    def _query(self, queries: FloatArray, where: Any) -> list[list[int]]:
        answer = self.collection.query(query_embeddings=queries, n_results=self.k, where=where, include=[])
        return [[int(key) for key in keys] for keys in answer["ids"]]

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        where = None if window is None else {"$and": [{"rank": {"$gte": window[0]}}, {"rank": {"$lt": window[1]}}]}
        return self._query(query[None], where)[0]

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        return self._query(queries, None)

    def close(self) -> None:
        """Do nothing: the client ends with the process."""
