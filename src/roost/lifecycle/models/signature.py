"""The signature of a model: shapes and types of what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np

from roost.errors import InvalidArgument
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.embedders.base import Embedder, embed_checked
from roost.lifecycle.models.model import Model
from roost.lifecycle.models.predictors.base import Predictor, predict_checked
from roost.lifecycle.models.preprocess.base import Batch

Signature: TypeAlias = Mapping[str, Any]
"""`input` and `output`, each with a `type`, and a `shape` where it is an array; None stands for the batch."""


def signature_of(model: Model, given: Signature | Batch | None = None) -> Signature:
    """Return a model's signature.

    Args:
        given: a signature, which is taken as it is; or an example batch, from which the input is read and which the
            model must take; or None, which leaves the input open.
    Raises:
        InvalidArgument: the signature is not one that JSON can hold, or the example is empty.
        InvalidData: the model does not take the example.
    """
    if isinstance(given, Mapping):
        canonical_json(given)
        return dict(given)
    if given is None:
        return {"output": _output(model)}
    if len(given) == 0:
        raise InvalidArgument("an empty batch is no example of what the model takes")
    if isinstance(model, Embedder):
        embed_checked(model, given)
    elif isinstance(model, Predictor):
        predict_checked(model, given)
    return {"input": content_type(given), "output": _output(model)}


def content_type(batch: Batch) -> dict[str, Any]:
    """Return type and shape of a batch of content."""
    first = batch[0]
    if isinstance(batch, np.ndarray) and not batch.dtype.hasobject and batch.dtype.kind not in "US":
        return {"type": str(batch.dtype), "shape": [None, *batch.shape[1:]]}
    if isinstance(first, np.ndarray):
        same = all(isinstance(one, np.ndarray) and one.shape == first.shape for one in batch)
        shape = first.shape if same else (None,) * first.ndim
        return {"type": str(first.dtype), "shape": [None, *shape]}
    if isinstance(first, Mapping):
        columns: dict[str, str] = {}
        for row in batch:
            columns |= {str(name): _scalar_type(value) for name, value in row.items() if value is not None}
        return {"type": "row", "columns": columns}
    if isinstance(first, (list, tuple)):
        array = np.asarray(batch)
        return {"type": str(array.dtype), "shape": [None, *array.shape[1:]]}
    return {"type": "path" if isinstance(first, PurePath) else _scalar_type(first), "shape": [None]}


def _output(model: Model) -> dict[str, Any]:
    if isinstance(model, Embedder):
        return {"type": "float32", "shape": [None, model.dim]}
    if isinstance(model, Predictor) and model.classes is not None:
        return {"type": _scalar_type(model.classes[0]), "shape": [None], "classes": list(model.classes)}
    return {"type": "float64", "shape": [None]}


def _scalar_type(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return str(value.dtype) if isinstance(value, np.generic) else type(value).__name__
