"""What the tests of the engine share: small schemas, rows that follow from key and generation, and brute force.

A row's vectors are a function of its key and of `g`, a number that every write raises. So a test's model of
a collection is a dict from key to `g`, and a row that mixes two writes is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pymilvus import DataType

from roost.engine import compaction, effort, maintenance, tail, upkeep, vector_buffer
from roost.engine.collection import Collection
from roost.engine.columns import Batch, FloatArray
from roost.engine.database import Database
from roost.engine.filter import by_index
from roost.engine.query import Places
from roost.engine.schema import Field, Schema
from roost.engine.search import Hits, Request
from roost.engine.segment import IndexSpec, Segment
from roost.engine.storage import catalog, transaction
from roost.engine.storage.checks import record_of

DIM = 4
Key: TypeAlias = int | str
Model: TypeAlias = dict[Any, int]
"""Primary key to `g`."""

LOW_THRESHOLDS: Sequence[tuple[ModuleType, str, Any]] = (
    (compaction, "MIN_INDEXED_ROWS", 24),
    (upkeep, "MIN_INDEXED_ROWS", 24),
    (upkeep, "MIN_SEALED_ROWS", 24),
    (upkeep, "MAX_TAIL_ROWS", 64),
    (effort, "BLOCK_ROWS", dict.fromkeys(effort.Effort, 16)),
    (tail, "_FIRST_CAPACITY", 4),
    (vector_buffer, "_FIRST_CAPACITY", 4),
    (catalog, "_CHECKPOINT_PAGES", 16),
    (transaction, "MIN_FILE_BYTES", 500),
    (by_index, "SCAN_NS", 1e12),
    (maintenance, "IDLE_S", 0.002),
    (maintenance, "LONGEST_WAIT_S", 0.01),
    (maintenance, "RETRY_S", 0.01),
)
"""Values that make a few dozen rows meet what a few hundred thousand meet otherwise."""


def lower_thresholds(assign: Callable[[Any, str, Any], None] = setattr) -> None:
    """Set `LOW_THRESHOLDS`; give `monkeypatch.setattr` to have them set back."""
    for module, name, value in LOW_THRESHOLDS:
        assign(module, name, value)


def stop_upkeep(assign: Callable[[Any, str, Any], None]) -> None:
    """Let background work wait for ever, unless a flush asks for it; give `monkeypatch.setattr`."""
    for name in ("IDLE_S", "LONGEST_WAIT_S", "RETRY_S"):
        assign(maintenance, name, 1e6)
    assign(upkeep, "MAX_TAIL_ROWS", 1_000_000)


def make_schema(string_keys: bool = False, n_vectors: int = 1) -> Schema:
    """Return a schema of a key `id`, the number `g` and vector fields `vector`, `vector2`, ..."""
    key_type = DataType.VARCHAR if string_keys else DataType.INT64
    fields = [Field("id", key_type, 100, is_primary=True, max_length=64 if string_keys else None)]
    names = ["vector", *(f"vector{i + 1}" for i in range(1, n_vectors))]
    fields += [Field(name, DataType.FLOAT_VECTOR, 101 + i, dim=DIM) for i, name in enumerate(names)]
    return Schema((*fields, Field("g", DataType.INT64, 120)))


def vectors_of(keys: Sequence[Key], gs: Sequence[int], salt: int = 0) -> FloatArray:
    """Return the (n, DIM) vectors that rows of these keys and generations hold."""
    numbers = np.array([int(str(key).lstrip("k")) for key in keys], dtype=np.float64)
    phase = 0.5 + numbers * 1.7 + np.array(gs, dtype=np.float64) * 0.37 + salt * 0.11
    return np.sin(phase[:, None] * np.arange(1, DIM + 1)).astype(np.float32).reshape(-1, DIM)


def make_batch(schema: Schema, keys: Sequence[Key], g: int) -> Batch:
    """Return rows of these keys, all of generation `g`."""
    gs = [g] * len(keys)
    columns = {"id": pa.array(keys, schema.primary.arrow_type), "g": pa.array(gs, pa.int64())}
    scalars = pa.RecordBatch.from_arrays([columns[f.name] for f in schema.scalars], schema=schema.arrow_schema)
    return Batch(scalars, {f.name: vectors_of(keys, gs, i) for i, f in enumerate(schema.vectors)})


def hnsw(field: str = "vector", metric: str = "L2") -> IndexSpec:
    """Return a small HNSW index."""
    return IndexSpec(field, field, "HNSW", metric, {"M": 8, "efConstruction": 64})


def rows_of(places: Places) -> Model:
    """Return rows as a model, having compared their vectors with what key and generation say."""
    keys, gs = places.keys.tolist(), places.take("g").to_pylist()
    assert len(set(keys)) == len(keys), "a key is there twice"
    for i, field in enumerate(places.snapshot.schema.vectors):
        np.testing.assert_array_equal(places.take(field.name), vectors_of(keys, gs, i))
    return dict(zip(keys, gs, strict=True))


def read_all(collection: Collection) -> Model:
    """Return every row of a collection."""
    return rows_of(collection.query())


def nearest(
    collection: Collection, query: FloatArray, k: int, field: str = "vector", metric: str = "L2", **options: Any
) -> Hits:
    """Search with the field's index, so widely that the answer is exact."""
    index = collection.record.index_of(field)
    params = {"ef": 1024} if index is not None and index.index_type == "HNSW" else {}
    return collection.search(Request(query, field, k, metric, index, params, **options))


