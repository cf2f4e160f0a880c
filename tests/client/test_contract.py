"""The client contract over the embedded engine and over a real Milvus server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.client import connect
from roost.testing.client_contract import ClientContract


class TestEmbedded(ClientContract):
    @pytest.fixture
    def client(self, db_path: Path) -> Iterator[Any]:
        client = connect(db_path)
        yield client
        client.close()


@pytest.mark.milvus
class TestMilvus(ClientContract):
    @pytest.fixture
    def client(self, milvus_uri: str) -> Iterator[Any]:
        client = connect(milvus_uri)
        yield client
        client.close()
