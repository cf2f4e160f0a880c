"""The life of a model: registry, deployments, endpoints, live tests, promotion, and the ledger of it all.

`roost.Workspace` opens it. What users write themselves is an embedder or a predictor.
"""

from roost.lifecycle.models.embedders.base import Embedder, register_embedder
from roost.lifecycle.models.embedders.batched import BatchedEmbedder
from roost.lifecycle.models.embedders.cached import CachedEmbedder
from roost.lifecycle.models.embedders.callable import CallableEmbedder
from roost.lifecycle.models.embedders.onnx import OnnxEmbedder
from roost.lifecycle.models.embedders.openai import OpenAIEmbedder
from roost.lifecycle.models.embedders.safetensors import SafetensorsEmbedder
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.model import Model, register_model
from roost.lifecycle.models.predictors.base import Predictions, Predictor
from roost.lifecycle.models.predictors.onnx import OnnxPredictor
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.preprocess import Columns, Images, Scale, Texts
from roost.lifecycle.models.retries import Retries

__all__ = [
    "BatchedEmbedder",
    "CachedEmbedder",
    "CallableEmbedder",
    "Columns",
    "Embedder",
    "Images",
    "Model",
    "OnnxEmbedder",
    "OnnxPredictor",
    "OpenAIEmbedder",
    "Predictions",
    "Predictor",
    "Retries",
    "SafetensorsEmbedder",
    "Scale",
    "SklearnEmbedder",
    "SklearnPredictor",
    "Texts",
    "register_embedder",
    "register_model",
]
