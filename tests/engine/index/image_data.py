"""Vectors that a sketch orders well."""

from __future__ import annotations

import numpy as np

from roost.engine.columns import FloatArray

DIM = 160


def images(n: int, seed: int) -> FloatArray:
    """Vectors whose axes differ in spread, as those of images and texts do."""
    spread = 4 / np.sqrt(np.arange(1, DIM + 1))
    centres = np.random.default_rng(0).normal(size=(40, DIM)) * spread
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 40, n)] + rng.normal(size=(n, DIM)) * spread / 2).astype(np.float32)
