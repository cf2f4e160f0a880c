"""What an index is said to take before it is built, beside what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType

from roost.engine.index.base import VectorIndex
from roost.engine.index.registry import resolve_index
from roost.engine.index.sparse_rows import sparse_rows
from roost.errors import MissingDependency
from roost.testing.index_contract import stored

N_ROWS, DIM = 1_200, 32
VECTORS = np.random.default_rng(3).normal(size=(N_ROWS, DIM)).astype(np.float32)
SLACK_BYTES = 20_000
"""What may be said too much in any case."""


def check(
    kind: type[VectorIndex], vectors: Any, metric: str, params: Mapping[str, Any], path: Path, most: float = 2.5
) -> None:
    """Compare sizes; `most` is how many times too large the one that is said may be."""
    built = kind.build(vectors, metric, params)
    built.save(path)
    file, dim = path.stat().st_size, 0 if metric == "SPARSE" else DIM
    said = kind.index_bytes(N_ROWS, dim, vectors.nbytes, params)
    assert 0.95 * max(file, built.memory_bytes) - 10_000 <= said <= most * file + SLACK_BYTES
    assert kind.build_bytes(N_ROWS, dim, vectors.nbytes, params) >= max(said, 2 * file - SLACK_BYTES)
    assert kind.loaded_bytes(file, N_ROWS, dim, params) >= file


@pytest.mark.parametrize(
    ("index_type", "params"),
    [
        ("FLAT", {}),
        ("HNSW", {"M": 4, "efConstruction": 20}),
        ("HNSW", {"M": 48, "efConstruction": 20}),
        ("HNSW_SQ", {"sq_type": "SQ4", "M": 8, "efConstruction": 20}),
        ("HNSW_SQ", {"sq_type": "FP16", "M": 8, "efConstruction": 20}),
        ("HNSW_PQ", {"m": 16, "nbits": 5, "M": 8, "efConstruction": 20}),
        ("HNSW_RABITQ", {"M": 8, "efConstruction": 20}),
        ("IVF_FLAT", {"nlist": 16}),
        ("IVF_SQ8", {"nlist": 8}),
        ("IVF_PQ", {"m": 8, "nbits": 5}),
        ("IVF_RABITQ", {"nlist": 8}),
        ("SCANN", {"nlist": 8}),
        ("DISKANN", {}),
        ("ANNOY", {"n_trees": 10}),
        ("NMSLIB_HNSW", {"M": 8, "efConstruction": 20}),
        ("NMSLIB_SW_GRAPH", {"NN": 8, "efConstruction": 20}),
    ],
)
def test_floats(index_type: str, params: dict[str, Any], tmp_path: Path) -> None:
    try:
        kind = resolve_index(index_type)
    except MissingDependency as error:
        pytest.skip(str(error))
    for metric in ("L2", "IP") if "IP" in kind.metrics else ("L2",):
        check(kind, VECTORS, metric, params, tmp_path / metric)


@pytest.mark.parametrize("index_type", ["FLAT", "HNSW", "IVF_FLAT"])
def test_narrow_numbers(index_type: str, tmp_path: Path) -> None:
    params = {"M": 8, "efConstruction": 20} if index_type == "HNSW" else {}
    for vector_type in (DataType.FLOAT16_VECTOR, DataType.INT8_VECTOR):
        for metric in ("L2", "COSINE"):
            vectors = stored(VECTORS, vector_type)
            # A type is asked before its metric is known: of INT8_VECTOR, COSINE alone takes half precision.
            check(resolve_index(index_type), vectors, metric, params, tmp_path / metric, most=3.5)


@pytest.mark.parametrize("index_type", ["BIN_FLAT", "BIN_IVF_FLAT"])
def test_bits(index_type: str, tmp_path: Path) -> None:
    check(resolve_index(index_type), stored(VECTORS, DataType.BINARY_VECTOR), "HAMMING", {}, tmp_path / "index")


def test_sparse_rows(tmp_path: Path) -> None:
    kind = resolve_index("SPARSE_INVERTED_INDEX")
    pairs = np.zeros(100, np.dtype([("index", "<u4"), ("value", "<f4")]))
    pairs["index"], pairs["value"] = np.arange(100), 1.5
    rows = sparse_rows([pairs[n % 90 :].tobytes() for n in range(N_ROWS)])
    built = kind.build(rows, "IP", {})
    built.save(tmp_path / "index")
    size = (tmp_path / "index").stat().st_size
    stored_bytes = 8 * int(rows.lengths.sum())
    assert size <= kind.index_bytes(N_ROWS, 0, stored_bytes, {}) <= 4 * size
    assert kind.build_bytes(N_ROWS, 0, stored_bytes, {}) >= 5 * size


def test_tables_that_are_worked_out_when_an_index_is_loaded() -> None:
    assert resolve_index("IVF_PQ").loaded_bytes(7, 10_000, 32, {"nlist": 16, "m": 8, "nbits": 5}) == 7 + 4 * 16 * 8 * 32
    assert resolve_index("IVF_PQ").loaded_bytes(7, 10**8, 1024, {"nlist": 60_000, "m": 512}) == 7
    assert resolve_index("HNSW_PQ").loaded_bytes(7, 10_000, 32, {"m": 8, "nbits": 5}) == 7 + 4 * 8 * 32 * 32


def test_too_few_rows_to_learn_from_are_kept_as_they_are() -> None:
    assert resolve_index("IVF_PQ").index_bytes(50, DIM, 4 * 50 * DIM, {}) == 4 * 50 * DIM
