"""What every system with the Milvus client's interface has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pymilvus import DataType, MilvusClient

from bench.arrays import FloatArray, IntArray
from bench.filters import COLUMNS, Window
from bench.systems.base import System


class MilvusApi(System):
    """A collection behind `pymilvus.MilvusClient` or an object like it."""

    @abstractmethod
    def connect(self) -> Any:
        """Return a client."""

    @property
    def collection(self) -> str:
        return f"bench_{self.folder.name}".replace("-", "_")

    def create(self) -> None:
        self.client = self.connect()
        if self.client.has_collection(self.collection):
            self.client.drop_collection(self.collection)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name in COLUMNS:
            schema.add_field(name, DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="L2", params=self.build)
        self.client.create_collection(self.collection, schema=schema, index_params=index)

    def open(self) -> None:
        self.client = self.connect()
        self.client.load_collection(self.collection)

    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        names, numbers = ("id", "vector", *columns), (column.tolist() for column in columns.values())
        return [dict(zip(names, row, strict=True)) for row in zip(ids.tolist(), vectors, *numbers, strict=True)]

    def insert(self, rows: Any) -> None:
        self.client.insert(self.collection, rows)

    def flush(self) -> None:
        self.client.flush(self.collection)

    def _search(self, queries: list[FloatArray], expression: str) -> list[list[int]]:
        answers = self.client.search(
            self.collection,
            data=queries,
            anns_field="vector",
            limit=self.k,
            filter=expression,
            search_params={"metric_type": "L2", "params": self.query},
        )
        return [[hit["id"] for hit in hits] for hits in answers]

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        if window is None:
            return self._search([query], "")[0]
        limits = f"{window.column} >= {window.low} and {window.column} < {window.high}"
        return self._search([query], limits)[0]

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        return self._search(list(queries), "")

    def close(self) -> None:
        self.client.close()
