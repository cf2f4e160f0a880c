"""Annoy: a forest of trees that part the rows by random planes, in a file that is searched where it lies.

One file holds all: Annoy's own, whose first item slots are left out of the trees and carry a header
that says what Annoy's file does not, the metric, the dimension and the size. Annoy maps the file, and
so does this module, which reads the vectors from it where a filter needs an exact comparison.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import annoy
import numpy as np
import numpy.typing as npt

from roost.engine.columns import Bitmap, FloatArray, IntArray, Mask, Neighbours
from roost.engine.index.building import Building, BuiltAtOnce
from roost.engine.index.exact import check_queries, exact_search, merge, normalised
from roost.engine.index.narrow import blocks
from roost.engine.index.parameters import INT32_MAX, integer, require_known, require_metric
from roost.errors import Corruption, InvalidArgument, MissingDependency

DEFAULT_N_TREES = 50
MAX_N_TREES = 10_000
MIN_DEFAULT_ROWS = 16
"""The default of `search_k` is n_trees for each of k rows, and of this many at least."""

# The trees name rows more than once, and the more often the more they name. So a filter that keeps one row in s costs
# more than s times the rows: this power of s, measured on image and random vectors.
NAMED_POWER = 1.25
# A filtered answer is trusted where the allowed rows lie at most this much further apart than the search allowed for.
TRUSTED_SPACING = 1.5
# Otherwise, and where it has fewer than k rows, the trees name this many times as many.
WIDENING = 4
# Floats of the rows that an exact comparison gathers at a time: 16 MiB.
BLOCK_FLOATS = 1 << 22

# Bytes that a tree takes for a row, with its planes: the fewer numbers a row has, the fewer rows share a leaf.
TREE_ROW_BYTES = 24

_MAGIC = b"RoostAn1"
# Magic, metric, dimension, nothing, rows, bytes of the whole file.
_HEADER = struct.Struct("<8s8sIIQQ")
# Bytes before the vector in a node of Annoy's file, for the two metrics of Annoy that are used.
_VECTOR_OFFSET = 16
_SEED = 1

_Nodes = npt.NDArray[np.uint8]


class AnnoyForest(BuiltAtOnce):
    """Forest of random projection trees.

    Build parameter: `n_trees` (1 to 10,000; more trees find more and take more memory). Search parameter:
    `search_k` (at least 1), how many rows the trees name before the search stops; by default n_trees for each of
    the k rows, and of 16 at least.

    A cosine is the inner product of normalised vectors. For an inner product vectors are lifted to one length by
    a further number, of which a query has zero: Annoy's own lifting loses most neighbours.

    Source: https://github.com/spotify/annoy. Of the lifting: Bachrach et al. 2014, "Speeding up the Xbox recommender
    system using a Euclidean transformation for inner-product spaces".
    """

    index_type: ClassVar[str] = "ANNOY"
    search_params: ClassVar[tuple[str, ...]] = ("search_k",)

    def __init__(self, forest: Any, nodes: _Nodes, metric: str, dim: int, n_rows: int, n_trees: int) -> None:
        self.metric = metric
        self.dim = dim
        self._forest = forest
        self._nodes = nodes
        self._n_rows = n_rows
        self._n_trees = n_trees
        self._first = _n_reserved(_width(dim, metric))

    @classmethod
    def _building(cls, vectors: FloatArray, metric: str, params: Mapping[str, Any]) -> Building[AnnoyForest]:
        """Build in steps; Annoy grows its trees in one of them."""
        require_metric(metric, cls.index_type, cls.metrics)
        n_trees = _n_trees(params)
        file = os.memfd_create("annoy")
        try:
            path = Path(f"/proc/self/fd/{file}")
            yield from _growing(path, vectors, metric, n_trees)
            size = os.fstat(file).st_size or _HEADER.size
            n_rows, dim = vectors.shape
            os.pwrite(file, _HEADER.pack(_MAGIC, metric.encode(), dim, 0, n_rows, size), 0)
            built = cls.load(path, metric, params)
        finally:
            os.close(file)
        if n_rows and not np.array_equal(built._vectors(np.array([0, n_rows - 1])), _kept(vectors[[0, -1]], metric)):
            raise MissingDependency(
                "the installed version of Annoy writes files in a form that is not known: pip install 'roost[annoy]'"
            )
        return built

    @classmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> AnnoyForest:
        """Return the index that `save` wrote. It is mapped whatever `mmap` says, as Annoy knows no other way."""
        require_metric(metric, cls.index_type, cls.metrics)
        n_trees = _n_trees(params)
        try:
            nodes = _map(path)
            dim, n_rows = _read_header(nodes, metric)
            forest = _open(path, nodes, _width(dim, metric), metric, n_rows) if n_rows else None
        except (OSError, ValueError, struct.error) as error:
            raise Corruption(
                f"{path} cannot be read as an index of type ANNOY with metric {metric}: {error}"
            ) from error
        return cls(forest, nodes, metric, dim, n_rows, n_trees)

    def save(self, path: Path) -> None:
        with open(path, "wb") as file:
            file.write(self._nodes.data)

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self.dim)
        search_k = self._search_k(k, params or {})
        mask = None if allowed is None else self._unpacked(allowed)
        n_allowed = self._n_rows if mask is None else int(np.count_nonzero(mask))
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        if n_allowed == 0:
            return Neighbours(ids, distances)
        asked = normalised(queries) if self.metric == "COSINE" else queries
        for q in range(len(asked)):
            found = self._nearest(asked[q : q + 1], k, search_k, mask, n_allowed)
            n_found = len(found[0])
            ids[q, :n_found], distances[q, :n_found] = found
        return Neighbours(ids, distances)

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        require_known(params, cls.search_params, cls.index_type)
        integer(params, "search_k", 1, 1)
        return 0

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return min(self._n_rows, self._n_trees * MIN_DEFAULT_ROWS)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        return n_rows * (_node_bytes(dim + 1) + TREE_ROW_BYTES * _n_trees(params))

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def memory_bytes(self) -> int:
        return int(self._nodes.nbytes)

    def _search_k(self, k: int, params: Mapping[str, Any]) -> int:
        self.search_width(k, params)
        return integer(params, "search_k", min(INT32_MAX, self._n_trees * max(k, MIN_DEFAULT_ROWS)), 1)

    def _unpacked(self, allowed: Bitmap) -> Mask:
        if allowed.shape != ((self._n_rows + 7) // 8,):
            raise InvalidArgument(f"the bitmap has shape {allowed.shape}; {self._n_rows} rows need one bit each")
        return np.unpackbits(allowed, count=self._n_rows, bitorder="little").view(np.bool_)

    def _nearest(
        self, query: FloatArray, k: int, search_k: int, mask: Mask | None, n_allowed: int
    ) -> tuple[IntArray, FloatArray]:
        """Return the up to k nearest allowed rows of one query.

        Annoy takes no filter. Where one row in s is allowed, its trees name s times as many rows as without a filter,
        and some more, and the allowed ones are picked. If these turn out to lie further apart near this query, the
        trees name yet more; and where that compares no fewer rows than are allowed, these are compared exactly.
        """
        wanted = min(k, n_allowed)
        n_named = math.ceil(search_k * (self._n_rows / n_allowed) ** NAMED_POWER)
        while mask is None or n_named < n_allowed:
            rows, distances = self._ask(query, k if mask is None else n_named, n_named)
            spacing = 1.0
            if mask is not None:
                slots = mask[rows].nonzero()[0]
                rows, distances = rows[slots], distances[slots]
                spacing = _spacing(slots[: max(k, MIN_DEFAULT_ROWS)])
            if len(rows) >= wanted and spacing * search_k <= TRUSTED_SPACING * n_named:
                return rows[:k], distances[:k]
            if n_named >= self._n_rows:
                break
            n_named *= WIDENING
        return self._compare(query, k, np.arange(self._n_rows) if mask is None else np.flatnonzero(mask))

    def _ask(self, query: FloatArray, n: int, search_k: int) -> tuple[IntArray, FloatArray]:
        vector = query[0].tolist()
        if self.metric == "IP":
            vector.append(0.0)
        found = self._forest.get_nns_by_vector(vector, n, min(search_k, INT32_MAX), include_distances=True)
        rows = np.array(found[0], np.int64) - self._first
        distances = np.array(found[1], np.float32)
        # Annoy's Euclidean distance is the root of ours; its inner product is larger for what is nearer.
        return rows, np.square(distances) if self.metric == "L2" else -distances

    def _compare(self, query: FloatArray, k: int, rows: IntArray) -> tuple[IntArray, FloatArray]:
        metric = "L2" if self.metric == "L2" else "IP"
        step = max(1, BLOCK_FLOATS // self.dim)
        parts = []
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            found = exact_search(self._vectors(block), query, min(k, len(block)), metric)
            parts.append(Neighbours(block[found.ids], found.distances))
        nearest = merge(parts, min(k, len(rows)))
        return nearest.ids[0], nearest.distances[0]

    def _vectors(self, rows: IntArray) -> FloatArray:
        """Return the vectors of some rows as the file has them."""
        width = _width(self.dim, self.metric)
        nodes = self._nodes.reshape(-1, _node_bytes(width))
        floats: FloatArray = nodes[self._first :, _VECTOR_OFFSET:].view(np.float32)
        return np.ascontiguousarray(floats[rows][:, : self.dim])


def _spacing(slots: IntArray) -> float:
    """Return how many of the nearest rows there are for one that is allowed, from the places of the first of these."""
    return 2.0 * float(slots.mean() + 1) / (len(slots) + 1) if len(slots) else math.inf


def _n_trees(params: Mapping[str, Any]) -> int:
    require_known(params, ("n_trees",), AnnoyForest.index_type)
    return integer(params, "n_trees", DEFAULT_N_TREES, 1, MAX_N_TREES)


def _width(dim: int, metric: str) -> int:
    """Return how many numbers of a row Annoy holds."""
    return dim + 1 if metric == "IP" else dim


def _node_bytes(width: int) -> int:
    return _VECTOR_OFFSET + 4 * width


def _n_reserved(width: int) -> int:
    """Return how many item slots the header takes."""
    return math.ceil(_HEADER.size / _node_bytes(width))


def _empty_forest(width: int, metric: str) -> Any:
    return annoy.AnnoyIndex(width, "euclidean" if metric == "L2" else "dot")


def _kept(vectors: FloatArray, metric: str) -> FloatArray:
    return normalised(vectors) if metric == "COSINE" else vectors


def _growing(path: Path, vectors: FloatArray, metric: str, n_trees: int) -> Building[None]:
    """Let Annoy write the forest of the vectors; nothing where there are none."""
    if len(vectors) == 0:
        return
    rows = _kept(vectors, metric)
    lifted = np.zeros(0, np.float32)
    if metric == "IP":
        squares = np.einsum("ij,ij->i", rows, rows)
        lifted = np.sqrt(squares.max() - squares)
    width = _width(rows.shape[1], metric)
    forest = _empty_forest(width, metric)
    forest.on_disk_build(str(path))
    forest.set_seed(_SEED)
    first = _n_reserved(width)
    try:
        for block in blocks(*rows.shape):
            yield
            for i, row in enumerate(rows[block], block.start):
                forest.add_item(first + i, [*row.tolist(), *lifted[i : i + 1].tolist()])
        yield
        forest.build(n_trees)
    finally:
        forest.unload()


def _map(path: Path) -> _Nodes:
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _read_header(nodes: _Nodes, metric: str) -> tuple[int, int]:
    """Return the dimension and the number of rows.

    Raises: ValueError: it is not the file of an index of that metric, or not all of it.
    """
    magic, name, dim, _, n_rows, size = _HEADER.unpack(nodes[: _HEADER.size].tobytes())
    if magic != _MAGIC:
        raise ValueError("it has no header of such an index")
    if name.rstrip(b"\0") != metric.encode():
        raise ValueError(f"its metric is {name.rstrip(bytes(1)).decode('ascii', 'replace')}")
    if len(nodes) != size:
        raise ValueError(f"it has {len(nodes)} bytes instead of {size}")
    return dim, n_rows


def _open(path: Path, nodes: _Nodes, width: int, metric: str, n_rows: int) -> Any:
    n_items = n_rows + _n_reserved(width)
    if width == 0 or len(nodes) % _node_bytes(width) or len(nodes) // _node_bytes(width) <= n_items:
        raise ValueError("its size does not fit its header")
    forest = _empty_forest(width, metric)
    forest.load(str(path))
    if forest.get_n_items() != n_items:
        raise ValueError(f"its trees hold {forest.get_n_items()} items instead of {n_items}")
    return forest
