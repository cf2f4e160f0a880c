from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from roost.engine.columns import VectorArray
from roost.engine.index.exact import compare, exact_search, inverse_norms
from roost.engine.storage.column_files import read_vectors, write_vectors
from roost.engine.storage.vector_file import VectorFile
from roost.errors import Corruption

VECTORS = np.random.default_rng(0).normal(size=(500, 12)).astype(np.float32)


def written(directory: Path, vectors: VectorArray = VECTORS) -> VectorFile:
    return VectorFile(directory / write_vectors(directory, 7, vectors).name)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8, np.uint16])
def test_rows_are_those_of_the_mapped_file(tmp_path: Path, dtype: type) -> None:
    vectors = (VECTORS * 20).astype(np.int8).astype(dtype)
    record = write_vectors(tmp_path, 7, vectors)
    file, mapped = VectorFile(tmp_path / record.name), read_vectors(tmp_path, record)
    assert (file.dtype, file.shape, len(file), file.size) == (mapped.dtype, mapped.shape, 500, mapped.size)
    for rows in (np.array([3, 499, 0, 3]), np.array([], np.int64), slice(10, 300), slice(490, 900), slice(0, 500, 7)):
        assert (file[rows] == mapped[rows]).all()
        assert file[rows].shape == mapped[rows].shape


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_distances_are_those_of_vectors_in_memory(tmp_path: Path, metric: str) -> None:
    file, queries = written(tmp_path), VECTORS[:6] + 0.1
    norms = inverse_norms(file)
    assert np.allclose(norms, inverse_norms(VECTORS))
    rows = np.arange(0, 500, 3)
    here, there = (exact_search(v, queries, 8, metric, rows, norms) for v in (VECTORS, file))
    assert (here.ids == there.ids).all() and np.allclose(here.distances, there.distances, atol=1e-5)
    listed = np.array([[4, 9, -1], [9, 9, 2]])
    assert np.allclose(compare(file, queries[:2], listed, metric), compare(VECTORS, queries[:2], listed, metric), 1e-5)


def test_a_file_that_became_shorter_is_damaged(tmp_path: Path) -> None:
    file = written(tmp_path)
    os.truncate(tmp_path / "vectors-7.arrow", 2_000)
    with pytest.raises(Corruption, match="it ends within the rows"):
        file[np.array([400])]
    with pytest.raises(Corruption, match="it ends within the rows"):
        file[0:500]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Corruption):
        VectorFile(tmp_path / "none.arrow")
