"""HNSW: a navigable graph over full-precision vectors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from mmap import MADV_RANDOM, PAGESIZE
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np

from roost.engine.columns import Bytes, Neighbours, VectorArray
from roost.engine.file_map import advise, map_file
from roost.engine.index import narrow
from roost.engine.index.faiss_base import FaissIndex
from roost.engine.index.narrow import FLOAT32, SCALARS, as_float32
from roost.engine.index.parameters import integer, require_known, require_metric
from roost.errors import Corruption, InvalidArgument

DEFAULT_M = 30
DEFAULT_EF_CONSTRUCTION = 360
MIN_DEFAULT_EF = 16
"""Milvus's default of `ef` is k, and at least this."""

# Rows compared = scale * links * ef ** power: within a factor of 2.5 on image, clustered and random
# vectors of 16 to 784 dimensions, M = 16, ef from 16 to 1,024.
COMPARISONS_SCALE = 1.5
COMPARISONS_POWER = 0.75

ALIGNED_FROM_BYTES = 16 << 20
"""In a file of that size the vectors begin with a line of the processor's cache; shorter ones mostly stay in it."""

_LINE_BYTES = 64

_NODE_BYTES = 40
"""Of a node of a graph: its level, where its links begin, its links above level 0, and what a build keeps of it."""


def graph_width(index_type: str, takes: Collection[str], k: int, params: Mapping[str, Any]) -> int:
    """Return the `ef` that a search of a graph for k rows uses.

    Args:
        takes: the search parameters of the type.
    Raises: InvalidArgument: a parameter is unknown, or `ef` is not a positive integer of at least k.
    """
    require_known(params, takes, index_type)
    if "ef" not in params:
        return max(k, MIN_DEFAULT_EF)
    ef = integer(params, "ef", MIN_DEFAULT_EF, 1)
    if ef < k:
        raise InvalidArgument(f"ef={ef} is less than k={k}; raise ef or lower the limit")
    return ef


def graph_comparisons(n_rows: int, links: int, width: int) -> int:
    """Return about how many rows a search of a graph compares.

    Args:
        links: of a node on the lowest level.
    """
    return min(n_rows, int(COMPARISONS_SCALE * links * width**COMPARISONS_POWER))


def graph_links(params: Mapping[str, Any]) -> int:
    """Return the `M` of a graph's build parameters."""
    return integer(params, "M", DEFAULT_M, 2, 2048)


def graph_row_bytes(n_links: int) -> int:
    """Return about how many bytes the links of a row take: twice `n_links` on level 0, and some above it."""
    return 8 * n_links + _NODE_BYTES


def set_construction(index: Any, params: Mapping[str, Any]) -> None:
    """Set how widely Faiss's empty graph searches for the neighbours of a new row."""
    index.hnsw.efConstruction = integer(params, "efConstruction", DEFAULT_EF_CONSTRUCTION, 1)


def graph_bytes(index: Any) -> int:
    """Return the bytes of the links of Faiss's graph."""
    graph = index.hnsw
    return int(4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size())


class _Counter:
    """Counts the bytes that are written to it."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def add(self, content: bytes) -> int:
        self.n_bytes += len(content)
        return len(content)


def _n_zeros(first: bytes) -> int:
    """Return how many zeros stand before Faiss's file, given the first bytes of ours."""
    return len(first) - len(first.lstrip(b"\0"))


def _read_behind(path: Path, n_bytes: int) -> Any:
    """Return the index whose file begins behind so many bytes."""
    reader, skipped = faiss.FileIOReader(str(path)), np.empty(n_bytes, np.uint8)
    reader(faiss.swig_ptr(skipped), 1, n_bytes)
    return faiss.read_index(reader)


