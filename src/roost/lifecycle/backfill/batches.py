"""One batch of a backfill: its records, their vectors, and those that are set aside.

What cannot be embedded or stored is found by halving the batch: k bad records of n cost about
2 k log2(n / k) calls, not n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from roost.errors import DimensionMismatch, InvalidData, NotFinite
from roost.lifecycle.deployments.space import CONTENT
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked

Record: TypeAlias = Mapping[str, Any]
Key: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a model made of a batch.

    Attributes:
        positions: of the contents that have a vector.
        vectors: (len(positions), dim) float32.
        reasons: by position, why the others have none.
    """

    positions: Sequence[int]
    vectors: FloatArray
    reasons: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of their source.

    Attributes:
        kept: positions of the records that have a key and content.
        reasons: by position, why the others are set aside.
    """

    records: Sequence[Record]
    key: str
    kept: Sequence[int]
    reasons: Mapping[int, str]

    @property
    def contents(self) -> list[Any]:
        """The content of the records that are kept, in their order."""
        return [self.records[position][CONTENT] for position in self.kept]

    def row(self, position: int) -> dict[str, Any]:
        """Return what is stored of a record beside its vector."""
        return {name: value for name, value in self.records[position].items() if name != CONTENT}

    def key_text(self, position: int) -> str:
        """Return a record's key as the store writes keys."""
        return str(self.records[position][self.key])


def batch_of(records: Sequence[Record], key: str) -> Batch:
    """Return records as a batch, those without a key or without content marked as set aside.

    Args:
        key: the name of the primary key.
    """
    kept: list[int] = []
    reasons: dict[int, str] = {}
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            reasons[position] = f"a record is a dictionary, not {type(record).__name__}"
        elif record.get(key) is None or record.get(CONTENT) is None:
            missing = [name for name in (key, CONTENT) if record.get(name) is None]
            reasons[position] = f"the record has no {' and no '.join(missing)}"
        else:
            kept.append(position)
    return Batch(records, key, kept, reasons)


def embed_each(embedder: Embedder, contents: Sequence[Any]) -> Embedded:
    """Embed contents, those that the embedder refuses left out with its reason."""
    if not contents:
        return Embedded([], np.empty((0, embedder.dim), np.float32))
    try:
        return Embedded(range(len(contents)), embed_checked(embedder, contents))
    except (InvalidData, NotFinite, DimensionMismatch) as error:
        if len(contents) == 1:
            return Embedded([], np.empty((0, embedder.dim), np.float32), {0: error.message})
    half = len(contents) // 2
    first, second = embed_each(embedder, contents[:half]), embed_each(embedder, contents[half:])
    return Embedded(
        [*first.positions, *(half + position for position in second.positions)],
        np.concatenate([first.vectors, second.vectors]),
        {**first.reasons, **{half + position: reason for position, reason in second.reasons.items()}},
    )


def store_each(
    store: Callable[[Sequence[int]], None],
    positions: Sequence[int],
    refused: type[Exception] | tuple[type[Exception], ...],
) -> dict[int, str]:
    """Store rows, and return the reasons for those that the engine refuses.

    Args:
        store: writes the rows of some positions, all or none.
        refused: what `store` raises for rows that do not fit.
    """
    if not positions:
        return {}
    try:
        store(positions)
        return {}
    except refused as error:
        if len(positions) == 1:
            return {positions[0]: str(getattr(error, "message", error))}
    half = len(positions) // 2
    return store_each(store, positions[:half], refused) | store_each(store, positions[half:], refused)
