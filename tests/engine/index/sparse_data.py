"""Sparse vectors for tests, and their products by dense arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from roost.engine.index.sparse_rows import PAIR, SparseRows, sparse_rows


def draw(n_rows: int, n_indices: int, seed: int, *, signed: bool = False, scale: int = 1) -> tuple[SparseRows, Any]:
    """Return rows whose indices are as rare as words are, and the same as a dense matrix.

    Args:
        scale: what every index is multiplied by.
    """
    rng = np.random.default_rng(seed)
    common = 1 / np.arange(1, n_indices + 1)
    dense = np.where(rng.random((n_rows, n_indices)) < 3 * common, rng.random((n_rows, n_indices)), 0.0)
    dense = (dense * (rng.choice([-1.0, 1.0], dense.shape) if signed else 1.0)).astype(np.float32)
    dense[5] = 0
    return as_rows(dense, scale), dense


def clustered(n_rows: int, seed: int) -> tuple[SparseRows, Any]:
    """Return rows in clusters of a dozen, which alone stand out for a query, and the same as a dense matrix."""
    centres = np.random.default_rng(0).normal(size=(300, 200))
    rng = np.random.default_rng(seed)
    dense = centres[rng.integers(0, len(centres), n_rows)] + 0.6 * rng.normal(size=(n_rows, 200))
    dense = np.where(dense > 0.8, dense, 0.0).astype(np.float32)
    return as_rows(dense), dense


def as_rows(dense: npt.NDArray[np.float32], scale: int = 1) -> Any:
    """Return the rows of a dense matrix."""
    stored = []
    for row in dense:
        pairs = np.empty(np.count_nonzero(row), PAIR)
        pairs["index"], pairs["value"] = scale * np.flatnonzero(row), row[row != 0]
        stored.append(pairs.tobytes())
    return sparse_rows(stored)
