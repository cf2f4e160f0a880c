"""The life of a model: registry, deployments, endpoints, live tests, promotion, and the ledger of it all.

`roost.Workspace` opens it. What users write themselves is an embedder.
"""

from roost.lifecycle.embedders.base import Embedder, register_embedder
from roost.lifecycle.embedders.sklearn import SklearnEmbedder

__all__ = ["Embedder", "SklearnEmbedder", "register_embedder"]
