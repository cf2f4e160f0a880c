"""A vision transformer in ONNX's format, of the build of real ones.

Its weights are random: what it costs to run is what a trained one costs, and nothing here depends on what it sees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""The first with LayerNormalization."""


class _Graph:
    """Nodes and weights in the order in which they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: npt.ArrayLike) -> str:
        name = f"w-{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def linear(self, x: str, n_in: int, n_out: int) -> str:
        weight = self._rng.normal(0, n_in**-0.5, (n_in, n_out)).astype(np.float32)
        return self.add("Add", self.add("MatMul", x, self.constant(weight)), self.constant(np.zeros(n_out, np.float32)))

    def normalised(self, x: str, width: int) -> str:
        one, zero = self.constant(np.ones(width, np.float32)), self.constant(np.zeros(width, np.float32))
        return self.add("LayerNormalization", x, one, zero)


def transformer(side: int = 28, patch: int = 4, width: int = 192, heads: int = 3, layers: int = 4) -> onnx.ModelProto:
    """Return an encoder of square images of `side` pixels, (n, side * side) float32, into (n, width).

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; pre-norm blocks, and the mean over the patches.
    """
    graph, n_a_side = _Graph(0), side // patch
    n_patches, n_pixels = n_a_side**2, patch**2
    grid = graph.add("Reshape", "images", graph.constant(np.array([-1, n_a_side, patch, n_a_side, patch])))
    x = graph.add("Transpose", grid, perm=[0, 1, 3, 2, 4])
    x = graph.add("Reshape", x, graph.constant(np.array([-1, n_patches, n_pixels])))
    x = graph.linear(x, n_pixels, width)
    for _ in range(layers):
        x = graph.add("Add", x, _attention(graph, graph.normalised(x, width), n_patches, width, heads))
        inner = graph.linear(graph.normalised(x, width), width, 4 * width)
        gate = graph.add("Sigmoid", graph.add("Mul", inner, graph.constant(np.float32(1.702))))
        x = graph.add("Add", x, graph.linear(graph.add("Mul", inner, gate), 4 * width, width))
    x = graph.add("ReduceMean", graph.normalised(x, width), axes=[1], keepdims=0)
    graph.nodes.append(helper.make_node("Identity", [x], ["vectors"]))
    made = helper.make_graph(
        graph.nodes,
        "vit",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", side * side])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", width])],
        graph.weights,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _attention(graph: _Graph, x: str, n_patches: int, width: int, heads: int) -> str:
    split = graph.constant(np.array([-1, n_patches, heads, width // heads]))

    def projected(perm: list[int]) -> str:
        return graph.add("Transpose", graph.add("Reshape", graph.linear(x, width, width), split), perm=perm)

    queries, keys, values = projected([0, 2, 1, 3]), projected([0, 2, 3, 1]), projected([0, 2, 1, 3])
    scale = graph.constant(np.float32((width // heads) ** -0.5))
    weights = graph.add("Softmax", graph.add("Mul", graph.add("MatMul", queries, keys), scale), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, values), perm=[0, 2, 1, 3])
    joined = graph.add("Reshape", mixed, graph.constant(np.array([-1, n_patches, width])))
    return graph.linear(joined, width, width)
