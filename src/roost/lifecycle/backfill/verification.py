"""Checks at the end of a backfill: a sample of the records is embedded again and compared with what is stored."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roost.errors import WorkspaceError
from roost.lifecycle.backfill.batches import Key
from roost.lifecycle.deployments.space import VECTOR
from roost.lifecycle.models.embedders.base import FloatArray

if TYPE_CHECKING:
    from roost.client import Client

TOLERANCE = 1e-3
"""Of a vector's length. A model rounds otherwise when it gets another number of contents at once."""

_ALMOST_ONE = 1.0 - 2.0**-53


class Reservoir:
    """A sample of everything that passes, each with the same probability, of a size that is fixed.

    Source: Li 1994, "Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n)))", algorithm L.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._kept: list[tuple[Key, Any]] = []
        self._largest = 1.0
        self._n_to_pass = 0

    def offer(self, n_records: int, record: Callable[[int], tuple[Key, Any]]) -> None:
        """Let records pass.

        Args:
            record: gives key and content of one of them by its position; called for those alone that are kept.
        """
        position = min(self._size - len(self._kept), n_records)
        for at in range(position):
            self._kept.append(record(at))
            if len(self._kept) == self._size:
                self._draw()
        if len(self._kept) < self._size or not self._size:
            return
        while self._n_to_pass < n_records - position:
            position += self._n_to_pass + 1
            self._kept[self._random.randrange(self._size)] = record(position - 1)
            self._draw()
        self._n_to_pass -= n_records - position

    def _draw(self) -> None:
        """Draw how many records pass before the next that is kept."""
        self._largest *= (1.0 - self._random.random()) ** (1.0 / self._size)
        self._n_to_pass = int(math.log(1.0 - self._random.random()) / math.log1p(-min(self._largest, _ALMOST_ONE)))

    @property
    def sample(self) -> list[tuple[Key, Any]]:
        """The keys and contents that were kept."""
        return list(self._kept)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found.

    Attributes:
        n_checked: records that were embedded again.
        missing: keys that the collection does not hold.
        different: keys whose stored vector is another one.
        worst: the largest distance between a stored vector and the new one, in parts of the new one's length.
    """

    n_checked: int
    missing: tuple[Key, ...]
    different: tuple[Key, ...]
    worst: float

    @property
    def passed(self) -> bool:
        return not self.missing and not self.different


def compare(expected: Mapping[Key, FloatArray], stored: Mapping[Key, FloatArray]) -> Verification:
    """Hold stored vectors against those that the model gives now, each by its key, (dim,)."""
    missing: list[Key] = []
    different: list[Key] = []
    worst = 0.0
    for key, vector in expected.items():
        found = stored.get(key)
        if found is None:
            missing.append(key)
            continue
        length = float(np.linalg.norm(vector)) or 1.0
        distance = float(np.linalg.norm(np.asarray(found, np.float32) - vector)) / length
        worst = max(worst, distance)
        if not distance <= TOLERANCE:
            different.append(key)
    return Verification(len(expected), tuple(missing), tuple(different), worst)


def read_back(client: Client, collection: str, key: str, keys: Sequence[Key]) -> dict[Key, FloatArray]:
    """Return the vectors that a loaded collection holds under some keys.

    Args:
        key: the name of the primary key.
    """
    if not keys:
        return {}
    rows = client.query(
        collection,
        filter=f"{key} in {json.dumps(list(keys), ensure_ascii=False)}",
        output_fields=[key, VECTOR],
        consistency_level="Strong",
    )
    return {row[key]: np.asarray(row[VECTOR], np.float32) for row in rows}


def check_passed(result: Verification, collection: str) -> None:
    """Raise WorkspaceError where a record is missing, or was stored with another vector."""
    if not result.passed:
        named = ", ".join(str(found) for found in (*result.missing, *result.different)[:5])
        raise WorkspaceError(
            f"of {result.n_checked} records that were read back from {collection!r}, {len(result.missing)} are missing "
            f"and {len(result.different)} have another vector than the model gives now: {named}"
        )
