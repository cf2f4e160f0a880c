from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.embedders.safetensors import SafetensorsEmbedder
from roost.lifecycle.models.preprocess import Images

RANDOM = np.random.default_rng(0)
NETWORK = {
    "0.weight": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "0.bias": RANDOM.normal(size=5).astype(np.float32),
    "2.weight": RANDOM.normal(size=(3, 5)).astype(np.float32),
}
ROWS = RANDOM.normal(size=(7, 4)).astype(np.float32)


def test_layers_are_run_as_torch_runs_a_sequence_of_them() -> None:
    embedder = SafetensorsEmbedder(NETWORK)
    hidden = np.maximum(ROWS @ NETWORK["0.weight"].T + NETWORK["0.bias"], 0)
    np.testing.assert_allclose(embed_checked(embedder, ROWS), hidden @ NETWORK["2.weight"].T, rtol=1e-6)
    assert (embedder.dim, repr(embedder)) == (3, "SafetensorsEmbedder(4 -> 5 -> 3)")
    assert embedder.embed([]).shape == (0, 3)


def test_layers_are_in_the_order_of_their_numbers() -> None:
    tensors = {f"net.{place}.weight": np.full((1, 1), factor) for place, factor in [(10, 2.0), (9, 3.0)]}
    shifted = {**tensors, "net.9.bias": np.array([1.0])}
    assert SafetensorsEmbedder(shifted, activation="none").embed([[1.0]]).tolist() == [[8.0]]


def test_options() -> None:
    made = SafetensorsEmbedder(NETWORK, activation="tanh", normalize=True).embed(ROWS)
    hidden = np.tanh(ROWS @ NETWORK["0.weight"].T + NETWORK["0.bias"]) @ NETWORK["2.weight"].T
    np.testing.assert_allclose(made, hidden / np.linalg.norm(hidden, axis=1, keepdims=True), rtol=1e-5)
    zeros = SafetensorsEmbedder({"0.weight": np.zeros((2, 2))}, normalize=True).embed([[1.0, 1.0]])
    assert zeros.tolist() == [[0.0, 0.0]]


def test_save_and_load_keep_vectors_and_fingerprint(tmp_path: Path) -> None:
    embedder = SafetensorsEmbedder({"0.weight": np.ones((2, 6), dtype=np.float16)}, preprocess=Images(3, 2))
    embedder.save(tmp_path)
    loaded = SafetensorsEmbedder.load(tmp_path)
    images = [np.full((2, 3), 51, dtype=np.uint8)]
    np.testing.assert_array_equal(loaded.embed(images), embedder.embed(images))
    assert loaded.fingerprint == embedder.fingerprint
    np.testing.assert_allclose(loaded.embed(images), [[1.2, 1.2]], rtol=1e-6)


def test_a_file_is_the_model_of_its_tensors(tmp_path: Path) -> None:
    save_file(NETWORK, tmp_path / "weights.safetensors")
    from_file = SafetensorsEmbedder(tmp_path / "weights.safetensors")
    assert from_file.fingerprint == SafetensorsEmbedder(NETWORK).fingerprint
    others = [
        SafetensorsEmbedder(NETWORK, activation="tanh"),
        SafetensorsEmbedder(NETWORK, normalize=True),
        SafetensorsEmbedder({**NETWORK, "0.bias": NETWORK["0.bias"] + np.float32(1e-3)}),
    ]
    assert len({from_file.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "there are no weights"),
        ({"embedding": np.ones((2, 2))}, "'embedding' of type float64 is not one of a linear layer"),
        ({"0.weight": np.ones((2, 2), dtype=np.int8)}, "of type int8"),
        ({"0.weight": np.ones((2, 2, 2))}, "layer 0 has no weight"),
        ({"0.bias": np.ones(2)}, "layer 0 has no weight"),
        ({"0.weight": np.ones((2, 2)), "0.bias": np.ones(3)}, r"bias of shape \(3,\) for 2 outputs"),
        ({"0.weight": np.ones((2, 2)), "1.weight": np.ones((2, 3))}, "takes 3 numbers; the one before gives 2"),
        ({"a.0.weight": np.ones((2, 2)), "b.0.weight": np.ones((2, 2))}, "twice"),
    ],
)
def test_tensors_that_are_no_layers_are_refused(tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        SafetensorsEmbedder(tensors)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="activation='gelu'"):
        SafetensorsEmbedder(NETWORK, activation="gelu")
    with pytest.raises(InvalidData, match="cannot embed"):
        embed_checked(SafetensorsEmbedder(NETWORK), np.ones((2, 3)))
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(Corruption, match=r"model\.safetensors cannot be read"):
        SafetensorsEmbedder(tmp_path / "model.safetensors")
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(Corruption, match="configuration"):
        SafetensorsEmbedder.load(tmp_path)
