"""ONNX models as embedders of images, tables and texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models import onnx_session
from roost.lifecycle.models.embedders.base import Embedder, FloatArray
from roost.lifecycle.models.embedders.tokens import Tokens
from roost.lifecycle.models.onnx_session import OnnxSession
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.preprocess.steps import Preprocessing, Steps

POOLINGS = ("none", "mean", "max", "first")

_CONFIGURATION, _TOKENIZER = "configuration.json", "tokenizer.json"


class OnnxEmbedder(Embedder):
    """A model in ONNX's format, run on the CPU by onnxruntime. The file is data: opening it runs no code of it."""

    kind = "onnx"

    def __init__(
        self,
        model: onnx_session.Source,
        *,
        input: str | None = None,
        output: str | None = None,
        pooling: str = "none",
        normalize: bool = False,
        preprocess: Steps = (),
        tokenizer: bytes | str | Path | None = None,
        max_tokens: int = 512,
        n_threads: int | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: the file's path, its content, or an onnx.ModelProto; weights included.
            input: its name, where the model has several.
            output: its name; by default the first.
            pooling: how an output of more than one axis becomes one vector: `mean`, `max` or the `first` along the
                axis of tokens (n, n_tokens, dim) or the pixels of channels (n, dim, height, width); `none` keeps it
                and lays further axes end to end.
            normalize: whether vectors are brought to length 1.
            preprocess: what is done to content first, of roost.lifecycle.models.preprocess.
            tokenizer: for texts, the path of a `tokenizer.json` or its content; its arrays go to inputs of their names
                (input_ids, attention_mask, token_type_ids).
            max_tokens: of a text; what is longer is cut.
            n_threads: threads of one call; by default onnxruntime's choice.
        Raises:
            InvalidArgument: there is no such file, input, output or pooling, or the vectors have no known length.
            Corruption: it is not a model that onnxruntime can open.
            MissingDependency: onnxruntime or tokenizers is not installed.
        """
        if pooling not in POOLINGS:
            raise InvalidArgument(f"pooling={pooling!r} is not known; use one of {', '.join(POOLINGS)}")
        self._session = OnnxSession(model, n_threads)
        self._preprocess = Preprocessing(preprocess)
        self._tokens: Tokens | None = None
        if tokenizer is not None:
            self._tokens = Tokens(onnx_session.content_of(tokenizer), max_tokens)
        self._input = self._session.input(input) if self._tokens is None else None
        self._output = self._session.output(output)
        self._pooling, self._normalize = pooling, normalize
        self._n_threads = n_threads
        self._dim = self._find_dim()

    @property
    def dim(self) -> int:
        return self._dim

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._session.digest.encode())
        digest.update(self._configuration().encode())
        if self._tokens is not None:
            digest.update(hashlib.sha256(self._tokens.content).hexdigest().encode())
        return self._preprocess.fingerprint(f"sha256:{digest.hexdigest()}")

    def embed(self, batch: Batch) -> FloatArray:
        content = self._preprocess(batch)
        if len(content) == 0:
            return np.empty((0, self._dim), dtype=np.float32)
        return self._vectors(content)

    def save(self, directory: Path) -> None:
        (directory / onnx_session.FILE).write_bytes(self._session.content)
        (directory / _CONFIGURATION).write_text(self._configuration())
        if self._tokens is not None:
            (directory / _TOKENIZER).write_bytes(self._tokens.content)
        self._preprocess.save(directory)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> OnnxEmbedder:
        tokenizer = directory / _TOKENIZER
        try:
            options: dict[str, Any] = json.loads((directory / _CONFIGURATION).read_text())
        except ValueError as error:
            raise Corruption(f"the configuration in {directory} cannot be read: {error}") from error
        return cls(
            directory / onnx_session.FILE,
            **options,
            preprocess=Preprocessing.load(directory).steps,
            tokenizer=tokenizer if tokenizer.exists() else None,
        )

    def _configuration(self) -> str:
        """Return the options that the vectors depend on, as text."""
        options: dict[str, Any] = {
            "input": self._input.name if self._input is not None else None,
            "output": self._output.name,
            "pooling": self._pooling,
            "normalize": self._normalize,
        }
        if self._tokens is not None:
            options["max_tokens"] = self._tokens.max_tokens
        return json.dumps(options, sort_keys=True)

    def _vectors(self, content: Batch) -> FloatArray:
        mask: npt.NDArray[Any] | None = None
        if self._tokens is not None:
            made = self._tokens(content)
            mask = made["attention_mask"]
            feeds = {one.name: self._token_input(one.name, made) for one in self._session.inputs}
        else:
            one = self._session.input(self._input.name if self._input is not None else None)
            feeds = {one.name: onnx_session.cast(content, one)}
        (found,) = self._session.run(feeds, [self._output.name])
        vectors = pooled(np.asarray(found, dtype=np.float32), self._pooling, mask)
        if self._normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return vectors

    def _token_input(self, name: str, made: Any) -> npt.NDArray[Any]:
        if name not in made:
            raise InvalidArgument(f"the ONNX model has an input {name!r}, which a tokenizer does not make")
        array: npt.NDArray[Any] = made[name].astype(self._session.input(name).dtype)
        return array

    def _find_dim(self) -> int:
        """Return the length of the vectors, which one piece of content tells."""
        example: Batch | None = self._preprocess.example()
        if example is None and self._tokens is not None:
            example = ["example"]
        if example is not None:
            return int(self._embed_example(example).shape[1])
        one = self._session.input(self._input.name if self._input is not None else None)
        inner = [length for length in one.shape[1:] if length is not None]
        if one.dtype in (None, np.object_) or len(inner) < len(one.shape) - 1:
            raise InvalidArgument(
                f"the model's input {one.name!r} {one.shape} does not say what content it takes: "
                "give preprocess= or tokenizer="
            )
        return int(self._embed_example(np.zeros((1, *inner), dtype=one.dtype)).shape[1])

    def _embed_example(self, example: Batch) -> FloatArray:
        """Return the vectors of an example.

        Raises: InvalidArgument: the model does not take what its options make of it.
        """
        try:
            return self._vectors(self._preprocess(example))
        except InvalidData as error:
            raise InvalidArgument(f"the ONNX model does not take what it is given: {error.message}") from error

    def __repr__(self) -> str:
        return f"OnnxEmbedder(output={self._output.name!r}, pooling={self._pooling!r}, dim={self.dim})"


def pooled(output: FloatArray, pooling: str, mask: npt.NDArray[Any] | None = None) -> FloatArray:
    """Return one vector for each entry of an output.

    Args:
        output: (n, dim), (n, n_tokens, dim) or (n, dim, height, width).
        pooling: one of POOLINGS.
        mask: (n, n_tokens); tokens whose mask is 0 do not count.
    """
    if output.ndim < 2 or pooling == "none":
        return output.reshape(len(output), -1)
    if output.ndim == 2:
        return output
    parts = output if output.ndim == 3 else output.reshape(*output.shape[:2], -1).transpose(0, 2, 1)
    if pooling == "first":
        return np.ascontiguousarray(parts[:, 0])
    counted = np.ones(parts.shape[:2], dtype=bool) if mask is None else mask.astype(bool)
    if pooling == "max":
        return np.asarray(np.where(counted[..., None], parts, -np.inf).max(axis=1), dtype=np.float32)
    total = np.where(counted[..., None], parts, 0).sum(axis=1)
    return np.asarray(total / np.maximum(counted.sum(axis=1), 1)[:, None], dtype=np.float32)
