from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusException

from roost.errors import InvalidArgument, InvalidFilter, StorageFailure
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.traffic import Query


class Refusing:
    """A client whose server answers every search with an error."""

    def __init__(self, error: MilvusException) -> None:
        self.error = error

    def search(self, *_: Any, **__: Any) -> Any:
        raise self.error


TARGET: Any = SimpleNamespace(deployment=SimpleNamespace(collection="shop", name="v1", search_params={}))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("failed to create query plan: cannot parse expression: label ==, error: line 1:8", InvalidFilter),
        ("failed to create query plan: predicate is not a boolean expression: id + 1", InvalidFilter),
        ("topk [100000] is invalid, top k should be in range [1, 16384], but got 100000", InvalidArgument),
        ("parse output field name failed: a-b", InvalidArgument),
        ("worker(1) query failed: => failed to search: out of range in json: ef(1) should be larger", InvalidArgument),
        ("worker(1) query failed: => failed to search: invalid value in json: stoi", InvalidArgument),
        ("failed to search: type conflict in json: param ef should be integer", InvalidArgument),
    ],
)
def test_what_a_server_refuses_is_the_caller_s_mistake(message: str, kind: type[MilvusException]) -> None:
    """The messages are those of Milvus 2.3.5."""
    client: Any = Refusing(MilvusException(code=65535, message=message))
    with pytest.raises(kind, match=r"."):
        traffic.search(client, TARGET, "L2", "id", np.zeros((1, 4), np.float32), Query(10))


@pytest.mark.parametrize(
    "error",
    [MilvusException(code=65535, message="no available shard delegator"), StorageFailure("invalid value in json")],
)
def test_what_fails_otherwise_stays_as_it_is(error: MilvusException) -> None:
    client: Any = Refusing(error)
    with pytest.raises(MilvusException) as raised:
        traffic.search(client, TARGET, "L2", "id", np.zeros((1, 4), np.float32), Query(10))
    assert raised.value is error
