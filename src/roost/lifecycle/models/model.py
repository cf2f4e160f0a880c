"""What every stored model is: a kind, a fingerprint, and files; and the table of kinds."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, TypeVar

from roost.errors import InvalidArgument, MissingDependency

ENTRY_POINTS = "roost.models"
"""Group of the entry points by which packages offer kinds of models: the kind's name, and the class."""


class Model(ABC):
    """A model that can be stored, loaded again, and told from every other.

    A model does not change after it was made, and may be used from any number of threads at once.
    A kind that other processes shall load is registered with `register_model`.
    """

    kind: ClassVar[str]
    """The name under which stored models of this class are loaded."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """`sha256:` and a digest of the model and its configuration.

        Two models with one fingerprint give the same answers. It is the same in every process
        and after storing and loading.
        """

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the model as files into an empty directory."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Model:
        """Return the model that `save` wrote.

        Args:
            trusted: names of types or functions that the stored model may use beside the safe ones.
        Raises: UnsafeModel: the files need others; nothing of them was run.
        """


_Class = TypeVar("_Class", bound=type[Model])

# Loaded when a model of the kind is: most processes need one kind and none of the others' libraries.
_HOMES = {
    "cached": "roost.lifecycle.models.embedders.cached:CachedEmbedder",
    "batched": "roost.lifecycle.models.embedders.batched:BatchedEmbedder",
    "callable": "roost.lifecycle.models.embedders.callable:CallableEmbedder",
    "onnx": "roost.lifecycle.models.embedders.onnx:OnnxEmbedder",
    "onnx-predictor": "roost.lifecycle.models.predictors.onnx:OnnxPredictor",
    "openai": "roost.lifecycle.models.embedders.openai:OpenAIEmbedder",
    "safetensors": "roost.lifecycle.models.embedders.safetensors:SafetensorsEmbedder",
    "sklearn": "roost.lifecycle.models.embedders.sklearn:SklearnEmbedder",
    "sklearn-predictor": "roost.lifecycle.models.predictors.sklearn:SklearnPredictor",
}
_kinds: dict[str, type[Model]] = {}
_lock = threading.Lock()


def register_model(cls: _Class) -> _Class:
    """Make stored models of the class's kind loadable; may be used as a decorator.

    Raises: InvalidArgument: another class has this kind.
    """
    home = _HOMES.get(cls.kind)
    if home is not None and home != f"{cls.__module__}:{cls.__qualname__}":
        raise InvalidArgument(f"models of kind {cls.kind!r} are loaded by {home.partition(':')[2]} already")
    with _lock:
        known = _kinds.setdefault(cls.kind, cls)
    if known is not cls:
        raise InvalidArgument(f"models of kind {cls.kind!r} are loaded by {known.__name__} already")
    return cls


def model_class(kind: str) -> type[Model]:
    """Return the class that loads stored models of a kind: registered, Roost's own, or of an entry point.

    Raises: MissingDependency: there is none in this process.
    """
    with _lock:
        known = _kinds.get(kind)
    if known is not None:
        return known
    if kind in _HOMES:
        module, _, name = _HOMES[kind].partition(":")
        found: type[Model] = getattr(import_module(module), name)
        return found
    for point in entry_points(group=ENTRY_POINTS, name=kind):
        found = point.load()
        return register_model(found)
    raise MissingDependency(
        f"nothing here loads models of kind {kind!r} (known: {', '.join(sorted({*_HOMES, *_kinds}))}): import the "
        f"module that registers it, or install the package whose entry point in {ENTRY_POINTS!r} has this name"
    )
