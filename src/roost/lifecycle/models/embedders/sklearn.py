"""scikit-learn transformers as embedders."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.models import skops_file
from roost.lifecycle.models.embedders.base import Embedder, FloatArray
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.preprocess.steps import Preprocessing, Steps


class SklearnEmbedder(Embedder):
    """A fitted scikit-learn transformer (PCA, LDA, a pipeline ...), stored with skops, never with pickle."""

    kind = "sklearn"

    def __init__(
        self,
        transformer: Any,
        *,
        trusted: Collection[str] = (),
        preprocess: Steps = (),
        _stored: bytes | None = None,
    ) -> None:
        """Wrap a fitted transformer.

        Args:
            transformer: has `transform`, and is not changed afterwards. One that takes texts, such as a pipeline of
                TfidfVectorizer and TruncatedSVD, needs preprocess=Texts().
            trusted: names of the types of yours that it holds; scikit-learn's, NumPy's and SciPy's
                are known to be safe.
            preprocess: what is done to content first, of roost.lifecycle.models.preprocess.
        Raises:
            UnsafeModel: it holds other types; the message names them.
            InvalidArgument: it is not a fitted transformer of content like that.
            MissingDependency: skops is not installed.
        """
        self._preprocess = Preprocessing(preprocess)
        example = self._preprocess.example()
        n_features = getattr(transformer, "n_features_in_", None)
        name = type(transformer).__name__
        if not hasattr(transformer, "transform") or (n_features is None and example is None):
            raise InvalidArgument(
                f"{name} is not a fitted scikit-learn transformer: fit it first; one of texts needs preprocess=Texts()"
            )
        self._transformer = transformer
        self._stored = _stored if _stored is not None else skops_file.dump(transformer, trusted)
        try:
            probe = self._embed(example) if example is not None else self._transform(np.zeros((1, n_features or 1)))
        except (ValueError, TypeError) as error:
            raise InvalidArgument(f"{name} does not transform what it is given, fit it first: {error}") from error
        self._dim = int(probe.shape[1])

    @property
    def dim(self) -> int:
        return self._dim

    @cached_property
    def fingerprint(self) -> str:
        return self._preprocess.fingerprint(f"sha256:{skops_file.digest(self._stored)}")

    def embed(self, batch: Batch) -> FloatArray:
        """Return the vectors of a batch.

        Raises: InvalidData: the transformer does not take this content.
        """
        try:
            return self._embed(batch) if len(batch) else np.empty((0, self._dim), dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise InvalidData(f"the embedder cannot embed this content: {error}") from error

    def _embed(self, batch: Batch) -> FloatArray:
        rows = np.asarray(self._preprocess(batch))
        return self._transform(rows if rows.dtype == object else rows.reshape(len(rows), -1))

    def save(self, directory: Path) -> None:
        (directory / skops_file.FILE).write_bytes(self._stored)
        self._preprocess.save(directory)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> SklearnEmbedder:
        transformer, stored = skops_file.read(directory, trusted)
        steps = Preprocessing.load(directory).steps
        return cls(transformer, trusted=trusted, preprocess=steps, _stored=stored)

    def _transform(self, rows: npt.NDArray[Any]) -> FloatArray:
        vectors = self._transformer.transform(rows)
        dense = vectors.toarray() if hasattr(vectors, "toarray") else vectors
        return np.asarray(dense, dtype=np.float32)

    def __repr__(self) -> str:
        return f"SklearnEmbedder({type(self._transformer).__name__}, dim={self.dim})"
