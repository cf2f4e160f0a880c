"""The vectors of a tail: appended as they come, laid side by side only when somebody reads them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from roost.engine.columns import VectorArray, aligned

_FIRST_CAPACITY = 256


class VectorBuffer:
    """Rows of one vector field. One thread appends; any thread reads.

    Bulk loading writes each vector to the log and keeps a reference; the copy into the contiguous
    buffer is made by the first search or by the seal, and only of the rows that are new since the last.
    """

    def __init__(self, row_shape: tuple[int], dtype: np.dtype[Any]) -> None:
        self._rows: VectorArray = np.empty((0, *row_shape), dtype)
        self._n_laid = 0
        self._waiting: list[VectorArray] = []
        self._laying = threading.Lock()

    def append(self, vectors: VectorArray) -> None:
        """Add rows; the array is kept and must not change."""
        with self._laying:
            self._waiting.append(vectors)

    def first(self, n_rows: int) -> VectorArray:
        """Return the first rows, read-only; they stay as they are whatever is appended."""
        # Rows that are laid are waited for by nobody: each buffer holds all that were laid when its turn came.
        if self._n_laid < n_rows:
            with self._laying:
                if self._n_laid < n_rows:
                    self._lay()
        view = self._rows[:n_rows]
        view.flags.writeable = False
        return view

    def _lay(self) -> None:
        needed = self._n_laid + sum(map(len, self._waiting))
        if needed > len(self._rows):
            # Readers keep the old buffer.
            capacity = max(_FIRST_CAPACITY, needed, 2 * len(self._rows))
            grown = aligned((capacity, self._rows.shape[1]), self._rows.dtype)
            grown[: self._n_laid] = self._rows[: self._n_laid]
            self._rows = grown
        for vectors in self._waiting:
            end = self._n_laid + len(vectors)
            self._rows[self._n_laid : end] = vectors
            self._n_laid = end
        self._waiting.clear()
