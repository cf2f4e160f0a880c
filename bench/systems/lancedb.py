"""LanceDB in process, with the HNSW index that it has: graphs over scalar-quantised vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lancedb
import pyarrow as pa

from bench.arrays import FloatArray, IntArray
from bench.filters import COLUMNS, Window
from bench.systems.base import System


class Adapter(System):
    @property
    def schema(self) -> Any:
        vector = pa.list_(pa.float32(), self.dim)
        return pa.schema([("id", pa.int64()), *((name, pa.int64()) for name in COLUMNS), ("vector", vector)])

    def create(self) -> None:
        self.table = lancedb.connect(str(self.folder)).create_table("bench", schema=self.schema)

    def open(self) -> None:
        self.table = lancedb.connect(str(self.folder)).open_table("bench")

    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        numbers = [pa.array(column) for column in (ids, *(columns[name] for name in COLUMNS))]
        rows = pa.FixedSizeListArray.from_arrays(vectors.ravel(), self.dim)
        return pa.Table.from_arrays([*numbers, rows], schema=self.schema)

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
            limits = f"{window.column} >= {window.low} AND {window.column} < {window.high}"
            search = search.where(limits, prefilter=True)
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
