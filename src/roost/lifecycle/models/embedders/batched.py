"""Batches of a bounded size for an embedder that should not see larger ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.models.embedders.wrapped import Wrapped
from roost.lifecycle.models.preprocess.base import Batch


class BatchedEmbedder(Wrapped):
    """Gives an embedder at most `batch_size` pieces of content at a time, so that its memory stays bounded."""

    kind = "batched"

    def __init__(self, embedder: Embedder, batch_size: int = 256) -> None:
        """Wrap an embedder.

        Raises: InvalidArgument: the size is not positive.
        """
        if batch_size < 1:
            raise InvalidArgument(f"batch_size={batch_size} is not the size of a batch")
        super().__init__(embedder)
        self.batch_size = batch_size

    def embed(self, batch: Batch) -> FloatArray:
        if len(batch) <= self.batch_size:
            return self.embedder.embed(batch)
        vectors = np.empty((len(batch), self.dim), dtype=np.float32)
        for start in range(0, len(batch), self.batch_size):
            stop = start + self.batch_size
            vectors[start:stop] = embed_checked(self.embedder, batch[start:stop])
        return vectors

    def options(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size}

    def __repr__(self) -> str:
        return f"BatchedEmbedder({self.embedder!r}, batch_size={self.batch_size})"
