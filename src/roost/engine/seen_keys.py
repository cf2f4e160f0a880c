"""Which primary keys a bulk load has had, so that one that comes twice is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from roost.engine.columns import IntArray
from roost.engine.keys import key_array
from roost.errors import DuplicateKey


class SeenKeys:
    """The keys so far: 8 bytes for each INT64, a set of str for VARCHAR."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs: list[IntArray] = []
        self._texts: set[str] = set()

    def add(self, column: pa.Array) -> None:
        """Take in keys.

        Raises: DuplicateKey: one of them was there, or is twice among them.
        """
        if pa.types.is_integer(column.type):
            self._add_numbers(np.sort(key_array(column)))
        else:
            texts = column.to_pylist()
            again = self._texts.intersection(texts)
            if again:
                self._refuse(min(again))
            before = len(self._texts)
            self._texts.update(texts)
            if len(self._texts) - before < len(texts):
                counts = column.value_counts()
                self._refuse(counts.field(0)[pc.index(pc.greater(counts.field(1), 1), True).as_py()].as_py())

    def _add_numbers(self, keys: IntArray) -> None:
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if len(twice):
            self._refuse(int(keys[twice[0]]))
        for run in self._runs:
            if len(keys) and run[0] <= keys[-1] and keys[0] <= run[-1]:
                places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
                again = np.flatnonzero(run[places] == keys)
                if len(again):
                    self._refuse(int(keys[again[0]]))
        if len(keys):
            self._push(keys)

    def _push(self, keys: IntArray) -> None:
        """Keep the runs' lengths falling by halves, so that there are few."""
        self._runs.append(keys)
        while len(self._runs) > 1 and len(self._runs[-1]) * 2 > len(self._runs[-2]):
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], last]), kind="stable")

    def _refuse(self, key: Any) -> None:
        raise DuplicateKey(
            f"two rows of the load have the same primary key {self._name}={key!r}; a load holds each key once: "
            f"keep the row that you want"
        )
