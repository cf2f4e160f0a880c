"""The contract of an adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.work import FloatArray, IntArray, Plan, Window


class System(ABC):
    """One collection of vectors in one system, on disk in one folder.

    `prepare` brings rows into the form that the system likes best and is not timed; everything else is.
    Answers are primary keys, nearest first, read out of whatever the system returns.
    """

    inserts: ClassVar[bool] = True
    """Whether rows are stored by `insert`; a bare index library keeps them until `flush`."""

    def __init__(self, folder: Path, dim: int, plan: Plan) -> None:
        self.folder = folder
        self.dim = dim
        self.k = plan.k
        self.build = dict(plan.build)
        self.query = dict(plan.query)

    @abstractmethod
    def create(self) -> None:
        """Make an empty collection with an HNSW index to come."""

    @abstractmethod
    def open(self) -> None:
        """Open what another process made."""

    @abstractmethod
    def prepare(self, ids: IntArray, vectors: FloatArray, ranks: IntArray) -> Any:
        """Return the rows as the system takes them."""

    @abstractmethod
    def insert(self, rows: Any) -> None:
        """Store rows that `prepare` returned; they are acknowledged when it returns."""

    @abstractmethod
    def flush(self) -> None:
        """Return when every row is in the index."""

    @abstractmethod
    def search(self, query: FloatArray, window: Window | None = None) -> Sequence[int]:
        """Return the keys of the k nearest rows of one query ((dim,) float32) that pass the filter."""

    @abstractmethod
    def search_batch(self, queries: FloatArray) -> Sequence[Sequence[int]]:
        """Return the keys for many queries given in one call."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def process_ids(self) -> Sequence[int]:
        """Return processes of the system beside the worker and its children."""
        return ()
