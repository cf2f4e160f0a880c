"""Rows to detect drift in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits() -> npt.NDArray[Any]:
    """(1797, 64) pixels of handwritten digits, in random order."""
    return np.random.default_rng(0).permutation(load_digits().data)


@pytest.fixture(scope="session")
def digit_classes() -> npt.NDArray[Any]:
    """(1797,) the digits, in the order of `digits`."""
    return np.random.default_rng(0).permutation(load_digits().target)
