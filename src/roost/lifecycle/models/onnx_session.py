"""An ONNX model on the CPU: opened from bytes, its inputs named and typed, fed in batches of the size it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import Corruption, InvalidArgument, InvalidData, MissingDependency

FILE = "model.onnx"

Source: TypeAlias = Any
"""A path as str or Path, bytes, or an onnx.ModelProto, whose library need not be installed."""

_TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
_SEVERITY_ERROR = 3


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or an output.

    Attributes:
        dtype: what arrays are made of; None where the model's type is no array of numbers or texts.
        shape: None stands for an axis whose length the model leaves open, the batch's among them.
    """

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


class OnnxSession:
    """An open model. `run` may be called from any number of threads at once."""

    def __init__(self, model: Source, n_threads: int | None = None) -> None:
        """Open a model.

        Args:
            model: the file's path, its content, or an onnx.ModelProto. Weights that are kept in files beside it are
                not read.
            n_threads: threads of one call; by default onnxruntime's choice.
        Raises:
            InvalidArgument: there is no such file, or it is none of these.
            Corruption: it is not a model that onnxruntime can open.
            MissingDependency: onnxruntime is not installed.
        """
        runtime = _runtime()
        self.content = content_of(model)
        options = runtime.SessionOptions()
        options.log_severity_level = _SEVERITY_ERROR
        if n_threads is not None:
            options.intra_op_num_threads = n_threads
        try:
            self._session = runtime.InferenceSession(
                self.content, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors share no other root
            raise Corruption(f"the ONNX model cannot be opened: {error}") from error
        self.inputs = tuple(_tensor(one) for one in self._session.get_inputs())
        self.outputs = tuple(_tensor(one) for one in self._session.get_outputs())

    @property
    def digest(self) -> str:
        """SHA-256 of the model's file."""
        return hashlib.sha256(self.content).hexdigest()

    def input(self, name: str | None) -> Tensor:
        """Return the input of a name; by default the only one.

        Raises: InvalidArgument: there is none of that name, or several to choose from.
        """
        return _choose("input", self.inputs, name)

    def output(self, name: str | None) -> Tensor:
        """Return the output of a name; by default the first.

        Raises: InvalidArgument: there is none of that name.
        """
        return _choose("output", self.outputs, name if name is not None else self.outputs[0].name)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> list[npt.NDArray[Any]]:
        """Return the outputs for a batch.

        Args:
            feeds: an array of n entries for every input.
        Raises: InvalidData: the model refused the arrays.
        """
        n_rows = len(next(iter(feeds.values())))
        size = self.inputs[0].shape[0] if self.inputs[0].shape else None
        parts = [self._call(part, n_kept, outputs) for part, n_kept in _parts(feeds, n_rows, size)]
        return [np.concatenate([part[place] for part in parts]) for place in range(len(outputs))]

    def _call(self, feeds: Mapping[str, npt.NDArray[Any]], n_rows: int, outputs: Sequence[str]) -> list[Any]:
        try:
            found = self._session.run(list(outputs), dict(feeds))
        except Exception as error:  # onnxruntime's own errors share no other root
            raise InvalidData(f"the ONNX model refused its input: {error}") from error
        return [np.asarray(one)[:n_rows] for one in found]


def content_of(source: Source) -> bytes:
    """Return the content of a file, given by its path; or what is content already, or can give it.

    Raises: InvalidArgument: there is no such file, or it is nothing of that kind.
    """
    if isinstance(source, (str, Path)):
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"the file {str(source)!r:.300} cannot be read: {error}") from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if hasattr(source, "SerializeToString"):
        return bytes(source.SerializeToString())
    raise InvalidArgument(
        f"give a file's path, its content as bytes, or an onnx.ModelProto, not {type(source).__name__}"
    )


def cast(rows: Any, tensor: Tensor) -> npt.NDArray[Any]:
    """Return rows as an array of an input's type and shape.

    Raises: InvalidData: they do not fit.
    """
    if tensor.dtype is None:
        raise InvalidData(f"the model's input {tensor.name!r} is no array of numbers or texts")
    try:
        array = np.asarray(rows, dtype=tensor.dtype)
        open_axes = sum(length is None for length in tensor.shape[1:])
        if open_axes == 0 and len(tensor.shape) > 1:
            inner = [length for length in tensor.shape[1:] if length is not None]
            array = array.reshape(len(array), *inner)
        elif open_axes == 1 and len(tensor.shape) == 2:
            array = array.reshape(len(array), -1)
    except (ValueError, TypeError) as error:
        raise InvalidData(f"the content does not fit the input {tensor.name!r}, {tensor.shape[1:]}: {error}") from error
    return np.ascontiguousarray(array)


def _parts(
    feeds: Mapping[str, npt.NDArray[Any]], n_rows: int, size: int | None
) -> Iterator[tuple[Mapping[str, npt.NDArray[Any]], int]]:
    """Give the batch in parts of the size that the model takes, and how many rows of each count.

    The last part is filled up with copies of its last row. No size takes any batch; an empty one is tried as it is.
    """
    if size is None or n_rows == 0:
        yield feeds, n_rows
        return
    for start in range(0, n_rows, size):
        n_kept = min(size, n_rows - start)
        places = np.minimum(np.arange(start, start + size), n_rows - 1)
        yield {name: array[places] for name, array in feeds.items()}, n_kept


def _tensor(described: Any) -> Tensor:
    shape = tuple(length if isinstance(length, int) and length > 0 else None for length in described.shape or ())
    return Tensor(described.name, _TYPES.get(described.type), shape)


def _choose(what: str, tensors: Sequence[Tensor], name: str | None) -> Tensor:
    names = ", ".join(repr(tensor.name) for tensor in tensors)
    if name is None:
        if len(tensors) != 1:
            raise InvalidArgument(f"the ONNX model has several {what}s; say which with {what}=: {names}")
        return tensors[0]
    found = next((tensor for tensor in tensors if tensor.name == name), None)
    if found is None:
        raise InvalidArgument(f"the ONNX model has no {what} {name!r}; it has {names}")
    return found


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("ONNX models need onnxruntime: pip install 'roost[onnx]'") from error
    return onnxruntime
