"""What turns content into vectors, how it is stored, and the fingerprint of the space it makes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import (
    Corruption,
    DimensionMismatch,
    InvalidArgument,
    InvalidData,
    MissingDependency,
    NotFinite,
    UnsafeModel,
)

FloatArray: TypeAlias = npt.NDArray[np.float32]


class Embedder(ABC):
    """A model that turns content into vectors.

    An embedder does not change after it was made. `embed` may be called from any number of
    threads at once. A kind that other processes shall load is registered with `register_embedder`.
    """

    kind: ClassVar[str]
    """The name under which stored models of this class are loaded."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vectors."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """`sha256:` and a digest of the model and its configuration.

        Two embedders with one fingerprint make the same vectors. It is the same in every process
        and after storing and loading.
        """

    @abstractmethod
    def embed(self, batch: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        """Return the vectors, (n, dim) float32, of a batch of n pieces of content, in its order."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the model as files into an empty directory."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Embedder:
        """Return the embedder that `save` wrote.

        Args:
            trusted: names of types that the stored model may hold beside the safe ones.
        Raises: UnsafeModel: the files hold other types; nothing of them was run.
        """


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


_KINDS: dict[str, type[Embedder]] = {SklearnEmbedder.kind: SklearnEmbedder}


def register_embedder(cls: type[Embedder]) -> type[Embedder]:
    """Make stored models of the class's kind loadable; may be used as a decorator.

    Raises: InvalidArgument: another class has this kind.
    """
    known = _KINDS.setdefault(cls.kind, cls)
    if known is not cls:
        raise InvalidArgument(f"embedders of kind {cls.kind!r} are loaded by {known.__name__} already")
    return cls


def embedder_class(kind: str) -> type[Embedder]:
    """Return the class that loads stored models of a kind.

    Raises: MissingDependency: no class was registered for it in this process.
    """
    if kind not in _KINDS:
        known = ", ".join(sorted(_KINDS))
        raise MissingDependency(
            f"no embedder loads models of kind {kind!r} (known: {known}): import the module that registers it"
        )
    return _KINDS[kind]


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
