"""What Faiss's indexes share that learn centroids, codebooks or bounds from the rows that they are built of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import faiss
import numpy as np

from roost.engine.columns import Bitmap, FloatArray, IntArray, Neighbours, VectorArray
from roost.engine.index import narrow
from roost.engine.index.building import Building, BuiltAtOnce
from roost.engine.index.exact import check_queries, normalised
from roost.engine.index.faiss_base import FaissIndex
from roost.engine.index.narrow import FLOAT32, as_float32
from roost.engine.index.parameters import choice, integer, number, require_known, require_metric
from roost.errors import InvalidArgument

REFINE_TYPES = ("SQ6", "SQ8", "BF16", "FP16", "FP32")
MAX_REFINE_K = 1_000.0
MAX_PQ_BITS = 12

SAMPLED_ROWS = 1 << 16
"""Rows that codes are learned from, at least. Lists are learned from as many as Faiss's clustering takes for each."""

LIFTED_TO = 0.99
"""Rows are lifted to the length that this share of them does not exceed; the few longer ones stay as they are."""

LIFTED = "LIFTED"
"""What rows of an inner product are searched as, where they are lifted to one length; other metrics are themselves."""


class FaissLearned(BuiltAtOnce, FaissIndex):
    """An index that learns from all of its rows. Where they are too few to learn from, it compares them all.

    A cosine is searched as the Euclidean distance of normalised vectors. For an inner product a type may lift the rows
    to one length by further numbers, of which a query has zeros: that leaves the product as it is, and rows of one
    length are clustered as well as by Euclidean distances.

    Rows are added block by block, and between two blocks a build can be stopped. Learning itself cannot: Faiss does it
    in one call, which takes from seconds to a few minutes where there are thousands of lists.

    What is found is compared again with the full vectors of the segment. So `refine` and `refine_type`, with which
    Milvus keeps a finer copy in the index, are taken and change nothing.

    Source of the lifting: Bachrach et al. 2014, "Speeding up the Xbox recommender system using a Euclidean
    transformation for inner-product spaces".
    """

    compresses: ClassVar[bool] = True
    build_params: ClassVar[tuple[str, ...]]
    default_refine_k: ClassVar[float] = 1.0
    lifts: ClassVar[bool] = False
    """Whether the rows of an inner product are lifted to one length."""
    learns_codes: ClassVar[bool] = True
    """Whether the codes of the rows are learned, and not the centroids of lists alone."""

    def __init__(self, index: Any, metric: str) -> None:
        super().__init__(index, metric)
        self._is_flat = isinstance(index, faiss.IndexFlat)
        self._inner = inner(index)
        self._n_lifted = n_lifted_by(index) if metric == "IP" and self.lifts and not self._is_flat else 0
        self.dim -= self._n_lifted

    @classmethod
    def _building(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> Building[Any]:
        made = cls._empty(vectors, metric, params)
        yield from cls._filling(made, vectors, metric)
        return cls(made, metric)

    @classmethod
    def _empty(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> Any:
        """Return Faiss's index for the rows, without them; one that compares all where they are too few."""
        require_metric(metric, cls.index_type, cls.metrics)
        require_known(params, cls.build_params, cls.index_type)
        _check_refinement(params)
        n_rows, dim = vectors.shape
        made = cls._make(dim, cls._space(metric), cls._fitted(params, n_rows))
        if n_rows < cls._n_to_learn_from(params):
            return faiss.IndexFlat(dim, faiss.METRIC_INNER_PRODUCT if metric == "IP" else faiss.METRIC_L2)
        if vectors.dtype != FLOAT32:
            made = cls._in_width(made, vectors.dtype, cls._space(metric))
        for clustering in (getattr(inner(made), "cp", None), getattr(_quantiser(made), "cp", None)):
            if clustering is not None:
                clustering.min_points_per_centroid = 1  # Faiss would print a warning
        return made

    @classmethod
    def _space(cls, metric: str) -> str:
        return LIFTED if metric == "IP" and cls.lifts else metric

    @classmethod
    def _filling(cls, made: Any, vectors: VectorArray, metric: str) -> Building[None]:
        """Let Faiss's empty index learn from the rows and take them, a block with each step."""
        space, n_lifted, square = cls._space(metric), made.d - vectors.shape[1], 0.0
        yield
        if isinstance(made, faiss.IndexFlat):
            space = metric
        else:
            picked = narrow.drawn(len(vectors), cls._n_sampled(made, vectors.shape[1]))
            square = _lifted_to(vectors, picked, space)
            sample = _learned_from(made, vectors, picked, space, square)
            cls._learn(inner(made), sample)
            del sample
            made.is_trained = True
        for block in narrow.blocks(*vectors.shape):
            yield
            rows = _searched_rows(as_float32(vectors[block]), space, n_lifted, square)
            cls._add_rows(made, rows, n_lifted)

    @classmethod
    def _learn(cls, index: Any, sample: FloatArray) -> None:
        """Let Faiss's empty index learn; where codes are not learned, without computing what would be encoded."""
        if not cls.learns_codes:
            index.train_q1(len(sample), faiss.swig_ptr(sample), False, index.metric_type)
            sample = sample[:1]
        index.train(sample)

    @classmethod
    def _n_sampled(cls, made: Any, dim: int) -> int:
        """Return how many rows Faiss's index learns from at most; more would take memory and better nothing."""
        of_codes = max(SAMPLED_ROWS, _SAMPLED_FLOATS // dim) if cls.learns_codes else 0
        n_lists = int(getattr(inner(made), "nlist", 0))
        return max(of_codes, n_lists * int(inner(made).cp.max_points_per_centroid) if n_lists else 0)

    @classmethod
    def _in_width(cls, made: Any, dtype: np.dtype[Any], space: str) -> Any:
        """Return an empty index as `made` that holds rows of a stored type in their own width, where the type can."""
        return made

    @classmethod
    def _add_rows(cls, made: Any, rows: FloatArray, n_lifted: int) -> None:
        """Add rows as they are searched, whose last numbers lift them."""
        made.add(rows)

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        if n_rows < cls._n_to_learn_from(params):
            return 4 * n_rows * dim
        owner = cls._make(dim, LIFTED if cls.lifts else "L2", cls._fitted(params, n_rows))
        made = inner(owner)  # part of its owner, and gone with it
        codes = getattr(_quantiser(made), "ksub", 0) + _NUMBERS_BESIDE
        n_vectors = int(getattr(made, "nlist", 0)) + int(codes)
        return n_rows * cls._row_bytes(made, params) + 4 * n_vectors * int(made.d)

    @classmethod
    def build_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        n_lists = int(integer(cls._fitted(params, n_rows), "nlist", 0, 0))
        at_once = max(_SAMPLED_FLOATS, max(SAMPLED_ROWS, 256 * n_lists) * dim)
        copies = 4 * _COPIES * min(n_rows * dim, at_once)
        tables = cls.loaded_bytes(0, n_rows, dim, params)
        return copies + tables + super().build_bytes(n_rows, dim, vector_bytes, params)

    @classmethod
    def _row_bytes(cls, made: Any, params: Mapping[str, Any]) -> int:
        """Return what a row takes in Faiss's index: its code and its number."""
        return int(made.code_size) + 8

    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        check_queries(queries, k, self.dim)
        if self._n_lifted:
            queries = np.pad(queries, ((0, 0), (0, self._n_lifted)))
        return super().search(queries, k, allowed, params)

    @classmethod
    def _fitted(cls, params: Mapping[str, Any], n_rows: int) -> Mapping[str, Any]:
        """Return the build parameters for so many rows."""
        return params

    @classmethod
    @abstractmethod
    def _n_to_learn_from(cls, params: Mapping[str, Any]) -> int:
        """Return how many rows are needed at least."""

    @abstractmethod
    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        """Return Faiss's search parameters for the index that has learned."""

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        if "refine_k" not in cls.search_params:
            return round(k * cls.default_refine_k)
        return max(k, round(k * number(params, "refine_k", cls.default_refine_k, 1.0, MAX_REFINE_K)))

    def _search_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        self.search_width(k, params)
        if self._is_flat:
            return None if selector is None else faiss.SearchParameters(sel=selector)
        parameters = self._learned_parameters(k, params, selector)
        if self._inner is self._index:
            return parameters
        return faiss.SearchParametersPreTransform(index_params=parameters)

    def _to_distances(self, found: FloatArray) -> None:
        if self._inner.metric_type == faiss.METRIC_INNER_PRODUCT:
            np.negative(found, out=found)

    @classmethod
    def _metric_number(cls, metric: str) -> int:
        return int(faiss.METRIC_INNER_PRODUCT if metric in ("IP", LIFTED) else faiss.METRIC_L2)

    @classmethod
    def _holds(cls, index: Any, metric: str) -> bool:
        if isinstance(index, faiss.IndexFlat):
            return bool((index.metric_type == faiss.METRIC_INNER_PRODUCT) == (metric == "IP"))
        held = inner(index)
        return isinstance(held, cls.faiss_class) and held.metric_type == cls._metric_number(metric)


def _lifted_to(vectors: VectorArray, picked: IntArray, space: str) -> float:
    """Return the square of the length that rows are lifted to, by those that are learned from."""
    if space != LIFTED:
        return 0.0
    squares = np.empty(len(picked), np.float32)
    for block in narrow.blocks(len(picked), vectors.shape[1]):
        rows = as_float32(vectors[picked[block]])
        squares[block] = np.einsum("ij,ij->i", rows, rows)
    return float(np.quantile(squares, LIFTED_TO))


def _learned_from(made: Any, vectors: VectorArray, picked: IntArray, space: str, square: float) -> FloatArray:
    """Return the rows that Faiss's index learns from, as they are behind its rotation; made block by block.

    Args:
        picked: their numbers.
        square: of the length that they are lifted to.
    """
    index, n_lifted = inner(made), made.d - vectors.shape[1]
    if index is made and space not in ("COSINE", LIFTED) and len(picked) == len(vectors):
        return as_float32(vectors)
    sample = np.empty((len(picked), index.d), np.float32)
    for block in narrow.blocks(*sample.shape):
        rows = _searched_rows(as_float32(vectors[picked[block]]), space, n_lifted, square)
        sample[block] = rows if index is made else made.chain.at(0).apply(rows)
    return sample


def _searched_rows(vectors: FloatArray, space: str, n_lifted: int, square: float) -> FloatArray:
    """Return the vectors as they are searched.

    Args:
        square: of the length that they are lifted to.
    """
    if space == "COSINE":
        return normalised(vectors)
    if space != LIFTED:
        return vectors
    squares = np.einsum("ij,ij->i", vectors, vectors)
    lifted = np.zeros((len(vectors), vectors.shape[1] + n_lifted), np.float32)
    lifted[:, : vectors.shape[1]] = vectors
    lifted[:, vectors.shape[1]] = np.sqrt(np.maximum(square - squares, 0.0))
    return lifted


def rotated(index: Any, dim: int) -> Any:
    """Return Faiss's index behind a random rotation, which spreads what differs evenly over the numbers of a vector.

    Args:
        index: takes vectors of `rotated_dim(dim)` numbers.
    """
    return faiss.IndexPreTransform(faiss.HadamardRotation(dim), index)


def rotated_dim(dim: int) -> int:
    """Return the length of a vector after a random rotation: the next power of two."""
    return int(faiss.HadamardRotation(dim).d_out)


def inner(index: Any) -> Any:
    """Return what is behind a rotation, or the index itself where there is none."""
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _quantiser(index: Any) -> Any:
    """Return the product quantiser of Faiss's index, which holds it or whose storage does; None without one."""
    holder = faiss.downcast_index(index.storage) if hasattr(index, "storage") else index
    return getattr(holder, "pq", None)


_SAMPLED_FLOATS = 1 << 26
"""Codes are learned from all rows where they come to no more numbers than this."""

_COPIES = 3
"""Copies of the rows that are learned from or added at once: lifted or normalised, turned, and in a sample."""

_NUMBERS_BESIDE = 16
"""For each number of a row, the bounds and signs that an index keeps once, at most."""

_BLOCK = 16
"""Numbers that the processor compares at once: vectors of another length are compared one by one."""


def lifted_dim(dim: int, space: str) -> int:
    """Return the dimension that is searched without product quantisation: more where rows are lifted.

    A length that fits the processor is kept one that does, and what was added can be told from the sum.
    """
    if space != LIFTED:
        return dim
    return dim + {0: _BLOCK, _BLOCK - 1: 2}.get(dim % _BLOCK, 1)


def n_lifted_by(index: Any) -> int:
    """Return by how many numbers the vectors of Faiss's index are lifted: by a part of product quantisation."""
    quantiser = _quantiser(index)
    if quantiser is not None:
        return int(quantiser.d // quantiser.M)
    return {0: _BLOCK, 1: 2}.get(index.d % _BLOCK, 1)


def _check_refinement(params: Mapping[str, Any]) -> None:
    choice(params, "refine_type", "FP32", REFINE_TYPES)
    for name in ("refine", "with_raw_data"):
        if str(params.get(name, True)).lower() not in ("true", "false"):
            raise InvalidArgument(f"{name} must be true or false, not {params[name]!r}")


def pq_bits(params: Mapping[str, Any]) -> int:
    """Return the bits of a code of product quantisation."""
    return integer(params, "nbits", 8, 1, MAX_PQ_BITS)


def pq_shape(params: Mapping[str, Any], dim: int, space: str) -> tuple[int, int]:
    """Return the dimension and the number of parts of product quantisation, one more where rows are lifted.

    By default a part is of eight numbers or more.

    Raises: InvalidArgument: they do not divide the dimension.
    """
    divisors = [m for m in range(1, dim + 1) if dim % m == 0]
    default = max(m for m in divisors if m <= max(1, dim // 8))
    m = integer(params, "m", default, 1, dim)
    if m not in divisors:
        raise InvalidArgument(f"m={m} does not divide the dimension {dim}; use one of {', '.join(map(str, divisors))}")
    return (dim + dim // m, m + 1) if space == LIFTED else (dim, m)
