"""Roost: a vector database inside the Python process, and the life of the models that make the vectors.

import roost

client = roost.connect("./digits.roost")              # or "http://localhost:19530": a Milvus server
workspace = roost.Workspace("./shop")                 # models, endpoints and vectors together
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roost import errors
    from roost.bulk.load import bulk_load
    from roost.client import connect
    from roost.embedded import EmbeddedClient
    from roost.lifecycle.models.embedders.cached import CachedEmbedder
    from roost.lifecycle.models.embedders.callable import CallableEmbedder
    from roost.lifecycle.models.embedders.onnx import OnnxEmbedder
    from roost.lifecycle.models.embedders.openai import OpenAIEmbedder
    from roost.lifecycle.models.embedders.safetensors import SafetensorsEmbedder
    from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
    from roost.lifecycle.models.predictors.onnx import OnnxPredictor
    from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
    from roost.workspace import Workspace

    __version__: str

__all__ = [
    "CachedEmbedder",
    "CallableEmbedder",
    "EmbeddedClient",
    "OnnxEmbedder",
    "OnnxPredictor",
    "OpenAIEmbedder",
    "SafetensorsEmbedder",
    "SklearnEmbedder",
    "SklearnPredictor",
    "Workspace",
    "__version__",
    "bulk_load",
    "connect",
    "errors",
]

# Loaded when first used, so that `import roost` and the command line's help cost nothing.
_HOMES = {
    "CachedEmbedder": "roost.lifecycle.models.embedders.cached",
    "CallableEmbedder": "roost.lifecycle.models.embedders.callable",
    "EmbeddedClient": "roost.embedded",
    "OnnxEmbedder": "roost.lifecycle.models.embedders.onnx",
    "OnnxPredictor": "roost.lifecycle.models.predictors.onnx",
    "OpenAIEmbedder": "roost.lifecycle.models.embedders.openai",
    "SafetensorsEmbedder": "roost.lifecycle.models.embedders.safetensors",
    "SklearnEmbedder": "roost.lifecycle.models.embedders.sklearn",
    "SklearnPredictor": "roost.lifecycle.models.predictors.sklearn",
    "Workspace": "roost.workspace",
    "bulk_load": "roost.bulk.load",
    "connect": "roost.client",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("roost")
    if name == "errors":
        return import_module("roost.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'roost' has no attribute {name!r}")
    try:
        home = import_module(_HOMES[name])
    except ModuleNotFoundError as missing:
        is_optional = _HOMES[name].startswith(("roost.lifecycle", "roost.workspace"))
        if not is_optional or (missing.name or "").startswith("roost"):
            raise
        from roost.errors import MissingDependency

        raise MissingDependency(
            f"roost.{name} needs {missing.name}, which is not installed: pip install 'roost[lifecycle]'"
        ) from missing
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
