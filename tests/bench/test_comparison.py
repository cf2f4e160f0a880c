from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.comparison import Progress, compare
from bench.work import Plan, Work, make_work

pytestmark = pytest.mark.bench


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.random((300, 8), dtype=np.float32)
    return make_work(vectors, vectors[:20], Plan(steps=("recall",), rounds=1, batch_rows=100, efs=(10, 100)))


def test_a_server_that_fails_is_left_out_and_the_others_stay(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_MILVUS_URI", "http://127.0.0.1:port")
    monkeypatch.delenv("ROOST_MILVUS_PID", raising=False)
    figures = compare(work, tmp_path, ["milvus"], Progress())
    assert list(figures) == ["faiss", "roost"]
    assert figures["roost"].recalls["ef 100"] >= 0.95
    said = capfd.readouterr().out
    assert "milvus is left out" in said
    assert "milvus may still hold the rows of this run" in said
