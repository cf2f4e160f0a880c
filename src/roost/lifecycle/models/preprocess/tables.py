"""Rows of tables as content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models.preprocess.base import Batch, Preprocessor


@dataclass(frozen=True)
class Columns(Preprocessor):
    """Turns rows (dictionaries) into a matrix whose columns are in a declared order.

    A column of numbers gives one column of the matrix; a column with categories gives one of 0 and 1 for each of
    them. Keys that are not declared are ignored.

    Attributes:
        names: the columns, in the order of the matrix.
        categories: the values of the columns that are not numbers, in the order of their columns in the matrix.
        missing: the number that takes the place of one that is absent or None (NaN is allowed, for models that take
            it); None refuses such a row. An absent or unknown category is all zeros with it, and refused without.
    """

    name: ClassVar[str] = "columns"
    names: tuple[str, ...]
    categories: Mapping[str, tuple[str | int | bool, ...]] = field(default_factory=dict)
    missing: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        categories = {column: tuple(values) for column, values in self.categories.items()}
        object.__setattr__(self, "categories", categories)
        if not self.names or len(set(self.names)) < len(self.names):
            raise InvalidArgument(f"names={self.names} are not one or more different columns")
        if unknown := sorted(set(categories) - set(self.names)):
            raise InvalidArgument(f"categories= has columns that are not in names=: {', '.join(unknown)}")
        if empty := sorted(column for column, values in categories.items() if not values):
            raise InvalidArgument(f"categories= has no values for: {', '.join(empty)}")

    def __call__(self, batch: Batch) -> npt.NDArray[np.float64]:
        for number, row in enumerate(batch):
            if not isinstance(row, Mapping):
                raise InvalidData(f"row {number} is of type {type(row).__name__}; this model takes dictionaries")
        parts = [
            self._category(column, batch) if column in self.categories else self._number(column, batch)
            for column in self.names
        ]
        return np.concatenate(parts, axis=1)

    def example(self) -> Batch:
        return [{column: self.categories[column][0] if column in self.categories else 0.0 for column in self.names}]

    def _number(self, column: str, rows: Batch) -> npt.NDArray[np.float64]:
        values = [row.get(column) for row in rows]
        if None in values:
            if self.missing is None:
                raise InvalidData(f"row {values.index(None)} has no {column!r}")
            values = [self.missing if value is None else value for value in values]
        for number, value in enumerate(values):
            if isinstance(value, str) or not np.isscalar(value):
                raise InvalidData(f"row {number} has {value!r} as {column!r}, which is no number")
        return np.asarray(values, dtype=np.float64).reshape(-1, 1)

    def _category(self, column: str, rows: Batch) -> npt.NDArray[np.float64]:
        places = {value: place for place, value in enumerate(self.categories[column])}
        matrix = np.zeros((len(rows), len(places)))
        for number, row in enumerate(rows):
            value: Any = row.get(column)
            place = places.get(value) if isinstance(value, (str, int, bool)) else None
            if place is not None:
                matrix[number, place] = 1.0
            elif self.missing is None:
                known = ", ".join(repr(known) for known in places)
                raise InvalidData(f"row {number} has {value!r} as {column!r}, which is none of {known}")
        return matrix
