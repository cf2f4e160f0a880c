"""The vectors of a tail: appended as they come, laid side by side when somebody reads them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from roost.engine.vector_buffer import VectorBuffer


def rows(start: int, end: int) -> np.ndarray:
    return np.repeat(np.arange(start, end, dtype=np.float32)[:, None], 3, axis=1)


def test_views_stay_as_they_were() -> None:
    buffer = VectorBuffer((3,), np.dtype(np.float32))
    views = []
    for start in range(0, 2000, 100):
        buffer.append(rows(start, start + 100))
        if start % 300 == 0:
            views.append(buffer.first(start + 100))
    views.append(buffer.first(2000))
    for view in views:
        np.testing.assert_array_equal(view, rows(0, len(view)))
    with pytest.raises(ValueError, match="read-only"):
        views[0][0, 0] = 1


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.uint8])
def test_vectors_begin_with_a_cache_line(dtype: type) -> None:
    buffer = VectorBuffer((3,), np.dtype(dtype))
    for n_rows in (1, 300, 5_000, 20_000):
        buffer.append(rows(0, n_rows).astype(dtype))
        laid = buffer.first(n_rows)
        assert laid.ctypes.data % 64 == 0 and laid.flags.c_contiguous and laid.dtype == dtype


def test_an_empty_buffer_has_its_dimension() -> None:
    assert VectorBuffer((3,), np.dtype(np.float32)).first(0).shape == (0, 3)


def test_readers_beside_the_writer() -> None:
    buffer = VectorBuffer((3,), np.dtype(np.float32))
    n_rows = [0]
    wrong = []

    def read() -> None:
        while n_rows[0] < 5000:
            n = n_rows[0]
            if not np.array_equal(buffer.first(n), rows(0, n)):
                wrong.append(n)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(0, 5000, 7):
        buffer.append(rows(start, start + 7))
        n_rows[0] = start + 7
    for reader in readers:
        reader.join()
    assert wrong == []


def test_rows_that_are_laid_are_read_while_others_are_laid() -> None:
    buffer = VectorBuffer((3,), np.dtype(np.float32))
    buffer.append(np.ones((10, 3), np.float32))
    buffer.first(10)
    with buffer._laying, ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(buffer.first, 10).result(timeout=60)) == 10
