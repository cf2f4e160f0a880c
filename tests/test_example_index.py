"""The index type in examples/kd_tree is installed as a third party's is, and passes the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "kd_tree"

USE = """
import numpy as np, roost
from roost.engine.index.registry import index_types
assert "KD_TREE" in index_types()
with roost.connect("db") as client:
    client.create_collection("rows", dimension=3, metric_type="L2")
    client.release_collection("rows")
    client.drop_index("rows", "vector")
    index = client.prepare_index_params()
    index.add_index("vector", index_type="KD_TREE", metric_type="L2", params={"leaf_size": 8})
    client.create_index("rows", index)
    client.load_collection("rows")
    vectors = np.random.default_rng(0).normal(size=(2_000, 3)).astype(np.float32)
    client.insert("rows", [{"id": i, "vector": vector, "n": i % 5} for i, vector in enumerate(vectors)])
    client.flush("rows")
    print([hit["id"] for hit in client.search("rows", data=vectors[7:8], limit=1, filter="n == 2")[0]])
with roost.connect("db") as client:
    print([hit["id"] for hit in client.search("rows", data=vectors[8:9], limit=1)[0]])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the example's distribution is installed, for other processes."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True)
    return {**os.environ, "PYTHONPATH": str(target)}


@pytest.mark.slow
def test_the_example_passes_the_contract(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text((EXAMPLE / "test_roost_kd_tree.py").read_text())
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0 and "passed" in ran.stdout, ran.stdout[-2_000:]


@pytest.mark.slow
def test_a_collection_is_built_searched_and_opened_with_it(environment: dict[str, str], tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["[7]", "[8]"], ran.stderr
