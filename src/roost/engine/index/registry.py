"""Which class serves which index type."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import numpy as np
from pymilvus import DataType

from roost.engine.index.base import VectorIndex
from roost.engine.index.binary_flat import BinaryFlat
from roost.engine.index.binary_ivf import BinaryIvf
from roost.engine.index.faiss_disk import FaissDisk
from roost.engine.index.faiss_flat import FaissFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.faiss_hnsw_compressed import FaissHnswPq, FaissHnswRabitq, FaissHnswSq
from roost.engine.index.faiss_ivf import FaissIvfFlat, FaissIvfPq, FaissIvfRabitq, FaissIvfSq8, FaissScann
from roost.engine.index.sparse_inverted import SparseInverted, SparseWand
from roost.engine.index.sparse_rows import sparse_rows
from roost.engine.schema import SPARSE, Field
from roost.errors import InvalidArgument, MissingDependency, NotSupported

ENTRY_POINT_GROUP = "roost.indexes"
"""An entry point of this group has an index type as its name and a `VectorIndex` class as its object."""

AUTO_TYPES = frozenset({"", "AUTOINDEX"})
AUTO_PARAMS: Mapping[str, Any] = {"M": 16, "efConstruction": 200}
"""What AUTOINDEX builds: HNSW with these parameters."""

_AUTO_OF_TYPE: Mapping[DataType, str] = {DataType.BINARY_VECTOR: "BIN_FLAT", SPARSE: "SPARSE_INVERTED_INDEX"}

# Types of Milvus's float vectors that the embedded engine does not have.
_MILVUS_TYPES = frozenset(
    {
        "GPU_BRUTE_FORCE",
        "GPU_CAGRA",
        "GPU_IVF_FLAT",
        "GPU_IVF_PQ",
        "HNSW_PRQ",
    }
)

# The extra that brings the library of an index type.
_EXTRAS: Mapping[str, str] = {"ANNOY": "annoy", "NMSLIB_HNSW": "nmslib", "NMSLIB_SW_GRAPH": "nmslib"}

# Roost's own types whose library is optional: they are imported when they are asked for.
_OPTIONAL = (
    EntryPoint("ANNOY", "roost.engine.index.annoy:AnnoyForest", ENTRY_POINT_GROUP),
    EntryPoint("NMSLIB_HNSW", "roost.engine.index.nmslib:NmslibHnsw", ENTRY_POINT_GROUP),
    EntryPoint("NMSLIB_SW_GRAPH", "roost.engine.index.nmslib:NmslibSwGraph", ENTRY_POINT_GROUP),
)

_IndexT = TypeVar("_IndexT", bound=type[VectorIndex])

_registered: dict[str, type[VectorIndex]] = {}


def register_index(cls: _IndexT) -> _IndexT:
    """Make an index class known under its `index_type`; works as a decorator.

    Raises: InvalidArgument: another class holds the name already.
    """
    name = cls.index_type.upper()
    holder = _registered.setdefault(name, cls)
    if holder is not cls:
        raise InvalidArgument(f"index type {name} is registered already, by {holder.__module__}.{holder.__qualname__}")
    return cls


def index_types() -> tuple[str, ...]:
    """Return the names of the types that there are, sorted; some need a library that an extra installs."""
    return tuple(sorted(_registered.keys() | {point.name.upper() for point in _installed()}))


def resolve_index(index_type: str) -> type[VectorIndex]:
    """Return the class of an index type; the name's case does not matter.

    Raises:
        InvalidArgument: no such type exists, or an entry point names something that is not an index.
        NotSupported: Milvus has the type and the embedded engine does not.
        MissingDependency: the type's library is not installed.
    """
    name = index_type.upper()
    if name in AUTO_TYPES:
        return FaissHnsw
    found = _registered.get(name)
    return _load(name) if found is None else found


def named_type(index_type: str, vector_type: DataType) -> str:
    """Return the index type that is meant for a type of vectors; AUTOINDEX compares all binary ones."""
    return _AUTO_OF_TYPE.get(vector_type, index_type) if index_type.upper() in AUTO_TYPES else index_type


def check_definition(field: Field, index_type: str, metric: str, params: Mapping[str, Any]) -> None:
    """Refuse an index that cannot be built on a vector field.

    Raises:
        InvalidArgument: the type does not take such vectors, or a metric or a parameter is not allowed.
        NotSupported, MissingDependency: as `resolve_index`.
    """
    kind = resolve_index(index_type)
    if field.dtype not in kind.vector_types:
        taken = [name for name, known in sorted(_registered.items()) if field.dtype in known.vector_types]
        raise InvalidArgument(
            f"index type {index_type or 'AUTOINDEX'} does not take field {field.name!r} of type {field.dtype.name}; "
            f"use one of: {', '.join(taken)}"
        )
    # An empty index is made and thrown away: each type checks its own parameters.
    none = np.empty((0, *field.row_shape), field.vector_dtype) if field.is_matrix else sparse_rows([])
    kind.build(none, metric, resolve_params(index_type, params))


def resolve_params(index_type: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the build parameters of a type: AUTOINDEX chooses its own, and ignores what it is given."""
    return AUTO_PARAMS if index_type.upper() in AUTO_TYPES else params


def _load(name: str) -> type[VectorIndex]:
    for point in _installed():
        if point.name.upper() == name:
            return register_index(_import(name, point))
    known = f"available: {', '.join(index_types())}, AUTOINDEX"
    if name in _MILVUS_TYPES:
        raise NotSupported(f"index type {name} is not in the embedded engine yet; {known}")
    raise InvalidArgument(f"unknown index type {name!r}; {known}")


def _import(name: str, point: Any) -> type[VectorIndex]:
    try:
        cls = point.load()
    except ImportError as error:
        hint = f"pip install 'roost[{_EXTRAS[name]}]'" if name in _EXTRAS else f"install what {point.value} imports"
        raise MissingDependency(f"index type {name} needs a library that is missing ({error}): {hint}") from error
    if not (isinstance(cls, type) and issubclass(cls, VectorIndex)):
        raise InvalidArgument(f"entry point {name} of {ENTRY_POINT_GROUP} is {point.value}, which is not a VectorIndex")
    return cls


def _installed() -> Any:
    return (*entry_points(group=ENTRY_POINT_GROUP), *_OPTIONAL)


for _own in (
    BinaryFlat,
    BinaryIvf,
    FaissDisk,
    FaissFlat,
    FaissHnsw,
    FaissHnswPq,
    FaissHnswRabitq,
    FaissHnswSq,
    FaissIvfFlat,
    FaissIvfPq,
    FaissIvfRabitq,
    FaissIvfSq8,
    FaissScann,
    SparseInverted,
    SparseWand,
):
    register_index(_own)
