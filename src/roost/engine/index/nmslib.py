"""NMSLIB: the graphs of the library that HNSW comes from, over full-precision vectors.

One file holds a header, the vectors where the graph does not have them within, and the graph as NMSLIB
writes it. NMSLIB reads and writes only whole files that it opens by name, and does not notice a full
disk: its graph passes through a file in memory, and what lies on disk is read and written here.
"""

from __future__ import annotations

import math
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import nmslib
import numpy as np
import numpy.typing as npt

from roost.engine.columns import Bitmap, FloatArray, IntArray, Mask, Neighbours
from roost.engine.index.building import Building, BuiltAtOnce
from roost.engine.index.exact import check_queries, normalised
from roost.engine.index.faiss_hnsw import graph_comparisons, graph_row_bytes
from roost.engine.index.narrow import blocks
from roost.engine.index.parameters import integer, require_known, require_metric
from roost.errors import Corruption, InvalidArgument

DEFAULT_EF_CONSTRUCTION = 200
MIN_DEFAULT_WIDTH = 16
"""The default of the search's width is k, and at least this."""

# A search that has not found k rows is done again, this much more widely.
WIDENING = 4

# How often the vectors and the links are there at once while a graph is built.
_FORMS = 4

_MAGIC = b"RoostNm1"
# Magic, index type, metric, dimension, nothing, rows, bytes of the graph.
_HEADER = struct.Struct("<8s16s8sIIQQ")

_Bytes = npt.NDArray[np.uint8]
_NmslibT = TypeVar("_NmslibT", bound="NmslibGraph")


