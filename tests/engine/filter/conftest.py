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
    """Return the rows that an expression keeps."""

    def run(expression: str, **params: Any) -> list[int]:
        mask = compile_filter(expression, SCHEMA, params).evaluate(rows)
        assert mask.dtype == np.bool_ and mask.shape == (rows.n_rows,)
        found: list[int] = np.flatnonzero(mask).tolist()
        return found

    return run
