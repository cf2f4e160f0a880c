"""Roost's embedded engine, with default settings: every insert is durable when it returns."""

from __future__ import annotations

from typing import Any

import roost
from bench.systems.milvus_api import MilvusApi


class Adapter(MilvusApi):
    def connect(self) -> Any:
        return roost.connect(str(self.folder / "bench.roost"))