class FaissHnsw(FaissIndex):
    """Hierarchical navigable small world graph.

    Build parameters: `M` (2 to 2048, links of a node; level 0 has twice as many) and
    `efConstruction` (at least 1). Search parameter: `ef` (at least k), the length of the list of candidates.

    Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs", 2018.
    """

    index_type: ClassVar[str] = "HNSW"
    search_params: ClassVar[tuple[str, ...]] = ("ef",)
    faiss_class: ClassVar[Any] = (faiss.IndexHNSWFlat, faiss.IndexHNSWSQ)
    in_place: ClassVar[bool] = True

    def __init__(self, index: Any, metric: str) -> None:
        super().__init__(index, metric)
        self._links = int(index.hnsw.nb_neighbors(0))
        self._unfiltered: dict[int, Any] = {}

    @classmethod
    def build(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> FaissHnsw:
        if vectors.dtype == FLOAT32:
            return super().build(vectors, metric, params)
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, ("M", "efConstruction"), cls.index_type)
        code = SCALARS[narrow.FLOAT16 if metric == "COSINE" else vectors.dtype]
        held = faiss.IndexHNSWSQ(vectors.shape[1], code, graph_links(params), cls._metric_number(metric))
        set_construction(held, params)
        built = cls._wrapped(held, metric)
        built.add(vectors)
        return built

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> FaissHnsw:
        try:
            with open(path, "rb") as file:
                n_zeros = _n_zeros(file.read(_LINE_BYTES))
            content = map_file(path, path.stat().st_size) if n_zeros and mmap else None
        except OSError as error:
            raise Corruption(f"{path} cannot be read as an index of type {cls.index_type}: {error}") from error
        if not n_zeros:
            return super().load(path, metric, params, mmap=mmap)
        if content is None:
            return cls._read(lambda: _read_behind(path, n_zeros), path, metric)
        loaded = cls.load_from(content, path, metric, params)
        first_page = -(-(len(content) - loaded._vector_bytes) // PAGESIZE) * PAGESIZE
        with suppress(OSError):
            advise(content[first_page:], MADV_RANDOM)  # the vectors; the links before them are read in their order
        return loaded

    @classmethod
    def load_from(cls, content: Bytes, path: Path, metric: str, params: Mapping[str, Any]) -> FaissHnsw:
        return super().load_from(content[_n_zeros(content[:_LINE_BYTES].tobytes()) :], path, metric, params)

    def _write(self, write: Callable[[bytes], int]) -> None:
        """Write Faiss's file, of which the vectors are the end, behind as many zeros as align these."""
        size = _Counter()
        super()._write(size.add)
        if size.n_bytes >= ALIGNED_FROM_BYTES:
            write(bytes((self._vector_bytes - size.n_bytes) % _LINE_BYTES))
        super()._write(write)

    @classmethod
    def _wrapped(cls, index: Any, metric: str) -> FaissHnsw:
        if isinstance(index, faiss.IndexHNSWFlat):
            return cls(index, metric)
        return (NarrowHnswOfCosine if metric == "COSINE" else NarrowHnsw)(index, metric)

    @classmethod
    def _make(cls, dim: int, metric: str, params: Mapping[str, Any]) -> Any:
        require_known(params, ("M", "efConstruction"), cls.index_type)
        index = faiss.IndexHNSWFlat(dim, graph_links(params), cls._metric_number(metric))
        set_construction(index, params)
        return index

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        # Normalised rows are held in half precision where the stored ones are as narrow or narrower.
        return max(vector_bytes, 2 * n_rows * dim) + n_rows * graph_row_bytes(graph_links(params))

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Return the `ef` that a search for k rows uses.

        Raises: InvalidArgument: a parameter is unknown, or `ef` is not a positive integer of at least k.
        """
        return graph_width(cls.index_type, cls.search_params, k, params)

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        return {**params, "ef": width}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return graph_comparisons(self.n_rows, self._links, width)

    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        if selector is None and len(params) == 1 and type(given := params.get("ef")) is int and given >= k:
            # A lone query feels every step, and a width that was used before has been checked.
            known = self._unfiltered.get(given)
            if known is not None:
                return known
        ef = self.search_width(k, params)
        if selector is not None:
            return faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
        cached = self._unfiltered.get(ef)
        if cached is None:
            # A race makes the object twice and keeps either: the two are the same.
            cached = self._unfiltered[ef] = faiss.SearchParametersHNSW(efSearch=ef)
        return cached

    def _fill(self, asked: VectorArray, found: Neighbours) -> None:
        """Compare all rows with the queries that met fewer than there are: many equal rows may part the graph."""
        k = found.ids.shape[1]
        if not self.n_rows:
            return
        short = np.flatnonzero(found.ids[:, min(k, self.n_rows) - 1] < 0)
        if len(short):
            distances, found.ids[short] = faiss.downcast_index(self._index.storage).search(asked[short], k)
            self._to_distances(distances)
            found.distances[short] = np.where(found.ids[short] < 0, np.inf, distances)

    @property
    def _vector_bytes(self) -> int:
        return self.n_rows * int(faiss.downcast_index(self._index.storage).code_size)

    @property
    def memory_bytes(self) -> int:
        return self._vector_bytes + graph_bytes(self._index)


class NarrowHnsw(FaissHnsw):
    """HNSW over rows of fewer bits than float32: the graph holds them exactly, in their own width."""

    def add(self, vectors: VectorArray) -> None:
        for block in narrow.blocks(*vectors.shape):
            super().add(as_float32(vectors[block]))


class NarrowHnswOfCosine(NarrowHnsw):
    """The same of normalised rows, which the graph holds in half precision whatever the width of the rows.

    That rounds them, so what is found is compared again with the full vectors.
    """

    compresses: ClassVar[bool] = True
