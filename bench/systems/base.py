"""The contract of an adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.arrays import FloatArray, IntArray
from bench.filters import Window
from bench.work import Plan


class System(ABC):
    """One collection of vectors in one system, on disk in one folder.

    `prepare` brings rows into the form that the system likes best and is not timed; everything else is.
    Answers are primary keys, nearest first, read out of whatever the system returns.
    """

    inserts: ClassVar[bool] = True
    """Whether rows are stored by `insert`; a bare index library keeps them until `flush`."""

    is_server: ClassVar[bool] = False
    """Whether the rows lie with a server, which is asked for memory and told to forget them."""

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
    def prepare(self, ids: IntArray, vectors: FloatArray, columns: Mapping[str, IntArray]) -> Any:
        """Return the rows as the system takes them; the columns are those that filters look at."""

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

    def set_ef(self, ef: int) -> None:
        """Search with another `ef` from now on."""
        self.query["ef"] = ef

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def drop(self) -> None:  # noqa: B027 - most systems have nothing there
        """Let go of rows that do not lie in the folder; the system was closed before."""

    def process_ids(self) -> Sequence[int]:
        """Return processes of the system beside the worker and its children."""
        return ()
