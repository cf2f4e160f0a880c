"""The life of a model: registry, deployments, endpoints, live tests, promotion, and the ledger of it all.

`roost.Workspace` opens it. What users write themselves is an embedder or a predictor.
"""

from roost.lifecycle.embedders.base import Embedder, register_embedder
from roost.lifecycle.embedders.batched import BatchedEmbedder
from roost.lifecycle.embedders.cached import CachedEmbedder
from roost.lifecycle.embedders.callable import CallableEmbedder
from roost.lifecycle.embedders.onnx import OnnxEmbedder
from roost.lifecycle.embedders.openai import OpenAIEmbedder
from roost.lifecycle.embedders.safetensors import SafetensorsEmbedder
from roost.lifecycle.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.model import Model, register_model
from roost.lifecycle.predictors.base import Predictions, Predictor
from roost.lifecycle.predictors.onnx import OnnxPredictor
from roost.lifecycle.predictors.sklearn import SklearnPredictor
from roost.lifecycle.preprocess import Columns, Images, Scale, Texts
from roost.lifecycle.retries import Retries

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
