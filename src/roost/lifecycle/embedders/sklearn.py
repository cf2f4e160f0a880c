"""scikit-learn transformers as embedders."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, MissingDependency, UnsafeModel
from roost.lifecycle.embedders.base import Embedder, FloatArray

_FILE = "model.skops"


class SklearnEmbedder(Embedder):
    """A fitted scikit-learn transformer (PCA, LDA, a pipeline ...), stored with skops, never with pickle."""

    kind = "sklearn"

    def __init__(self, transformer: Any, *, trusted: Collection[str] = (), _stored: bytes | None = None) -> None:
        """Wrap a fitted transformer.

        Args:
            transformer: has `transform` and `n_features_in_`, gives a dense array, and is not
                changed afterwards.
            trusted: names of the types of yours that it holds; scikit-learn's, NumPy's and SciPy's
                are known to be safe.
        Raises:
            UnsafeModel: it holds other types; the message names them.
            InvalidArgument: it is not a fitted transformer.
            MissingDependency: skops is not installed.
        """
        n_features = getattr(transformer, "n_features_in_", None)
        if n_features is None or not hasattr(transformer, "transform"):
            raise InvalidArgument(
                f"{type(transformer).__name__} is not a fitted scikit-learn transformer: fit it first"
            )
        self._transformer = transformer
        self._stored = _stored if _stored is not None else _skops().dumps(transformer)
        _refuse_untrusted(self._stored, trusted)
        self._dim = int(np.asarray(transformer.transform(np.zeros((1, n_features)))).shape[1])

    @property
    def dim(self) -> int:
        return self._dim

    @cached_property
    def fingerprint(self) -> str:
        return f"sha256:{_skops_digest(self._stored)}"

    def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        rows = np.asarray(batch)
        vectors = self._transformer.transform(rows.reshape(len(rows), -1))
        return np.asarray(vectors, dtype=np.float32)

    def save(self, directory: Path) -> None:
        (directory / _FILE).write_bytes(self._stored)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> SklearnEmbedder:
        stored = (directory / _FILE).read_bytes()
        _refuse_untrusted(stored, trusted)
        transformer = _skops().loads(stored, trusted=sorted(trusted))
        return cls(transformer, trusted=trusted, _stored=stored)

    def __repr__(self) -> str:
        return f"SklearnEmbedder({type(self._transformer).__name__}, dim={self.dim})"


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingDependency("storing scikit-learn models needs skops: pip install 'roost[lifecycle]'") from error
    return skops.io


def _refuse_untrusted(stored: bytes, trusted: Collection[str]) -> None:
    try:
        found: Iterable[str] = _skops().get_untrusted_types(data=stored)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Corruption(f"the stored model cannot be read: {error}") from error
    untrusted = sorted(set(found) - set(trusted))
    if untrusted:
        raise UnsafeModel(
            f"the model holds types that are not on the allow-list: {', '.join(untrusted)}; "
            f"if you trust the code behind them, pass trusted={untrusted}"
        )


def _skops_digest(stored: bytes) -> str:
    """Return a digest of what the file means.

    The bytes of a skops file differ each time it is written: its schema and the names of its
    arrays carry memory addresses. They are replaced by the order in which they appear.
    """
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        schema = json.loads(archive.read("schema.json"))
        schema.pop("_skops_version", None)
        order: dict[int, int] = {}

        def normal(node: Any) -> Any:
            if isinstance(node, list):
                return [normal(item) for item in node]
            if not isinstance(node, dict):
                return node
            result: dict[str, Any] = {}
            for key, value in node.items():
                if key == "__id__":
                    result[key] = order.setdefault(value, len(order))
                elif key == "file":
                    result[key] = hashlib.sha256(archive.read(value)).hexdigest()
                else:
                    result[key] = normal(value)
            return result

        text = json.dumps(normal(schema), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
