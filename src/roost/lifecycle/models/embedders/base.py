"""What turns content into vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import DimensionMismatch, InvalidData, NotFinite
from roost.lifecycle.models.model import Model, register_model

FloatArray: TypeAlias = npt.NDArray[np.float32]


class Embedder(Model):
    """A model that turns content into vectors.

    The fingerprint names the space of its vectors: two embedders with one fingerprint make the same
    vectors. A kind that other processes shall load is registered with `register_embedder`.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vectors."""

    @abstractmethod
    def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        """Return the vectors, (n, dim) float32, of a batch of n pieces of content, in its order."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Embedder:
        """Return the embedder that `save` wrote; see `Model.load`."""


register_embedder = register_model
"""Another name of `register_model`, of which embedders are the common case."""


def embed_checked(embedder: Embedder, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
    """Return the batch's vectors after checking that they can be stored.

    Returns: (len(batch), dim) float32, C-contiguous and finite.
    Raises:
        InvalidData: the embedder refused the content, or gave another number of vectors.
        DimensionMismatch: the vectors have another length than the embedder says.
        NotFinite: a vector holds NaN or infinity.
    """
    try:
        vectors = np.ascontiguousarray(embedder.embed(batch), dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidData(f"the embedder cannot embed this content: {error}") from error
    if vectors.ndim != 2 or len(vectors) != len(batch):
        raise InvalidData(f"the embedder gave an array of shape {vectors.shape} for {len(batch)} pieces of content")
    if vectors.shape[1] != embedder.dim:
        raise DimensionMismatch(f"the embedder gave vectors of length {vectors.shape[1]}; it says {embedder.dim}")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise NotFinite(f"the vector of content {row} of the batch holds NaN or infinity")
    return vectors
