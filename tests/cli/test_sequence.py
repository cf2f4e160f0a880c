"""The commands of a model's life, as docs/cli.md shows them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMAND = "    roost "
SHOP_MODELS = """
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import roost

images = load_digits().data[:200].astype(np.float32)


def embedder():
    return roost.SklearnEmbedder(PCA(4, random_state=0).fit(images))


def records():
    return [{"id": row, "content": image} for row, image in enumerate(images)]
"""


def sequence():
    """Return the commands between the heading of the sequence and the next one."""
    part = PAGE.read_text(encoding="utf-8").partition("## A new model")[2].partition("\n## ")[0]
    return [shlex.split(line, comments=True)[1:] for line in part.splitlines() if line.startswith(COMMAND)]


def write_onnx(path):
    onnx = pytest.importorskip("onnx")
    matrix = onnx.numpy_helper.from_array(np.eye(64, 8, dtype=np.float32), "m")
    value = onnx.helper.make_tensor_value_info
    x, y = (value(name, onnx.TensorProto.FLOAT, ["n", dim]) for name, dim in (("x", 64), ("y", 8)))
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "m"], ["y"])], "g", [x], [y], [matrix])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.slow
def test_the_sequence_of_the_page_works(roost, work_folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("shop_models.py").write_text(SHOP_MODELS, encoding="utf-8")
    write_onnx("better.onnx")
    images = load_digits().data[:200].astype(np.float32)
    content = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), 64)
    pq.write_table(pa.table({"id": pa.array(range(200)), "content": content}), "images.parquet")
    commands = sequence()
    assert len(commands) == 14
    for words in commands:
        result = roost(*words)
        assert result.exit_code == 0, (words, result.stdout, result.stderr)
    assert "digits-v1" in roost("endpoint", "list", "./shop").stdout
