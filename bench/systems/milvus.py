"""A Milvus server at ROOST_MILVUS_URI, over gRPC."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from pymilvus import MilvusClient

from bench.systems.milvus_api import MilvusApi

POLL_S = 0.1


class Adapter(MilvusApi):
    is_server: ClassVar[bool] = True

    def connect(self) -> Any:
        return MilvusClient(os.environ["ROOST_MILVUS_URI"])

    def flush(self) -> None:
        """Wait for the index too, and load it: until then a server answers from rows without an index."""
        super().flush()
        while self.client.describe_index(self.collection, "vector")["pending_index_rows"]:
            time.sleep(POLL_S)
        self.client.release_collection(self.collection)
        self.client.load_collection(self.collection)

    def close(self) -> None:
        """Release the collection, so that opening it again reads it from where the server stores it."""
        self.client.release_collection(self.collection)
        super().close()

    def drop(self) -> None:
        client = self.connect()
        client.drop_collection(self.collection)
        client.close()

    def process_ids(self) -> Sequence[int]:
        known = os.environ.get("ROOST_MILVUS_PID")
        return (int(known),) if known else ()
