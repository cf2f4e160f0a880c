"""The life of a model: registry, deployments, endpoints, live tests, promotion, and the ledger of it all.

`roost.Workspace` opens it. What users write themselves is an embedder.
"""

from roost.lifecycle.embedder import Embedder, SklearnEmbedder, register_embedder

__all__ = ["Embedder", "SklearnEmbedder", "register_embedder"]
