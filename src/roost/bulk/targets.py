"""Where a bulk load writes: an embedded collection's segments, or a Milvus server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from pymilvus import CollectionSchema, DataType

from roost.embedded.auto_keys import KEYS
from roost.engine.bulk import finish_load, load_batch, start_load
from roost.engine.collection import Collection
from roost.engine.columns import Batch
from roost.engine.declare import schema_from_milvus
from roost.engine.records import DEFAULT_PARTITION, LoadRecord
from roost.engine.schema import Schema
from roost.engine.sparse_vectors import sparse_value

if TYPE_CHECKING:
    from pymilvus import MilvusClient

_MAX_BATCH_ROWS: Final = 1_000
_MAX_BATCH_BYTES: Final = 8 << 20
"""Milvus refuses messages of more than 64 MiB."""

_DECODED: Final[Mapping[DataType, Callable[[Any], Any]]] = {
    DataType.JSON: orjson.loads,
    DataType.SPARSE_FLOAT_VECTOR: sparse_value,
}
"""From what is stored to what a client takes, where the two differ."""


class Target(ABC):
    """A collection that is loaded into."""

    schema: Schema

    @abstractmethod
    def begin(self, name: str | None, source: dict[str, Any], restart: bool) -> tuple[int, bool]:
        """Return how many rows of the load are stored already, and whether these are all. Raises: LoadConflict."""

    @abstractmethod
    def loading(self) -> AbstractContextManager[None]:
        """What a load is carried out in."""

    @abstractmethod
    def new_keys(self, n: int) -> list[int]:
        """Return keys for rows of a collection that makes its own."""

    @abstractmethod
    def write(self, batch: Batch) -> Iterator[int]:
        """Store rows, and yield the number of those that each step has stored."""

    @abstractmethod
    def finish(self) -> None:
        """Note that the load is complete."""


class EmbeddedTarget(Target):
    """Segments of an embedded collection; each batch is one transaction."""

    def __init__(self, collection: Collection, partition: str) -> None:
        self._collection = collection
        self._partition = partition or DEFAULT_PARTITION
        collection.require_writable()
        collection.partition_ids([self._partition])
        self.schema = collection.schema
        self._name: str | None = None
        self._so_far: LoadRecord | None = None

    def begin(self, name: str | None, source: dict[str, Any], restart: bool) -> tuple[int, bool]:
        if name is None:
            return 0, False
        self._name = name
        self._so_far = start_load(self._collection, name, source, restart=restart)
        return self._so_far.n_rows, self._so_far.finished_at is not None

    def loading(self) -> AbstractContextManager[None]:
        return self._collection.loading()

    def new_keys(self, n: int) -> list[int]:
        return KEYS.take(self._collection, n)

    def write(self, batch: Batch) -> Iterator[int]:
        self._so_far = load_batch(self._collection, batch, self._partition, self._name, self._so_far)
        yield batch.n_rows

    def finish(self) -> None:
        if self._name is not None and self._so_far is not None:
            finish_load(self._collection, self._name, self._so_far)


class ServerTarget(Target):
    """A collection of a Milvus server, written in small batches: upserts, so that keys replace as they do here."""

    def __init__(self, client: MilvusClient, collection_name: str, partition: str) -> None:
        self._client, self._collection_name, self._partition = client, collection_name, partition
        described = client.describe_collection(collection_name)
        self.schema = schema_from_milvus(CollectionSchema.construct_from_dict(described))

    def begin(self, name: str | None, source: dict[str, Any], restart: bool) -> tuple[int, bool]:
        return 0, False

    def loading(self) -> AbstractContextManager[None]:
        return nullcontext()

    def new_keys(self, n: int) -> list[int]:
        return list(range(n))  # the server makes its own

    def write(self, batch: Batch) -> Iterator[int]:
        auto_id = self.schema.primary.auto_id
        write = self._client.insert if auto_id else self._client.upsert
        row_bytes = (sum(v.nbytes for v in batch.vectors.values()) + batch.scalars.nbytes) / batch.n_rows
        step = max(1, min(_MAX_BATCH_ROWS, int(_MAX_BATCH_BYTES / row_bytes)))
        for start in range(0, batch.n_rows, step):
            rows = _rows(self.schema, batch, start, min(start + step, batch.n_rows))
            write(self._collection_name, rows, partition_name=self._partition)
            yield len(rows)

    def finish(self) -> None:
        """There is nothing to note."""


def _rows(schema: Schema, batch: Batch, start: int, end: int) -> list[dict[str, Any]]:
    """Return rows as `MilvusClient` takes them."""
    columns: dict[str, Any] = {}
    for field in schema.scalars:
        if not (field.is_dynamic or field.auto_id):
            values = batch.scalars.column(field.name).slice(start, end - start).to_pylist()
            decode = _DECODED.get(field.dtype)
            columns[field.name] = values if decode is None else list(map(decode, values))
    for field in schema.matrices:
        vectors = list(np.asarray(batch.vectors[field.name][start:end]))
        columns[field.name] = vectors if field.dtype == DataType.FLOAT_VECTOR else [v.tobytes() for v in vectors]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for field in schema.scalars:
        if field.is_dynamic:
            extras = batch.scalars.column(field.name).slice(start, end - start).to_pylist()
            for row, extra in zip(rows, extras, strict=True):
                row.update(orjson.loads(extra))
    return rows
