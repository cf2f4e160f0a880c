from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.decomposition import PCA

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.embedders.onnx import OnnxEmbedder, pooled
from roost.lifecycle.models.preprocess import Images, Scale
from tests.lifecycle.conftest import Digits


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any] | None = None) -> bytes:
    initial = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    made = helper.make_graph(nodes, "test", inputs, outputs, initial)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    content: bytes = model.SerializeToString()
    return content


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def doubling(shape: list[Any]) -> bytes:
    """A model whose output is twice its input."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return graph(nodes, [value("x", shape)], [value("y", shape)])


@pytest.fixture(scope="session")
def pca(digits: Digits) -> tuple[PCA, bytes]:
    fitted = PCA(4, svd_solver="full").fit(digits.images)
    return fitted, to_onnx(fitted, digits.images[:1]).SerializeToString()


def test_a_converted_model_gives_the_vectors_of_the_original(pca: tuple[PCA, bytes], digits: Digits) -> None:
    fitted, content = pca
    embedder = OnnxEmbedder(content)
    vectors = embed_checked(embedder, digits.images[:9].reshape(9, 8, 8))
    np.testing.assert_allclose(vectors, fitted.transform(digits.images[:9]), rtol=1e-3, atol=1e-3)
    assert embedder.dim == 4 and embedder.embed([]).shape == (0, 4)
    np.testing.assert_array_equal(embed_checked(embedder, list(digits.images[:9])), vectors)


def test_a_model_is_given_as_a_path_its_content_or_a_proto(pca: tuple[PCA, bytes], tmp_path: Path) -> None:
    file = tmp_path / "given.onnx"
    file.write_bytes(pca[1])
    ways = (file, str(file), pca[1], bytearray(pca[1]), onnx.load(file))
    assert len({OnnxEmbedder(way).fingerprint for way in ways}) == 1
    for bad, message in ((str(tmp_path / "no.onnx"), "no.onnx' cannot be read"), (5, "not int")):
        with pytest.raises(InvalidArgument, match=message):
            OnnxEmbedder(bad)


def test_save_and_load_keep_vectors_and_fingerprint(pca: tuple[PCA, bytes], digits: Digits, tmp_path: Path) -> None:
    file = tmp_path / "given.onnx"
    file.write_bytes(pca[1])
    embedder = OnnxEmbedder(file, normalize=True, preprocess=Scale(0.0, 16.0))
    model = tmp_path / "model"
    model.mkdir()
    embedder.save(model)
    file.unlink()
    loaded = OnnxEmbedder.load(model)
    assert loaded.fingerprint == embedder.fingerprint
    vectors = loaded.embed(digits.images[:9])
    np.testing.assert_array_equal(vectors, embedder.embed(digits.images[:9]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_what_changes_the_vectors_changes_the_fingerprint(pca: tuple[PCA, bytes]) -> None:
    made = [
        OnnxEmbedder(pca[1]),
        OnnxEmbedder(pca[1], normalize=True),
        OnnxEmbedder(pca[1], pooling="mean"),
        OnnxEmbedder(pca[1], preprocess=Scale(0.0, 2.0)),
        OnnxEmbedder(doubling([None, 4])),
    ]
    assert len({one.fingerprint for one in made}) == 5
    assert OnnxEmbedder(pca[1], n_threads=1).fingerprint == made[0].fingerprint


def test_images_go_into_a_model_of_images() -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["mean"])]
    content = graph(nodes, [value("image", ["n", 3, 4, 4])], [value("mean", ["n", 3, 1, 1])])
    embedder = OnnxEmbedder(content, preprocess=Images(4, 4, "rgb", "chw"))
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(embedder.embed([red, red]), [[1, 0, 0], [1, 0, 0]])
    maps = OnnxEmbedder(doubling(["n", 3, 4, 4]), pooling="max", preprocess=Images(4, 4, "rgb", "chw"))
    np.testing.assert_allclose(maps.embed([red]), [[2, 0, 0]])


def test_a_model_of_a_fixed_batch_gets_batches_of_it() -> None:
    embedder = OnnxEmbedder(doubling([4, 2]))
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    np.testing.assert_array_equal(embedder.embed(rows), rows * 2)
    np.testing.assert_array_equal(embedder.embed(rows[:1]), rows[:1] * 2)


def test_inputs_and_outputs_are_chosen_by_name() -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["two"]), helper.make_node("Add", ["two", "x"], ["three"])]
    content = graph(nodes, [value("x", [None, 2])], [value("two", [None, 2]), value("three", [None, 2])])
    assert OnnxEmbedder(content).embed([[1, 2]]).tolist() == [[2, 4]]
    assert OnnxEmbedder(content, input="x", output="three").embed([[1, 2]]).tolist() == [[3, 6]]
    with pytest.raises(InvalidArgument, match="no output 'four'; it has 'two', 'three'"):
        OnnxEmbedder(content, output="four")
    with pytest.raises(InvalidArgument, match="no input 'y'; it has 'x'"):
        OnnxEmbedder(content, input="y")
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    two = graph(nodes, [value("a", [None, 2]), value("b", [None, 2])], [value("y", [None, 2])])
    with pytest.raises(InvalidArgument, match="several inputs; say which with input=: 'a', 'b'"):
        OnnxEmbedder(two)


def test_pooling() -> None:
    tokens = np.array([[[1, 2], [3, 6], [9, 9]]], dtype=np.float32)
    mask = np.array([[1, 1, 0]])
    assert pooled(tokens, "mean", mask).tolist() == [[2, 4]]
    assert pooled(tokens, "max", mask).tolist() == [[3, 6]]
    assert pooled(tokens, "first", mask).tolist() == [[1, 2]]
    assert pooled(tokens, "none").tolist() == [[1, 2, 3, 6, 9, 9]]
    np.testing.assert_allclose(pooled(tokens, "mean"), [[13 / 3, 17 / 3]], rtol=1e-6)
    assert pooled(tokens, "mean", np.zeros((1, 3))).tolist() == [[0, 0]]
    with pytest.raises(InvalidArgument, match="pooling='middle'"):
        OnnxEmbedder(doubling([None, 2]), pooling="middle")


def test_what_does_not_fit_is_bad_data(pca: tuple[PCA, bytes]) -> None:
    embedder = OnnxEmbedder(pca[1])
    for batch in ([np.zeros(63)], ["text"], [object()]):
        with pytest.raises(InvalidData):
            embed_checked(embedder, batch)


def test_a_model_that_does_not_say_what_it_takes_needs_an_example() -> None:
    with pytest.raises(InvalidArgument, match="does not say what content it takes"):
        OnnxEmbedder(doubling(["n", "m"]))
    sized = OnnxEmbedder(doubling(["n", "m"]), preprocess=Images(3, 2))
    assert sized.dim == 6
    with pytest.raises(InvalidArgument, match="does not take what it is given"):
        OnnxEmbedder(doubling([None, 5]), preprocess=Images(3, 2))


@pytest.mark.parametrize("content", [b"", b"junk", onnx.ModelProto().SerializeToString()])
def test_what_is_no_model_is_damage(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(Corruption, match="cannot be opened"):
        OnnxEmbedder(content)


def test_weights_outside_the_model_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones(4, dtype=np.float32).tobytes())
    weight = numpy_helper.from_array(np.ones(4, dtype=np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(tmp_path / "secret.bin"))
    made = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "test", [value("x", [None, 4])], [value("y", [None, 4])], [weight]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    with pytest.raises(Corruption, match="cannot be opened"):
        OnnxEmbedder(model.SerializeToString())


def test_a_damaged_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "configuration.json").write_text("{")
    with pytest.raises(Corruption, match="configuration"):
        OnnxEmbedder.load(tmp_path)


def tokenizer() -> bytes:
    library = pytest.importorskip("tokenizers", reason="needs the library tokenizers: pip install 'roost[onnx]'")
    words = {"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3, "blue": 4}
    made = library.Tokenizer(library.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    content: str = made.to_str()
    return content.encode()


def language_model() -> bytes:
    """Looks up a vector for each token: (n, n_tokens, 3)."""
    vectors = np.array([[9, 9, 9], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    nodes = [helper.make_node("Gather", ["vectors", "input_ids"], ["tokens"])]
    ids = value("input_ids", ["n", "t"], TensorProto.INT64)
    return graph(nodes, [ids], [value("tokens", ["n", "t", 3])], {"vectors": vectors})


def test_texts_go_through_a_tokenizer(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(language_model(), pooling="mean", tokenizer=tokenizer(), max_tokens=3)
    assert embedder.dim == 3
    vectors = embed_checked(embedder, ["red", "red green blue", "blue blue blue red", "mauve"])
    np.testing.assert_allclose(vectors, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1], [0, 0, 0]], rtol=1e-6)
    embedder.save(tmp_path)
    loaded = OnnxEmbedder.load(tmp_path)
    assert loaded.fingerprint == embedder.fingerprint
    np.testing.assert_array_equal(loaded.embed(["red blue"]), embedder.embed(["red blue"]))
    longer = OnnxEmbedder(language_model(), pooling="mean", tokenizer=tokenizer(), max_tokens=4)
    assert longer.fingerprint != embedder.fingerprint
    with pytest.raises(InvalidData, match="content 1 of the batch is of type int"):
        embedder.embed(["red", 1])


def test_a_tokenizer_that_is_none_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    words = tokenizer()
    with pytest.raises(Corruption, match="tokenizer cannot be read"):
        OnnxEmbedder(language_model(), tokenizer=b"{}")
    with pytest.raises(InvalidArgument, match="max_tokens=0"):
        OnnxEmbedder(language_model(), tokenizer=words, max_tokens=0)
    with pytest.raises(InvalidArgument, match="an input 'x', which a tokenizer does not make"):
        OnnxEmbedder(doubling([None, 2]), tokenizer=words)
