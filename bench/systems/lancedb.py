"""LanceDB in process, with the HNSW index that it has: graphs over scalar-quantised vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lancedb
import pyarrow as pa

from bench.systems.base import System
from bench.work import FloatArray, IntArray, Window


class Adapter(System):
    def create(self) -> None:
        vector = pa.list_(pa.float32(), self.dim)
        self.schema = pa.schema([("id", pa.int64()), ("rank", pa.int64()), ("vector", vector)])
        self.table = lancedb.connect(str(self.folder)).create_table("bench", schema=self.schema)

    def open(self) -> None:
        self.table = lancedb.connect(str(self.folder)).open_table("bench")

    def prepare(self, ids: IntArray, vectors: FloatArray, ranks: IntArray) -> Any:
        columns = [pa.array(ids), pa.array(ranks), pa.FixedSizeListArray.from_arrays(vectors.ravel(), self.dim)]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def insert(self, rows: Any) -> None:
        self.table.add(rows)

    def flush(self) -> None:
        self.table.optimize()
        self.table.create_index(
            metric="l2",
            index_type="IVF_HNSW_SQ",
            num_partitions=1,
            m=self.build["M"],
            ef_construction=self.build["efConstruction"],
        )

    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        search = self.table.search(query).limit(self.k).ef(self.query["ef"]).select(["id", "_distance"])
        if window is not None:
            search = search.where(f"rank >= {window[0]} AND rank < {window[1]}", prefilter=True)
        found: list[int] = search.to_arrow()["id"].to_pylist()
        return found

    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        search = self.table.search(list(queries)).limit(self.k).ef(self.query["ef"]).select(["id", "_distance"])
        answer = search.to_arrow()
        found: list[list[int]] = [[] for _ in queries]
        for key, query in zip(answer["id"].to_pylist(), answer["query_index"].to_pylist(), strict=True):
            found[query].append(key)
        return found

    def close(self) -> None:
        """Do nothing: every call opens and closes its files."""
