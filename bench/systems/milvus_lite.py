"""Milvus Lite: Milvus's interface in a local file, over gRPC to a server that the client starts."""

from __future__ import annotations

from typing import Any

from pymilvus import MilvusClient

from bench.systems.milvus_api import MilvusApi


class Adapter(MilvusApi):
    def connect(self) -> Any:
        return MilvusClient(str(self.folder / "bench.db"))
