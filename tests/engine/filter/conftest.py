"""Columns to filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from roost.engine.filter import compile_filter
from tests.engine.filter.rows import SCHEMA, TWELVE, Rows


@pytest.fixture
def rows() -> Rows:
    """Twelve rows of every type."""
    return Rows(TWELVE)


@pytest.fixture
def select(rows: Rows) -> Callable[..., list[int]]:
    """Return the rows that an expression keeps, whether its columns are read for the first time or were before."""

    def run(expression: str, **params: Any) -> list[int]:
        predicate = compile_filter(expression, SCHEMA, params)
        masks = [predicate.evaluate(rows) for _ in range(9)]
        for mask in masks:
            assert mask.dtype == np.bool_ and mask.shape == (rows.n_rows,)
            assert np.array_equal(mask, masks[0])
        found: list[int] = np.flatnonzero(masks[0]).tolist()
        return found

    return run