def brute_force(model: Mapping[Any, int], query: FloatArray, k: int, salt: int = 0, metric: str = "L2") -> FloatArray:
    """Return the distances of the k nearest rows of the model to one query, ascending."""
    vectors = vectors_of(list(model), list(model.values()), salt).astype(np.float64)
    if metric == "L2":
        distances = ((vectors - query[0]) ** 2).sum(axis=1)
    else:
        if metric == "COSINE":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            query = query / np.linalg.norm(query)
        distances = -(vectors @ query[0])
    return np.sort(distances)[:k].astype(np.float32)


def check_search(
    collection: Collection, model: Mapping[Any, int], query: FloatArray, k: int = 10, metric: str = "L2"
) -> None:
    """Compare a search of each vector field with brute force over the model."""
    for salt, field in enumerate(collection.schema.vectors):
        hits = nearest(collection, query, k, field.name, metric)
        keys, gs = hits.keys.tolist(), hits.take("g").to_pylist()
        assert all(model.get(key) == g for key, g in zip(keys, gs, strict=True))
        assert len(set(keys)) == len(keys)
        np.testing.assert_allclose(hits.distances, brute_force(model, query, k, salt, metric), atol=1e-5)


def check_files(database: Database) -> None:
    """Check that the directory holds what the catalogue names, and nothing else."""
    named = {
        file.relative_to(database.path).as_posix()
        for where, name in list(database._current().collections)
        for file in _files(database.collection(where, name))
    }
    segments = database.path / "segments"
    found = {p.relative_to(database.path).as_posix() for p in segments.rglob("*") if p.is_file()}
    assert found == named, f"left over: {found - named}, missing: {named - found}"
    assert {p.parent.as_posix() for p in map(Path, named)} == {
        p.relative_to(database.path).as_posix() for p in segments.iterdir()
    }
    records = {path.name for path in (database.path / "log").glob("*")}
    manifest = database._host.catalog
    with manifest.lock:
        keys = [key for (key,) in manifest._db.execute("SELECT key FROM log WHERE body IS NULL")]
    assert records == {"{}-{}.rows".format(*record_of(key)) for key in keys}
    around = {p.name for p in database.path.iterdir()}
    assert around <= {"LOCK", "roost.commits", "roost.db", "roost.db-wal", "roost.db-shm", "segments", "log"}


def _files(collection: Collection) -> list[Path]:
    held = [part.rows for part in collection.contents.sealed.values() if isinstance(part.rows, Segment)]
    return [segment.directory / file.name for segment in held for file in segment.record.all_files]


def copy_database(source: Path, target: Path) -> Path:
    """Copy a directory as a power cut would leave it; files that vanish meanwhile are passed over."""
    for path in _everything_below(source):
        if not path.is_file() or path.name.endswith("-shm"):
            continue
        copy = target / path.relative_to(source)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    if (source / "segments").is_dir():  # not where the writer had but made its directory
        (target / "segments").mkdir(parents=True, exist_ok=True)
    return target


def _everything_below(source: Path) -> list[Path]:
    """Return every path, read again when a directory vanishes meanwhile."""
    while True:
        try:
            return sorted(source.rglob("*"))
        except FileNotFoundError:
            continue


def named(spec: IndexSpec, name: str) -> IndexSpec:
    """Return the index under another name."""
    return replace(spec, name=name)
