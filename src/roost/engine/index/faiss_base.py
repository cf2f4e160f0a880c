"""What every Faiss index of float vectors shares: metric, storage in a file, raw search calls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import faiss
import numpy as np
from pymilvus import DataType

from roost.engine.block_file import BlockFile
from roost.engine.columns import Bitmap, Bytes, FloatArray, Neighbours, VectorArray
from roost.engine.index.base import GROWTH, NUMBERS, VectorIndex
from roost.engine.index.exact import check_queries, normalised
from roost.engine.index.parameters import require_metric
from roost.errors import Corruption, InvalidArgument

_FaissT = TypeVar("_FaissT", bound="FaissIndex")


def check_bitmap(allowed: Bitmap, n_rows: int) -> None:
    """Raise InvalidArgument for a bitmap that has not one bit for each row."""
    if allowed.shape != ((n_rows + 7) // 8,):
        raise InvalidArgument(f"the bitmap has shape {allowed.shape}; {n_rows} rows need one bit each")


class FaissIndex(VectorIndex):
    """An index that Faiss holds as one object.

    Subclasses say how the empty object is made (`_make`), which of Faiss's classes a file must hold
    (`faiss_class`), and what the search parameters mean (`_search_parameters`).
    """

    faiss_class: ClassVar[Any]
    vector_types: ClassVar[tuple[DataType, ...]] = NUMBERS

    def __init__(self, index: Any, metric: str) -> None:
        self.metric = metric
        self.dim = int(index.d)
        self._index = index
        self._query_dim = self.dim
        """Of queries as Faiss takes them."""
        self._content: Bytes | None = None

    @classmethod
    @abstractmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        """Return the empty Faiss index that `params` describe."""

    @abstractmethod
    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        """Return Faiss's search parameters, or None for its defaults."""

    @classmethod
    def build(cls: type[_FaissT], vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> _FaissT:
        require_metric(metric, cls.index_type, cls.metrics)
        built = cls(cls._make(vectors.shape[1], metric, params), metric)
        built.add(vectors)
        return built

    @classmethod
    def load(cls: type[_FaissT], path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> _FaissT:
        return cls._read(lambda: faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0), path, metric)

    @classmethod
    def load_from(cls: type[_FaissT], content: Bytes, path: Path, metric: str, params: Mapping[str, Any]) -> _FaissT:
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.size)
        loaded = cls._read(lambda: faiss.read_index(reader), path, metric)
        loaded._content = content
        return loaded

    @classmethod
    def _read(cls: type[_FaissT], read: Callable[[], Any], path: Path, metric: str) -> _FaissT:
        require_metric(metric, cls.index_type, cls.metrics)
        try:
            index = read()
        except (OSError, RuntimeError, MemoryError) as error:
            raise Corruption(f"{path} cannot be read as an index of type {cls.index_type}: {error}") from error
        if not cls._holds(index, metric):
            raise Corruption(f"{path} does not hold an index of type {cls.index_type} with metric {metric}")
        return cls._wrapped(index, metric)

    @classmethod
    def _wrapped(cls: type[_FaissT], index: Any, metric: str) -> _FaissT:
        """Return Faiss's index as the class that searches it."""
        return cls(index, metric)

    @classmethod
    def build_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return GROWTH * cls.index_bytes(n_rows, dim, vector_bytes, params)

    def save(self, path: Path) -> None:
        # Faiss's own file writer passes over an error in its last block, and tells no other one's number.
        with BlockFile(path) as file:
            self._write(file.write)

    def _write(self, write: Callable[[bytes], int]) -> None:
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(write))

    def add(self, vectors: VectorArray) -> None:
        rows = normalised(vectors) if self.metric == "COSINE" else vectors
        self._index.add(rows)

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self._query_dim)
        selector = None if allowed is None else self._selector(allowed)
        parameters = self._search_parameters(k, params or {}, selector)
        asked = normalised(queries) if self.metric == "COSINE" else np.ascontiguousarray(queries)
        n_queries = len(queries)
        ids = np.empty((n_queries, k), np.int64)
        distances = np.empty((n_queries, k), np.float32)
        # The C call spares what the wrapper adds; the arrays behind the pointers live in this frame.
        self._index.search_c(
            n_queries, faiss.swig_ptr(asked), k, faiss.swig_ptr(distances), faiss.swig_ptr(ids), parameters
        )
        self._to_distances(distances)
        found = Neighbours(ids, distances)
        if not found.is_full:
            # Faiss leaves the largest float in the slots that have no row.
            distances[ids < 0] = np.inf
            if allowed is None:
                self._fill(asked, found)
        return found

    def _fill(self, asked: VectorArray, found: Neighbours) -> None:
        """Fill up, in place, an answer that has fewer rows than were asked for.

        Args:
            asked: the queries as Faiss takes them.
        """

    @classmethod
    def _metric_number(cls, metric: str) -> int:
        """Return Faiss's number for a metric; a cosine is the inner product of normalised vectors."""
        return int(faiss.METRIC_L2 if metric == "L2" else faiss.METRIC_INNER_PRODUCT)

    @classmethod
    def _holds(cls, index: Any, metric: str) -> bool:
        """Return whether a Faiss index is of this type and metric."""
        return isinstance(index, cls.faiss_class) and index.metric_type == cls._metric_number(metric)

    def _to_distances(self, found: FloatArray) -> None:
        """Turn what Faiss found into smaller-is-closer distances, in place."""
        if self.metric != "L2":
            np.negative(found, out=found)

    def _selector(self, allowed: Bitmap) -> Any:
        check_bitmap(allowed, self.n_rows)
        return faiss.IDSelectorBitmap(np.ascontiguousarray(allowed))

    @property
    def n_rows(self) -> int:
        return int(self._index.ntotal)
