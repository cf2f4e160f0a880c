"""One file per system; `load` finds the adapter by the system's name."""

from __future__ import annotations

import importlib

from bench.systems.base import System

NAMES = ("faiss", "roost", "chroma", "lancedb", "milvus-lite", "milvus")


def load(name: str) -> type[System]:
    """Return the adapter of the system, whose library must be installed."""
    module = importlib.import_module(f"bench.systems.{name.replace('-', '_')}")
    adapter: type[System] = module.Adapter
    return adapter
