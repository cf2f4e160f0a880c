from __future__ import annotations

import pytest
from pymilvus import DataType

from roost.engine.scalar.types import check_scalar_index, is_scalar_type
from roost.engine.schema import Field
from roost.errors import InvalidArgument


def field(dtype: DataType, is_primary: bool = False) -> Field:
    return Field("x", dtype, 100, is_primary=is_primary, max_length=9 if dtype == DataType.VARCHAR else None)


@pytest.mark.parametrize(
    ("index_type", "dtype"),
    [
        ("INVERTED", DataType.BOOL),
        ("INVERTED", DataType.VARCHAR),
        ("inverted", DataType.FLOAT),
        ("STL_SORT", DataType.INT8),
        ("STL_SORT", DataType.DOUBLE),
        ("BITMAP", DataType.BOOL),
        ("BITMAP", DataType.INT64),
        ("Trie", DataType.VARCHAR),
        ("AUTOINDEX", DataType.BOOL),
        ("AUTOINDEX", DataType.DOUBLE),
    ],
)
def test_fields_that_a_type_takes(index_type: str, dtype: DataType) -> None:
    check_scalar_index(field(dtype), index_type, {})


@pytest.mark.parametrize(
    ("index_type", "dtype", "message"),
    [
        ("STL_SORT", DataType.VARCHAR, "choose one of INVERTED, Trie, BITMAP, AUTOINDEX"),
        ("STL_SORT", DataType.BOOL, "choose one of INVERTED, BITMAP, AUTOINDEX"),
        ("Trie", DataType.INT64, "choose one of INVERTED, STL_SORT, BITMAP, AUTOINDEX"),
        ("BITMAP", DataType.FLOAT, "choose one of INVERTED, STL_SORT, AUTOINDEX"),
        ("HNSW", DataType.INT64, "index type HNSW on 'x', a field of type INT64, is not allowed"),
        ("AUTOINDEX", DataType.JSON, "it takes no index; filters work without one"),
    ],
)
def test_fields_that_a_type_does_not_take(index_type: str, dtype: DataType, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        check_scalar_index(field(dtype), index_type, {})
    assert caught.value.code == 1100


def test_a_primary_key_takes_no_bitmaps() -> None:
    check_scalar_index(field(DataType.INT64, is_primary=True), "INVERTED", {})
    with pytest.raises(InvalidArgument, match="every primary key is different"):
        check_scalar_index(field(DataType.INT64, is_primary=True), "BITMAP", {})


def test_parameters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="unknown index parameter 'nlist'"):
        check_scalar_index(field(DataType.INT64), "INVERTED", {"nlist": 3})


def test_types_for_scalar_fields_alone() -> None:
    assert is_scalar_type("trie") and is_scalar_type("BITMAP")
    assert not is_scalar_type("AUTOINDEX") and not is_scalar_type("FLAT")
