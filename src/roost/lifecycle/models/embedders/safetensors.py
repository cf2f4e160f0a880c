"""Linear maps and small networks as embedders: weights in safetensors, run by NumPy.

The format is that of a `torch.nn.Sequential` of `torch.nn.Linear` layers, written with `safetensors.torch.save_file`:
the tensor `<layer>.weight` is (n_out, n_in), `<layer>.bias` (n_out,) may be absent, and layers follow each other in the
order of their numbers. The activation stands between layers and not after the last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, MissingDependency
from roost.lifecycle.models.embedders.base import Embedder, FloatArray
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.preprocess.steps import Preprocessing, Steps

ACTIVATIONS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "tanh": np.tanh,
}

_WEIGHTS, _CONFIGURATION = "model.safetensors", "configuration.json"
_NAME = re.compile(r"(?:.*\.)?(\d+)\.(weight|bias)")

_Layer: TypeAlias = tuple[FloatArray, FloatArray]


class SafetensorsEmbedder(Embedder):
    """Layers of weights: content becomes a vector by y = W x + b, one layer after the other."""

    kind = "safetensors"

    def __init__(
        self,
        weights: str | Path | Mapping[str, npt.NDArray[Any]],
        *,
        activation: str = "relu",
        normalize: bool = False,
        preprocess: Steps = (),
    ) -> None:
        """Take weights.

        Args:
            weights: a file of safetensors, or its tensors by their names, as in `0.weight` and `0.bias`; float16,
                float32 or float64.
            activation: between layers: `none`, `relu` or `tanh`.
            normalize: whether vectors are brought to length 1.
            preprocess: what is done to content first, of roost.lifecycle.models.preprocess.
        Raises:
            InvalidArgument: the tensors are not layers that fit each other, or the activation is not known.
            Corruption: the file is not one of safetensors.
            MissingDependency: safetensors is not installed.
        """
        if activation not in ACTIVATIONS:
            raise InvalidArgument(f"activation={activation!r} is not known; use one of {', '.join(ACTIVATIONS)}")
        tensors = _read(Path(weights)) if isinstance(weights, (str, Path)) else dict(weights)
        self._layers = _layers(tensors)
        self._activation, self._normalize = activation, normalize
        self._preprocess = Preprocessing(preprocess)

    @property
    def dim(self) -> int:
        return int(self._layers[-1][0].shape[0])

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._configuration().encode())
        for weight, bias in self._layers:
            for array in (weight, bias):
                digest.update(f"{array.shape}".encode() + array.astype("<f4").tobytes())
        return self._preprocess.fingerprint(f"sha256:{digest.hexdigest()}")

    def embed(self, batch: Batch) -> FloatArray:
        rows = np.asarray(self._preprocess(batch), dtype=np.float32)
        values = rows.reshape(len(rows), -1) if len(rows) else rows.reshape(0, self._layers[0][0].shape[1])
        for place, (weight, bias) in enumerate(self._layers):
            if place > 0:
                values = ACTIVATIONS[self._activation](values)
            values = values @ weight.T + bias
        if self._normalize:
            lengths = np.linalg.norm(values, axis=1, keepdims=True)
            values = values / np.maximum(lengths, np.finfo(np.float32).tiny)
        return values

    def save(self, directory: Path) -> None:
        tensors: dict[str, FloatArray] = {}
        for place, (weight, bias) in enumerate(self._layers):
            tensors |= {f"{place}.weight": weight, f"{place}.bias": bias}
        (directory / _WEIGHTS).write_bytes(_library().save(tensors))
        (directory / _CONFIGURATION).write_text(self._configuration())
        self._preprocess.save(directory)

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> SafetensorsEmbedder:
        try:
            options: dict[str, Any] = json.loads((directory / _CONFIGURATION).read_text())
        except ValueError as error:
            raise Corruption(f"the configuration in {directory} cannot be read: {error}") from error
        return cls(directory / _WEIGHTS, **options, preprocess=Preprocessing.load(directory).steps)

    def _configuration(self) -> str:
        return json.dumps({"activation": self._activation, "normalize": self._normalize}, sort_keys=True)

    def __repr__(self) -> str:
        widths = [self._layers[0][0].shape[1], *(weight.shape[0] for weight, _ in self._layers)]
        return f"SafetensorsEmbedder({' -> '.join(map(str, widths))})"


def _layers(tensors: Mapping[str, npt.NDArray[Any]]) -> list[_Layer]:
    """Return weight and bias of every layer, in order."""
    found: dict[int, dict[str, FloatArray]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None or np.asarray(tensor).dtype not in (np.float16, np.float32, np.float64):
            raise InvalidArgument(
                f"the tensor {name!r} of type {np.asarray(tensor).dtype} is not one of a linear layer: names are like "
                "'0.weight' and '0.bias', types float16, float32 or float64"
            )
        layer = found.setdefault(int(match[1]), {})
        if match[2] in layer:
            raise InvalidArgument(f"the tensor {name!r} is there twice under different prefixes")
        layer[match[2]] = np.ascontiguousarray(tensor, dtype=np.float32)
    layers: list[_Layer] = []
    for number, layer in sorted(found.items()):
        weight = layer.get("weight")
        if weight is None or weight.ndim != 2:
            raise InvalidArgument(f"layer {number} has no weight of the shape (n_out, n_in)")
        bias = layer.get("bias", np.zeros(len(weight), dtype=np.float32))
        if bias.shape != (len(weight),):
            raise InvalidArgument(f"layer {number} has a bias of shape {bias.shape} for {len(weight)} outputs")
        if layers and weight.shape[1] != len(layers[-1][0]):
            raise InvalidArgument(
                f"layer {number} takes {weight.shape[1]} numbers; the one before gives {len(layers[-1][0])}"
            )
        layers.append((weight, bias))
    if not layers:
        raise InvalidArgument("there are no weights")
    return layers


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    library = _library()
    try:
        tensors: dict[str, npt.NDArray[Any]] = library.load(path.read_bytes())
    except Exception as error:  # the library's own errors share no other root
        raise Corruption(f"the weights in {path} cannot be read: {error}") from error
    return tensors


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependency("weights in safetensors need the library: pip install 'roost[safetensors]'") from error
    return safetensors.numpy
