from __future__ import annotations

from roost.engine.index.faiss_flat import FaissFlat
from roost.testing.index_contract import IndexContract


class TestFaissFlat(IndexContract):
    index_class = FaissFlat
    recall_floor = 1.0
