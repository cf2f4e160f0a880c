"""The types of scalar indexes, and which fields take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pymilvus import DataType

from roost.engine.schema import Field
from roost.errors import InvalidArgument

AUTO_TYPE: Final = "AUTOINDEX"
BITMAP_TYPE: Final = "BITMAP"

_INTEGERS: Final = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_NUMBERS: Final = _INTEGERS | {DataType.FLOAT, DataType.DOUBLE}
_EVERY: Final = _NUMBERS | {DataType.BOOL, DataType.VARCHAR}

_TAKES: Final[Mapping[str, frozenset[DataType]]] = {
    "INVERTED": _EVERY,
    "STL_SORT": _NUMBERS,
    "TRIE": frozenset({DataType.VARCHAR}),
    BITMAP_TYPE: _INTEGERS | {DataType.BOOL, DataType.VARCHAR},
    AUTO_TYPE: _EVERY,
}
"""The fields that each type takes, as in Milvus."""

_SPELLED: Final = {"TRIE": "Trie"}


def is_scalar_type(index_type: str) -> bool:
    """Whether a name is that of a type for scalar fields alone; the name's case does not matter."""
    return index_type.upper() in _TAKES and index_type.upper() != AUTO_TYPE


def check_scalar_index(field: Field, index_type: str, params: Mapping[str, Any]) -> None:
    """Check that a scalar field takes an index type with these parameters.

    Raises: InvalidArgument: it does not; the message says which it takes.
    """
    name = index_type.upper()
    allowed = [_SPELLED.get(kind, kind) for kind, takes in _TAKES.items() if field.dtype in takes]
    if name == BITMAP_TYPE and field.is_primary:
        raise InvalidArgument(f"index type BITMAP on {field.name!r} is not allowed: every primary key is different")
    if field.dtype not in _TAKES.get(name, ()):
        choice = f"choose one of {', '.join(allowed)}" if allowed else "it takes no index; filters work without one"
        raise InvalidArgument(
            f"index type {index_type} on {field.name!r}, a field of type {field.dtype.name}, is not allowed: {choice}"
        )
    if params:
        raise InvalidArgument(f"unknown index parameter {next(iter(params))!r}: scalar index {index_type} takes none")
