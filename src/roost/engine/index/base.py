"""The contract of a vector index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pymilvus import DataType

from roost.engine.columns import Bitmap, Bytes, Neighbours, VectorArray
from roost.engine.index.parameters import METRICS

FLOAT_ONLY = (DataType.FLOAT_VECTOR,)
NUMBERS = (*FLOAT_ONLY, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR)
"""The types of vectors whose numbers have a sum and a product; all of them are compared in float32."""

GROWTH = 2
"""How many times its size an index takes while its arrays grow: an array moves into a larger one when it is full."""

_UNKNOWN_ROW_BYTES = 256
"""What a type that does not say more takes for a row beside its vector."""


class VectorIndex(ABC):
    """An index over the rows of one segment, numbered from 0 in the order in which they were added.

    Distances are smaller-is-closer for every metric: squared Euclidean for L2, the negated inner
    product for IP, the negated cosine for COSINE (an index normalises its own copy of the vectors
    and of the queries; callers never do). Those of an index that `compresses` need only order the rows so.

    `search` may be called from any number of threads at once, and gives up the interpreter lock
    while it works. `add` and `save` need the index for themselves: the engine calls them only on
    an index that no reader has seen yet.
    """

    index_type: ClassVar[str]
    """The type's name in Milvus, for example "HNSW". It is what is stored on disk."""

    search_params: ClassVar[tuple[str, ...]] = ()
    """The names of the search parameters that the type takes."""

    metrics: ClassVar[tuple[str, ...]] = METRICS
    """The metrics that the type takes."""

    vector_types: ClassVar[tuple[DataType, ...]] = FLOAT_ONLY
    """The types of vector fields that it takes. It is built of arrays of their stored types (`schema.VECTOR_TYPES`),
    and asked with float32 of numbers that the type can hold; for binary vectors with uint8, as the rows are."""

    learns: ClassVar[bool] = False
    """Whether it is made for the very rows that it is built of: it learns from them, or takes them all at once.

    The engine builds it of all rows of a segment together, and anew where segments are merged; other types are
    grown row by row, and `add` is called for those alone.
    """

    compresses: ClassVar[bool] = False
    """Whether its distances only order the rows, as those of compressed vectors do. The engine then asks for
    `n_refined` rows, and compares these with the full vectors of the segment."""

    filtered_refinement: ClassVar[int] = 1
    """How many times `n_refined` rows are compared again under a filter; for a type that compresses and has no width.
    The nearest of all rows stand out from the others, and those that a filter leaves do so less."""

    on_disk: ClassVar[bool] = False
    """Whether the full vectors are to stay on disk, and be read row by row where they are compared again."""

    in_place: ClassVar[bool] = False
    """Whether a search reads all over the content of the index's file as it lies in memory (`load_from`), so that it
    gains by larger pages than the system's usual ones."""

    metric: str
    dim: int

    @classmethod
    @abstractmethod
    def build(cls, vectors: VectorArray, metric: str, params: Mapping[str, Any]) -> VectorIndex:
        """Return an index over `vectors` ((n, dim) of a type in `vector_types`, not modified).

        Raises: InvalidArgument: a parameter or the metric is not allowed for this type.
        """

    @classmethod
    def build_until(
        cls, vectors: VectorArray, metric: str, params: Mapping[str, Any], stopping: Callable[[], bool]
    ) -> VectorIndex | None:
        """Return what `build` returns, or None where it was told to stop. For types that learn.

        Args:
            stopping: whether to stop; it may do work of its own. A type whose building takes long asks it between
                blocks of rows (`building`); others are built in one go, for which closing a database then waits.
        """
        return None if stopping() else cls.build(vectors, metric, params)

    @classmethod
    @abstractmethod
    def load(cls, path: Path, metric: str, params: Mapping[str, Any], *, mmap: bool = True) -> VectorIndex:
        """Return the index that `save` wrote; with `mmap` its bulk stays in the page cache.

        An index loaded with mmap=False may be added to.
        Raises: Corruption: the file cannot be read as an index of this type.
        """

    @classmethod
    def load_from(cls, content: Bytes, path: Path, metric: str, params: Mapping[str, Any]) -> VectorIndex:
        """Return the index that `save` wrote to a file, searched where its content lies; `content` is kept.

        Called in place of `load` for a type that is searched `in_place`, where the content could be had in large pages.

        Raises: Corruption: the content cannot be read as an index of this type.
        """
        raise NotImplementedError(f"{cls.__name__} is not searched in place")

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the index to `path` (one file). The caller makes it durable."""

    @abstractmethod
    def add(self, vectors: VectorArray) -> None:
        """Append rows; their numbers go on from `n_rows`."""

    @abstractmethod
    def search(
        self, queries: VectorArray, k: int, allowed: Bitmap | None = None, params: Mapping[str, Any] | None = None
    ) -> Neighbours:
        """Return the k nearest rows of each query, nearest first.

        Args:
            queries: (n_queries, dim) float32 (binary: uint8, eight numbers each), C-contiguous; not modified.
            allowed: (ceil(n_rows / 8),) uint8, little-endian bits; a zero bit skips the row.
            params: search parameters of the type, for example {"ef": 64}; unknown keys are refused.
        Returns: ids (n_queries, k) int64 padded with -1; distances (n_queries, k) padded with inf.
        Raises: InvalidArgument: a search parameter is unknown or out of its range.
        """

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows in the index."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes that the index holds, in memory or mapped."""

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        """Check the search parameters and return the width of a search for k rows; 0 for a type that has none.

        The rows up to about that rank are found nearly as surely as the nearest ones. A filtered search is made wider
        (`with_width`) until its recall is that of the unfiltered one. Without a width, the type's own `search`
        has to hold the recall under a bitmap.

        Raises: InvalidArgument: a search parameter is unknown or out of its range.
        """
        return 0

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        """Return the search parameters of a search of at least that width.

        Args:
            k: of the search that `params` are for.
        """
        return params

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        """Return how many rows to compare again with the full vectors where the k nearest are wanted, at least k.

        Raises: InvalidArgument: a search parameter is out of its range.
        """
        return k

    @classmethod
    def index_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        """Return about how large the file of an index becomes, rather more than less, before it is built.

        Args:
            vector_bytes: that the vectors take as they are stored, all together.
        """
        return max(vector_bytes, 4 * n_rows * dim) + _UNKNOWN_ROW_BYTES * n_rows

    @classmethod
    def build_bytes(cls, n_rows: int, dim: int, vector_bytes: int, params: Mapping[str, Any]) -> int:
        """Return about how much memory a build takes at its peak, rather more than less.

        The vectors that it is built of come on top. Arguments as of `index_bytes`.
        """
        return 4 * n_rows * dim + GROWTH * cls.index_bytes(n_rows, dim, vector_bytes, params)

    @classmethod
    def loaded_bytes(cls, file_bytes: int, n_rows: int, dim: int, params: Mapping[str, Any]) -> int:
        """Return what an index takes when it is loaded; a type that maps its file takes no more than that."""
        return file_bytes

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What those who search the index remember of it. It goes with the index, so it must not hold it."""
        return {}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        """Return about how many rows a filtered search of that width compares with one query, in full rows' worth.

        Args:
            k, params: of the search that is made as wide.
        """
        return self.n_rows
