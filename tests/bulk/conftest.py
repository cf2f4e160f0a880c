from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import roost
from roost.embedded import EmbeddedClient

N_ROWS = 2_000
DIM = 16


@pytest.fixture
def client(db_path: Path) -> Iterator[EmbeddedClient]:
    """An embedded database with the empty collection "c": id, vector, and a dynamic field."""
    with roost.connect(db_path, durability="normal") as client:
        client.create_collection("c", dimension=DIM, metric_type="L2")
        yield client


@pytest.fixture
def vectors(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return rng.random((N_ROWS, DIM), dtype=np.float32)
