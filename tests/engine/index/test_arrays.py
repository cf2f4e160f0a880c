from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roost.engine.index.arrays import read_arrays, write_arrays
from roost.errors import Corruption

ARRAYS = [np.arange(12, dtype=np.uint8).reshape(3, 4), np.empty(0, np.int64), np.array([1.5, 2.5], np.float32)]


@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_come_back(mmap: bool, tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", ARRAYS)
    for given, found in zip(ARRAYS, read_arrays(tmp_path / "file", 3, mmap=mmap), strict=True):
        assert (found.dtype, found.shape) == (given.dtype, given.shape)
        assert np.array_equal(found, given)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("damage", ["cut", "longer", "foreign", "missing", "fewer", "empty"])
def test_a_damaged_file_is_refused(damage: str, mmap: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_arrays(path, ARRAYS[:2] if damage == "fewer" else ARRAYS)
    whole = path.read_bytes()
    damaged = {"cut": whole[:-1], "longer": whole + b"x", "foreign": b"something else" * 40, "empty": b""}
    path.write_bytes(damaged.get(damage, whole))
    if damage == "missing":
        path.unlink()
    with pytest.raises(Corruption, match="cannot be read as an index of 3 arrays"):
        read_arrays(path, 3, mmap=mmap)


def test_no_object_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "file.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Corruption):
        read_arrays(tmp_path / "file.npy", 1, mmap=False)