class NmslibGraph(BuiltAtOnce):
    """A graph that NMSLIB builds of all rows at once.

    A cosine is the inner product of normalised vectors. Subclasses name NMSLIB's method and its parameters.

    Source: https://github.com/nmslib/nmslib, manual/methods.md.
    """

    width_param: ClassVar[str]
    method: ClassVar[str]
    links_param: ClassVar[str]
    links_default: ClassVar[int]
    links_low: ClassVar[int]
    links_high: ClassVar[int]
    holds_vectors: ClassVar[bool]
    """Whether NMSLIB writes the vectors into the graph; it then answers with squared distances, else with the roots."""

    def __init__(
        self, metric: str, dim: int, n_rows: int, n_links: int, vectors: FloatArray | None, graph: _Bytes
    ) -> None:
        self.metric = metric
        self.dim = dim
        self._n_rows = n_rows
        self._n_links = n_links
        self._vectors = vectors
        self._graph = graph
        self._handle: Any = self._open() if n_rows else None
        self._width = _SharedSetting(lambda width: self._handle.setQueryTimeParams({"efSearch": width}))

    @classmethod
    def _building(
        cls: type[_NmslibT], vectors: FloatArray, metric: str, params: Mapping[str, Any]
    ) -> Building[_NmslibT]:
        """Build in steps; NMSLIB makes the graph itself in one of them."""
        require_metric(metric, cls.index_type, cls.metrics)
        made_with = cls._build_params(params)
        rows = normalised(vectors) if metric == "COSINE" else np.ascontiguousarray(vectors)
        graph = np.empty(0, np.uint8)
        if len(rows):
            handle = cls._empty(metric)
            for block in blocks(*rows.shape):
                yield
                handle.addDataPointBatch(rows[block], np.arange(block.start, block.stop, dtype=np.int32))
            yield
            handle.createIndex(made_with)
            yield
            graph = _written(handle)
        n_rows, dim = rows.shape
        return cls(metric, dim, n_rows, made_with[cls.links_param], None if cls.holds_vectors else rows, graph)

    @classmethod
    def load(cls: type[_NmslibT], path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> _NmslibT:
        """Return the index that `save` wrote. NMSLIB copies the graph into memory whatever `mmap` says."""
        require_metric(metric, cls.index_type, cls.metrics)
        n_links = cls._build_params(params)[cls.links_param]
        try:
            file = np.memmap(path, np.uint8, "r")
            dim, n_rows, n_graph_bytes = cls._read_header(file, metric)
            graph = file[len(file) - n_graph_bytes :]
            vectors = None
            if not cls.holds_vectors:
                vectors = file[_HEADER.size : len(file) - n_graph_bytes].view(np.float32).reshape(n_rows, dim)
            return cls(metric, dim, n_rows, n_links, vectors, graph)
        except (OSError, ValueError, RuntimeError, MemoryError, struct.error) as error:
            raise Corruption(f"{path} cannot be read as an index of type {cls.index_type}: {error}") from error

    def save(self, path: Path) -> None:
        names = self.index_type.encode(), self.metric.encode()
        with open(path, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, *names, self.dim, 0, self._n_rows, len(self._graph)))
            if self._vectors is not None:
                file.write(self._vectors.data)
            file.write(self._graph.data)

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self.dim)
        width = self.search_width(k, params or {})
        mask = None if allowed is None else self._unpacked(allowed)
        n_allowed = self._n_rows if mask is None else int(np.count_nonzero(mask))
        answer = Neighbours(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf, np.float32))
        if n_allowed == 0:
            return answer
        asked = normalised(queries) if self.metric == "COSINE" else np.ascontiguousarray(queries)
        # NMSLIB takes no filter: its answer is sifted, and is as much longer as the filter drops rows.
        width = min(math.ceil(width * self._n_rows / n_allowed), self._n_rows)
        unanswered = list(range(len(asked)))
        while unanswered:
            n_found = min(k, self._n_rows) if mask is None else width
            found = self._nearest(asked[unanswered], n_found, width)
            n_put = [_put(answer, q, *rows, mask) for q, rows in zip(unanswered, found, strict=True)]
            if width == self._n_rows:
                break
            unanswered = [q for q, n in zip(unanswered, n_put, strict=True) if n < min(k, n_allowed)]
            width = min(WIDENING * width, self._n_rows)
        return answer

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Return the width that a search for k rows uses.

        Raises: InvalidArgument: a parameter is unknown, or the width is not a positive integer of at least k.
        """
        name = str(cls.width_param)
        require_known(params, cls.search_params, cls.index_type)
        width = integer(params, name, max(k, MIN_DEFAULT_WIDTH), 1)
        if width < k:
            raise InvalidArgument(f"{name}={width} is less than k={k}; raise {name} or lower the limit")
        return width

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        return {**params, str(cls.width_param): width}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return graph_comparisons(self._n_rows, 2 * self._n_links, width)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return vector_bytes + n_rows * graph_row_bytes(2 * cls._build_params(params)[cls.links_param])

    @classmethod
    def build_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        # The rows, the graph over them, its form for searches, and that in a file that is loaded again.
        return vector_bytes + _FORMS * cls.index_bytes(n_rows, dim, vector_bytes, params)

    @classmethod
    def loaded_bytes(cls, file_bytes: int, n_rows: int, dim: int, params: Mapping[str, Any]) -> int:
        return 2 * file_bytes

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def memory_bytes(self) -> int:
        vectors = 0 if self._vectors is None else self._vectors.nbytes
        return _HEADER.size + int(vectors) + int(self._graph.nbytes)

    @classmethod
    def _build_params(cls, params: Mapping[str, Any]) -> dict[str, int]:
        require_known(params, (cls.links_param, "efConstruction"), cls.index_type)
        n_links = integer(params, cls.links_param, cls.links_default, cls.links_low, cls.links_high)
        width = integer(params, "efConstruction", DEFAULT_EF_CONSTRUCTION, 1)
        return {cls.links_param: n_links, "efConstruction": width}

    @classmethod
    def _empty(cls, metric: str) -> Any:
        return nmslib.init(method=cls.method, space="l2" if metric == "L2" else "negdotprod")

    @classmethod
    def _read_header(cls, file: _Bytes, metric: str) -> tuple[int, int, int]:
        """Return the dimension, the number of rows and the size of the graph.

        Raises: ValueError: it is not the file of such an index, or not all of it.
        """
        magic, *names, dim, _, n_rows, n_graph_bytes = _HEADER.unpack(file[: _HEADER.size].tobytes())
        if magic != _MAGIC:
            raise ValueError("it has no header of such an index")
        held = tuple(name.rstrip(b"\0").decode("ascii", "replace") for name in names)
        if held != (cls.index_type, metric):
            raise ValueError(f"it holds an index of type {held[0]} with metric {held[1]}, not {metric}")
        size = _HEADER.size + n_graph_bytes + (0 if cls.holds_vectors else 4 * dim * n_rows)
        if len(file) != size:
            raise ValueError(f"it has {len(file)} bytes instead of {size}")
        return dim, n_rows, n_graph_bytes

    def _open(self) -> Any:
        handle = self._empty(self.metric)
        if self._vectors is not None:
            handle.addDataPointBatch(self._vectors)
        with _memory_file() as path:
            path.write_bytes(self._graph.data)
            handle.loadIndex(str(path))
        return handle

    def _unpacked(self, allowed: Bitmap) -> Mask:
        if allowed.shape != ((self._n_rows + 7) // 8,):
            raise InvalidArgument(f"the bitmap has shape {allowed.shape}; {self._n_rows} rows need one bit each")
        return np.unpackbits(allowed, count=self._n_rows, bitorder="little").view(np.bool_)

    def _nearest(self, queries: FloatArray, n: int, width: int) -> list[tuple[IntArray, FloatArray]]:
        """Return up to n rows for each query and their distances, nearest first."""
        with self._width.at(width):
            if len(queries) == 1:
                found = [self._handle.knnQuery(queries[0], n)]
            else:
                found = self._handle.knnQueryBatch(queries, n)
        if self.metric == "L2" and not self.holds_vectors:
            return [(rows, np.square(distances)) for rows, distances in found]
        return list(found)


class NmslibHnsw(NmslibGraph):
    """Hierarchical navigable small world graph.

    Build parameters: `M` (2 to 2048, links of a node; level 0 has twice as many) and `efConstruction` (at least 1).
    Search parameter: `ef` (at least k), the length of the list of candidates, NMSLIB's efSearch.

    Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs", 2018.
    """

    index_type: ClassVar[str] = "NMSLIB_HNSW"
    width_param: ClassVar[str] = "ef"
    search_params: ClassVar[tuple[str, ...]] = ("ef",)
    method: ClassVar[str] = "hnsw"
    links_param: ClassVar[str] = "M"
    links_default: ClassVar[int] = 16
    links_low: ClassVar[int] = 2
    links_high: ClassVar[int] = 2048
    holds_vectors: ClassVar[bool] = True


class NmslibSwGraph(NmslibGraph):
    """Navigable small world graph without levels.

    Build parameters: `NN` (1 to 2048, links that a new node makes; it has about twice as many in the end) and
    `efConstruction` (at least 1). Search parameter: `efSearch` (at least k), the length of the list of candidates.

    Inner products of vectors of very different length make it slow: the longest vectors are linked with most others.

    Source: Malkov et al., "Approximate nearest neighbor algorithm based on navigable small world graphs", 2014.
    """

    index_type: ClassVar[str] = "NMSLIB_SW_GRAPH"
    width_param: ClassVar[str] = "efSearch"
    search_params: ClassVar[tuple[str, ...]] = ("efSearch",)
    method: ClassVar[str] = "sw-graph"
    links_param: ClassVar[str] = "NN"
    links_default: ClassVar[int] = 10
    links_low: ClassVar[int] = 1
    links_high: ClassVar[int] = 2048
    holds_vectors: ClassVar[bool] = False


class _SharedSetting:
    """Lets calls that need the same value of a setting run together, and others wait until it may be changed.

    NMSLIB keeps the width of a search on the index and takes none with a query; an index for each width would
    hold the vectors as often. A call that waits to change the value holds later ones back, so that none waits forever.
    """

    def __init__(self, apply: Callable[[int], None]) -> None:
        self._apply = apply
        self._value: int | None = None
        self._n_running = 0
        self._entering = threading.Lock()
        self._running = threading.Condition()

    @contextmanager
    def at(self, value: int) -> Iterator[None]:
        """Run the block with the setting at `value`."""
        with self._entering, self._running:
            if value != self._value:
                self._running.wait_for(lambda: self._n_running == 0)
                self._apply(value)
                self._value = value
            self._n_running += 1
        try:
            yield
        finally:
            with self._running:
                self._n_running -= 1
                if self._n_running == 0:
                    self._running.notify_all()


def _put(answer: Neighbours, q: int, rows: IntArray, distances: FloatArray, mask: Mask | None) -> int:
    """Write the nearest allowed rows into the answer to query q, and return how many there are."""
    if mask is not None:
        kept = mask[rows]
        rows, distances = rows[kept], distances[kept]
    n: int = min(len(rows), answer.ids.shape[1])
    answer.ids[q, :n], answer.distances[q, :n] = rows[:n], distances[:n]
    return n


@contextmanager
def _memory_file() -> Iterator[Path]:
    """Give a file in memory that has a name while the block runs."""
    file = os.memfd_create("nmslib")
    try:
        yield Path(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def _written(handle: Any) -> _Bytes:
    with _memory_file() as path:
        handle.saveIndex(str(path))
        return np.fromfile(path, np.uint8)
