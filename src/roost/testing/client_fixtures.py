"""Collections and rows that the client contract works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import DataType

Make: TypeAlias = Callable[..., str]
"""Makes a loaded collection with the quick set-up and returns its name."""

VECTORS = np.diag([1.0, 2.0, 3.0, 4.0]).astype(np.float32)
ROWS = [{"id": i, "vector": VECTORS[i], "colour": "red" if i % 2 else "blue", "size": i} for i in range(4)]


class ClientFixtures:
    """What the contract's tests work with. A subclass gives the `client` fixture."""

    @pytest.fixture
    def client(self) -> Iterator[Any]:
        raise NotImplementedError("a subclass gives the client to test")
        yield

    @pytest.fixture
    def prefix(self, client: Any) -> Iterator[str]:
        prefix = f"contract_{uuid4().hex[:10]}_"
        yield prefix
        for name in client.list_collections():
            if name.startswith(prefix):
                for alias in client.list_aliases(name)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(name)

    @pytest.fixture
    def make(self, client: Any, prefix: str) -> Make:
        def make(dimension: int = 4, **options: Any) -> str:
            name = f"{prefix}{uuid4().hex[:6]}"
            client.create_collection(name, dimension, **{"consistency_level": "Strong", **options})
            return name

        return make

    @pytest.fixture
    def filled(self, client: Any, make: Make) -> str:
        """A loaded collection of four rows: vectors along the axes, metric L2."""
        name = make(metric_type="L2")
        client.insert(name, ROWS)
        return name


def typed_collection(client: Any, prefix: str, *, indexed: bool = True) -> str:
    """Make a collection that has a field of each scalar type, and no dynamic field."""
    schema = client.create_schema()
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=5)
    schema.add_field("flag", DataType.BOOL)
    schema.add_field("tiny", DataType.INT8)
    schema.add_field("small", DataType.INT16)
    schema.add_field("medium", DataType.INT32)
    schema.add_field("large", DataType.INT64)
    schema.add_field("single", DataType.FLOAT)
    schema.add_field("double", DataType.DOUBLE)
    schema.add_field("text", DataType.VARCHAR, max_length=4)
    schema.add_field("document", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2") if indexed else None
    name = f"{prefix}{uuid4().hex[:6]}"
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    return name


def typed_row() -> dict[str, Any]:
    return {
        "key": "a",
        "flag": True,
        "tiny": -128,
        "small": 2,
        "medium": 3,
        "large": 2**62,
        "single": 1.5,
        "double": 0.1,
        "text": "äö",
        "document": {"x": [1, {"y": None}], "z": "ü"},
        "vector": np.array([1.0, 2.5]),
    }
