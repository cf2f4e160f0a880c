"""A bounded uniform sample of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import DimensionMismatch, InvalidArgument, InvalidData


class Reservoir:
    """Keeps `capacity` rows of all that were added, each with the same probability, in memory that does not grow.

    It is not safe for threads: who shares one holds a lock.

    Args:
        dim: length of a row.
        capacity: rows to keep at most.
        dtype: of the rows kept.
        seed: of the choice.
    Attributes:
        n_seen: rows added since the start or the last `clear`.
    Source: Vitter, "Random sampling with a reservoir", ACM TOMS 11(1), 1985, algorithm R.
    """

    def __init__(self, dim: int, capacity: int, dtype: npt.DTypeLike = np.float32, seed: int = 0) -> None:
        if dim < 1 or capacity < 1:
            raise InvalidArgument(f"dim is {dim} and capacity {capacity}; both are at least 1")
        self._rows = np.empty((capacity, dim), dtype=dtype)
        self._rng = np.random.default_rng(seed)
        self.n_seen = 0

    def __len__(self) -> int:
        return min(self.n_seen, len(self._rows))

    def __repr__(self) -> str:
        return f"Reservoir({len(self)} of {self.n_seen} rows kept, {self._rows.nbytes} bytes)"

    @property
    def capacity(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> npt.NDArray[Any]:
        """A copy of the rows that are kept, (len, dim), in no order."""
        return self._rows[: len(self)].copy()

    def add(self, rows: npt.ArrayLike) -> None:
        """Offer rows to the sample.

        Args:
            rows: (n, dim), or (dim,) for one; copied where they are kept.
        Raises:
            DimensionMismatch: they are of another length.
            InvalidData: they are not numbers in an array of one or two dimensions.
        """
        try:
            array = np.asarray(rows, dtype=self._rows.dtype)
        except (TypeError, ValueError) as error:
            raise InvalidData(f"the rows are not an array of numbers: {error}") from error
        if array.ndim == 1:
            array = array[None, :]
        if array.ndim != 2:
            raise InvalidData(f"the rows have the shape {array.shape}; (n, dim) or (dim,) is needed")
        if array.shape[1] != self._rows.shape[1]:
            raise DimensionMismatch(f"the rows have {array.shape[1]} values, not {self._rows.shape[1]}")
        n_free = min(max(self.capacity - self.n_seen, 0), len(array))
        self._rows[self.n_seen : self.n_seen + n_free] = array[:n_free]
        rest = array[n_free:]
        if len(rest):
            places = self._rng.integers(0, self.n_seen + n_free + np.arange(1, len(rest) + 1))
            # Where two rows go to one place the later one stays, as if they had come one by one.
            kept = np.flatnonzero(places < self.capacity)
            self._rows[places[kept]] = rest[kept]
        self.n_seen += len(array)

    def clear(self) -> None:
        """Forget all rows: the next window begins."""
        self.n_seen = 0
